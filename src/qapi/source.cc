#include "qapi/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/json_lexer.h"

namespace firn::qapi {

LineColumn locate(const Span& span) {
  const uint32_t line = line_of(span);
  return {line, span.begin - span.file->line_starts[line - 1] + 1};
}

uint32_t line_of(const Span& span) {
  const std::vector<uint32_t>& starts = span.file->line_starts;
  const auto after = std::upper_bound(starts.begin(), starts.end(), span.begin);
  return static_cast<uint32_t>(after - starts.begin());
}

// ---- Files ----

namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<base::Error> cannot_read(const std::string& path, int error) {
  return base::fail(base::Error::from_errno(error, "cannot read '" + path + "'"));
}

std::unexpected<base::Error> cannot_read(const std::string& path, std::string_view why) {
  return base::fail(base::ErrorKind::kInvalidArgument,
                    fmt::format("cannot read '{}': {}", path, why));
}

// Reads up to the end, or to the limit.
base::Result<std::string> read_all(int fd, const std::string& path, size_t expected) {
  std::string text;
  text.resize(std::min(expected, SourceManager::kMaxFileBytes) + 1);
  size_t length = 0;
  for (;;) {
    const ssize_t count = read(fd, text.data() + length, text.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_read(path, errno);
    if (count == 0) break;
    length += static_cast<size_t>(count);
    if (length > SourceManager::kMaxFileBytes) {
      return cannot_read(
          path, fmt::format("it has more than {} MiB", SourceManager::kMaxFileBytes >> 20));
    }
    if (length == text.size()) text.resize(2 * text.size());
  }
  text.resize(length);
  return text;
}

// "\r\n" and '\r' end a line as '\n' does.
void unify_line_ends(std::string& text) {
  if (text.find('\r') == std::string::npos) return;
  size_t out = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      text[out++] = text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      text[out++] = '\n';
    }
  }
  text.resize(out);
}

}  // namespace

base::Result<const SourceFile*> SourceManager::load(const std::string& path,
                                                    const Span& included_at) {
  if (const auto known = by_path_.find(path); known != by_path_.end()) return known->second;
  if (path.find('\0') != std::string::npos) return cannot_read(path, EINVAL);
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return cannot_read(path, errno);
  const std::pair<uint64_t, uint64_t> inode{status.st_dev, status.st_ino};
  if (const auto known = by_inode_.find(inode); known != by_inode_.end()) return known->second;
  if (S_ISDIR(status.st_mode)) return cannot_read(path, EISDIR);
  if (!S_ISREG(status.st_mode) && !(S_ISFIFO(status.st_mode) && !included_at.file)) {
    return cannot_read(path, "it is no regular file");
  }
  const Descriptor file(path);
  if (file.get() < 0) return cannot_read(path, errno);
  auto out = std::make_unique<SourceFile>();
  out->path = path;
  out->text = TRY(read_all(file.get(), path, static_cast<size_t>(status.st_size)));
  out->included_at = included_at;
  return by_inode_[inode] = keep(std::move(out));
}

const SourceFile* SourceManager::add(std::string path, std::string text) {
  auto file = std::make_unique<SourceFile>();
  file->path = std::move(path);
  file->text = std::move(text);
  return keep(std::move(file));
}

const SourceFile* SourceManager::keep(std::unique_ptr<SourceFile> file) {
  unify_line_ends(file->text);
  file->module = std::filesystem::path(file->path).stem().string();
  const std::string& text = file->text;
  file->line_starts.reserve(1 + text.size() / 24);
  file->line_starts.push_back(0);
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
    file->line_starts.push_back(static_cast<uint32_t>(++at));
  }
  by_path_.emplace(file->path, file.get());
  files_.push_back(std::move(file));
  return files_.back().get();
}

// ---- Diagnostics ----

void Diagnostics::error(const Span& span, std::string text, std::string hint) {
  const auto same = [&](const Diagnostic& d) {
    return d.severity == Severity::kError && d.span.file == span.file &&
           d.span.begin == span.begin && d.text == text;
  };
  last_dropped_ = full() || std::any_of(all_.begin(), all_.end(), same);
  if (last_dropped_ && !full()) return;
  ++errors_;
  if (last_dropped_) return;
  all_.push_back({Severity::kError, span, std::move(text), std::move(hint)});
}

void Diagnostics::error_in(const Span& start, const Span& span, std::string text,
                           std::string hint) {
  const bool same_line = span.file == start.file && span.file && line_of(span) == line_of(start);
  if (same_line || !span.file) return error(same_line ? span : start, std::move(text), hint);
  error(start, std::move(text), std::move(hint));
  note(span, "it is this");
}

void Diagnostics::note(const Span& span, std::string text) {
  if (!last_dropped_) all_.push_back({Severity::kNote, span, std::move(text), {}});
}

namespace {

constexpr size_t kMaxShownBytes = 120;  // of a source line

// The next code point of a source line, as it may go to a terminal; one column wide.
std::string_view take_visible(std::string_view& rest) {
  const std::string_view before = rest;
  const int32_t code_point = base::take_code_point(rest);
  const std::string_view taken = before.substr(0, before.size() - rest.size());
  if (taken == "\t") return taken;
  return code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0) ? "?" : taken;
}

// The line of `span` and a caret below it, cut to what surrounds the span where it is long.
void append_source(std::string& out, const Span& span) {
  const LineColumn at = locate(span);
  const std::string_view text = span.file->text;
  const uint32_t start = span.file->line_starts[at.line - 1];
  std::string_view line = text.substr(start, std::min(text.find('\n', start), text.size()) - start);
  if (line.empty()) return;
  size_t begin = at.column - 1;
  size_t end = std::min<size_t>(std::max(span.end, span.begin + 1) - start, line.size());
  if (line.size() > kMaxShownBytes) {
    size_t from = begin > kMaxShownBytes / 2 ? begin - kMaxShownBytes / 2 : 0;
    while (from < line.size() && (line[from] & 0xC0) == 0x80) ++from;
    line = line.substr(from, kMaxShownBytes);
    begin -= from;
    end = std::min(end - from, line.size());
  }
  const std::string number = fmt::format("{:>5} | ", at.line);
  std::string marks(number.size() - 2, ' ');
  marks += "| ";
  out += number;
  for (std::string_view rest = line; !rest.empty();) {
    const size_t offset = line.size() - rest.size();
    const std::string_view shown = take_visible(rest);
    out += shown;
    if (offset < begin) {
      marks += shown == "\t" ? '\t' : ' ';
    } else if (offset < std::max(end, begin + 1)) {
      marks += offset == begin ? '^' : '~';
    }
  }
  if (begin >= line.size()) marks += '^';
  out += '\n' + marks + '\n';
}

// "In file included from A:L:", outermost first.
void append_includes(std::string& out, const SourceFile& file) {
  if (!file.included_at.file) return;
  std::vector<const Span*> chain;
  for (const Span* at = &file.included_at; at->file; at = &at->file->included_at) {
    chain.push_back(at);
  }
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    out += fmt::format("In file included from {}:{}:\n", (*at)->file->path, line_of(**at));
  }
}

// Control characters would reach the terminal, and a newline would break the line's form.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string Diagnostics::print() const { return print(false); }
std::string Diagnostics::render() const { return print(true); }

std::string Diagnostics::print(bool with_source) const {
  std::string out;
  const SourceFile* last_file = nullptr;
  for (const Diagnostic& d : all_) {
    const std::string_view severity = d.severity == Severity::kError ? "error" : "note";
    const std::string text = one_line(d.text);
    if (!d.span.file) {
      out += fmt::format("qapic: {}: {}\n", severity, text);
    } else {
      if (with_source && d.span.file != last_file && d.severity == Severity::kError) {
        append_includes(out, *d.span.file);
        last_file = d.span.file;
      }
      const LineColumn at = locate(d.span);
      out +=
          fmt::format("{}:{}:{}: {}: {}\n", d.span.file->path, at.line, at.column, severity, text);
      if (with_source) append_source(out, d.span);
    }
    if (with_source && !d.hint.empty()) out += fmt::format("hint: {}\n", one_line(d.hint));
  }
  if (errors_ > kMaxErrors) {
    out += fmt::format("qapic: {} more errors\n", errors_ - kMaxErrors);
  }
  return out;
}

}  // namespace firn::qapi
