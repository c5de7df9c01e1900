// Keys from the bytes that a terminal sends (ECMA-48, and xterm's control sequences document:
// cursor keys, modifiers, bracketed paste).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace firn::base {

enum class KeyKind : uint8_t {
  kText,       // a character: `code`
  kControl,    // Ctrl with the letter `code` ('A' to 'Z'), and '[', '\\', ']', '^', '_'
  kMeta,       // Alt, or Escape before it, with the character `code`
  kMetaErase,  // Alt-Backspace
  kEnter,      // CR, LF or both together
  kTab,
  kErase,  // Backspace (DEL or BS)
  kDelete,
  kUp,
  kDown,
  kLeft,
  kRight,
  kWordLeft,   // Ctrl-Left, Alt-Left
  kWordRight,  // Ctrl-Right, Alt-Right
  kHome,
  kEnd,
  kPastedText,   // a character of a paste; CR, LF and tab as ' '
  kPastedBreak,  // CR, LF or both together within a paste
};

struct Key {
  KeyKind kind;
  char32_t code = 0;
};

// Takes any bytes in any pieces and keeps a few bytes of state. What no key sends is dropped;
// malformed UTF-8 gives U+FFFD. Within a paste nothing is a command: control characters and
// sequences in it are dropped.
class KeyDecoder {
 public:
  // Takes bytes off the front of `input` until a key is complete. Without one, `input` is empty
  // afterwards.
  std::optional<Key> next(std::string_view& input);

 private:
  enum class State : uint8_t { kGround, kEscape, kSequence, kLinuxFunction, kSingleShift };

  std::optional<Key> take(unsigned char byte);
  std::optional<Key> take_ground(unsigned char byte);
  std::optional<Key> take_control(unsigned char byte);
  std::optional<Key> take_escaped(unsigned char byte);
  std::optional<Key> end_sequence(unsigned char final_byte);
  std::optional<Key> tilde_key(unsigned number, bool modified);
  std::optional<Key> character(char32_t code);

  State state_ = State::kGround;
  bool meta_ = false;  // the character being read follows an Escape
  bool pasting_ = false;
  bool after_cr_ = false;
  bool again_ = false;      // the byte was not taken: it comes next
  std::string parameters_;  // of a control sequence
  std::string character_;   // the bytes so far of a character
  size_t character_bytes_ = 0;
};

}  // namespace firn::base
