#include "qapi/compat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace firn::qapi {

namespace {

enum class Direction : uint8_t { kSent, kReceived };

// How much the old schema promised.
enum class Promise : uint8_t { kFull, kDeprecated, kUnstable };

Promise weaker(Promise promise, const FeatureNames& features) {
  if (features.contains("unstable")) return Promise::kUnstable;
  if (features.contains("deprecated")) return std::max(promise, Promise::kDeprecated);
  return promise;
}

// What a value can be in JSON; an alternate has several, at most one type for each.
constexpr size_t kJsonKinds = 6;
constexpr std::array<std::string_view, kJsonKinds> kKindNames = {
    "null", "a boolean", "a number", "a string", "a list", "an object"};
using Slots = std::array<const WireType*, kJsonKinds>;

size_t slot_of(WireKind kind) {
  switch (kind) {
    case WireKind::kNull:
      return 0;
    case WireKind::kBool:
      return 1;
    case WireKind::kInteger:
    case WireKind::kNumber:
      return 2;
    case WireKind::kString:
    case WireKind::kEnum:
      return 3;
    case WireKind::kArray:
      return 4;
    default:
      return 5;
  }
}

Slots slots_of(const WireType& type) {
  Slots out{};
  if (type.kind != WireKind::kAlternate) {
    out[slot_of(type.kind)] = &type;
  } else {
    for (const WireType* branch : type.branches) out[slot_of(branch->kind)] = branch;
  }
  return out;
}

std::string kinds_in(const Slots& slots) {
  std::string out;
  for (size_t i = 0; i < kJsonKinds; ++i) {
    if (slots[i]) out += fmt::format("{}{}", out.empty() ? "" : " or ", kKindNames[i]);
  }
  return out;
}

// The range of an integer type; none if only "int" is known of it, as from a server.
struct Range {
  int64_t least;
  uint64_t most;
};
std::optional<Range> range_of(std::string_view name) {
  const bool is_signed = name.starts_with("int");
  if (!is_signed && !name.starts_with("uint")) return std::nullopt;
  const std::string_view digits = name.substr(is_signed ? 3 : 4);
  constexpr std::pair<std::string_view, int> kWidths[] = {
      {"8", 8}, {"16", 16}, {"32", 32}, {"64", 64}};
  for (const auto& [text, bits] : kWidths) {
    if (digits != text) continue;
    if (!is_signed) return Range{0, std::numeric_limits<uint64_t>::max() >> (64 - bits)};
    const int64_t most = std::numeric_limits<int64_t>::max() >> (64 - bits);
    return Range{-most - 1, static_cast<uint64_t>(most)};
  }
  return std::nullopt;
}

bool within(const Range& inner, const Range& outer) {
  return inner.least >= outer.least && inner.most <= outer.most;
}

// A command or an event, and the part of it under comparison.
struct Place {
  std::string_view kind;
  std::string_view name;
  std::string_view part;  // "argument", "result", "member", or empty
  Direction direction = Direction::kSent;

  bool sent() const { return direction == Direction::kSent; }
};

class Comparison {
 public:
  Comparison(const WireSchema& old, const WireSchema& now, const CompatOptions& options)
      : old_(old), now_(now), options_(options) {}

  CompatReport run() {
    for (const auto& [name, command] : old_.commands) {
      const auto found = now_.commands.find(name);
      compare_commands(name, command, found == now_.commands.end() ? nullptr : &found->second);
    }
    for (const auto& [name, event] : old_.events) {
      const auto found = now_.events.find(name);
      compare_events(name, event, found == now_.events.end() ? nullptr : &found->second);
    }
    place_ = {"command", "", "", Direction::kSent};
    for (const auto& [name, command] : now_.commands) {
      place_.name = name;
      if (!old_.commands.contains(name)) note("command-new", "", "new");
    }
    place_ = {"event", "", "", Direction::kReceived};
    for (const auto& [name, event] : now_.events) {
      place_.name = name;
      if (!old_.events.contains(name)) note("event-new", "", "new");
    }
    return {.changes = {changes_.begin(), changes_.end()}};
  }

 private:
  // ---- Commands and events ----

  void compare_commands(std::string_view name, const WireCommand& old, const WireCommand* now) {
    place_ = {"command", name, "", Direction::kSent};
    const Promise promise = weaker(Promise::kFull, old.features);
    if (!now) return broken("command-removed", "", promise, "was removed");
    compare_features(old.features, now->features, "", promise);
    if (old.allow_oob && !now->allow_oob) {
      broken("oob-removed", "", promise, "may no longer run out of band");
    } else if (!old.allow_oob && now->allow_oob) {
      note("oob-new", "", "may run out of band now");
    }
    const bool known = old.replies && now->replies;
    if (known && *old.replies && !*now->replies) {
      broken("reply-removed", "", promise, "no longer replies when it succeeds");
    } else if (known && !*old.replies && *now->replies) {
      warning("reply-new", "", promise, "replies now when it succeeds");
    }
    seen_.clear();
    place_.part = "argument";
    compare_all(*old.arguments, *now->arguments, promise);
    place_.part = "result";
    place_.direction = Direction::kReceived;
    compare_all(*old.returns, *now->returns, promise);
  }

  void compare_events(std::string_view name, const WireEvent& old, const WireEvent* now) {
    place_ = {"event", name, "", Direction::kReceived};
    const Promise promise = weaker(Promise::kFull, old.features);
    if (!now) return broken("event-removed", "", promise, "was removed");
    compare_features(old.features, now->features, "", promise);
    seen_.clear();
    place_.part = "member";
    compare_all(*old.data, *now->data, promise);
  }

  // `deprecated` and `unstable` are words to people; all others are there to be probed for.
  void compare_features(const FeatureNames& old, const FeatureNames& now, const std::string& path,
                        Promise promise) {
    for (const std::string& feature : old) {
      if (now.contains(feature)) continue;
      const std::string text = fmt::format("feature '{}' was removed", feature);
      if (feature == "deprecated" || feature == "unstable") {
        note("feature-removed", path, text);
      } else {
        warning("feature-removed", path, promise, text);
      }
    }
    for (const std::string& feature : now) {
      if (old.contains(feature)) continue;
      if (feature == "unstable") {
        warning("unstable-new", path, promise, "is unstable now: it may change at any time");
      } else if (feature == "deprecated") {
        note("deprecated-new", path, "is deprecated now: it may be removed");
      } else {
        note("feature-new", path, fmt::format("has the new feature '{}'", feature));
      }
    }
  }

  // ---- Types ----

  // Breadth first: a type that is met in several places is reported where it is nearest, and no
  // chain of types is too long for the stack.
  void compare_all(const WireType& old, const WireType& now, Promise promise) {
    compare_types(old, now, "", promise);
    while (!pending_.empty()) {
      const Pending next = std::move(pending_.front());
      pending_.pop_front();
      compare_pending(*next.old, *next.now, next.path, next.promise);
    }
  }

  void compare_types(const WireType& old, const WireType& now, const std::string& path,
                     Promise promise) {
    pending_.push_back({&old, &now, path, promise});
  }

  void compare_pending(const WireType& old, const WireType& now, const std::string& path,
                       Promise promise) {
    if (old.kind != WireKind::kAny && now.kind != WireKind::kAny) {
      if (old.kind == WireKind::kAlternate && now.kind == WireKind::kAlternate) {
        if (!first_meeting(old, now, promise)) return;
        compare_features(old.features, now.features, path, promise);
      }
      return compare_slots(slots_of(old), slots_of(now), path, promise);
    }
    if (old.kind == now.kind) return;
    if (now.kind == WireKind::kAny) {
      return wider(path, promise,
                   fmt::format("can be any value now, not only {}", kinds_in(slots_of(old))));
    }
    narrower(path, promise,
             fmt::format("can only be {} now, not any value", kinds_in(slots_of(now))));
  }

  void compare_slots(const Slots& old, const Slots& now, const std::string& path, Promise promise) {
    bool common = false;
    for (size_t i = 0; i < kJsonKinds; ++i) common |= old[i] && now[i];
    if (!common) {
      return broken("type-changed", path, promise,
                    fmt::format("is {} now, not {}", kinds_in(now), kinds_in(old)));
    }
    for (size_t i = 0; i < kJsonKinds; ++i) {
      if (old[i] && !now[i]) narrower(path, promise, fmt::format("can't be {} now", kKindNames[i]));
      if (!old[i] && now[i]) wider(path, promise, fmt::format("can be {} now", kKindNames[i]));
      if (!old[i] || !now[i]) continue;
      if (i == slot_of(WireKind::kNumber)) compare_numbers(*old[i], *now[i], path, promise);
      if (i == slot_of(WireKind::kString)) compare_strings(*old[i], *now[i], path, promise);
      if (i == slot_of(WireKind::kObject)) compare_objects(*old[i], *now[i], path, promise, {});
      if (i == slot_of(WireKind::kArray)) {
        compare_types(*old[i]->element, *now[i]->element, path + "[]", promise);
      }
    }
  }

  void compare_numbers(const WireType& old, const WireType& now, const std::string& path,
                       Promise promise) {
    const bool was_integer = old.kind == WireKind::kInteger;
    const bool is_integer = now.kind == WireKind::kInteger;
    if (!was_integer && is_integer) narrower(path, promise, "has to be an integer now");
    if (was_integer && !is_integer) wider(path, promise, "can be a fraction now");
    if (!was_integer || !is_integer) return;
    const std::optional<Range> before = range_of(old.name);
    const std::optional<Range> after = range_of(now.name);
    if (!before || !after) return;
    const std::string text = fmt::format("is of type '{}' now, not '{}'", now.name, old.name);
    if (!within(*before, *after)) narrower(path, promise, text);
    if (!within(*after, *before)) wider(path, promise, text);
  }

  void compare_strings(const WireType& old, const WireType& now, const std::string& path,
                       Promise promise) {
    const bool was_enum = old.kind == WireKind::kEnum;
    const bool is_enum = now.kind == WireKind::kEnum;
    if (was_enum && is_enum) return compare_values(old, now, path, promise);
    if (was_enum) wider(path, promise, "can be any string now, not only certain ones");
    if (is_enum) narrower(path, promise, "can only be certain strings now");
  }

  void compare_values(const WireType& old, const WireType& now, const std::string& path,
                      Promise promise) {
    compare_features(old.features, now.features, path, promise);
    const auto find = [](const WireType& type, const std::string& name) -> const WireValue* {
      for (const WireValue& value : type.values) {
        if (value.name == name) return &value;
      }
      return nullptr;
    };
    for (const WireValue& value : old.values) {
      const Promise own = weaker(promise, value.features);
      const WireValue* still = find(now, value.name);
      if (!still) {
        narrower(path, own, fmt::format("value '{}' was removed", value.name), "value-removed");
        continue;
      }
      compare_features(value.features, still->features, fmt::format("{}={}", path, value.name),
                       own);
    }
    for (const WireValue& value : now.values) {
      if (find(old, value.name)) continue;
      wider(path, promise, fmt::format("has the new value '{}'", value.name), "value-new");
    }
  }

  // Recursion ends where two types meet again.
  bool first_meeting(const WireType& old, const WireType& now, Promise promise) {
    return seen_.insert({&old, &now, place_.direction, promise}).second;
  }

  // ---- Objects ----

  // `but`: names of members that are compared elsewhere.
  void compare_objects(const WireType& old, const WireType& now, const std::string& path,
                       Promise promise, const std::set<std::string>& but) {
    // Without members there is nothing to recurse into; each place reports for itself.
    const bool may_recurse = !old.members.empty() && !now.members.empty();
    if (may_recurse && but.empty() && !first_meeting(old, now, promise)) return;
    compare_features(old.features, now.features, path, promise);
    if (!old.tag.empty() && !now.tag.empty() && old.tag != now.tag) {
      broken("discriminator-changed", path, promise,
             fmt::format("branches are told apart by '{}' now, not by '{}'", now.tag, old.tag));
      return;
    }
    const std::string& tag = old.tag.empty() ? now.tag : old.tag;
    // In a union, what only one side has in common may be in the other side's branches.
    std::set<std::string> in_branches;
    const auto split = [&](const WireType& type, const WireType& other) {
      for (const WireMember& member : type.members) {
        if (but.contains(member.name) || other.member(member.name)) continue;
        if (tag.empty() || member.name == tag) {
          const bool is_old = &type == &old;
          compare_members(is_old ? &member : nullptr, is_old ? nullptr : &member, path, promise);
        } else {
          in_branches.insert(member.name);
        }
      }
    };
    split(old, now);
    split(now, old);
    for (const WireMember& member : old.members) {
      const WireMember* still = now.member(member.name);
      if (still && !but.contains(member.name)) compare_members(&member, still, path, promise);
    }
    for (const WireValue& value : cases(old, now, tag)) {
      compare_branches(old, now, value.name, fmt::format("{}({}={})", path, tag, value.name),
                       weaker(promise, value.features), in_branches);
    }
  }

  // The tag's values that both know, as the old side has them.
  static std::vector<WireValue> cases(const WireType& old, const WireType& now,
                                      const std::string& tag) {
    if (tag.empty()) return {};
    const auto values_of = [&](const WireType& type) -> const std::vector<WireValue>* {
      const WireMember* member = type.member(tag);
      return member && member->type->kind == WireKind::kEnum ? &member->type->values : nullptr;
    };
    const auto* before = values_of(old);
    const auto* after = values_of(now);
    std::vector<WireValue> out;
    if (!before && !after) return out;
    for (const WireValue& value : before ? *before : *after) {
      const auto same = [&](const WireValue& other) { return other.name == value.name; };
      if (!after || std::any_of(after->begin(), after->end(), same)) out.push_back(value);
    }
    return out;
  }

  void compare_branches(const WireType& old, const WireType& now, const std::string& value,
                        const std::string& path, Promise promise,
                        const std::set<std::string>& moved) {
    static const WireType kEmpty{};
    const auto branch_of = [&](const WireType& type) -> const WireType& {
      const auto found = type.variants.find(value);
      return found == type.variants.end() ? kEmpty : *found->second;
    };
    const WireType& old_branch = branch_of(old);
    const WireType& now_branch = branch_of(now);
    const auto member_of = [](const WireType& type, const WireType& branch,
                              const std::string& name) {
      const WireMember* member = type.member(name);
      return member ? member : branch.member(name);
    };
    for (const std::string& name : moved) {
      const WireMember* before = member_of(old, old_branch, name);
      const WireMember* after = member_of(now, now_branch, name);
      if (before || after) compare_members(before, after, path, promise);
    }
    compare_objects(old_branch, now_branch, path, promise, moved);
  }

  // At most one of the two is null.
  void compare_members(const WireMember* old, const WireMember* now, const std::string& outer,
                       Promise promise) {
    const std::string& name = old ? old->name : now->name;
    const std::string path = outer.empty() ? name : outer + "." + name;
    const bool sent = place_.sent();
    if (!old) {
      if (sent && !now->optional) {
        return broken("member-new-mandatory", path, promise, "new, and has to be given");
      }
      return note("member-new", path, "new");
    }
    const Promise outer_promise = promise;
    promise = weaker(promise, old->features);
    if (!now) return broken("member-removed", path, promise, "was removed");
    if (old->optional && !now->optional) {
      if (sent) {
        // Whoever never used the member has to give it, too.
        broken("member-mandatory", path, outer_promise, "has to be given now");
      } else {
        note("member-mandatory", path, "is always there now");
      }
    } else if (!old->optional && now->optional) {
      if (sent) {
        note("member-optional", path, "can be left out now");
      } else {
        broken("member-optional", path, promise, "may be missing now");
      }
    }
    compare_features(old->features, now->features, path, promise);
    compare_types(*old->type, *now->type, path, promise);
  }

  // ---- What is found ----

  void narrower(const std::string& path, Promise promise, const std::string& text,
                const char* rule = "type-narrowed") {
    if (place_.sent()) {
      broken(rule, path, promise, text);
    } else {
      note(rule, path, text);
    }
  }

  void wider(const std::string& path, Promise promise, const std::string& text,
             const char* rule = "type-widened") {
    if (place_.sent()) {
      note(rule, path, text);
    } else {
      warning(rule, path, promise, text);
    }
  }

  void broken(const char* rule, const std::string& path, Promise promise, const std::string& text) {
    if (promise == Promise::kDeprecated) {
      return warning(rule, path, promise, text + " (it was deprecated)");
    }
    add(promise == Promise::kUnstable ? ChangeClass::kNote : ChangeClass::kBreak, rule, path,
        promise == Promise::kUnstable ? text + " (it was unstable)" : text);
  }

  void warning(const char* rule, const std::string& path, Promise promise,
               const std::string& text) {
    if (promise == Promise::kUnstable) return note(rule, path, text + " (it was unstable)");
    add(options_.strict ? ChangeClass::kBreak : ChangeClass::kWarning, rule, path, text);
  }

  void note(const char* rule, const std::string& path, const std::string& text) {
    add(ChangeClass::kNote, rule, path, text);
  }

  void add(ChangeClass change_class, const char* rule, const std::string& path,
           const std::string& text) {
    changes_.insert({change_class, std::string(place_.kind), std::string(place_.name),
                     std::string(place_.part), path, text, rule});
  }

  struct Pending {
    const WireType* old;
    const WireType* now;
    std::string path;
    Promise promise;
  };

  const WireSchema& old_;
  const WireSchema& now_;
  const CompatOptions options_;
  std::deque<Pending> pending_;
  Place place_;
  // Pairs of types that were compared within one command or event: recursion ends here, and a type
  // that is used twice is reported where it is met first.
  std::set<std::tuple<const WireType*, const WireType*, Direction, Promise>> seen_;
  std::set<Change> changes_;
};

std::string_view class_name(ChangeClass change_class) {
  switch (change_class) {
    case ChangeClass::kBreak:
      return "break";
    case ChangeClass::kWarning:
      return "warning";
    case ChangeClass::kNote:
      return "note";
  }
  return "";
}

std::string counted(size_t number, std::string_view what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

}  // namespace

size_t CompatReport::count(ChangeClass change_class) const {
  return static_cast<size_t>(std::count_if(changes.begin(), changes.end(), [&](const Change& c) {
    return c.change_class == change_class;
  }));
}

std::string CompatReport::print() const {
  std::string out;
  for (const Change& change : changes) {
    out += fmt::format("{}: {} '{}'", class_name(change.change_class), change.kind, change.name);
    if (!change.path.empty()) {
      out += fmt::format(" {} '{}'", change.place, change.path);
    } else if (!change.place.empty()) {
      out += fmt::format(" {}{}", change.place, change.place == "result" ? "" : "s");
    }
    out += fmt::format(": {}\n", change.text);
  }
  return out + fmt::format("{}: {}, {}, {}\n", compatible() ? "compatible" : "not compatible",
                           counted(count(ChangeClass::kBreak), "break"),
                           counted(count(ChangeClass::kWarning), "warning"),
                           counted(count(ChangeClass::kNote), "note"));
}

std::string CompatReport::print_json() const {
  boost::json::array list;
  for (const Change& change : changes) {
    boost::json::object entry{{"class", class_name(change.change_class)},
                              {"rule", change.rule},
                              {change.kind, change.name}};
    if (!change.place.empty()) entry["place"] = change.place;
    if (!change.path.empty()) entry["path"] = change.path;
    entry["text"] = change.text;
    list.push_back(std::move(entry));
  }
  return base::print_json(boost::json::object{{"compatible", compatible()},
                                              {"breaks", count(ChangeClass::kBreak)},
                                              {"warnings", count(ChangeClass::kWarning)},
                                              {"notes", count(ChangeClass::kNote)},
                                              {"changes", std::move(list)}},
                          base::JsonStyle::kPretty) +
         "\n";
}

CompatReport compare_schemas(const WireSchema& old, const WireSchema& now,
                             const CompatOptions& options) {
  return Comparison(old, now, options).run();
}

}  // namespace firn::qapi
