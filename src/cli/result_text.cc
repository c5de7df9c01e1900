#include "cli/result_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <ctime>
#include <vector>

#include "base/text_width.h"

namespace firn::cli {

namespace json = boost::json;
using base::JsonValue;

namespace {

enum class Colour { kKey, kString, kNumber, kWord, kError, kEvent, kDim, kBold };

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::kKey:
      return "\x1b[36m";
    case Colour::kString:
      return "\x1b[32m";
    case Colour::kNumber:
      return "\x1b[33m";
    case Colour::kWord:
      return "\x1b[35m";
    case Colour::kError:
      return "\x1b[1;31m";
    case Colour::kEvent:
      return "\x1b[1;34m";
    case Colour::kDim:
      return "\x1b[2m";
    case Colour::kBold:
      return "\x1b[1m";
  }
  return {};
}

class Printer {
 public:
  explicit Printer(const TextOptions& options) : options_(options) {}

  void paint(Colour colour, std::string_view text) {
    if (!options_.colours) {
      out += text;
      return;
    }
    out += code_of(colour);
    out += text;
    out += "\x1b[0m";
  }

  void print(const JsonValue& value, size_t level) {
    constexpr size_t kMaxLevel = 500;
    if (level > kMaxLevel) {
      out += "...";
    } else if (value.is_object()) {
      print_object(value.get_object(), level);
    } else if (value.is_array()) {
      print_array(value.get_array(), level);
    } else {
      print_plain(value);
    }
  }

  void print_plain(const JsonValue& value) {
    if (value.is_string()) {
      paint(Colour::kString, quoted(value.get_string()));
    } else {
      paint(value.is_number() ? Colour::kNumber : Colour::kWord, base::print_json(value));
    }
  }

  static std::string quoted(std::string_view text) {
    std::string escaped;
    for (const char letter : text) {
      if (letter == '"' || letter == '\\') {
        escaped += '\\';
        escaped += letter;
      } else if (letter == '\n') {
        escaped += "\\n";
      } else if (letter == '\t') {
        escaped += "\\t";
      } else {
        escaped += letter;
      }
    }
    return fmt::format("\"{}\"", base::printable(escaped));
  }

  std::string out;

 private:
  void indent(size_t level) { out.append(2 * level, ' '); }

  void print_object(const json::object& object, size_t level) {
    if (object.empty()) {
      out += "{}";
      return;
    }
    out += "{\n";
    size_t left = object.size();
    for (const auto& [key, value] : object) {
      indent(level + 1);
      paint(Colour::kKey, quoted(key));
      out += ": ";
      print(value, level + 1);
      out += --left == 0 ? "\n" : ",\n";
    }
    indent(level);
    out += '}';
  }

  void print_array(const json::array& array, size_t level) {
    const bool plain = std::ranges::none_of(
        array, [](const JsonValue& v) { return v.is_object() || v.is_array(); });
    if (plain) {
      out += '[';
      for (size_t i = 0; i < array.size(); ++i) {
        if (i != 0) out += ", ";
        print_plain(array[i]);
      }
      out += ']';
      return;
    }
    out += "[\n";
    for (size_t i = 0; i < array.size(); ++i) {
      indent(level + 1);
      print(array[i], level + 1);
      out += i + 1 == array.size() ? "\n" : ",\n";
    }
    indent(level);
    out += ']';
  }

  const TextOptions& options_;
};

std::string cell_text(const JsonValue& value) {
  if (value.is_string()) return base::printable(value.get_string());
  return base::print_json(value);
}

// The rows of a table, the head first; empty if the value is no table's.
std::vector<std::vector<std::string>> table_of(const JsonValue& value) {
  if (!value.is_array() || value.get_array().empty()) return {};
  std::vector<std::string> keys;
  for (const JsonValue& element : value.get_array()) {
    if (!element.is_object() || element.get_object().empty()) return {};
    for (const auto& [key, member] : element.get_object()) {
      if (member.is_object() || member.is_array()) return {};
      if (std::ranges::find(keys, key) == keys.end()) keys.emplace_back(key);
    }
  }
  std::vector<std::vector<std::string>> rows(1);
  for (const std::string& key : keys) rows[0].push_back(base::printable(key));
  for (const JsonValue& element : value.get_array()) {
    std::vector<std::string>& row = rows.emplace_back();
    for (const std::string& key : keys) {
      const JsonValue* member = element.get_object().if_contains(key);
      row.push_back(member == nullptr ? "" : cell_text(*member));
    }
  }
  return rows;
}

// Empty if there is no table, or it is too wide.
std::string table_text(const JsonValue& value, const TextOptions& options) {
  constexpr size_t kGap = 2;
  const std::vector<std::vector<std::string>> rows = table_of(value);
  if (rows.empty()) return {};
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], base::text_width(row[i]));
    }
  }
  size_t width = 0;
  for (const size_t each : widths) width += each + kGap;
  if (width > options.width + kGap) return {};
  Printer printer(options);
  for (size_t at = 0; at < rows.size(); ++at) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      line += rows[at][i];
      line.append(widths[i] + kGap - base::text_width(rows[at][i]), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    if (at == 0) {
      printer.paint(Colour::kBold, line);
    } else {
      printer.out += line;
    }
    printer.out += '\n';
  }
  return std::move(printer.out);
}

int64_t number_at(const json::object& object, std::string_view member) {
  const JsonValue* value = object.if_contains(member);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

std::string clock_text(const json::object& event) {
  const JsonValue* stamp = event.if_contains("timestamp");
  if (stamp == nullptr || !stamp->is_object()) return {};
  const time_t seconds = number_at(stamp->get_object(), "seconds");
  tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", local.tm_hour, local.tm_min, local.tm_sec,
                     number_at(stamp->get_object(), "microseconds") / 1000);
}

}  // namespace

std::string result_text(const JsonValue& value, const TextOptions& options) {
  if (value.is_object() && value.get_object().empty()) return {};
  if (value.is_string()) {
    std::string text;
    for (const char letter : value.get_string()) {
      if (letter != '\r') text += letter;
    }
    text = base::printable(text, true);
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    return text;
  }
  if (std::string table = table_text(value, options); !table.empty()) return table;
  Printer printer(options);
  printer.print(value, 0);
  return printer.out + '\n';
}

std::string event_line(const json::object& event, const TextOptions& options) {
  Printer printer(options);
  printer.paint(Colour::kDim, clock_text(event));
  const JsonValue* name = event.if_contains("event");
  printer.out += ' ';
  printer.paint(Colour::kEvent, name != nullptr && name->is_string()
                                    ? base::printable(name->get_string())
                                    : std::string("?"));
  if (const JsonValue* data = event.if_contains("data"); data != nullptr && data->is_object()) {
    for (const auto& [key, value] : data->get_object()) {
      printer.out += ' ';
      printer.paint(Colour::kKey, base::printable(key));
      printer.out += '=' + cell_text(value);
    }
  }
  return printer.out + '\n';
}

std::string error_text(const base::Error& error, std::string_view error_class,
                       const TextOptions& options) {
  Printer printer(options);
  printer.paint(Colour::kError, "error:");
  printer.out += ' ' + base::printable(error.text(), true);
  if (!error_class.empty() && error_class != "GenericError") {
    printer.out += ' ';
    printer.paint(Colour::kDim, fmt::format("({})", base::printable(error_class)));
  }
  printer.out += '\n';
  if (!error.hint().empty()) printer.out += base::printable(error.hint(), true) + '\n';
  return printer.out;
}

std::string pointer_line(std::string_view line, size_t begin, size_t end, size_t indent,
                         const TextOptions& options) {
  const size_t columns = indent + base::text_width(line.substr(0, begin));
  const size_t width = std::max<size_t>(base::text_width(line.substr(begin, end - begin)), 1);
  // Below a line that takes several rows it would point nowhere.
  if (columns + width > options.width) return {};
  Printer printer(options);
  printer.out.assign(columns, ' ');
  printer.paint(Colour::kError, std::string(width, '^'));
  return printer.out + '\n';
}

}  // namespace firn::cli
