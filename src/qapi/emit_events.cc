#include <fmt/format.h>

#include "qapi/cpp_model.h"
#include "qapi/emit.h"

namespace firn::qapi {

namespace {

class EventsBackend final : public Backend {
 public:
  std::string_view name() const override { return "events"; }
  std::string_view summary() const override { return "events: events.h, events.cc"; }

  void emit(const Schema& schema, Output& output) const override {
    std::string header = file_head(
        schema, {"<boost/json/fwd.hpp>", "<span>", "<string_view>", "", "\"api/types.h\""}, true);
    header +=
        "// encode_event(BlockIoErrorEvent{...}) gives {\"event\": ..., \"data\": {...}}, without "
        "a\n"
        "// timestamp; an event without data has no `data`.\n\n";
    std::string source =
        file_head(schema, {"\"api/events.h\"", "", "\"api/encoder.h\"", "\"api/codec.h\""}, false);
    const CppModel cpp(schema);
    std::string names;
    for (const auto& event : schema.events) {
      const std::string type = cpp.event(*event);
      const bool own_struct = !event->data || !event->data->implicit;
      if (own_struct) {
        if (event->doc) header += comment(event->doc->body, 0);
        header += event->data
                      ? fmt::format("struct {} {{\n  {} data;\n}};\n", type, cpp.name(*event->data))
                      : fmt::format("struct {} {{}};\n", type);
      } else if (event->doc) {
        header += comment(event->doc->body, 0);
      }
      header += fmt::format("boost::json::object encode_event(const {}& event);\n\n", type);
      source += function(*event, type, own_struct);
      names += fmt::format("\n      \"{}\",", event->name);
    }
    header +=
        "// The names of all events, in the schema's order.\n"
        "std::span<const std::string_view> event_names();\n\n";
    source += names.empty() ? "std::span<const std::string_view> event_names() { return {}; }\n\n"
                            : fmt::format(
                                  "std::span<const std::string_view> event_names() {{\n"
                                  "  static constexpr std::string_view kNames[] = {{{}\n  }};\n"
                                  "  return kNames;\n}}\n\n",
                                  names);
    output.add("events.h", header + file_tail());
    output.add("events.cc", source + file_tail());
  }

 private:
  static std::string function(const Event& event, const std::string& type, bool own_struct) {
    if (!event.data) {
      return fmt::format(
          "JsonObject encode_event(const {}&) {{\n  return {{{{\"event\", \"{}\"}}}};\n}}\n\n",
          type, event.name);
    }
    return fmt::format(
        "JsonObject encode_event(const {}& event) {{\n"
        "  JsonObject out;\n"
        "  out.emplace(\"event\", \"{}\");\n"
        "  out.emplace(\"data\", encode({}));\n"
        "  return out;\n}}\n\n",
        type, event.name, own_struct ? "event.data" : "event");
  }
};

}  // namespace

const Backend* events_backend() {
  static const EventsBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
