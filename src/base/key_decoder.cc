#include "base/key_decoder.h"

#include <charconv>
#include <utility>

#include "base/text_width.h"

namespace firn::base {
namespace {

constexpr unsigned char kEscape = 0x1B;
constexpr unsigned char kRubout = 0x7F;
constexpr size_t kMaxParameterBytes = 16;

// Bytes of the character that `lead` begins; 0 if none begins so.
size_t utf8_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 0;
}

unsigned number_at(std::string_view& parameters) {
  unsigned number = 0;
  const char* end = parameters.data() + parameters.size();
  const auto [rest, error] = std::from_chars(parameters.data(), end, number);
  parameters.remove_prefix(static_cast<size_t>(rest - parameters.data()));
  if (parameters.starts_with(';')) parameters.remove_prefix(1);
  return error == std::errc() ? number : 0;
}

}  // namespace

std::optional<Key> KeyDecoder::next(std::string_view& input) {
  while (!input.empty()) {
    std::optional<Key> key = take(static_cast<unsigned char>(input.front()));
    if (!std::exchange(again_, false)) input.remove_prefix(1);
    if (key) return key;
  }
  return std::nullopt;
}

std::optional<Key> KeyDecoder::take(unsigned char byte) {
  switch (state_) {
    case State::kGround:
      return take_ground(byte);
    case State::kEscape:
      return take_escaped(byte);
    case State::kLinuxFunction:  // ESC [ [ A: a function key of the Linux console
      state_ = State::kGround;
      return std::nullopt;
    case State::kSequence:
      if (byte == '[' && parameters_.empty()) {
        state_ = State::kLinuxFunction;
      } else if (byte >= 0x20 && byte < 0x40) {
        if (parameters_.size() < kMaxParameterBytes) parameters_ += static_cast<char>(byte);
      } else {
        state_ = State::kGround;
        // A control character breaks the sequence off and counts.
        if (byte < 0x20) {
          again_ = true;
          return std::nullopt;
        }
        return end_sequence(byte);
      }
      return std::nullopt;
    case State::kSingleShift:
      state_ = State::kGround;
      parameters_.clear();
      if (byte == 'M' && !pasting_) return Key(KeyKind::kEnter);
      return end_sequence(byte);
  }
  return std::nullopt;
}

std::optional<Key> KeyDecoder::take_ground(unsigned char byte) {
  if (!character_.empty()) {
    if ((byte & 0xC0) != 0x80) {
      character_.clear();
      again_ = true;
      return character(kReplacementCharacter);
    }
    character_ += static_cast<char>(byte);
    if (character_.size() < character_bytes_) return std::nullopt;
    std::string_view whole = character_;
    const char32_t code = take_utf8(whole);
    character_.clear();
    return character(code);
  }
  const bool second_of_break = std::exchange(after_cr_, byte == '\r') && byte == '\n';
  if (second_of_break) return std::nullopt;
  if (byte == kEscape) {
    state_ = State::kEscape;
    return std::nullopt;
  }
  if (byte < ' ' || byte == kRubout) return take_control(byte);
  character_bytes_ = utf8_length(byte);
  if (character_bytes_ == 0) return character(kReplacementCharacter);
  if (character_bytes_ == 1) return character(byte);
  character_.assign(1, static_cast<char>(byte));
  return std::nullopt;
}

std::optional<Key> KeyDecoder::take_control(unsigned char byte) {
  const bool meta = std::exchange(meta_, false);
  if (pasting_) {
    if (byte == '\r' || byte == '\n') return Key(KeyKind::kPastedBreak);
    if (byte == '\t') return Key(KeyKind::kPastedText, ' ');
    return std::nullopt;
  }
  switch (byte) {
    case 0:
      return std::nullopt;
    case '\r':
    case '\n':
      return Key(KeyKind::kEnter);
    case '\t':
      return Key(KeyKind::kTab);
    case '\b':
    case kRubout:
      return Key(meta ? KeyKind::kMetaErase : KeyKind::kErase);
    default:
      return Key(KeyKind::kControl, static_cast<char32_t>(byte + '@'));
  }
}

std::optional<Key> KeyDecoder::take_escaped(unsigned char byte) {
  state_ = State::kGround;
  if (byte == '[') {
    state_ = State::kSequence;
    parameters_.clear();
    return std::nullopt;
  }
  if (byte == 'O') {
    state_ = State::kSingleShift;
    return std::nullopt;
  }
  if (byte == kEscape) {  // the first one said nothing
    state_ = State::kEscape;
    return std::nullopt;
  }
  again_ = true;
  meta_ = !pasting_;
  return std::nullopt;
}

std::optional<Key> KeyDecoder::character(char32_t code) {
  const bool meta = std::exchange(meta_, false);
  if (code_point_width(code) < 0) return std::nullopt;
  if (pasting_) return Key(KeyKind::kPastedText, code);
  return Key(meta ? KeyKind::kMeta : KeyKind::kText, code);
}

std::optional<Key> KeyDecoder::end_sequence(unsigned char final_byte) {
  std::string_view rest = parameters_;
  const unsigned first = number_at(rest);
  const unsigned modifiers = number_at(rest);
  if (pasting_) {
    constexpr unsigned kPasteEnd = 201;
    if (final_byte == '~' && first == kPasteEnd) pasting_ = false;
    return std::nullopt;
  }
  const bool modified = modifiers > 1;
  switch (final_byte) {
    case 'A':
      return Key(KeyKind::kUp);
    case 'B':
      return Key(KeyKind::kDown);
    case 'C':
      return Key(modified ? KeyKind::kWordRight : KeyKind::kRight);
    case 'D':
      return Key(modified ? KeyKind::kWordLeft : KeyKind::kLeft);
    case 'F':
      return Key(KeyKind::kEnd);
    case 'H':
      return Key(KeyKind::kHome);
    case 'c':  // rxvt's Ctrl-Right and Ctrl-Left
      return Key(KeyKind::kWordRight);
    case 'd':
      return Key(KeyKind::kWordLeft);
    case '~':
      return tilde_key(first, modified);
    default:
      return std::nullopt;
  }
}

std::optional<Key> KeyDecoder::tilde_key(unsigned number, bool modified) {
  switch (number) {
    case 1:
    case 7:
      return Key(KeyKind::kHome);
    case 3:
      return modified ? Key(KeyKind::kMeta, 'd') : Key(KeyKind::kDelete);
    case 4:
    case 8:
      return Key(KeyKind::kEnd);
    case 200:
      pasting_ = true;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace firn::base
