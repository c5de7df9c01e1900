// Image locks: what this program does to an image and what it lets others do, said to other
// programs by locks on single bytes of the file. The scheme is QEMU's (block/file-posix.c), with
// its byte offsets: for permission bit i, byte 100 + i is held while we use it, byte 200 + i while
// we do not share it. All locks are shared ones of the open file description; a conflict is found
// by testing for an exclusive one.
#pragma once

#include "async/file.h"
#include "block/types.h"

namespace firn::file {

class ImageLock {
 public:
  // `file` outlives the lock or is replaced by rebind().
  explicit ImageLock(async::File& file) : file_(&file) {}

  // From what is held now to `used` and `shared`: new bytes are taken first, others' bytes are
  // tested, then old ones are given up. Errors leave the locks as they were: kBusy with QEMU's
  // texts (`Failed to get "write" lock`), kUnsupported where the file system has no such locks.
  base::Result<> set(block::Permissions used, block::Permissions shared);

  // Takes what is held on `file` too, which is the same image opened again, and goes on with it.
  base::Result<> rebind(async::File& file);
  // The file moved to another loop.
  void moved(async::File& file) { file_ = &file; }

 private:
  base::Result<> take(block::Permissions used, block::Permissions unshared);
  base::Result<> test_others(block::Permissions used, block::Permissions shared);
  void give_up_all_but(block::Permissions used, block::Permissions unshared);

  async::File* file_;
  block::Permissions used_ = 0;      // bytes held from 100 on
  block::Permissions unshared_ = 0;  // bytes held from 200 on
};

}  // namespace firn::file
