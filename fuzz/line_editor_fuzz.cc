// The line editor, as a hostile terminal drives it: any bytes in any pieces, with text above the
// prompt, completion and other widths in between. However the input is cut, the lines are the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/line_editor.h"

namespace {

using firn::base::LineEditor;

// Small, so that the fuzzer reaches the limits.
constexpr size_t kMaxLineBytes = 200;
constexpr size_t kMaxPendingBytes = 64;

std::vector<std::string> read_all(std::string_view input, size_t piece_bytes, bool disturb) {
  LineEditor editor({.max_line_bytes = kMaxLineBytes,
                     .max_pending_bytes = kMaxPendingBytes,
                     .max_history_lines = 8,
                     .max_history_bytes = 256,
                     .help_key = '?'});
  std::vector<std::string> lines;
  editor.resize(20, 4);
  editor.start();
  while (!input.empty()) {
    std::string_view piece = input.substr(0, piece_bytes);
    input.remove_prefix(piece.size());
    while (!piece.empty()) {
      piece.remove_prefix(editor.push(piece));
      while (auto event = editor.next()) {
        CHECK(event->line.size() <= kMaxLineBytes);
        if (event->kind == LineEditor::EventKind::kLine) {
          lines.push_back(event->line);
          editor.add_history(event->line);
        }
        if (event->kind == LineEditor::EventKind::kComplete) {
          editor.complete(
              {.from = editor.cursor(), .candidates = {{.text = "ab"}, {.text = "a\xc3\xa9"}}});
        }
        if (!editor.prompting()) editor.start();
      }
      CHECK(editor.line().size() <= kMaxLineBytes && editor.cursor() <= editor.line().size());
      if (!disturb) continue;
      editor.set_hint(editor.line());
      editor.take_output();
      editor.print("event\n");
      editor.resize(8 + piece.size() % 7, 3);
    }
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t piece_bytes = 1 + data[0] % 13;
  CHECK(read_all(input, size, false) == read_all(input, piece_bytes, true));
  return 0;
}
