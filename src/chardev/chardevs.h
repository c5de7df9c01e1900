// Chardevs: the character devices of a program, by name.
//
// Belongs to the control loop. Error texts are those of QEMU 7.2 (chardev/char.c).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "async/loop.h"
#include "async/task.h"
#include "base/result.h"
#include "chardev/chardev.h"

namespace firn::chardev {

class Chardevs final {
 public:
  Chardevs() = default;
  ~Chardevs();  // closed
  Chardevs(const Chardevs&) = delete;
  Chardevs& operator=(const Chardevs&) = delete;

  // Errors: those of open(); kBusy, "cannot use stdio by multiple character devices"; kExists,
  // "Chardev with id 'c' already exists". The pointer is good until the device is removed.
  async::Task<base::Result<Chardev*>> add(std::string id, Spec spec, async::CancelToken cancel);

  // The device leads to `spec` from now on. If that fails it is what it was. Errors also: "Chardev
  // 'c' does not exist", "Chardev user does not support chardev hotswap".
  async::Task<base::Result<Chardev*>> change(std::string id, Spec spec, async::CancelToken cancel);

  // Whether change() would go so far as to open. Errors: change()'s own.
  base::Result<> check_changeable(const std::string& id) const;

  // Errors: "Chardev 'c' not found"; kBusy, "Chardev 'c' is busy" where a frontend sits on it.
  async::Task<base::Result<>> remove(std::string id);

  // Puts a frontend on it. Errors: `chardev "c" not found`; kBusy, "Device 'c' is in use".
  base::Result<> attach(std::string_view id, Serve serve);

  // As Chardev::take_keys(); false where there is no such device.
  bool take_keys(std::string_view id);

  bool contains(std::string_view id) const { return entries_.contains(id); }

  // Errors: "Device 'c' not found", "c is not a ringbuf device".
  base::Result<RingBuffer*> ring_buffer(const std::string& id) const;

  struct Info {
    std::string label;
    std::string filename;
    bool frontend_open = false;
  };
  std::vector<Info> list() const;  // by name

  // No further user of any device.
  void stop();
  // Waits for all users' end; nothing is left after.
  async::Task<void> close();

 private:
  struct Entry {
    Spec spec;
    std::unique_ptr<Chardev> device;
    bool has_frontend = false;
  };
  async::Task<base::Result<std::unique_ptr<Chardev>>> open_new(const std::string& id,
                                                               const Spec& spec,
                                                               async::CancelToken cancel);
  async::Task<base::Result<>> replace(std::string id, Spec spec, async::CancelToken cancel);
  async::Task<void> reopen(const std::string& id, Spec spec);

  std::map<std::string, Entry, std::less<>> entries_;
  std::set<std::string, std::less<>> pending_;  // being added, changed or removed
};

}  // namespace firn::chardev
