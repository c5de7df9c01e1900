#include "qapi/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

namespace firn::qapi {

LineColumn locate(const Span& span) {
  const std::vector<uint32_t>& starts = span.file->line_starts;
  const auto after = std::upper_bound(starts.begin(), starts.end(), span.begin);
  const uint32_t line = static_cast<uint32_t>(after - starts.begin());
  return {line, span.begin - starts[line - 1] + 1};
}

base::Result<const SourceFile*> SourceManager::load(const std::string& path) {
  std::error_code ignored;
  for (const auto& file : files_) {
    if (file->path == path || std::filesystem::equivalent(file->path, path, ignored)) {
      return file.get();
    }
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::fail(base::Error::from_errno(errno, "cannot read '" + path + "'"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (in.bad()) return base::fail(base::Error::from_errno(EIO, "cannot read '" + path + "'"));
  if (text.size() >= std::numeric_limits<uint32_t>::max()) {
    return base::fail(base::ErrorKind::kInvalidArgument, "'" + path + "' is too large");
  }
  return add(path, std::move(text));
}

const SourceFile* SourceManager::add(std::string path, std::string text) {
  auto file = std::make_unique<SourceFile>();
  file->module = std::filesystem::path(path).stem().string();
  file->path = std::move(path);
  file->text = std::move(text);
  file->line_starts.push_back(0);
  for (size_t i = 0; i < file->text.size(); ++i) {
    if (file->text[i] == '\n') file->line_starts.push_back(static_cast<uint32_t>(i + 1));
  }
  files_.push_back(std::move(file));
  return files_.back().get();
}

void Diagnostics::error(const Span& span, std::string text) {
  all_.push_back({Severity::kError, span, std::move(text)});
  ++errors_;
}

void Diagnostics::note(const Span& span, std::string text) {
  all_.push_back({Severity::kNote, span, std::move(text)});
}

std::string Diagnostics::print() const {
  std::string out;
  for (const Diagnostic& d : all_) {
    const std::string_view severity = d.severity == Severity::kError ? "error" : "note";
    if (d.span.file) {
      const LineColumn at = locate(d.span);
      out += fmt::format("{}:{}:{}: {}: {}\n", d.span.file->path, at.line, at.column, severity,
                         d.text);
    } else {
      out += fmt::format("qapic: {}: {}\n", severity, d.text);
    }
  }
  return out;
}

}  // namespace firn::qapi
