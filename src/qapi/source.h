// Schema files as the compiler sees them, and what it says about them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace firn::qapi {

struct SourceFile;

// A piece of a source file; every token, name and definition keeps one.
struct Span {
  const SourceFile* file = nullptr;
  uint32_t begin = 0;
  uint32_t end = 0;

  std::string_view text() const;
};

// One file's text. It outlives every Span into it.
struct SourceFile {
  std::string path;    // as it is named in diagnostics
  std::string module;  // the file's name without folder and extension
  std::string text;    // lines end with '\n' alone, whatever the file has
  std::vector<uint32_t> line_starts;
  Span included_at;  // the directive that brought it in first; none: the top file
};

inline std::string_view Span::text() const {
  return file ? std::string_view(file->text).substr(begin, end - begin) : std::string_view();
}

// Line and column count from 1; the column counts bytes.
struct LineColumn {
  uint32_t line;
  uint32_t column;
};
LineColumn locate(const Span& span);
uint32_t line_of(const Span& span);

class SourceManager {
 public:
  // Larger files are refused. Offsets in a file have 32 bits.
  static constexpr size_t kMaxFileBytes = size_t{256} << 20;

  // Reads a file. A file that was read before, under whatever name, is the same object again.
  // Folders, devices and sockets are errors; a pipe can be read where it is not `included_at` some
  // place, so that `qapic check <(...)` works.
  base::Result<const SourceFile*> load(const std::string& path, const Span& included_at = {});
  // A file that exists only as text. load() finds it by its path.
  const SourceFile* add(std::string path, std::string text);

 private:
  const SourceFile* keep(std::unique_ptr<SourceFile> file);

  std::vector<std::unique_ptr<SourceFile>> files_;
  std::map<std::string, const SourceFile*, std::less<>> by_path_;
  std::map<std::pair<uint64_t, uint64_t>, const SourceFile*> by_inode_;  // device, inode
};

enum class Severity : uint8_t { kError, kNote };

struct Diagnostic {
  Severity severity;
  Span span;
  std::string text;
  std::string hint;  // what to do instead; may be empty
};

// Collects what is wrong; the compiler goes on after an error as far as it makes sense.
//
// The order is that of finding, which is the order in which QEMU's generator looks for the same
// errors: syntax in all files, then each definition by itself, then what they mean to each other.
// So the first error stands where that generator, which stops there, reports its only one.
class Diagnostics {
 public:
  // More errors than these are counted, but not kept.
  static constexpr size_t kMaxErrors = 50;

  void error(const Span& span, std::string text, std::string hint = {});
  // An error in the definition that starts at `start`. It is reported on the definition's first
  // line, as QEMU's generator does; where the culprit `span` is on a later one, a note points
  // there.
  void error_in(const Span& start, const Span& span, std::string text, std::string hint = {});
  // Belongs to the error before it and points at another place.
  void note(const Span& span, std::string text);

  bool ok() const { return errors_ == 0; }
  size_t error_count() const { return errors_; }
  // Whether a further error would be kept: what is costly to say need not be found out otherwise.
  bool full() const { return errors_ >= kMaxErrors; }
  const std::vector<Diagnostic>& all() const { return all_; }

  // One line each: `file:line:column: error: text`.
  std::string print() const;
  // The same with, around each line, the includes that lead to the file, the source line, a caret
  // below it and the hint.
  std::string render() const;

 private:
  std::string print(bool with_source) const;

  std::vector<Diagnostic> all_;
  size_t errors_ = 0;
  bool last_dropped_ = false;  // the last error was, so its notes are too
};

}  // namespace firn::qapi
