// The tables of a state file. docs/formats/state.md tells what is in them; a change here gets a
// new kSchemaVersion and a line there.
#pragma once

#include <array>
#include <cstdint>

namespace firn::state {

inline constexpr int64_t kApplicationId = 0x4669726e;  // "Firn"
inline constexpr int64_t kSchemaVersion = 1;

// Executed in order on a new file.
inline constexpr std::array kSchema = {
    "PRAGMA application_id=0x4669726e",
    "PRAGMA user_version=1",
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE option(position INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " definition TEXT NOT NULL)",
    "CREATE TABLE node(name TEXT PRIMARY KEY, position INTEGER NOT NULL, driver TEXT NOT NULL,"
    " own TEXT NOT NULL, options TEXT NOT NULL, read_only INTEGER NOT NULL, file TEXT,"
    " backing TEXT, added INTEGER NOT NULL, io_thread TEXT NOT NULL, path TEXT,"
    " seal INTEGER NOT NULL, id_device INTEGER, id_inode INTEGER, id_size INTEGER,"
    " id_modified_ns INTEGER, id_rdev INTEGER) WITHOUT ROWID",
    "CREATE TABLE thing(kind TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL,"
    " definition TEXT NOT NULL, node TEXT, PRIMARY KEY(kind, id)) WITHOUT ROWID",
    "CREATE TABLE intent(number INTEGER PRIMARY KEY AUTOINCREMENT, recorded_us INTEGER NOT NULL,"
    " change TEXT NOT NULL)",
    "CREATE TABLE recovered(number INTEGER PRIMARY KEY, recorded_us INTEGER NOT NULL,"
    " recovered_us INTEGER NOT NULL, change TEXT NOT NULL)",
};

}  // namespace firn::state
