#include <fmt/format.h>

#include "qapi/cpp_model.h"
#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

std::vector<const Command*> commands_of(const Schema& schema, const SourceFile* file) {
  std::vector<const Command*> out;
  for (const auto& command : schema.commands) {
    if (command->file == file) out.push_back(command.get());
  }
  return out;
}

class CommandsEmitter {
 public:
  explicit CommandsEmitter(const Schema& schema) : schema_(schema), cpp_(schema) {}

  const CppModel& cpp() const { return cpp_; }

  std::string header() const {
    std::string out =
        file_head(schema_,
                  {"<span>", "<string_view>", "<vector>", "", "\"api/dispatch.h\"",
                   "\"async/task.h\"", "\"base/json.h\"", "\"base/result.h\"", "\"api/types.h\""},
                  true);
    out += "using base::JsonValue;\n\n";
    out +=
        "// Each module's commands are a class of its own: whoever serves them derives from it. A\n"
        "// handler runs on the loop that awaits the Task; its error becomes the command's "
        "answer.\n\n";
    std::string members;
    for (const SourceFile* file : schema_.files) {
      const auto commands = commands_of(schema_, file);
      if (commands.empty()) continue;
      out += fmt::format("class {0} {{\n public:\n  virtual ~{0}() = default;\n",
                         cpp_.handler_class(file));
      for (const Command* command : commands) out += declaration(*command);
      out += "};\n\n";
      members += fmt::format("  {}* {} = nullptr;\n", cpp_.handler_class(file), cpp_.module(file));
    }
    out += "// Who serves which module. Commands of a module that nobody serves are unknown.\n";
    out += fmt::format("struct CommandHandlers {{\n{}}};\n\n", members);
    out +=
        "// The dispatch table, in the schema's order.\n"
        "std::span<const CommandEntry> commands();\n"
        "// Null if the schema has no such command.\n"
        "const CommandEntry* find_command(std::string_view name);\n\n";
    return out + file_tail();
  }

  std::string table() const {
    std::string out = file_head(
        schema_, {"\"api/commands.h\"", "", "<algorithm>", "", "\"api/command_support.h\""}, false);
    std::string rows;
    std::string features;
    for (const auto& command : schema_.commands) {
      const std::string function = "run_" + cpp_.method(*command);
      out += fmt::format(
          "async::Task<base::Result<JsonValue>> {}(const CommandHandlers& handlers,\n"
          "    JsonValue arguments);\n",
          function);
      if (command->arguments && command->generate) {
        out += fmt::format("JsonValue {}(const JsonValue& arguments);\n", loggable(*command));
      }
      std::string list = "{}";
      if (!command->features.empty()) {
        list = "features_of_" + cpp_.method(*command);
        features += fmt::format("constexpr std::string_view {}[] = {{{}}};\n", list,
                                feature_list(command->features));
      }
      rows += fmt::format("    {{\"{}\", {}, {}, {}, {}, {}, {}, {}, {}, {}}},\n", command->name,
                          cpp_literal(command->file->module), list, command->allow_oob,
                          command->allow_preconfig, command->coroutine, command->success_response,
                          command->role, function, loggable(*command));
    }
    out += fmt::format("\nnamespace {{\n\n{}\n", features);
    if (rows.empty()) {
      out += "constexpr std::span<const CommandEntry> kCommands;\n";
    } else {
      out += fmt::format("const CommandEntry kCommands[] = {{\n{}}};\n", rows);
    }
    out +=
        "\n}  // namespace\n\n"
        "std::span<const CommandEntry> commands() { return kCommands; }\n\n"
        "const CommandEntry* find_command(std::string_view name) {\n"
        "  for (const CommandEntry& command : commands()) {\n"
        "    if (command.name == name) return &command;\n"
        "  }\n"
        "  return nullptr;\n}\n\n";
    return out + file_tail();
  }

  std::string source(const SourceFile* file) const {
    std::string out = file_head(
        schema_,
        {"<utility>", "", "\"api/command_support.h\"", "\"api/codec.h\"", "\"api/commands.h\""},
        false);
    for (const Command* command : commands_of(schema_, file)) {
      out += runner(*command, cpp_.module(file));
    }
    return out + file_tail();
  }

 private:
  std::string declaration(const Command& command) const {
    std::string out = "\n";
    if (command.doc) out += comment(command.doc->body, 2);
    const std::string result = result_type(command);
    out += fmt::format("  virtual async::Task<base::Result<{}>> {}(",
                       result == "void" ? "" : result, cpp_.method(command));
    if (command.arguments) {
      out += command.generate ? cpp_.name(*command.arguments) + " args" : "JsonValue args";
    }
    return out + ") = 0;\n";
  }

  std::string result_type(const Command& command) const {
    if (!command.returns) return "void";
    return command.generate ? cpp_.type(*command.returns) : "JsonValue";
  }

  // The function for CommandEntry::loggable.
  std::string loggable(const Command& command) const {
    if (!command.arguments) return "log_no_arguments";
    return command.generate ? "log_" + cpp_.method(command) : "log_raw_arguments";
  }

  std::string runner(const Command& command, const std::string& handler) const {
    std::string out = fmt::format(
        "async::Task<base::Result<JsonValue>> run_{}(const CommandHandlers& handlers,\n"
        "    JsonValue arguments) {{\n"
        "  if (!handlers.{}) co_return unserved_command(\"{}\");\n",
        cpp_.method(command), handler, command.name);
    std::string argument;
    if (!command.arguments) {
      out += "  CO_TRY(decode_no_arguments(arguments));\n";
    } else if (!command.generate) {
      argument = "std::move(arguments)";
    } else {
      out += fmt::format("  {0} args = CO_TRY(decode_as<{0}>(arguments));\n",
                         cpp_.name(*command.arguments));
      argument = "std::move(args)";
    }
    const std::string call =
        fmt::format("co_await handlers.{}->{}({})", handler, cpp_.method(command), argument);
    if (!command.returns) {
      out += fmt::format("  CO_TRY({});\n  co_return JsonValue(JsonObject());\n", call);
    } else if (!command.generate) {
      out += fmt::format("  co_return {};\n", call);
    } else {
      out += fmt::format("  {} result = CO_TRY({});\n  co_return encode(result);\n",
                         result_type(command), call);
    }
    out += "}\n\n";
    if (!command.arguments || !command.generate) return out;
    return out + fmt::format(
                     "JsonValue {}(const JsonValue& arguments) {{\n"
                     "  base::Result<{}> args = decode_as<{}>(arguments);\n"
                     "  if (!args) return JsonValue();\n"
                     "{}"
                     "  return encode(*args);\n}}\n\n",
                     loggable(command), cpp_.name(*command.arguments),
                     cpp_.name(*command.arguments),
                     cpp_.holds_secret(*command.arguments) ? "  hide_secrets(*args);\n" : "");
  }

  const Schema& schema_;
  const CppModel cpp_;
};

class CommandsBackend final : public Backend {
 public:
  std::string_view name() const override { return "commands"; }
  std::string_view summary() const override {
    return "handlers and their dispatch: commands.h, commands*.cc";
  }

  void emit(const Schema& schema, Output& output) const override {
    const CommandsEmitter emitter(schema);
    output.add("commands.h", emitter.header());
    output.add("commands.cc", emitter.table());
    for (const SourceFile* file : schema.files) {
      output.add(fmt::format("commands_{}.cc", emitter.cpp().module(file)), emitter.source(file));
    }
  }
};

}  // namespace

const Backend* commands_backend() {
  static const CommandsBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
