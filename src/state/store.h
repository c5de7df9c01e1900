// Store: the daemon's memory of what it serves, in a file that survives a crash at any moment
// (docs/state.md).
//
// Two kinds of things are told to it. Changes of the graph by commands come as intents
// (block::StateStore): durable before they show, and carried out by the next start if a crash comes
// between. What users define (nodes, devices, exports, ...) is told by the daemon's handlers after
// it has happened and before the command is answered: what a crash loses there was never answered.
//
// Belongs to the control loop; the work is done on workers, one call at a time, in the order in
// which the calls were awaited first.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/sync.h"
#include "async/task.h"
#include "block/state_store.h"
#include "state/contents.h"
#include "state/database.h"
#include "state/files.h"

namespace firn::state {

class Store final : public block::StateStore {
 public:
  // Opens or creates the file at `path`, which nobody else may have open. `files` outlives it.
  // Errors: those of Database::open.
  static async::Task<base::Result<std::unique_ptr<Store>>> open(std::string path, Files& files);
  ~Store() override;  // closed
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::string& path() const { return path_; }

  // Start. --------------------------------------------------------------------------------------

  // Carries the open intents out, in their order, and gives what is there then. What they seal has
  // Seal::kToSeal: note_sealed() is due once it is. Durable when it completes.
  async::Task<base::Result<Contents>> recover();
  // Before anything is served: the files of nodes that are not sealed may change from now on.
  async::Task<base::Result<>> begin();

  // block::StateStore. --------------------------------------------------------------------------
  // After an error of record_done or forget_intent the file is behind; every later call writes
  // first what is missing, and fails as long as that fails.
  async::Task<base::Result<uint64_t>> record_intent(block::GraphChange change) override;
  async::Task<base::Result<>> record_done(uint64_t intent,
                                          std::vector<std::string> unsealed) override;
  async::Task<base::Result<>> record_sealed(std::string node) override;
  async::Task<base::Result<>> forget_intent(uint64_t intent) override;

  // Definitions. --------------------------------------------------------------------------------

  // What becomes one transaction.
  class Update {
   public:
    Update& put_nodes(std::vector<NodeRecord> nodes);
    // Of the nodes in the graph at this moment: all others are forgotten.
    Update& keep_nodes(std::vector<std::string> names);
    Update& put(Thing thing);
    Update& remove(std::string_view kind, std::string id);
    Update& add(OptionRecord option);
    // The first start with this file is complete: from now on the file says what there is, not the
    // command line.
    Update& complete();
    Update& note_sealed(std::string node);
    // For operators: the files of this node, or of all nodes if it is empty, are taken as they are.
    Update& accept(std::string node);
    bool empty() const { return steps_.empty(); }

   private:
    friend class Store;
    std::vector<std::function<base::Result<>(Database&)>> steps_;
  };
  // An update that can't be written is not lost: it is tried again with the next call. The error
  // says that the daemon goes on without having recorded it.
  async::Task<base::Result<>> write(Update update);

  // End. ----------------------------------------------------------------------------------------

  // The daemon has closed all images in order: their files have to stay as they are. Without
  // `in_order`, they may differ at the next start.
  async::Task<base::Result<>> close(bool in_order);

 private:
  using Step = std::function<base::Result<>(Database&)>;
  enum class OnError { kDrop, kKeep };

  Store(std::string path, Files& files) : path_(std::move(path)), files_(files) {}
  async::Task<base::Result<>> run(Step step, OnError on_error);
  base::Result<> transact(const Step& step);

  std::string path_;
  Files& files_;
  async::Mutex turn_;
  // The worker's while one is at work.
  std::unique_ptr<Database> database_;
  std::vector<Step> behind_;  // what should be in the file and is not yet
};

}  // namespace firn::state
