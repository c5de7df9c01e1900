#include "qapi/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <tuple>
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

namespace {

void append(std::string& out, const Diagnostic& d) {
  const std::string_view severity = d.severity == Severity::kError ? "error" : "note";
  if (!d.span.file) {
    out += fmt::format("qapic: {}: {}\n", severity, d.text);
    return;
  }
  const LineColumn at = locate(d.span);
  out += fmt::format("{}:{}:{}: {}: {}\n", d.span.file->path, at.line, at.column, severity, d.text);
}

}  // namespace

std::string Diagnostics::print() const {
  // An error moves with the notes behind it.
  std::vector<std::pair<size_t, size_t>> groups;
  for (size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].severity == Severity::kError) groups.emplace_back(i, i);
    if (!groups.empty()) groups.back().second = i + 1;
  }
  std::map<const SourceFile*, size_t> file_ranks;
  for (const Diagnostic& d : all_) file_ranks.try_emplace(d.span.file, file_ranks.size());
  std::sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) {
    const Span& left = all_[a.first].span;
    const Span& right = all_[b.first].span;
    return std::tuple(file_ranks[left.file], left.begin, a.first) <
           std::tuple(file_ranks[right.file], right.begin, b.first);
  });
  std::string out;
  for (const auto& [begin, end] : groups) {
    for (size_t i = begin; i < end; ++i) append(out, all_[i]);
  }
  return out;
}

}  // namespace firn::qapi
