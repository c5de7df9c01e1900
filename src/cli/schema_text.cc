#include "cli/schema_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <vector>

#include "cli/arguments_from_schema.h"
#include "cli/completion.h"

namespace firn::cli {
namespace {

using Settings = std::map<std::string, std::string>;

std::string marks(const std::vector<std::string>& features) {
  return features.empty() ? "" : fmt::format(" ({})", fmt::join(features, ", "));
}

constexpr size_t kTextWidth = 80;

struct Row {
  std::string name;
  std::string text;
  std::string words = {};  // what it is for
};

void add_branch_row(std::vector<Row>& rows, const LiveType& object, const std::string& above) {
  std::vector<std::string> empty;
  std::vector<std::string> values;
  for (const LiveVariant& variant : object.variants) {
    (variant.members->members.empty() ? empty : values).push_back(variant.value);
  }
  if (values.empty()) return;
  rows.push_back({fmt::format("{}...", above),
                  fmt::format("more with {}{}= {}", above, object.tag, fmt::join(values, ", "))});
}

// The members of an object; those of the objects in it where the settings name one of theirs.
void add_rows(std::vector<Row>& rows, const LiveType& object, const std::string& above,
              const Settings& settings) {
  constexpr size_t kMaxDepth = 8;
  const std::string place = above.empty() ? above : above.substr(0, above.size() - 1);
  const std::string tag = tag_at(object, place, settings);
  for (const LiveMember* member : members_of(object, tag)) {
    const std::string path = above + member->name;
    rows.push_back(
        {path, fmt::format("{}{}{}", type_text(*member->type), member->optional ? ", optional" : "",
                           marks(member->features))});
    const LiveType* inner = as_object(*member->type);
    const auto next = settings.lower_bound(path + ".");
    const bool opened = next != settings.end() && next->first.starts_with(path + ".");
    const bool deep = static_cast<size_t>(std::ranges::count(path, '.')) >= kMaxDepth;
    if (inner != nullptr && opened && !deep) add_rows(rows, *inner, path + ".", settings);
  }
  if (tag.empty()) add_branch_row(rows, object, above);
}

std::string rows_text(const std::vector<Row>& rows) {
  constexpr size_t kWordsIndent = 6;
  constexpr size_t kMaxNameWidth = 28;
  size_t width = 0;
  for (const Row& row : rows) {
    if (row.name.size() <= kMaxNameWidth) width = std::max(width, row.name.size());
  }
  std::string text;
  for (const Row& row : rows) {
    // Lines of the type begin below each other.
    const std::string type = wrapped(row.text.empty() ? "?" : row.text, 2 + width + 2, kTextWidth);
    if (row.name.size() > width) {
      text += fmt::format("  {}\n", row.name) + type;
    } else {
      text += fmt::format("  {:<{}}  ", row.name, width) + type.substr(2 + width + 2);
    }
    text += wrapped(row.words, kWordsIndent, kTextWidth);
  }
  return text;
}

bool is_empty(const LiveType& type) {
  return type.kind == TypeKind::kObject && type.members.empty() && type.variants.empty();
}

std::string columns_text(const std::vector<std::string>& names, size_t width) {
  constexpr size_t kGap = 2;
  size_t widest = 1;
  for (const std::string& name : names) widest = std::max(widest, name.size());
  const size_t columns = std::max<size_t>((width - kGap) / (widest + kGap), 1);
  const size_t rows = (names.size() + columns - 1) / columns;
  std::string text;
  for (size_t row = 0; row < rows; ++row) {
    std::string line;
    for (size_t i = row; i < names.size(); i += rows) {
      line += fmt::format("  {:<{}}", names[i], widest);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace

std::string command_text(const LiveCommand& command, std::span<const std::string> words,
                         const SchemaDocs* docs) {
  std::string text = command.name + marks(command.features) + "\n\n";
  if (docs != nullptr) {
    const std::string about = wrapped(docs->command(command.name), 0, kTextWidth);
    if (!about.empty()) text += about + "\n";
  }
  if (is_empty(*command.arguments)) {
    text += "No arguments.\n";
  } else {
    std::vector<Row> rows;
    add_rows(rows, *command.arguments, {}, settings_of(command, words));
    for (Row& row : rows) {
      if (docs != nullptr) row.words = docs->argument(command.name, row.name);
    }
    text += "arguments:\n" + rows_text(rows);
  }
  if (!is_empty(*command.returns)) {
    text += fmt::format("\nreturns: {}\n", type_text(*command.returns));
  }
  if (command.allow_oob) text += "\nMay be run out of band.\n";
  return text;
}

std::string event_text(const LiveEvent& event, const SchemaDocs* docs) {
  std::string text = fmt::format("{}{}, an event\n\n", event.name, marks(event.features));
  if (docs != nullptr) {
    const std::string about = wrapped(docs->event(event.name), 0, kTextWidth);
    if (!about.empty()) text += about + "\n";
  }
  if (is_empty(*event.data)) return text + "Carries no data.\n";
  std::vector<Row> rows;
  add_rows(rows, *event.data, {}, {});
  for (Row& row : rows) {
    if (docs != nullptr) row.words = docs->event_member(event.name, row.name);
  }
  return text + "carries:\n" + rows_text(rows);
}

std::string overview_text(const LiveSchema& schema, size_t width) {
  std::vector<std::string> names;
  for (const auto& [name, command] : schema.commands()) names.push_back(name);
  std::string text = "commands:\n" + columns_text(names, width);
  names.clear();
  for (const auto& [name, event] : schema.events()) names.push_back(name);
  if (!names.empty()) text += "\nevents:\n" + columns_text(names, width);
  return text;
}

}  // namespace firn::cli
