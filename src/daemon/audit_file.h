// AuditFile: the file that an audit log is written to. Its calls block: they run on a worker.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::daemon {

class AuditFile final {
 public:
  // Opens `path` for appending; a file that is created is its owner's alone (0600). With `sync`,
  // what is written is durable when append() returns. Errors: "Could not open audit log 'PATH':
  // ...", and what is no regular file.
  static base::Result<AuditFile> open(std::string path, bool sync);
  AuditFile(AuditFile&& other) noexcept;
  AuditFile& operator=(AuditFile&& other) noexcept;
  ~AuditFile();

  const std::string& path() const { return path_; }

  // Appends whole lines. If the path names another file by now, or none (a log rotation), it is
  // opened again before. After an error `written` is how many bytes are in the file for sure (with
  // `sync`: durable); the next append starts on a line of its own.
  struct Appended {
    size_t written = 0;
    base::Result<> result;
  };
  Appended append(std::string_view lines);

 private:
  AuditFile(std::string path, bool sync) : path_(std::move(path)), sync_(sync) {}
  base::Result<> open_path();
  // False if the path leads elsewhere, for instance nowhere.
  bool is_at_path() const;
  base::Result<> write_all(std::string_view text, size_t& written);

  std::string path_;
  bool sync_;
  int fd_ = -1;
  bool torn_ = false;  // the file ends within a line
};

}  // namespace firn::daemon
