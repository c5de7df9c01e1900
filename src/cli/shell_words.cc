#include "cli/shell_words.h"

namespace firn::cli {
namespace {

bool is_blank(char letter) { return letter == ' ' || letter == '\t'; }

class Splitter {
 public:
  explicit Splitter(std::string_view line) : line_(line) {}

  std::vector<ShellWord> run() {
    std::vector<ShellWord> words;
    for (;;) {
      while (at_ < line_.size() && is_blank(line_[at_])) ++at_;
      if (at_ == line_.size()) return words;
      words.push_back(next_word());
    }
  }

 private:
  ShellWord next_word() {
    ShellWord word{.text = {}, .begin = at_};
    bool may_be_json = true;
    while (at_ < line_.size() && !is_blank(line_[at_])) {
      const char letter = line_[at_];
      if (may_be_json && (letter == '{' || letter == '[')) {
        take_json(word);
        may_be_json = false;
        continue;
      }
      may_be_json = letter == '=' && word.text.find('=') == std::string::npos;
      ++at_;
      if (letter == '\'' || letter == '"') {
        take_quoted(word, letter);
      } else if (letter == '\\') {
        if (at_ < line_.size()) word.text += line_[at_++];
      } else {
        word.text += letter;
      }
    }
    word.end = at_;
    return word;
  }

  void take_quoted(ShellWord& word, char quote) {
    while (at_ < line_.size()) {
      const char letter = line_[at_++];
      if (letter == quote) return;
      const bool escapes = quote == '"' && letter == '\\' && at_ < line_.size() &&
                           (line_[at_] == '"' || line_[at_] == '\\');
      word.text += escapes ? line_[at_++] : letter;
    }
    word.open = true;
  }

  // Up to the bracket that closes the first one.
  void take_json(ShellWord& word) {
    size_t depth = 0;
    char quote = 0;
    while (at_ < line_.size()) {
      const char letter = line_[at_++];
      word.text += letter;
      if (quote != 0) {
        if (letter == '\\' && at_ < line_.size()) {
          word.text += line_[at_++];
        } else if (letter == quote) {
          quote = 0;
        }
      } else if (letter == '"' || letter == '\'') {
        quote = letter;
      } else if (letter == '{' || letter == '[') {
        ++depth;
      } else if ((letter == '}' || letter == ']') && --depth == 0) {
        return;
      }
    }
    word.open = true;
  }

  std::string_view line_;
  size_t at_ = 0;
};

}  // namespace

std::vector<ShellWord> split_words(std::string_view line) { return Splitter(line).run(); }

std::string quote_word(std::string_view text) {
  constexpr std::string_view kSpecial = " \t'\"\\";
  const bool plain = text.find_first_of(kSpecial) == std::string_view::npos &&
                     !text.starts_with('{') && !text.starts_with('[');
  if (plain && !text.empty()) return std::string(text);
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') quoted += '\\';
    quoted += letter;
  }
  return quoted + "\"";
}

}  // namespace firn::cli
