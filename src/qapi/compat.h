// Whether a client of one schema still works with another: every change between the two, by the
// place where a client meets it, and how bad it is for one.
//
// What a client sends (arguments) may be taken more widely later and never more narrowly; what it
// receives (results, events) may become less and never more. Types have no names on the wire, so
// only their structure counts.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "qapi/wire_schema.h"

namespace firn::qapi {

enum class ChangeClass : uint8_t {
  kBreak,    // a correct client of the old schema may stop working
  kWarning,  // only a strict client notices, or the old schema announced it
  kNote,     // no client of the old schema notices
};

// One difference. The order is that of a report: the worst first, then by place.
struct Change {
  ChangeClass change_class;
  std::string kind;   // "command" or "event"
  std::string name;   // of the command or event
  std::string place;  // "argument", "result" or "member"; empty: the command or event itself
  std::string path;   // "a.b[].c", "file(driver=qcow2).size"; empty: the whole of `place`
  std::string text;   // what changed
  std::string rule;   // the same as a word for programs, for instance "member-removed"

  auto operator<=>(const Change&) const = default;
};

struct CompatOptions {
  bool strict = false;  // warnings are breaks
};

struct CompatReport {
  std::vector<Change> changes;  // in order, each once

  size_t count(ChangeClass change_class) const;
  bool compatible() const { return count(ChangeClass::kBreak) == 0; }

  // `CLASS: KIND 'NAME' PLACE 'PATH': TEXT`, one a line, and a last line that counts.
  std::string print() const;
  // {"compatible": ..., "breaks": N, "warnings": N, "notes": N, "changes": [{"class": ..., ...}]}
  std::string print_json() const;
};

// The rules:
//
// | change                            | arguments          | results and events |
// | --------------------------------- | ------------------ | ------------------ |
// | member removed                    | break              | break              |
// | new member, mandatory             | break              | note               |
// | new member, optional              | note               | note               |
// | optional member became mandatory  | break              | note               |
// | mandatory member became optional  | note               | break              |
// | fewer values, kinds or branches   | break              | note               |
// | more values, kinds or branches    | note               | warning            |
// | a type of another kind            | break              | break              |
//
// A removed command or event is a break, and so is a command that may no longer run out of band. A
// removed feature is a warning, since clients probe for it; so is `unstable` on what was stable.
// Whatever was `deprecated` in `old` may go: breaks become warnings there. Nothing that was
// `unstable` in `old` is held: all of it is notes.
CompatReport compare_schemas(const WireSchema& old, const WireSchema& now,
                             const CompatOptions& options = {});

}  // namespace firn::qapi
