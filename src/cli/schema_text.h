// What a live schema says, for people: the help of commands and events.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/live_schema.h"
#include "cli/schema_docs.h"

namespace firn::cli {

// A command's arguments with their types, its branches, what it returns. `words`: the command line
// so far, whose tag values (driver=qcow2) open their branches. With `docs`, in words too.
std::string command_text(const LiveCommand& command, std::span<const std::string> words = {},
                         const SchemaDocs* docs = nullptr);

// What an event carries.
std::string event_text(const LiveEvent& event, const SchemaDocs* docs = nullptr);

// All commands' and events' names in columns, `width` wide.
std::string overview_text(const LiveSchema& schema, size_t width);

}  // namespace firn::cli
