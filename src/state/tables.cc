#include "state/tables.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <set>

#include "base/json.h"
#include "block/registry.h"

namespace firn::state::tables {

using base::Result;

namespace {

std::optional<FileIdentity> read_identity(const Statement& row, int first) {
  if (!row.maybe_number(first)) return std::nullopt;
  FileIdentity identity;
  identity.device = static_cast<uint64_t>(row.number(first));
  identity.inode = static_cast<uint64_t>(row.number(first + 1));
  identity.size_bytes = static_cast<uint64_t>(row.number(first + 2));
  identity.modified_ns = row.number(first + 3);
  if (const auto rdev = row.maybe_number(first + 4)) {
    identity.is_block_device = true;
    identity.rdev = static_cast<uint64_t>(*rdev);
  }
  return identity;
}

void bind_identity(Statement& statement, const std::optional<FileIdentity>& identity) {
  if (!identity) {
    for (int i = 0; i != 5; ++i) statement.bind_null();
    return;
  }
  statement.bind(static_cast<int64_t>(identity->device))
      .bind(static_cast<int64_t>(identity->inode))
      .bind(static_cast<int64_t>(identity->size_bytes))
      .bind(identity->modified_ns);
  identity->is_block_device ? statement.bind(static_cast<int64_t>(identity->rdev))
                            : statement.bind_null();
}

void bind_name(Statement& statement, const std::string& name) {
  name.empty() ? statement.bind_null() : statement.bind(name);
}

Result<> run(Statement statement) { return statement.run(); }

Result<> load_nodes(Database& database, Contents& contents) {
  Statement row = database.prepare(
      "SELECT name, driver, own, options, read_only, file, backing, added, io_thread, path, seal,"
      " id_device, id_inode, id_size, id_modified_ns, id_rdev FROM node ORDER BY position");
  while (TRY(row.step())) {
    contents.nodes.push_back({.name = row.text(0),
                              .driver = row.text(1),
                              .own = row.text(2),
                              .options = row.text(3),
                              .read_only = row.number(4) != 0,
                              .file = row.text(5),
                              .backing = row.text(6),
                              .added = row.number(7) != 0,
                              .made_by_snapshot = row.number(7) == 2,
                              .io_thread = row.text(8),
                              .path = row.text(9),
                              .seal = static_cast<Seal>(row.number(10)),
                              .identity = read_identity(row, 11)});
  }
  return {};
}

Result<> load_intents(Database& database, Contents& contents) {
  Statement open = database.prepare("SELECT number, recorded_us, 0, change FROM intent ORDER BY 1");
  Statement recovered = database.prepare(
      "SELECT number, recorded_us, recovered_us, change FROM recovered ORDER BY number");
  for (auto [row, list] :
       {std::pair(&open, &contents.intents), std::pair(&recovered, &contents.recovered)}) {
    while (TRY(row->step())) {
      list->push_back({.number = static_cast<uint64_t>(row->number(0)),
                       .recorded_us = row->number(1),
                       .recovered_us = row->number(2),
                       .change = TRY(parse_change(row->text(3)))});
    }
  }
  return {};
}

// Nodes that nobody added live as long as somebody uses them.
Result<> remove_orphans(Database& database) {
  while (true) {
    Statement statement = database.prepare(
        "DELETE FROM node WHERE added = 0"
        " AND name NOT IN (SELECT file FROM node WHERE file IS NOT NULL)"
        " AND name NOT IN (SELECT backing FROM node WHERE backing IS NOT NULL)"
        " AND name NOT IN (SELECT node FROM thing WHERE node IS NOT NULL) RETURNING name");
    bool removed = false;
    while (TRY(statement.step())) removed = true;
    if (!removed) return {};
  }
}

Result<> remove_node(Database& database, const std::string& name) {
  return run(std::move(database.prepare("DELETE FROM node WHERE name = ?").bind(name)));
}

// The file below a node: its own if it is a protocol node.
Result<std::string> file_node_of(Database& database, const std::string& name) {
  std::string at = name;
  for (int depth = 0; depth != 16; ++depth) {
    Statement row = database.prepare("SELECT file FROM node WHERE name = ?");
    row.bind(at);
    if (!TRY(row.step()) || row.text(0).empty()) break;
    at = row.text(0);
  }
  return at;
}

Result<> put_identity(Database& database, const std::string& file_node,
                      const std::optional<FileIdentity>& identity) {
  Statement statement = database.prepare(
      "UPDATE node SET id_device = ?, id_inode = ?, id_size = ?, id_modified_ns = ?, id_rdev = ?"
      " WHERE name = ?");
  bind_identity(statement, identity);
  return statement.bind(file_node).run();
}

Result<> forget_identity(Database& database, const std::string& name) {
  return put_identity(database, TRY(file_node_of(database, name)), std::nullopt);
}

Result<> take_identity(Database& database, const std::string& file_node) {
  Statement row = database.prepare("SELECT path FROM node WHERE name = ?");
  row.bind(file_node);
  if (!TRY(row.step()) || row.text(0).empty()) return {};
  return put_identity(database, file_node, TRY(database.files().identity(row.text(0))));
}

Result<> add_new_node(Database& database, const block::GraphChange::NewNode& node) {
  const block::NodeOptions below = block::inherited_options(node.options, block::EdgeRole::kFile);
  TRY(put_node(database, {.name = node.file_name,
                          .driver = node.protocol,
                          .options = print_options(below),
                          .read_only = node.options.read_only,
                          .io_thread = node.io_thread,
                          .path = node.path}));
  return put_node(database, {.name = node.name,
                             .driver = node.format,
                             .options = print_options(node.options),
                             .read_only = node.options.read_only,
                             .file = node.file_name,
                             .backing = node.backing_node,
                             .added = true,
                             .made_by_snapshot = true,
                             .io_thread = node.io_thread});
}

// Who takes over users may write if the one before might, and is no sealed layer any more.
Result<> move_users(Database& database, const block::GraphChange::MovedUsers& users) {
  TRY(database
          .prepare("UPDATE node SET seal = 0, read_only = coalesce("
                   "(SELECT read_only FROM node WHERE name = ?), read_only) WHERE name = ?")
          .bind(users.from)
          .bind(users.to)
          .run());
  TRY(forget_identity(database, users.to));
  TRY(database.prepare("UPDATE thing SET node = ? WHERE node = ?")
          .bind(users.to)
          .bind(users.from)
          .run());
  return database.prepare("UPDATE node SET file = ? WHERE file = ?")
      .bind(users.to)
      .bind(users.from)
      .run();
}

Result<> set_seal(Database& database, const std::string& name, Seal seal) {
  return database.prepare("UPDATE node SET seal = ? WHERE name = ?")
      .bind(static_cast<int64_t>(seal))
      .bind(name)
      .run();
}

}  // namespace

Result<Contents> load(Database& database) {
  Contents contents;
  TRY(load_nodes(database, contents));
  Statement things =
      database.prepare("SELECT kind, id, definition, node FROM thing ORDER BY position");
  while (TRY(things.step())) {
    contents.things.push_back({.kind = things.text(0),
                               .id = things.text(1),
                               .definition = things.text(2),
                               .node = things.text(3)});
  }
  Statement options = database.prepare("SELECT name, definition FROM option ORDER BY position");
  while (TRY(options.step())) {
    contents.options.push_back({.name = options.text(0), .definition = options.text(1)});
  }
  TRY(load_intents(database, contents));
  Statement meta = database.prepare("SELECT key, value FROM meta");
  while (TRY(meta.step())) {
    const std::string key = meta.text(0);
    if (key == "complete") contents.complete = meta.text(1) == "yes";
    if (key == "clean") contents.clean = meta.text(1) == "yes";
    if (key == "boot-id") contents.boot_id = meta.text(1);
  }
  return contents;
}

Result<> put_node(Database& database, const NodeRecord& node) {
  Statement statement = database.prepare(
      "INSERT INTO node(name, driver, own, options, read_only, file, backing, added, io_thread,"
      " path, seal, id_device, id_inode, id_size, id_modified_ns, id_rdev, position) VALUES"
      " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
      " (SELECT coalesce(max(position), 0) + 1 FROM node))"
      " ON CONFLICT(name) DO UPDATE SET driver = ?2, own = ?3, options = ?4, read_only = ?5,"
      " file = ?6, backing = ?7, added = ?8, io_thread = ?9, path = ?10, seal = ?11,"
      " id_device = ?12, id_inode = ?13, id_size = ?14, id_modified_ns = ?15, id_rdev = ?16");
  statement.bind(node.name)
      .bind(node.driver)
      .bind(node.own)
      .bind(node.options)
      .bind(int64_t{node.read_only});
  bind_name(statement, node.file);
  bind_name(statement, node.backing);
  statement.bind(int64_t{node.made_by_snapshot ? 2 : int{node.added}}).bind(node.io_thread);
  bind_name(statement, node.path);
  statement.bind(static_cast<int64_t>(node.seal));
  bind_identity(statement, node.identity);
  return statement.run();
}

Result<> keep_nodes(Database& database, const std::vector<std::string>& names) {
  std::set<std::string> kept(names.begin(), names.end());
  Contents contents;
  TRY(load_nodes(database, contents));
  TRY(load_intents(database, contents));
  for (const Intent& intent : contents.intents) {
    for (const auto& node : intent.change.added) kept.insert({node.name, node.file_name});
    kept.insert(intent.change.removed.begin(), intent.change.removed.end());
  }
  for (const NodeRecord& node : contents.nodes) {
    if (!kept.contains(node.name)) TRY(remove_node(database, node.name));
  }
  return {};
}

Result<> put_thing(Database& database, const Thing& thing) {
  Statement statement = database.prepare(
      "INSERT INTO thing(kind, id, definition, node, position) VALUES (?1, ?2, ?3, ?4,"
      " (SELECT coalesce(max(position), 0) + 1 FROM thing))"
      " ON CONFLICT(kind, id) DO UPDATE SET definition = ?3, node = ?4");
  statement.bind(thing.kind).bind(thing.id).bind(thing.definition);
  bind_name(statement, thing.node);
  return statement.run();
}

Result<> remove_thing(Database& database, std::string_view kind, std::string_view id) {
  TRY(database.prepare("DELETE FROM thing WHERE kind = ? AND id = ?").bind(kind).bind(id).run());
  return remove_orphans(database);
}

Result<> add_option(Database& database, const OptionRecord& option) {
  return database.prepare("INSERT INTO option(name, definition) VALUES (?, ?)")
      .bind(option.name)
      .bind(option.definition)
      .run();
}

Result<> set_meta(Database& database, std::string_view key, std::string_view value) {
  return database
      .prepare(
          "INSERT INTO meta(key, value) VALUES (?1, ?2)"
          " ON CONFLICT(key) DO UPDATE SET value = ?2")
      .bind(key)
      .bind(value)
      .run();
}

Result<uint64_t> add_intent(Database& database, const block::GraphChange& change) {
  TRY(database.prepare("INSERT INTO intent(recorded_us, change) VALUES (?, ?)")
          .bind(database.files().wall_clock_us())
          .bind(print_change(change))
          .run());
  const auto number = static_cast<uint64_t>(database.last_row_id());
  // From here on these files change, whether or not the change is ever done.
  for (const auto& backing : change.backings) TRY(forget_identity(database, backing.overlay));
  for (const auto& name : change.to_write) TRY(forget_identity(database, name));
  for (const auto& users : change.moved) TRY(forget_identity(database, users.to));
  return number;
}

Result<> remove_intent(Database& database, uint64_t number) {
  return database.prepare("DELETE FROM intent WHERE number = ?")
      .bind(static_cast<int64_t>(number))
      .run();
}

Result<> apply(Database& database, const block::GraphChange& change, Seal sealed,
               const std::vector<std::string>& unsealed) {
  for (const auto& node : change.added) TRY(add_new_node(database, node));
  for (const auto& device : change.devices) {
    TRY(put_thing(database, {.kind = std::string(kind::kDevice),
                             .id = device.id,
                             .definition = base::print_json(boost::json::object{{"id", device.id}}),
                             .node = device.node}));
  }
  for (const auto& users : change.moved) TRY(move_users(database, users));
  for (const auto& backing : change.backings) {
    Statement statement = database.prepare("UPDATE node SET backing = ? WHERE name = ?");
    bind_name(statement, backing.backing_node);
    TRY(statement.bind(backing.overlay).run());
  }
  for (const std::string& name : change.to_write) TRY(forget_identity(database, name));
  for (const std::string& name : change.to_seal) {
    const bool failed = std::ranges::find(unsealed, name) != unsealed.end();
    if (sealed == Seal::kSealed && !failed) {
      TRY(note_sealed(database, name));
    } else {
      TRY(set_seal(database, name, failed ? Seal::kUnsealed : sealed));
    }
  }
  for (const std::string& name : change.removed) TRY(remove_node(database, name));
  TRY(remove_orphans(database));
  // A header that was written anew belongs to a layer that is sealed as before.
  for (const auto& backing : change.backings) {
    Statement row = database.prepare("SELECT seal FROM node WHERE name = ?");
    row.bind(backing.overlay);
    if (sealed == Seal::kSealed && TRY(row.step()) &&
        row.number(0) == static_cast<int64_t>(Seal::kSealed)) {
      TRY(note_sealed(database, backing.overlay));
    }
  }
  return {};
}

Result<> note_sealed(Database& database, std::string_view name) {
  TRY(database.prepare("UPDATE node SET seal = ?, read_only = 1 WHERE name = ?")
          .bind(static_cast<int64_t>(Seal::kSealed))
          .bind(name)
          .run());
  return take_identity(database, TRY(file_node_of(database, std::string(name))));
}

Result<> accept(Database& database, std::string_view name) {
  Contents contents;
  TRY(load_nodes(database, contents));
  const std::string only =
      name.empty() ? std::string() : TRY(file_node_of(database, std::string(name)));
  for (const NodeRecord& node : contents.nodes) {
    if (!node.identity || (!only.empty() && node.name != only)) continue;
    TRY(take_identity(database, node.name));
  }
  return {};
}

Result<> note_identities(Database& database) {
  Contents contents;
  TRY(load_nodes(database, contents));
  for (const NodeRecord& node : contents.nodes) {
    if (!node.path.empty()) TRY(take_identity(database, node.name));
  }
  return {};
}

Result<> forget_identities(Database& database) {
  // Files below sealed nodes keep theirs, through formats without a meaning of their own too.
  return database.execute(
      "WITH RECURSIVE kept(name) AS (SELECT name FROM node WHERE seal = 1"
      " UNION SELECT node.file FROM node JOIN kept ON node.name = kept.name"
      " WHERE node.file IS NOT NULL)"
      " UPDATE node SET id_device = NULL, id_inode = NULL, id_size = NULL, id_modified_ns = NULL,"
      " id_rdev = NULL WHERE name NOT IN kept");
}

}  // namespace firn::state::tables
