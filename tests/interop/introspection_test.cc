// Compares the introspection with that of qemu-storage-daemon, where it is installed: what both
// have has to look the same to a client, member by member.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/decoder.h"
#include "api/encoder.h"
#include "api/introspection.h"

namespace firn::api {
namespace {

constexpr const char* kPeerCommand =
    "printf '%s\\n' \"{'execute':'qmp_capabilities'}\" \"{'execute':'query-qmp-schema'}\" "
    "\"{'execute':'quit'}\" | timeout 30 qemu-storage-daemon --chardev stdio,id=c --monitor "
    "chardev=c 2>/dev/null";

// The peer's answer to query-qmp-schema; null if there is no peer.
JsonValue ask_peer() {
  std::string output;
  FILE* pipe = popen(kPeerCommand, "r");
  if (!pipe) return nullptr;
  char buffer[65536];
  while (size_t bytes = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, bytes);
  pclose(pipe);
  base::JsonParser parser;
  std::string_view rest = output;
  while (auto value = parser.next(rest)) {
    const JsonValue* answer = *value ? (*value)->get_object().if_contains("return") : nullptr;
    if (answer && answer->is_array()) return *answer;
  }
  return nullptr;
}

class Side {
 public:
  explicit Side(const JsonValue& entries) {
    for (const JsonValue& entry : entries.get_array()) {
      by_name_.emplace(std::string(entry.at("name").get_string()), &entry.get_object());
    }
  }
  const JsonObject* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }
  const std::map<std::string, const JsonObject*>& all() const { return by_name_; }

 private:
  std::map<std::string, const JsonObject*> by_name_;
};

std::string text_of(const JsonObject& object, std::string_view key) {
  const JsonValue* value = object.if_contains(key);
  return value ? std::string(value->get_string()) : "";
}

std::set<std::string> features_of(const JsonObject& entry) {
  std::set<std::string> out;
  if (const JsonValue* features = entry.if_contains("features")) {
    for (const JsonValue& feature : features->get_array()) out.emplace(feature.get_string());
  }
  return out;
}

class Comparison {
 public:
  Comparison(const Side& ours, const Side& theirs) : ours_(ours), theirs_(theirs) {}

  void compare_types(const std::string& our_name, const std::string& their_name,
                     const std::string& path) {
    if (!seen_.insert({our_name, their_name}).second) return;
    const JsonObject& ours = *ours_.find(our_name);
    const JsonObject& theirs = *theirs_.find(their_name);
    const std::string meta = text_of(ours, "meta-type");
    if (meta != text_of(theirs, "meta-type")) {
      return differ(path, meta, text_of(theirs, "meta-type"));
    }
    compare_features(ours, theirs, path);
    if (meta == "builtin") {
      if (our_name != their_name) differ(path, our_name, their_name);
    } else if (meta == "array") {
      compare_types(text_of(ours, "element-type"), text_of(theirs, "element-type"), path + "[]");
    } else if (meta == "enum") {
      compare_enums(ours, theirs, path);
    } else if (meta == "alternate") {
      compare_alternates(ours, theirs, path);
    } else {
      compare_objects(ours, theirs, path);
    }
  }

  void compare_features(const JsonObject& ours, const JsonObject& theirs, const std::string& path) {
    std::set<std::string> own = features_of(ours);
    own.erase("firn");
    if (own != features_of(theirs)) {
      differ(path + " features", fmt::format("{}", fmt::join(own, " ")),
             fmt::format("{}", fmt::join(features_of(theirs), " ")));
    }
  }

  std::string differences;

 private:
  void differ(const std::string& path, const std::string& ours, const std::string& theirs) {
    differences += fmt::format("{}: here '{}', there '{}'\n", path, ours, theirs);
  }

  // Without those that are Firn's own.
  static std::vector<std::string> values_of(const JsonObject& entry) {
    std::vector<std::string> out;
    for (const JsonValue& member : entry.at("members").get_array()) {
      if (features_of(member.get_object()).contains("firn")) continue;
      out.push_back(text_of(member.get_object(), "name"));
    }
    return out;
  }

  // The tag of a union may lack what this daemon does not have at all: drivers, object types.
  void compare_enums(const JsonObject& ours, const JsonObject& theirs, const std::string& path) {
    std::vector<std::string> own = values_of(ours);
    std::vector<std::string> peer = values_of(theirs);
    std::sort(own.begin(), own.end());
    std::sort(peer.begin(), peer.end());
    const bool same = tag_enums_.contains(&ours)
                          ? std::includes(peer.begin(), peer.end(), own.begin(), own.end())
                          : own == peer;
    if (!same) {
      differ(path, fmt::format("{}", fmt::join(own, " ")), fmt::format("{}", fmt::join(peer, " ")));
    }
  }

  void compare_alternates(const JsonObject& ours, const JsonObject& theirs,
                          const std::string& path) {
    const auto& own = ours.at("members").get_array();
    const auto& peer = theirs.at("members").get_array();
    if (own.size() != peer.size()) {
      return differ(path, std::to_string(own.size()), std::to_string(peer.size()));
    }
    for (size_t i = 0; i < own.size(); ++i) {
      compare_types(text_of(own[i].get_object(), "type"), text_of(peer[i].get_object(), "type"),
                    fmt::format("{}|{}", path, i));
    }
  }

  void compare_objects(const JsonObject& ours, const JsonObject& theirs, const std::string& path) {
    const std::string tag = text_of(ours, "tag");
    if (tag != text_of(theirs, "tag")) return differ(path, tag, text_of(theirs, "tag"));
    std::map<std::string, const JsonObject*> peer;
    for (const JsonValue& member : theirs.at("members").get_array()) {
      peer.emplace(text_of(member.get_object(), "name"), &member.get_object());
    }
    for (const JsonValue& value : ours.at("members").get_array()) {
      const JsonObject& member = value.get_object();
      const std::string name = text_of(member, "name");
      const std::string member_path = path + "." + name;
      if (name == tag) tag_enums_.insert(ours_.find(text_of(member, "type")));
      const auto found = peer.find(name);
      if (found == peer.end()) {
        if (!features_of(member).contains("firn")) differ(member_path, "there", "missing");
        continue;
      }
      if (member.contains("default") != found->second->contains("default")) {
        differ(member_path, "optional or not", "the contrary");
      }
      compare_features(member, *found->second, member_path);
      compare_types(text_of(member, "type"), text_of(*found->second, "type"), member_path);
      peer.erase(found);
    }
    for (const auto& [name, member] : peer) differ(path + "." + name, "missing", "there");
    if (!tag.empty()) compare_variants(ours, theirs, path);
  }

  void compare_variants(const JsonObject& ours, const JsonObject& theirs, const std::string& path) {
    std::map<std::string, std::string> peer;
    for (const JsonValue& variant : theirs.at("variants").get_array()) {
      peer.emplace(text_of(variant.get_object(), "case"), text_of(variant.get_object(), "type"));
    }
    for (const JsonValue& variant : ours.at("variants").get_array()) {
      const std::string name = text_of(variant.get_object(), "case");
      const std::string branch_path = fmt::format("{}<{}>", path, name);
      if (!peer.contains(name)) {
        differ(branch_path, "there", "missing");
        continue;
      }
      compare_types(text_of(variant.get_object(), "type"), peer[name], branch_path);
    }
  }

  const Side& ours_;
  const Side& theirs_;
  std::set<std::pair<std::string, std::string>> seen_;
  std::set<const JsonObject*> tag_enums_;
};

TEST(IntrospectionAgainstPeer, LooksTheSame) {
  const JsonValue answer = ask_peer();
  if (answer.is_null()) GTEST_SKIP() << "qemu-storage-daemon is not installed";
  const Side ours(introspection());
  const Side theirs(answer);
  Comparison comparison(ours, theirs);
  size_t compared = 0;
  for (const auto& [name, entry] : ours.all()) {
    const std::string meta = text_of(*entry, "meta-type");
    if (meta != "command" && meta != "event") continue;
    const JsonObject* peer = theirs.find(name);
    if (!peer) {
      EXPECT_TRUE(features_of(*entry).contains("firn")) << name << " is not the peer's";
      continue;
    }
    ++compared;
    EXPECT_EQ(entry->contains("allow-oob"), peer->contains("allow-oob")) << name;
    comparison.compare_features(*entry, *peer, name);
    comparison.compare_types(text_of(*entry, "arg-type"), text_of(*peer, "arg-type"), name);
    if (meta == "command") {
      comparison.compare_types(text_of(*entry, "ret-type"), text_of(*peer, "ret-type"),
                               name + " returns");
    }
  }
  EXPECT_EQ(comparison.differences, "");
  EXPECT_GE(compared, 19u);
}

}  // namespace
}  // namespace firn::api
