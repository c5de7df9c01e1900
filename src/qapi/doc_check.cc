#include "qapi/doc_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "qapi/suggest.h"

namespace firn::qapi {

namespace {

// "member 'a'", "members 'a', 'b' and 'c'".
std::string list_of(const std::vector<std::string_view>& names, std::string_view what) {
  std::string out = fmt::format("{}{}", what,
                                names.size() == 1  ? ""
                                : what == "branch" ? "es"
                                                   : "s");
  for (size_t i = 0; i < names.size(); ++i) {
    out += fmt::format("{} '{}'", i == 0 ? "" : i + 1 == names.size() ? " and" : ",", names[i]);
  }
  return out;
}

}  // namespace

// What the definition has, by name, and what its documentation describes.
struct DocCheck::Known {
  explicit Known(const Doc& doc) {
    for (const DocPart& part : doc.members) documented_members.insert(part.name);
    for (const DocPart& part : doc.features) documented_features.insert(part.name);
  }

  void add(const std::vector<FeatureUse>& uses) {
    for (const FeatureUse& feature : uses) {
      if (!features.insert(feature.name).second) continue;
      if (documented_features.contains(feature.name)) continue;
      if (missing_features.empty()) missing_feature_span = feature.span;
      missing_features.push_back(feature.name);
    }
  }

  void add(const std::vector<Part>& parts, bool exempt) {
    for (const Part& part : parts) {
      if (members.insert(part.name).second && !exempt && !documented_members.contains(part.name)) {
        if (missing_members.empty()) missing_member_span = part.span;
        missing_members.push_back(part.name);
      }
      add(part.features);
    }
  }

  NameSet members;
  NameSet features;
  NameSet documented_members;
  NameSet documented_features;
  std::vector<std::string_view> missing_members;
  std::vector<std::string_view> missing_features;
  Span missing_member_span;  // of the first one
  Span missing_feature_span;
};

void DocCheck::report_undocumented(const Declaration& declaration, const Known& known) {
  if (!known.missing_members.empty()) {
    const char* what = declaration.meta == MetaType::kEnum        ? "value"
                       : declaration.meta == MetaType::kAlternate ? "branch"
                                                                  : "member";
    diagnostics_.error_in(
        declaration.start, known.missing_member_span,
        fmt::format("the documentation of '{}' lacks its {}", declaration.name,
                    list_of(known.missing_members, what)),
        fmt::format("write '# @{}: ...' in the block above, or name '{}' in the pragma "
                    "'documentation-exceptions'",
                    known.missing_members.front(), declaration.name));
  }
  if (!known.missing_features.empty()) {
    diagnostics_.error_in(declaration.start, known.missing_feature_span,
                          fmt::format("the documentation of '{}' lacks its {}", declaration.name,
                                      list_of(known.missing_features, "feature")),
                          fmt::format("write '# @{}: ...' below 'Features:' in the block above",
                                      known.missing_features.front()));
  }
}

void DocCheck::check_complete(const Declaration& declaration) {
  if (!declaration.doc) return;
  const Doc& doc = *declaration.doc;
  const bool exempt = pragmas_.documentation_exceptions.contains(doc.symbol);
  Known known(doc);
  known.add(declaration.features);
  for (const TypeUse* use : {&declaration.base, &declaration.data}) {
    if (use->anonymous) known.add(use->anonymous->parts, exempt);
  }
  if (declaration.meta != MetaType::kUnion) known.add(declaration.parts, exempt);
  report_undocumented(declaration, known);
  if (declaration.broken) return;  // what it has is not known well
  const auto look = [&](const std::vector<DocPart>& parts, const NameSet& names, const char* what) {
    for (const DocPart& part : parts) {
      if (names.contains(part.name) || part.name.empty()) continue;
      Suggestion suggestion(part.name);
      for (const std::string_view name : names) {
        if (!(what[0] == 'm' ? doc.member(name) : doc.feature(name))) suggestion.offer(name);
      }
      superfluous_.push_back({&part,
                              fmt::format("'{}' has no {} '{}'", doc.symbol, what, part.name),
                              suggestion.hint()});
    }
  };
  look(doc.members, known.members, "member");
  look(doc.features, known.features, "feature");
}

void DocCheck::check_superfluous() {
  for (Superfluous& found : superfluous_) {
    diagnostics_.error(found.part->span, std::move(found.text), std::move(found.hint));
  }
  superfluous_.clear();
}

}  // namespace firn::qapi
