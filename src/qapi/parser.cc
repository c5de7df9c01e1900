#include "qapi/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "qapi/lexer.h"

namespace firn::qapi {

const Node::Member* Node::member(std::string_view name) const {
  for (const Member& m : members) {
    if (m.name == name) return &m;
  }
  return nullptr;
}

const char* Node::kind_name() const {
  switch (kind) {
    case Kind::kObject:
      return "object";
    case Kind::kList:
      return "list";
    case Kind::kString:
      return "string";
    case Kind::kBool:
      return "true or false";
  }
  return "";
}

namespace {

constexpr int kMaxDepth = 64;

// The files that are being parsed, outermost first.
struct OpenFile {
  const SourceFile* file;
  Span included_at;
};

class SchemaParser {
 public:
  SchemaParser(SourceManager& sources, Dialect dialect, Diagnostics& diagnostics)
      : sources_(sources), dialect_(dialect), diagnostics_(diagnostics) {}

  ParsedSchema run(const SourceFile& top) {
    parse_file(top, {});
    return std::move(schema_);
  }

 private:
  // One file's tokens and where the parser stands in them.
  struct Cursor {
    std::vector<Token> tokens;
    size_t position = 0;
    bool failed = false;  // a syntax error in the definition at hand has been reported

    const Token& peek() const { return tokens[position]; }
    const Token& take() {
      const Token& token = tokens[position];
      if (token.kind != TokenKind::kEnd) ++position;
      return token;
    }
  };

  void parse_file(const SourceFile& file, const Span& included_at) {
    open_.push_back({&file, included_at});
    schema_.files.push_back(&file);
    Cursor cursor{tokenize(file, diagnostics_)};
    std::optional<Doc> doc;
    while (cursor.peek().kind != TokenKind::kEnd) {
      const Token& token = cursor.peek();
      if (token.kind == TokenKind::kComment) {
        if (auto block = take_comment(cursor)) {
          unattached(doc);
          if (block->symbol.empty()) {
            schema_.free_docs.push_back({*std::move(block), schema_.definitions.size()});
          } else {
            doc = std::move(block);
          }
        }
      } else if (token.kind == TokenKind::kBraceOpen) {
        cursor.failed = false;
        Node node = parse_node(cursor, 0);
        if (cursor.failed) {
          skip_to_next_definition(cursor);
          doc.reset();
        } else {
          add_definition(std::move(node), std::move(doc), file);
          doc.reset();
        }
      } else {
        diagnostics_.error(token.span, fmt::format("expected '{{' to start a definition, not {}",
                                                   describe(token)));
        skip_to_next_definition(cursor);
      }
    }
    unattached(doc);
    open_.pop_back();
  }

  void unattached(std::optional<Doc>& doc) {
    if (doc && dialect_ == Dialect::kToday) {
      diagnostics_.error(
          doc->symbol_span,
          fmt::format("no definition follows this documentation of '{}'", doc->symbol));
    }
    doc.reset();
  }

  // A documentation block, or nothing for a plain comment. In 2011 blocks were for people alone:
  // one may lack its end, or its definition.
  std::optional<Doc> take_comment(Cursor& cursor) {
    const Token opening = cursor.take();
    if (opening.text != "##") return std::nullopt;
    std::vector<Token> lines;
    while (cursor.peek().kind == TokenKind::kComment) {
      Token line = cursor.take();
      if (line.text == "##") {
        const Span span{opening.span.file, opening.span.begin, line.span.end};
        return parse_doc(lines, span, dialect_, diagnostics_);
      }
      lines.push_back(std::move(line));
    }
    if (dialect_ == Dialect::k2011) {
      const Span span{opening.span.file, opening.span.begin,
                      (lines.empty() ? opening : lines.back()).span.end};
      return parse_doc(lines, span, dialect_, diagnostics_);
    }
    diagnostics_.error(opening.span, "this documentation block has no closing '##'");
    return std::nullopt;
  }

  void syntax_error(Cursor& cursor, const Token& token, std::string_view expected) {
    if (!cursor.failed) {
      diagnostics_.error(token.span, fmt::format("expected {}, not {}", expected, describe(token)));
    }
    cursor.failed = true;
  }

  // The next token that is no comment; comments inside a definition mean nothing.
  static const Token& peek_code(Cursor& cursor) {
    while (cursor.peek().kind == TokenKind::kComment) cursor.take();
    return cursor.peek();
  }

  Node parse_node(Cursor& cursor, int depth) {
    Node node;
    const Token& token = peek_code(cursor);
    node.span = token.span;
    if (depth > kMaxDepth) {
      syntax_error(cursor, token, "less nesting");
      return node;
    }
    switch (token.kind) {
      case TokenKind::kBraceOpen:
        parse_object(cursor, node, depth);
        break;
      case TokenKind::kBracketOpen:
        parse_list(cursor, node, depth);
        break;
      case TokenKind::kString:
        node.kind = Node::Kind::kString;
        node.text = cursor.take().text;
        break;
      case TokenKind::kTrue:
      case TokenKind::kFalse:
        node.kind = Node::Kind::kBool;
        node.boolean = cursor.take().kind == TokenKind::kTrue;
        break;
      default:
        syntax_error(cursor, token, "'{', '[', a string, true or false");
    }
    return node;
  }

  void parse_object(Cursor& cursor, Node& node, int depth) {
    node.kind = Node::Kind::kObject;
    cursor.take();
    if (peek_code(cursor).kind == TokenKind::kBraceClose) {
      node.span.end = cursor.take().span.end;
      return;
    }
    while (!cursor.failed) {
      const Token& name = peek_code(cursor);
      if (name.kind != TokenKind::kString) return syntax_error(cursor, name, "a member's name");
      Node::Member member{name.text, name.span, {}};
      cursor.take();
      const Token& colon = peek_code(cursor);
      if (colon.kind != TokenKind::kColon) return syntax_error(cursor, colon, "':'");
      cursor.take();
      member.value = parse_node(cursor, depth + 1);
      if (cursor.failed) return;
      if (node.member(member.name)) {
        diagnostics_.error(member.name_span, fmt::format("'{}' stands here twice", member.name));
      } else {
        node.members.push_back(std::move(member));
      }
      const Token& separator = peek_code(cursor);
      if (separator.kind == TokenKind::kBraceClose) {
        node.span.end = cursor.take().span.end;
        return;
      }
      if (separator.kind != TokenKind::kComma) {
        return syntax_error(cursor, separator, "',' or '}'");
      }
      cursor.take();
    }
  }

  void parse_list(Cursor& cursor, Node& node, int depth) {
    node.kind = Node::Kind::kList;
    cursor.take();
    if (peek_code(cursor).kind == TokenKind::kBracketClose) {
      node.span.end = cursor.take().span.end;
      return;
    }
    while (!cursor.failed) {
      node.elements.push_back(parse_node(cursor, depth + 1));
      if (cursor.failed) return;
      const Token& separator = peek_code(cursor);
      if (separator.kind == TokenKind::kBracketClose) {
        node.span.end = cursor.take().span.end;
        return;
      }
      if (separator.kind != TokenKind::kComma) {
        return syntax_error(cursor, separator, "',' or ']'");
      }
      cursor.take();
    }
  }

  // After a syntax error: on to the next line that starts with `{` or `##`.
  static void skip_to_next_definition(Cursor& cursor) {
    while (cursor.peek().kind != TokenKind::kEnd) {
      const Token& token = cursor.peek();
      const bool starts_line = locate(token.span).column == 1;
      if (starts_line && (token.kind == TokenKind::kBraceOpen || token.text == "##")) return;
      cursor.take();
    }
  }

  void add_definition(Node node, std::optional<Doc> doc, const SourceFile& file) {
    if (const Node::Member* include = node.member("include")) {
      only_member(node, "include");
      return add_include(include->value, file);
    }
    if (const Node::Member* pragma = node.member("pragma")) {
      only_member(node, "pragma");
      return add_pragma(pragma->value);
    }
    schema_.definitions.push_back({std::move(node), std::move(doc)});
  }

  void only_member(const Node& node, std::string_view name) {
    for (const Node::Member& member : node.members) {
      if (member.name != name) {
        diagnostics_.error(member.name_span,
                           fmt::format("'{}' stands alone, without '{}'", name, member.name));
      }
    }
  }

  void add_include(const Node& value, const SourceFile& file) {
    if (value.kind != Node::Kind::kString) {
      return diagnostics_.error(value.span, "'include' needs a file name");
    }
    const std::filesystem::path path = std::filesystem::path(file.path).parent_path() / value.text;
    auto included = sources_.load(path.lexically_normal().string());
    if (!included) return diagnostics_.error(value.span, included.error().text());
    const auto is_open = [&](const OpenFile& open) { return open.file == *included; };
    if (const auto open = std::find_if(open_.begin(), open_.end(), is_open); open != open_.end()) {
      diagnostics_.error(value.span, fmt::format("'{}' includes itself", (*included)->path));
      for (auto step = open + 1; step != open_.end(); ++step) {
        diagnostics_.note(step->included_at, "by way of this include");
      }
      return;
    }
    const auto& files = schema_.files;
    if (std::find(files.begin(), files.end(), *included) != files.end()) return;
    parse_file(**included, value.span);
  }

  void add_pragma(const Node& value) {
    if (value.kind != Node::Kind::kObject) {
      return diagnostics_.error(value.span, "'pragma' needs an object");
    }
    for (const Node::Member& member : value.members) {
      Pragmas& pragmas = schema_.pragmas;
      if (member.name == "doc-required") {
        if (member.value.kind != Node::Kind::kBool) {
          diagnostics_.error(member.value.span, "pragma 'doc-required' needs true or false");
        }
        pragmas.doc_required = member.value.boolean;
      } else if (member.name == "command-name-exceptions") {
        add_names(member, pragmas.command_name_exceptions);
      } else if (member.name == "command-returns-exceptions") {
        add_names(member, pragmas.command_returns_exceptions);
      } else if (member.name == "documentation-exceptions") {
        add_names(member, pragmas.documentation_exceptions);
      } else if (member.name == "member-name-exceptions") {
        add_names(member, pragmas.member_name_exceptions);
      } else if (member.name == "role-type") {
        if (member.value.kind != Node::Kind::kString) {
          diagnostics_.error(member.value.span, "pragma 'role-type' needs an enum's name");
        }
        pragmas.role_type = member.value.text;
        pragmas.role_type_span = member.value.span;
      } else if (member.name == "secret-members") {
        if (member.value.kind != Node::Kind::kBool) {
          diagnostics_.error(member.value.span, "pragma 'secret-members' needs true or false");
        }
        pragmas.secret_members = member.value.boolean;
      } else {
        diagnostics_.error(member.name_span, fmt::format("unknown pragma '{}'", member.name));
      }
    }
  }

  void add_names(const Node::Member& member, std::set<std::string, std::less<>>& names) {
    bool good = member.value.kind == Node::Kind::kList;
    for (const Node& element : member.value.elements) {
      good = good && element.kind == Node::Kind::kString;
      names.insert(element.text);
    }
    if (!good) {
      diagnostics_.error(member.value.span,
                         fmt::format("pragma '{}' needs a list of strings", member.name));
    }
  }

  SourceManager& sources_;
  const Dialect dialect_;
  Diagnostics& diagnostics_;
  std::vector<OpenFile> open_;
  ParsedSchema schema_;
};

}  // namespace

ParsedSchema parse_schema(SourceManager& sources, const SourceFile& top, Dialect dialect,
                          Diagnostics& diagnostics) {
  return SchemaParser(sources, dialect, diagnostics).run(top);
}

}  // namespace firn::qapi
