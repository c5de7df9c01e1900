// The system calls behind file operations. Those that say so block; they run inline where that is
// known to be short, else on workers.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "async/file.h"
#include "base/result.h"

namespace firn::async {

// What is left of op.iov after op.done_bytes. `storage` holds it, unless all is left.
const IoVec& rest_of(const FileOp& op, IoVec& storage);

// True if nothing is left to transfer after the last call moved `moved` bytes (0: the end of the
// file). With O_DIRECT a transfer that ends off the alignment has met the end of the file too.
bool transfer_is_over(const FileOp& op, uint64_t moved, uint32_t alignment);

// Does what is left of `op`, to its end; blocks. Gives what op.result shall be.
int64_t perform(int fd, FileKind kind, uint32_t alignment, FileOp& op);

// These block.
base::Result<FileStat> stat_of_fd(int fd, std::string_view path);
base::Result<FileStat> stat_of_path(const std::string& path);
base::Result<Extent> extent_of_fd(int fd, FileKind kind, uint64_t offset, std::string_view path);
base::Result<std::vector<std::string>> list_directory(const std::string& path);
base::Result<> sync_directory_at(const std::string& path);
base::Result<std::string> real_path_of(const std::string& path);
base::Result<StoreStat> store_stat_of(const std::string& path);

FileKind kind_of_mode(mode_t mode);
// What O_DIRECT on `fd` asks of memory, offsets and lengths. Blocks.
uint32_t direct_alignment_of(int fd, FileKind kind);

}  // namespace firn::async
