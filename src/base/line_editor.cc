#include "base/line_editor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text_width.h"

namespace firn::base {
namespace {

constexpr std::string_view kPasteOn = "\x1b[?2004h";
constexpr std::string_view kPasteOff = "\x1b[?2004l";
constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";
constexpr char kCtrlC = '\x03';
constexpr size_t kMaxQueryBytes = 256;

bool is_blank(char byte) { return byte == ' '; }

// Part of a word for Alt-B and the like: letters and digits, and all that is not ASCII.
bool is_word(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value >= 0x80 || (value >= '0' && value <= '9') || (value >= 'A' && value <= 'Z') ||
         (value >= 'a' && value <= 'z') || value == '_';
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

std::string clean(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const char32_t code = take_utf8(text);
    if (code == '\n' || code == '\t') {
      out += ' ';
    } else if (code_point_width(code) >= 0) {
      append_utf8(out, code);
    }
  }
  return out;
}

// The whole characters that all candidates' texts begin with.
std::string common_prefix(const std::vector<LineEditor::Candidate>& candidates) {
  std::string_view prefix = candidates.front().text;
  for (const LineEditor::Candidate& candidate : candidates) {
    const auto [end, other] = std::ranges::mismatch(prefix, candidate.text);
    prefix = prefix.substr(0, static_cast<size_t>(end - prefix.begin()));
  }
  std::string_view whole = candidates.front().text;
  size_t length = prefix.size();
  while (length > 0 && length < whole.size() && is_continuation(whole[length])) --length;
  return std::string(whole.substr(0, length));
}

}  // namespace

LineEditor::LineEditor(Options options) : options_(std::move(options)), view_(options_.colours) {}

size_t LineEditor::room() const {
  const size_t used = pending_.size() - pending_at_;
  return options_.max_pending_bytes - std::min(used, options_.max_pending_bytes);
}

size_t LineEditor::push(std::string_view bytes) {
  const size_t taken = std::min(bytes.size(), room());
  pending_ += bytes.substr(0, taken);
  return taken;
}

std::optional<LineEditor::Event> LineEditor::next() {
  std::optional<Event> event;
  if (prompting_) {
    std::string_view input = std::string_view(pending_).substr(pending_at_);
    while (!event) {
      const std::optional<Key> key = decoder_.next(input);
      if (!key) break;
      pending_at_ = pending_.size() - input.size();
      event = take_key(*key);
    }
    if (!event) pending_at_ = pending_.size();
  } else if (const size_t at = pending_.find(kCtrlC, pending_at_); at != std::string::npos) {
    pending_at_ = at + 1;
    decoder_ = KeyDecoder();
    event = Event(EventKind::kInterrupt);
  }
  if (pending_at_ > pending_.size() / 2) {
    pending_.erase(0, pending_at_);
    pending_at_ = 0;
  }
  return event;
}

std::string LineEditor::take_output() {
  if (prompting_ && !suspended_) {
    if (search_) {
      const std::string prompt =
          fmt::format("{}search '{}': ", search_->failed ? "no match, " : "", search_->query);
      view_.show({.prompt = prompt, .text = line_, .cursor = cursor_}, output_);
    } else {
      view_.show({.prompt = options_.prompt, .text = line_, .cursor = cursor_, .hint = hint_},
                 output_);
    }
  }
  return std::exchange(output_, {});
}

void LineEditor::start(std::string line) {
  CHECK(!prompting_);
  if (!at_row_start_) output_ += "\r\n";
  at_row_start_ = true;
  prompting_ = true;
  view_.forget();
  clear_line();
  line_ = clean(line);
  cursor_ = line_.size();
  if (options_.bracketed_paste) output_ += kPasteOn;
}

void LineEditor::stop() {
  if (!prompting_) return;
  suspend();
  suspended_ = false;
  prompting_ = false;
  clear_line();
}

void LineEditor::suspend() {
  if (!prompting_ || suspended_) return;
  end_search(true);
  hint_.clear();
  view_.show({.prompt = options_.prompt, .text = line_, .cursor = line_.size()}, output_);
  view_.leave(output_);
  if (options_.bracketed_paste) output_ += kPasteOff;
  suspended_ = true;
}

void LineEditor::resume() {
  if (!prompting_ || !suspended_) return;
  suspended_ = false;
  view_.forget();
  if (options_.bracketed_paste) output_ += kPasteOn;
}

void LineEditor::redraw() {
  if (!prompting_ || suspended_) return;
  output_ += '\r';
  if (options_.bracketed_paste) output_ += kPasteOn;
  view_.forget();
}

void LineEditor::set_line(std::string line, size_t cursor) {
  line_ = clean(line);
  cursor_ = std::min(cursor, line_.size());
  while (cursor_ > 0 && cursor_ < line_.size() && is_continuation(line_[cursor_])) --cursor_;
}

void LineEditor::clear_line() {
  line_.clear();
  cursor_ = 0;
  too_long_ = false;
  paste_break_ = false;
  hint_.clear();
  stashed_line_.clear();
  history_at_ = history_.size();
  search_.reset();
  last_mark_ = mark_ = Mark::kNone;
}

void LineEditor::resize(size_t columns, size_t rows) { view_.resize(columns, rows, output_); }

void LineEditor::print(std::string_view text) {
  if (text.empty()) return;
  const bool shown = prompting_ && !suspended_;
  if (shown) view_.erase(output_);
  for (const char byte : text) {
    if (byte == '\n') output_ += '\r';
    output_ += byte;
  }
  at_row_start_ = text.ends_with('\n');
  if (shown && !at_row_start_) {
    output_ += "\r\n";
    at_row_start_ = true;
  }
}

std::optional<LineEditor::Event> LineEditor::end_line(EventKind kind) {
  end_search(true);
  if (too_long_ && kind == EventKind::kLine) kind = EventKind::kTooLong;
  Event event(kind, kind == EventKind::kLine ? line_ : std::string());
  stop();
  return event;
}

std::optional<LineEditor::Event> LineEditor::interrupt() {
  line_ += "^C";
  suspend();
  suspended_ = false;
  prompting_ = false;
  start();
  return Event(EventKind::kInterrupt);
}

bool LineEditor::take_help_key(const Key& key) const {
  return options_.help_key != 0 && key.kind == KeyKind::kText &&
         key.code == static_cast<char32_t>(options_.help_key) && cursor_ == line_.size() &&
         (line_.empty() || is_blank(line_.back()));
}

std::optional<LineEditor::Event> LineEditor::take_key(const Key& key) {
  last_mark_ = std::exchange(mark_, Mark::kNone);
  if (key.kind != KeyKind::kPastedText && key.kind != KeyKind::kPastedBreak) paste_break_ = false;
  if (search_ && take_search_key(key)) return std::nullopt;
  if (take_help_key(key)) return Event(EventKind::kHelp);
  switch (key.kind) {
    case KeyKind::kText: {
      std::string text;
      append_utf8(text, key.code);
      insert(text);
      break;
    }
    case KeyKind::kPastedText:
    case KeyKind::kPastedBreak:
      take_paste(key);
      break;
    case KeyKind::kControl:
      return take_control(static_cast<char>(key.code));
    case KeyKind::kMeta:
      take_meta(key.code);
      break;
    case KeyKind::kMetaErase:
      kill(word_left(cursor_), cursor_, true);
      break;
    case KeyKind::kEnter:
      return end_line(EventKind::kLine);
    case KeyKind::kTab:
      return Event(EventKind::kComplete);
    case KeyKind::kErase:
      erase(left_of(cursor_), cursor_);
      break;
    case KeyKind::kDelete:
      erase(cursor_, right_of(cursor_));
      break;
    case KeyKind::kUp:
      if (history_at_ > 0) go_in_history(history_at_ - 1);
      break;
    case KeyKind::kDown:
      if (history_at_ < history_.size()) go_in_history(history_at_ + 1);
      break;
    case KeyKind::kLeft:
      cursor_ = left_of(cursor_);
      break;
    case KeyKind::kRight:
      cursor_ = right_of(cursor_);
      break;
    case KeyKind::kWordLeft:
      cursor_ = word_left(cursor_);
      break;
    case KeyKind::kWordRight:
      cursor_ = word_right(cursor_);
      break;
    case KeyKind::kHome:
      cursor_ = 0;
      break;
    case KeyKind::kEnd:
      cursor_ = line_.size();
      break;
  }
  return std::nullopt;
}

std::optional<LineEditor::Event> LineEditor::take_control(char letter) {
  switch (letter) {
    case 'A':
      cursor_ = 0;
      break;
    case 'B':
      cursor_ = left_of(cursor_);
      break;
    case 'C':
      return interrupt();
    case 'D':
      if (line_.empty()) return end_line(EventKind::kEnd);
      erase(cursor_, right_of(cursor_));
      break;
    case 'E':
      cursor_ = line_.size();
      break;
    case 'F':
      cursor_ = right_of(cursor_);
      break;
    case 'K':
      kill(cursor_, line_.size(), false);
      break;
    case 'L':
      output_ += kClearScreen;
      view_.forget();
      break;
    case 'N':
      return take_key({KeyKind::kDown});
    case 'P':
      return take_key({KeyKind::kUp});
    case 'R':
      begin_search(true);
      break;
    case 'S':
      begin_search(false);
      break;
    case 'T':
      transpose();
      break;
    case 'U':
      kill(0, cursor_, true);
      break;
    case 'W':
      kill(blank_word_left(cursor_), cursor_, true);
      break;
    case 'Y':
      insert(killed_);
      break;
    case 'Z':
      if (options_.suspend_key) return Event(EventKind::kSuspend);
      break;
    default:
      break;
  }
  return std::nullopt;
}

void LineEditor::take_meta(char32_t code) {
  switch (code) {
    case 'b':
    case 'B':
      cursor_ = word_left(cursor_);
      break;
    case 'f':
    case 'F':
      cursor_ = word_right(cursor_);
      break;
    case 'd':
    case 'D':
      kill(cursor_, word_right(cursor_), false);
      break;
    case '<':
      if (!history_.empty()) go_in_history(0);
      break;
    case '>':
      go_in_history(history_.size());
      break;
    default:
      break;
  }
}

void LineEditor::insert(std::string_view text) {
  if (text.size() > options_.max_line_bytes - std::min(line_.size(), options_.max_line_bytes)) {
    if (!too_long_) bell();
    too_long_ = true;
    return;
  }
  line_.insert(cursor_, text);
  cursor_ += text.size();
}

void LineEditor::take_paste(const Key& key) {
  if (key.kind == KeyKind::kPastedBreak) {
    paste_break_ = true;
    return;
  }
  if (std::exchange(paste_break_, false) && cursor_ != 0 && !is_blank(line_[cursor_ - 1]) &&
      key.code != ' ') {
    insert(" ");
  }
  std::string text;
  append_utf8(text, key.code);
  insert(text);
}

void LineEditor::erase(size_t from, size_t to) {
  if (from == to) return;
  line_.erase(from, to - from);
  cursor_ = from;
}

void LineEditor::kill(size_t from, size_t to, bool backwards) {
  mark_ = Mark::kKill;
  if (last_mark_ != Mark::kKill) killed_.clear();
  const std::string_view text = std::string_view(line_).substr(from, to - from);
  if (killed_.size() + text.size() <= options_.max_line_bytes) {
    killed_.insert(backwards ? 0 : killed_.size(), text);
  }
  erase(from, to);
}

void LineEditor::transpose() {
  size_t at = cursor_;
  if (at == line_.size()) at = left_of(at);
  const size_t left = left_of(at);
  if (left == at || at == line_.size()) return;
  const size_t right = right_of(at);
  const std::string swapped = line_.substr(at, right - at) + line_.substr(left, at - left);
  line_.replace(left, right - left, swapped);
  cursor_ = right;
}

size_t LineEditor::left_of(size_t at) const {
  while (at > 0) {
    do {
      --at;
    } while (at > 0 && is_continuation(line_[at]));
    std::string_view rest = std::string_view(line_).substr(at);
    if (code_point_width(take_utf8(rest)) != 0) break;
  }
  return at;
}

size_t LineEditor::right_of(size_t at) const {
  std::string_view rest = std::string_view(line_).substr(at);
  if (!rest.empty()) take_utf8(rest);
  while (!rest.empty()) {
    std::string_view behind = rest;
    if (code_point_width(take_utf8(behind)) != 0) break;
    rest = behind;
  }
  return line_.size() - rest.size();
}

size_t LineEditor::word_left(size_t at) const {
  while (at > 0 && !is_word(line_[at - 1])) --at;
  while (at > 0 && is_word(line_[at - 1])) --at;
  return at;
}

size_t LineEditor::word_right(size_t at) const {
  while (at < line_.size() && !is_word(line_[at])) ++at;
  while (at < line_.size() && is_word(line_[at])) ++at;
  return at;
}

size_t LineEditor::blank_word_left(size_t at) const {
  while (at > 0 && is_blank(line_[at - 1])) --at;
  while (at > 0 && !is_blank(line_[at - 1])) --at;
  return at;
}

void LineEditor::add_history(std::string_view line) {
  if (line.empty() || (!history_.empty() && history_.back() == line)) return;
  std::string kept = clean(line);
  if (kept.size() > options_.max_history_bytes) return;
  history_bytes_ += kept.size();
  history_.push_back(std::move(kept));
  while (history_.size() > options_.max_history_lines ||
         history_bytes_ > options_.max_history_bytes) {
    history_bytes_ -= history_.front().size();
    history_.pop_front();
    if (history_at_ > 0) --history_at_;
  }
  if (!prompting_) history_at_ = history_.size();
}

void LineEditor::go_in_history(size_t index) {
  if (index == history_at_) return;
  if (history_at_ == history_.size()) stashed_line_ = line_;
  history_at_ = index;
  line_ = index == history_.size() ? stashed_line_ : history_[index];
  cursor_ = line_.size();
}

void LineEditor::begin_search(bool backwards) {
  search_ =
      Search{.query = {}, .found = history_.size(), .saved_line = line_, .saved_cursor = cursor_};
  if (!backwards) search_->found = 0;
  hint_.clear();
}

bool LineEditor::take_search_key(const Key& key) {
  const auto is_control = [&](char letter) {
    return key.kind == KeyKind::kControl && key.code == static_cast<char32_t>(letter);
  };
  if (key.kind == KeyKind::kText || key.kind == KeyKind::kPastedText) {
    if (search_->query.size() < kMaxQueryBytes) {
      const bool hopeless = search_->failed && search_->found == history_.size();
      append_utf8(search_->query, key.code);
      // What is longer is found no more than what was found nowhere.
      if (!hopeless) search_on(true, false);
    }
    return true;
  }
  if (key.kind == KeyKind::kErase) {
    std::string& query = search_->query;
    while (!query.empty() && is_continuation(query.back())) query.pop_back();
    if (!query.empty()) query.pop_back();
    search_->found = history_.size();
    search_on(true, false);
    return true;
  }
  if (is_control('R') || is_control('S')) {
    search_on(is_control('R'), true);
    return true;
  }
  if (is_control('G')) {
    end_search(false);
    return true;
  }
  end_search(!is_control('C'));
  return is_control('C');
}

// Looks from the line found last, or with `from_next` from the one beside it.
void LineEditor::search_on(bool backwards, bool from_next) {
  search_->failed = false;
  if (search_->query.empty()) {
    line_ = search_->saved_line;
    cursor_ = search_->saved_cursor;
    return;
  }
  bool& none = backwards ? search_->none_before : search_->none_behind;
  size_t at = search_->found;
  bool skip = from_next && at < history_.size();
  if (!from_next) search_->none_before = search_->none_behind = false;
  if (none) {
    search_->failed = true;
    bell();
    return;
  }
  for (;;) {
    if (at < history_.size() && !skip) {
      if (const size_t place = history_[at].find(search_->query); place != std::string::npos) {
        if (at != search_->found) search_->none_before = search_->none_behind = false;
        search_->found = at;
        history_at_ = at;
        line_ = history_[at];
        cursor_ = place;
        return;
      }
    }
    skip = false;
    if (backwards ? at == 0 : at + 1 >= history_.size()) break;
    at = backwards ? at - 1 : at + 1;
  }
  none = true;
  search_->failed = true;
  bell();
}

void LineEditor::end_search(bool keep) {
  if (!search_) return;
  Search search = *std::exchange(search_, std::nullopt);
  if (keep) {
    stashed_line_ = std::move(search.saved_line);
    return;
  }
  line_ = std::move(search.saved_line);
  cursor_ = search.saved_cursor;
  history_at_ = history_.size();
}

void LineEditor::complete(const Completion& completion) {
  if (!prompting_ || completion.from > cursor_) return;
  if (completion.candidates.empty()) {
    bell();
    return;
  }
  const std::string typed = line_.substr(completion.from, cursor_ - completion.from);
  std::string prefix = common_prefix(completion.candidates);
  const bool single = completion.candidates.size() == 1;
  if (single) {
    const std::string& suffix = completion.candidates.front().suffix;
    // What stands behind the cursor already is not inserted again.
    if (!std::string_view(line_).substr(cursor_).starts_with(suffix)) prefix += suffix;
  }
  const bool grows =
      prefix.size() > typed.size() || (prefix.size() == typed.size() && prefix != typed);
  if (grows) {
    const size_t before = line_.size();
    erase(completion.from, cursor_);
    insert(clean(prefix));
    if (line_.size() != before || !single) return;
  }
  if (!grows && !single) list(completion.candidates);
}

void LineEditor::list(const std::vector<Candidate>& candidates) {
  const size_t width = view_.columns();
  const size_t most_rows = std::max<size_t>(view_.screen_rows() - 2, 1);
  const auto label = [](const Candidate& candidate) {
    return printable(candidate.label.empty() ? candidate.text : candidate.label);
  };
  size_t widest = 0;
  bool described = false;
  for (const Candidate& candidate : candidates) {
    widest = std::max(widest, text_width(label(candidate)));
    described = described || !candidate.description.empty();
  }
  described = described && candidates.size() <= most_rows;
  constexpr size_t kGap = 2;
  widest = std::min(widest, width - kGap);
  const size_t columns = described ? 1 : std::max<size_t>((width - 1) / (widest + kGap), 1);
  const size_t rows = (candidates.size() + columns - 1) / columns;
  const size_t shown_rows = std::min(rows, most_rows);
  std::string text;
  size_t left = candidates.size();
  for (size_t row = 0; row < shown_rows; ++row) {
    std::string line;
    size_t line_width = 0;
    for (size_t column = 0; column < columns && row + column * rows < candidates.size(); ++column) {
      const Candidate& candidate = candidates[row + column * rows];
      line.append(column * (widest + kGap) - std::min(line_width, column * (widest + kGap)), ' ');
      line += cut_to_width(label(candidate), widest);
      line_width = text_width(line);
      if (described) {
        line.append(widest + kGap - line_width, ' ');
        line += printable(candidate.description);
      }
      --left;
    }
    text += cut_to_width(line, width - 1) + '\n';
  }
  if (left != 0) text += fmt::format("... and {} more\n", left);
  print(text);
}

}  // namespace firn::base
