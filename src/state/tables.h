// What is done to the tables of a state file, within somebody's transaction. Blocks: for workers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/contents.h"
#include "state/database.h"

namespace firn::state::tables {

base::Result<Contents> load(Database& database);

// Replaces a node of that name. One that is new comes last in the order.
base::Result<> put_node(Database& database, const NodeRecord& node);
// Forgets the nodes that are not named here, but for those that an intent names: they may be in the
// graph already, or still.
base::Result<> keep_nodes(Database& database, const std::vector<std::string>& names);

base::Result<> put_thing(Database& database, const Thing& thing);
base::Result<> remove_thing(Database& database, std::string_view kind, std::string_view id);

base::Result<> add_option(Database& database, const OptionRecord& option);

base::Result<> set_meta(Database& database, std::string_view key, std::string_view value);

base::Result<uint64_t> add_intent(Database& database, const block::GraphChange& change);
base::Result<> remove_intent(Database& database, uint64_t number);
// Carries a change out in the tables. What it seals becomes `sealed`, or Seal::kUnsealed where
// `unsealed` names it.
base::Result<> apply(Database& database, const block::GraphChange& change, Seal sealed,
                     const std::vector<std::string>& unsealed);

// The node is sealed, and its file has to stay as it is now.
base::Result<> note_sealed(Database& database, std::string_view name);
// What an operator has looked at: the file of this node, or of every node if `name` is empty, has
// to stay as it is now, where anything of it was remembered.
base::Result<> accept(Database& database, std::string_view name);
// As every file is now: the daemon ends in order.
base::Result<> note_identities(Database& database);
// The files of the nodes that are not sealed may change from now on.
base::Result<> forget_identities(Database& database);

}  // namespace firn::state::tables
