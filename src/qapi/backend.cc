#include "qapi/backend.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "qapi/emit.h"
#include "qapi/emit_client.h"

namespace firn::qapi {

namespace {

bool has_content(const std::filesystem::path& path, const std::string& text) {
  std::error_code failed;
  if (std::filesystem::file_size(path, failed) != text.size() || failed) return false;
  std::ifstream in(path, std::ios::binary);
  std::string content(text.size(), '\0');
  return in.read(content.data(), static_cast<std::streamsize>(content.size())) && content == text;
}

}  // namespace

void Output::add(std::string name, std::string text) {
  files_.insert_or_assign(std::move(name), std::move(text));
}

base::Result<> Output::write(const std::string& folder) const {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) {
    return base::fail(
        base::Error::from_errno(failed.value(), "cannot make folder '" + folder + "'"));
  }
  for (const auto& [name, text] : files_) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    if (has_content(path, text)) continue;
    std::filesystem::create_directories(path.parent_path(), failed);
    errno = 0;
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (!out) {
      return base::fail(
          base::Error::from_errno(errno ? errno : EIO, "cannot write '" + path.string() + "'"));
    }
  }
  return {};
}

std::span<const Backend* const> backends() {
  // clang-format off
  static const Backend* const kAll[] = {
      types_backend(),
      codec_backend(),
      commands_backend(),
      events_backend(),
      introspection_backend(),
      introspection_json_backend(),
      released_backend(),
      python_backend(),
      typescript_backend(),
      html_backend(),
      markdown_backend(),
      man_backend(),
      json_schema_backend(),
  };
  // clang-format on
  return kAll;
}

}  // namespace firn::qapi
