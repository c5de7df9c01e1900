// Schema files as the compiler sees them, and what it says about them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace firn::qapi {

// One file's text. It outlives every Span into it.
struct SourceFile {
  std::string path;    // as it is named in diagnostics
  std::string module;  // the file's name without folder and extension
  std::string text;
  std::vector<uint32_t> line_starts;
};

// A piece of a source file; every token, name and definition keeps one.
struct Span {
  const SourceFile* file = nullptr;
  uint32_t begin = 0;
  uint32_t end = 0;

  std::string_view text() const {
    return file ? std::string_view(file->text).substr(begin, end - begin) : std::string_view();
  }
};

// Line and column count from 1; the column counts bytes.
struct LineColumn {
  uint32_t line;
  uint32_t column;
};
LineColumn locate(const Span& span);

class SourceManager {
 public:
  // Reads a file. A file that was read before is the same object again.
  base::Result<const SourceFile*> load(const std::string& path);
  // A file that exists only as text (tests).
  const SourceFile* add(std::string path, std::string text);

 private:
  std::vector<std::unique_ptr<SourceFile>> files_;
};

enum class Severity : uint8_t { kError, kNote };

struct Diagnostic {
  Severity severity;
  Span span;
  std::string text;
};

// Collects what is wrong; the compiler goes on after an error as far as it makes sense.
class Diagnostics {
 public:
  void error(const Span& span, std::string text);
  // Belongs to the error before it and points at another place.
  void note(const Span& span, std::string text);

  bool ok() const { return errors_ == 0; }
  size_t error_count() const { return errors_; }
  const std::vector<Diagnostic>& all() const { return all_; }

  // One line each: `file:line:column: error: text`, in the order of files and lines.
  std::string print() const;

 private:
  std::vector<Diagnostic> all_;
  size_t errors_ = 0;
};

}  // namespace firn::qapi
