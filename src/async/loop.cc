#include "async/loop.h"

namespace firn::async {
namespace {

thread_local Loop* t_current = nullptr;

}  // namespace

Loop& Loop::current() {
  CHECK(t_current != nullptr);
  return *t_current;
}

bool Loop::has_current() { return t_current != nullptr; }

Loop::CurrentScope::CurrentScope(Loop& loop) : previous_(t_current) { t_current = &loop; }
Loop::CurrentScope::~CurrentScope() { t_current = previous_; }

bool CancelToken::cancelled() const { return source_ != nullptr && source_->cancelled(); }

CancelSource::~CancelSource() { CHECK(first_ == nullptr); }

void CancelSource::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  while (first_ != nullptr) {
    CancelWaiter* waiter = first_;
    first_ = waiter->next_;
    if (first_ != nullptr) first_->previous_ = nullptr;
    waiter->source_ = nullptr;
    waiter->next_ = nullptr;
    waiter->on_cancel_(*waiter);
  }
}

CancelWaiter::CancelWaiter(CancelToken token, void (*on_cancel)(CancelWaiter&))
    : source_(token.source_), on_cancel_(on_cancel) {
  if (source_ == nullptr) return;
  if (source_->cancelled_) {
    source_ = nullptr;
    return;  // whoever registers asks the token first
  }
  next_ = source_->first_;
  if (next_ != nullptr) next_->previous_ = this;
  source_->first_ = this;
}

CancelWaiter::~CancelWaiter() {
  if (source_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : source_->first_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

namespace {

// Ends by its timer or by its token, whichever comes first.
struct Sleep : Timer, CancelWaiter {
  Sleep(Loop& on, TimePoint until, CancelToken cancel)
      : CancelWaiter(cancel,
                     [](CancelWaiter& waiter) {
                       auto& self = static_cast<Sleep&>(waiter);
                       if (!self.armed) return;  // the timer fired first
                       self.loop.disarm(self);
                       self.passed = false;
                       self.loop.ready(self.handle);
                     }),
        loop(on),
        token(cancel) {
    deadline = until;
    fire = [](Timer& timer) {
      auto& self = static_cast<Sleep&>(timer);
      self.loop.ready(self.handle);
    };
  }
  bool await_ready() {
    passed = !token.cancelled();
    return !passed;
  }
  void await_suspend(std::coroutine_handle<> waiting) {
    handle = waiting;
    loop.arm(*this);
  }
  bool await_resume() const { return passed; }

  Loop& loop;
  CancelToken token;
  std::coroutine_handle<> handle;
  bool passed = true;
};

}  // namespace

Task<bool> Loop::sleep_until(TimePoint deadline, CancelToken token) {
  Sleep sleep(*this, deadline, token);
  co_return co_await sleep;
}

}  // namespace firn::async
