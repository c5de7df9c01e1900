#include "state/store.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "state/tables.h"

namespace firn::state {

using async::Task;
using base::Result;

Task<Result<std::unique_ptr<Store>>> Store::open(std::string path, Files& files) {
  std::unique_ptr<Store> store(new Store(std::move(path), files));
  Store& self = *store;
  CO_TRY(co_await async::Loop::current().on_worker([&self]() -> Result<> {
    self.database_ = TRY(Database::open(self.files_, self.path_, Database::Access::kOwn));
    return {};
  }));
  co_return std::move(store);
}

Store::~Store() { CHECK(!turn_.is_locked()); }

Task<Result<>> Store::run(Step step, OnError on_error) {
  const auto turn = co_await turn_.lock();
  auto result = co_await async::Loop::current().on_worker([&] { return transact(step); });
  if (!result && on_error == OnError::kKeep) behind_.push_back(std::move(step));
  co_return result;
}

// What is behind goes first, in the same transaction: the order of changes is what they mean.
Result<> Store::transact(const Step& step) {
  Transaction transaction = TRY(Transaction::begin(*database_));
  for (const Step& earlier : behind_) TRY(earlier(*database_));
  TRY(step(*database_));
  TRY(transaction.commit());
  behind_.clear();
  return {};
}

Task<Result<Contents>> Store::recover() {
  Contents contents;
  CO_TRY(co_await run(
      [&contents](Database& database) -> Result<> {
        const Contents before = TRY(tables::load(database));
        for (const Intent& intent : before.intents) {
          TRY(tables::apply(database, intent.change, Seal::kToSeal, {}));
          TRY(database
                  .prepare("INSERT INTO recovered(number, recorded_us, recovered_us, change)"
                           " VALUES (?, ?, ?, ?)")
                  .bind(static_cast<int64_t>(intent.number))
                  .bind(intent.recorded_us)
                  .bind(database.files().wall_clock_us())
                  .bind(print_change(intent.change))
                  .run());
          TRY(tables::remove_intent(database, intent.number));
        }
        contents = TRY(tables::load(database));
        contents.intents = before.intents;
        return {};
      },
      OnError::kDrop));
  co_return std::move(contents);
}

Task<Result<>> Store::begin() {
  return run(
      [](Database& database) -> Result<> {
        TRY(tables::set_meta(database, "clean", "no"));
        TRY(tables::set_meta(database, "boot-id", database.files().boot_id()));
        return tables::forget_identities(database);
      },
      OnError::kDrop);
}

Task<Result<uint64_t>> Store::record_intent(block::GraphChange change) {
  uint64_t number = 0;
  CO_TRY(co_await run(
      [&number, change = std::move(change)](Database& database) -> Result<> {
        number = TRY(tables::add_intent(database, change));
        return {};
      },
      OnError::kDrop));
  co_return number;
}

Task<Result<>> Store::record_done(uint64_t intent, std::vector<std::string> unsealed) {
  return run(
      [intent, unsealed = std::move(unsealed)](Database& database) -> Result<> {
        Statement row = database.prepare("SELECT change FROM intent WHERE number = ?");
        row.bind(static_cast<int64_t>(intent));
        CHECK(TRY(row.step()));
        const block::GraphChange change = TRY(parse_change(row.text(0)));
        TRY(tables::apply(database, change, Seal::kSealed, unsealed));
        return tables::remove_intent(database, intent);
      },
      OnError::kKeep);
}

Task<Result<>> Store::record_sealed(std::string node) {
  return run(
      [node = std::move(node)](Database& database) { return tables::note_sealed(database, node); },
      OnError::kKeep);
}

Task<Result<>> Store::forget_intent(uint64_t intent) {
  return run([intent](Database& database) { return tables::remove_intent(database, intent); },
             OnError::kKeep);
}

// Definitions -----------------------------------------------------------------------------------

Store::Update& Store::Update::put_nodes(std::vector<NodeRecord> nodes) {
  steps_.emplace_back([nodes = std::move(nodes)](Database& database) -> Result<> {
    for (const NodeRecord& node : nodes) TRY(tables::put_node(database, node));
    return {};
  });
  return *this;
}

Store::Update& Store::Update::keep_nodes(std::vector<std::string> names) {
  steps_.emplace_back([names = std::move(names)](Database& database) {
    return tables::keep_nodes(database, names);
  });
  return *this;
}

Store::Update& Store::Update::put(Thing thing) {
  steps_.emplace_back([thing = std::move(thing)](Database& database) {
    return tables::put_thing(database, thing);
  });
  return *this;
}

Store::Update& Store::Update::remove(std::string_view kind, std::string id) {
  steps_.emplace_back([kind = std::string(kind), id = std::move(id)](Database& database) {
    return tables::remove_thing(database, kind, id);
  });
  return *this;
}

Store::Update& Store::Update::add(OptionRecord option) {
  steps_.emplace_back([option = std::move(option)](Database& database) {
    return tables::add_option(database, option);
  });
  return *this;
}

Store::Update& Store::Update::complete() {
  steps_.emplace_back(
      [](Database& database) { return tables::set_meta(database, "complete", "yes"); });
  return *this;
}

Store::Update& Store::Update::note_sealed(std::string node) {
  steps_.emplace_back(
      [node = std::move(node)](Database& database) { return tables::note_sealed(database, node); });
  return *this;
}

Store::Update& Store::Update::accept(std::string node) {
  steps_.emplace_back(
      [node = std::move(node)](Database& database) { return tables::accept(database, node); });
  return *this;
}

Task<Result<>> Store::write(Update update) {
  if (update.empty()) co_return Result<>();
  auto result = co_await run(
      [steps = std::move(update.steps_)](Database& database) -> Result<> {
        for (const Step& step : steps) TRY(step(database));
        return {};
      },
      OnError::kKeep);
  if (result) co_return result;
  co_return base::fail(std::move(result)
                           .error()
                           .with_context("This was done, but a restart does not know of it yet")
                           .with_hint("it is recorded with the next change that can be"));
}

Task<Result<>> Store::close(bool in_order) {
  Result<> result;
  if (in_order) {
    result = co_await run(
        [](Database& database) -> Result<> {
          TRY(tables::note_identities(database));
          return tables::set_meta(database, "clean", "yes");
        },
        OnError::kDrop);
  }
  const auto turn = co_await turn_.lock();
  co_await async::Loop::current().on_worker([this] { database_.reset(); });
  co_return result;
}

}  // namespace firn::state
