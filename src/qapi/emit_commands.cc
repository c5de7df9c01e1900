#include <fmt/format.h>

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

std::string result_type(const Command& command) {
  if (!command.generate) return command.returns ? "JsonValue" : "void";
  return command.returns ? cpp_type(*command.returns) : "void";
}

std::string class_name(const SourceFile* file) { return cpp_pascal(file->module) + "Commands"; }

class CommandsBackend final : public Backend {
 public:
  std::string_view name() const override { return "commands"; }
  std::string_view summary() const override {
    return "handler interfaces and the dispatch table: commands.h, commands.cc, commands_MODULE.cc";
  }

  void emit(const Schema& schema, Output& output) const override {
    output.add("commands.h", header(schema));
    output.add("commands.cc", table(schema));
    for (const SourceFile* file : schema.files) {
      output.add(fmt::format("commands_{}.cc", cpp_member(file->module)), source(schema, file));
    }
  }

 private:
  static std::string header(const Schema& schema) {
    std::string out =
        file_head(schema,
                  {"<span>", "<string_view>", "<vector>", "", "\"api/dispatch.h\"",
                   "\"async/task.h\"", "\"base/json.h\"", "\"base/result.h\"", "\"api/types.h\""},
                  true);
    out += "using base::JsonValue;\n\n";
    out +=
        "// Each module's commands are a class of its own: whoever serves them derives from it. A\n"
        "// handler runs on the loop that awaits the Task; its error becomes the command's "
        "answer.\n\n";
    std::string members;
    for (const SourceFile* file : schema.files) {
      const auto commands = commands_of(schema, file);
      if (commands.empty()) continue;
      out += fmt::format("class {0} {{\n public:\n  virtual ~{0}() = default;\n", class_name(file));
      for (const Command* command : commands) out += declaration(*command);
      out += "};\n\n";
      members += fmt::format("  {}* {} = nullptr;\n", class_name(file), cpp_member(file->module));
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

  static std::string declaration(const Command& command) {
    std::string out = "\n";
    if (command.doc) out += comment(command.doc->body, 2);
    const std::string result = result_type(command);
    out += fmt::format("  virtual async::Task<base::Result<{}>> {}(",
                       result == "void" ? "" : result, cpp_member(command.name));
    if (command.arguments) {
      out += command.generate ? command.arguments->name + " args" : "JsonValue args";
    }
    return out + ") = 0;\n";
  }

  // The function for CommandEntry::loggable.
  static std::string loggable(const Command& command) {
    if (!command.arguments) return "log_no_arguments";
    return command.generate ? "log_" + cpp_member(command.name) : "log_raw_arguments";
  }

  static std::string table(const Schema& schema) {
    std::string out = file_head(
        schema, {"\"api/commands.h\"", "", "<algorithm>", "", "\"api/command_support.h\""}, false);
    std::string rows;
    std::string features;
    for (const auto& command : schema.commands) {
      const std::string function = "run_" + cpp_member(command->name);
      out += fmt::format(
          "async::Task<base::Result<JsonValue>> {}(const CommandHandlers& handlers,\n"
          "    JsonValue arguments);\n",
          function);
      if (command->arguments && command->generate) {
        out += fmt::format("JsonValue {}(const JsonValue& arguments);\n", loggable(*command));
      }
      std::string list = "{}";
      if (!command->features.empty()) {
        list = fmt::format("k{}Features", cpp_pascal(command->name));
        features += fmt::format("constexpr std::string_view {}[] = {{{}}};\n", list,
                                feature_list(command->features));
      }
      rows += fmt::format("    {{\"{}\", \"{}\", {}, {}, {}, {}, {}, {}, {}, {}}},\n",
                          command->name, module_of(command->file), list, command->allow_oob,
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

  static std::string source(const Schema& schema, const SourceFile* file) {
    std::string out = file_head(
        schema,
        {"<utility>", "", "\"api/command_support.h\"", "\"api/codec.h\"", "\"api/commands.h\""},
        false);
    for (const Command* command : commands_of(schema, file)) {
      out += runner(*command, cpp_member(file->module));
    }
    return out + file_tail();
  }

  static std::string runner(const Command& command, const std::string& handler) {
    std::string out = fmt::format(
        "async::Task<base::Result<JsonValue>> run_{}(const CommandHandlers& handlers,\n"
        "    JsonValue arguments) {{\n"
        "  if (!handlers.{}) co_return unserved_command(\"{}\");\n",
        cpp_member(command.name), handler, command.name);
    std::string argument;
    if (!command.arguments) {
      out += "  CO_TRY(decode_no_arguments(arguments));\n";
    } else if (!command.generate) {
      argument = "std::move(arguments)";
    } else {
      out +=
          fmt::format("  {0} args = CO_TRY(decode_as<{0}>(arguments));\n", command.arguments->name);
      argument = "std::move(args)";
    }
    const std::string call =
        fmt::format("co_await handlers.{}->{}({})", handler, cpp_member(command.name), argument);
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
                     loggable(command), command.arguments->name, command.arguments->name,
                     holds_secret(*command.arguments) ? "  hide_secrets(*args);\n" : "");
  }
};

}  // namespace

const Backend* commands_backend() {
  static const CommandsBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
