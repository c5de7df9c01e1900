// What the back ends make, against files of what they made before (tests/golden/qapi/). To
// take over a change that is meant, run this test with FIRN_UPDATE_GOLDEN=1 and read the
// difference.
#include "qapi/emit.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "qapi/compiler.h"

namespace firn::qapi {
namespace {

const std::filesystem::path kGolden = FIRN_GOLDEN_FOLDER;

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

// The clients' runtime is the same for all schemas, and lies in src/qapi/runtime.
std::filesystem::path runtime_source(const std::filesystem::path& name) {
  const char* folder = name.extension() == ".py" ? "python" : "typescript";
  return std::filesystem::path(FIRN_RUNTIME_FOLDER) / folder / name.filename();
}

// Those that write for people have a schema of their own, with all that a manual has to cope with.
bool is_documentation(const Backend* backend) {
  static const std::set<std::string_view> kNames = {"html", "json-schema", "man", "markdown"};
  return kNames.contains(backend->name());
}

// Holds what the back ends make of `schema`.json against the files in folder `schema`.
void expect_golden(const std::string& schema_name, bool documentation) {
  SourceManager sources;
  Diagnostics diagnostics;
  const Schema schema = compile(sources, kGolden / (schema_name + ".json"), {}, diagnostics);
  ASSERT_EQ(diagnostics.print(), "");
  Output output;
  for (const Backend* backend : backends()) {
    if (is_documentation(backend) == documentation) backend->emit(schema, output);
  }
  // With another extension, so that no tool takes them for sources.
  Output golden;
  for (const auto& [name, text] : output.files()) {
    if (const auto source = runtime_source(name); std::filesystem::exists(source)) {
      EXPECT_EQ(text, read(source)) << name;
    } else {
      golden.add(name + ".golden", text);
    }
  }
  const std::filesystem::path folder = kGolden / schema_name;
  if (std::getenv("FIRN_UPDATE_GOLDEN")) {
    ASSERT_TRUE(golden.write(folder));
  }
  std::set<std::string> names;
  for (const auto& [name, text] : golden.files()) {
    names.insert(name);
    EXPECT_EQ(text, read(folder / name)) << name;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) continue;
    EXPECT_TRUE(names.contains(entry.path().lexically_relative(folder)))
        << entry.path() << " is no longer made";
  }
}

TEST(Emit, MakesTheCodeThatItMadeBefore) { expect_golden("sample", false); }

TEST(Emit, MakesTheManualsThatItMadeBefore) { expect_golden("manual", true); }

}  // namespace
}  // namespace firn::qapi
