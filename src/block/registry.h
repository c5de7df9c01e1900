// Registry: the formats and protocols that this program has, and opening images with them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "block/driver.h"
#include "block/node.h"

namespace firn::block {

// A driver's own options; each driver derives its struct (qcow2::Options).
struct DriverOptions {
  virtual ~DriverOptions() = default;
};

struct NodeSpec;
// A child: a node that exists, by its address or by its name (which Graph::add_node looks up), or
// one to open.
using ChildSpec = std::variant<Node*, std::unique_ptr<NodeSpec>, std::string>;

// How to open a node and all below it.
struct NodeSpec {
  std::string driver;     // a registered name
  std::string node_name;  // empty: one is made up ("#block12")
  NodeOptions options;
  std::unique_ptr<DriverOptions> driver_options;  // null: defaults
  // The same as text, for whoever gave them: kept with the node, see Node::definition().
  std::string definition;
  // `node_name` is one that was made up in an earlier life of the node; it is not made up again.
  bool has_made_up_name = false;
  std::optional<ChildSpec> file;
  // Not set: as the image's header says. Set to no value (an empty unique_ptr): none.
  std::optional<ChildSpec> backing;
};

struct OpenContext;

// What a driver brings.
struct DriverEntry {
  std::string name;
  bool is_protocol = false;
  bool supports_backing = false;
  // The node's bytes are those of its `file` child (raw): the child's permissions are exactly what
  // the node's users need, and none while it opens.
  bool is_transparent = false;
  // 0 to 100: how sure the first bytes make it that this is the format. Null: not probed.
  int (*probe)(base::ConstByteSpan first_bytes) = nullptr;

  // Opens the driver of `node`, whose options are set and whose `file` child is open. A format that
  // has a backing file and finds none attached reads its header and opens it through
  // context.open_backing. On the home loop.
  Task<Result<std::unique_ptr<Driver>>> (*open)(OpenContext& context, Node& node,
                                                const DriverOptions* options) = nullptr;
  // Protocols: the options that open a plain file name.
  std::unique_ptr<DriverOptions> (*options_of_filename)(std::string filename) = nullptr;
  // Protocols of block devices: open_file_spec takes the one of these for a device's name.
  bool for_block_devices = false;

  // Formats: lays out a new image of `request` in `file` (empty, open for writing); durable after.
  struct CreateRequest {
    uint64_t size_bytes = 0;
    std::string backing_filename;  // stored as it is; empty: none
    std::string backing_format;
    std::vector<std::pair<std::string, std::string>>
        options;  // "cluster_size=64k", checked by the format
  };
  Task<Result<>> (*create)(Edge& file, const CreateRequest& request) = nullptr;
  // Formats: whether `create` would take this request, before anything is touched. Null: it says so
  // itself.
  Result<> (*check_create)(const CreateRequest& request) = nullptr;
};

class Registry {
 public:
  void add(DriverEntry entry);
  const DriverEntry* find(std::string_view name) const;
  // The format whose probe is surest; "raw" if none is.
  const DriverEntry* probe(base::ConstByteSpan first_bytes) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, DriverEntry, std::less<>> entries_;
};

// The nodes that one opening made, children before parents. Not in any graph yet. If it is dropped
// without being adopted, close it first (close_tree).
struct OpenedTree {
  std::vector<std::unique_ptr<Node>> nodes;
  Node* top = nullptr;
};

// What a driver may ask for while it opens. One per node that is opened.
struct OpenContext {
  const Registry& registry;
  OpenedTree& tree;
  // False: `backing` was given as none; a header that names a backing file is obeyed without
  // opening it.
  bool create_backing = true;
  // The files of the overlays above, so that a chain that leads back to itself ends in an error.
  std::vector<async::FileStat> files_above;

  // Opens `filename` (already resolved against the overlay's directory; "json:{...}" and
  // "driver:..." prefixes are the daemon's matter) as the read-only backing child of `node`.
  // `format` empty: probed. Errors have "Could not open backing file: " before them.
  Task<Result<>> open_backing(Node& node, std::string filename, std::string format);
};

// What a child has of its parent's options where none are given for it: cache.*, force-share, and
// read-only (a backing child always is); unmap, since the parent asks only for what it wants.
NodeOptions inherited_options(const NodeOptions& parent, EdgeRole role);

// How to open a plain file name as a protocol node: `file`, or the driver for block devices if it
// is one. Errors: `Unknown protocol 'nope'` for "nope:...".
Task<Result<NodeSpec>> file_spec(const Registry& registry, std::string filename,
                                 NodeOptions options);

// Opens a node and all below it on the current loop, which becomes their home. Image locks are
// taken as the permissions of nodes without users are. On an error everything that was opened is
// closed again. Names are checked by their form; whether they are taken, the graph knows.
Task<Result<OpenedTree>> open_tree(const Registry& registry, NodeSpec spec);
// Parents first. The first error is given, the rest is closed all the same.
Task<Result<>> close_tree(OpenedTree tree);
// Closes the driver of a node without parents and gives up its children, which stay open. The node
// is good for nothing but destruction after. On its home loop.
Task<Result<>> close_node(Node& node);

// "#block12": unique in this program.
std::string make_node_name();
// Such a name is taken: from now on it is not made up.
void reserve_node_name(std::string_view name);
// QEMU's form of identifiers: a letter, then letters, digits, '-', '.', '_'; 31 at most.
Result<> check_node_name(std::string_view name);
bool is_identifier(std::string_view name);

}  // namespace firn::block
