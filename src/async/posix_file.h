// Files on this machine's kernel. Which way an operation takes is io_policy.h's choice.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/file.h"
#include "async/io_policy.h"
#include "async/kernel_loop.h"

namespace firn::async {

class PosixFile;

// One file operation on its way through a ring or a worker. Kept by the loop's file system for the
// next one, so that the data path allocates nothing.
struct FileRequest : RingRequest, WorkItem {
  PosixFile* file = nullptr;
  FileOp* op = nullptr;
  IoVec rest;  // what is left after a short transfer
  FileRequest* next_free = nullptr;
};

// What opening a file on a worker found out.
struct OpenedFile {
  int fd = -1;
  FileKind kind = FileKind::kOther;
  IoPolicy policy;
  uint32_t alignment = 1;
  bool direct = false;
};

class PosixFileSystem final : public FileSystem {
 public:
  explicit PosixFileSystem(KernelLoop& loop) : loop_(loop) {}

  Task<base::Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<base::Result<std::unique_ptr<File>>> adopt(int fd, std::string name, bool writable) override;
  base::Result<> adopt_file(std::unique_ptr<File>& file) override;
  Task<base::Result<FileStat>> stat(std::string path) override;
  Task<base::Result<>> unlink(std::string path) override;
  Task<base::Result<>> rename(std::string from, std::string to) override;
  Task<base::Result<>> make_directory(std::string path) override;
  Task<base::Result<std::vector<std::string>>> list(std::string path) override;
  Task<base::Result<>> sync_directory(std::string path) override;
  Task<base::Result<std::string>> real_path(std::string path) override;
  Task<base::Result<StoreStat>> store_of(std::string path) override;

 private:
  friend class PosixFile;
  FileRequest* take_request();
  void give_back(FileRequest* request);

  KernelLoop& loop_;
  std::vector<std::unique_ptr<FileRequest>> requests_;
  FileRequest* free_request_ = nullptr;
};

class PosixFile final : public File {
 public:
  PosixFile(KernelLoop& loop, PosixFileSystem& owner, const OpenedFile& opened, std::string path,
            bool writable);
  ~PosixFile() override;

  // The file lives on `loop` from now on. Nothing may be in flight.
  void move_to(KernelLoop& loop, PosixFileSystem& owner);

  Task<base::Result<FileStat>> stat() override;
  Task<base::Result<Extent>> extent_at(uint64_t offset) override;
  base::Result<> lock_byte(uint64_t offset, LockKind kind) override;
  base::Result<> unlock_byte(uint64_t offset) override;
  base::Result<> test_lock(uint64_t offset, LockKind kind) override;

 protected:
  bool start(FileOp& op) override;

 private:
  // Transfers what the page cache takes without waiting. True if that completes `op`.
  bool transfer_cached(FileOp& op);
  void start_on_ring(FileOp& op);
  void start_on_worker(FileOp& op);
  void submit_to_ring(FileRequest& request);
  void submit_to_worker(FileRequest& request);
  void on_ring_result(FileRequest& request, int32_t result);
  void finish(FileRequest& request);
  base::Result<> set_lock(uint64_t offset, short type, const char* verb);

  KernelLoop* loop_;
  PosixFileSystem* owner_;
  const int fd_;
  const FileKind kind_;
  const IoPolicy policy_;
  const bool direct_;
  bool cache_is_read_ = true;  // false once the file system has refused RWF_NOWAIT
  bool cache_is_written_ = true;
  bool has_locked_ = false;
  uint32_t in_flight_ = 0;
};

}  // namespace firn::async
