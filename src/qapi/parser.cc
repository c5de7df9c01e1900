#include "qapi/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_set>
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
      return "an object";
    case Kind::kList:
      return "a list";
    case Kind::kString:
      return "a string";
    case Kind::kBool:
      return "true or false";
  }
  return "";
}

namespace {

constexpr int kMaxDepth = 64;        // of brackets
constexpr size_t kMaxIncludes = 64;  // of files that include each other in a row

// Where the first byte is that is no UTF-8, or npos. Surrogates and overlong forms are none.
size_t find_bad_utf8(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  for (size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (length == 0) return i;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    const unsigned second = byte(i + 1);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
      return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

// A name inside a definition that could not be read, so that its uses are not reported too.
void lose_name(std::string_view text, std::unordered_set<std::string_view>& lost) {
  for (const std::string_view key : {"'struct'", "'enum'", "'union'", "'alternate'", "'type'"}) {
    size_t at = text.find(key);
    if (at == std::string_view::npos) continue;
    at = text.find('\'', at + key.size());
    const size_t end = at == std::string_view::npos ? at : text.find_first_of("'\n", at + 1);
    if (end != std::string_view::npos) lost.insert(text.substr(at + 1, end - at - 1));
  }
}

class SchemaParser;

// Parses one file. Reads one token ahead, as QEMU's generator does: so a bad token behind a
// definition is reported before what is wrong with the definition.
class FileParser {
 public:
  FileParser(const SourceFile& file, SchemaParser& schema);
  void run();

 private:
  void accept(bool all_comments = false) { token_ = lexer_.next(all_comments); }
  void fail(const Span& span, std::string text, std::string hint = {});
  void unexpected(std::string_view expected);

  void parse_item();
  void parse_documentation();
  void reject_doc();

  bool lax_commas() const;
  Node parse_node(int depth);
  void parse_object(Node& node, int depth);
  void parse_list(Node& node, int depth);

  void add_definition(Node node);
  bool stands_alone(const Node& node, std::string_view name);

  SchemaParser& schema_;
  const SourceFile& file_;
  Lexer lexer_;
  Token token_;
  bool failed_ = false;     // a syntax error in the item at hand has been reported
  std::optional<Doc> doc_;  // the documentation before the next definition
  Span free_doc_;           // the `##` of a block of free text, if that is what the last item was
  bool doc_broken_ = false;
};

class SchemaParser {
 public:
  SchemaParser(SourceManager& sources, Dialect dialect, Diagnostics& diagnostics)
      : sources(sources), dialect(dialect), diagnostics(diagnostics) {}

  void parse_file(const SourceFile& file) {
    files_.insert(&file);
    result.files.push_back(&file);
    const size_t bad = find_bad_utf8(file.text);
    if (bad != std::string_view::npos) {
      const auto at = static_cast<uint32_t>(bad);
      diagnostics.error(
          {&file, at, at + 1},
          fmt::format("byte 0x{:02x} is no UTF-8", static_cast<unsigned char>(file.text[bad])));
      result.lost_files = true;
      return;
    }
    open_.push_back(&file);
    FileParser(file, *this).run();
    open_.pop_back();
  }

  // An `include` directive of `file` that starts at `start`.
  void include(const Node& value, const Span& start, const SourceFile& file);

  SourceManager& sources;
  const Dialect dialect;
  Diagnostics& diagnostics;
  ParsedSchema result;

 private:
  std::vector<const SourceFile*> open_;  // the files that are being parsed, outermost first
  std::unordered_set<const SourceFile*> files_;
};

void SchemaParser::include(const Node& value, const Span& start, const SourceFile& file) {
  const auto refuse = [&](std::string text, std::string hint = {}) {
    diagnostics.error_in(start, value.span, std::move(text), std::move(hint));
    result.lost_files = true;
  };
  if (value.kind != Node::Kind::kString) return refuse("'include' needs a file's name");
  const std::filesystem::path path =
      std::filesystem::path(file.path).parent_path() / std::filesystem::path(value.text);
  auto included = sources.load(path.string(), start);
  if (!included) return refuse(included.error().text());
  const auto open = std::find(open_.begin(), open_.end(), *included);
  if (open != open_.end()) {
    refuse(fmt::format("'{}' includes itself", (*included)->path));
    for (auto step = open + 1; step != open_.end(); ++step) {
      diagnostics.note((*step)->included_at, "by way of this include");
    }
    return;
  }
  if (files_.contains(*included)) return;
  if (open_.size() >= kMaxIncludes) {
    return refuse(fmt::format("more than {} files include each other in a row", kMaxIncludes));
  }
  parse_file(**included);
}

FileParser::FileParser(const SourceFile& file, SchemaParser& schema)
    : schema_(schema), file_(file), lexer_(file, schema.result.store, schema.diagnostics) {}

void FileParser::fail(const Span& span, std::string text, std::string hint) {
  schema_.diagnostics.error(span, std::move(text), std::move(hint));
}

void FileParser::run() {
  accept();
  while (token_.kind != TokenKind::kEnd) parse_item();
  reject_doc();
}

void FileParser::parse_item() {
  const Token first = token_;
  failed_ = false;
  if (first.kind == TokenKind::kBad) {
    failed_ = true;
  } else if (first.kind == TokenKind::kComment) {
    reject_doc();
    return parse_documentation();
  } else {
    Node node = parse_node(0);
    if (!failed_ && node.kind == Node::Kind::kObject) return add_definition(std::move(node));
    free_doc_ = {};
    if (!failed_) {
      return fail(first.span,
                  fmt::format("a schema is made of objects, and this is {}", node.kind_name()));
    }
  }
  const uint32_t from = first.span.begin;
  lexer_.skip_to_definition(std::max(token_.span.begin, from + 1));
  accept();
  lose_name(std::string_view(file_.text).substr(from, token_.span.begin - from),
            schema_.result.lost_names);
  doc_.reset();
  free_doc_ = {};
  doc_broken_ = false;
}

// No definition follows the documentation at hand.
void FileParser::reject_doc() {
  if (doc_ && schema_.dialect == Dialect::kToday) {
    fail({doc_->span.file, doc_->span.begin, doc_->span.begin + 2},
         fmt::format("no definition follows this documentation of '{}'", doc_->symbol));
  }
  doc_.reset();
  free_doc_ = {};
  doc_broken_ = false;
}

void FileParser::parse_documentation() {
  const bool lax = schema_.dialect == Dialect::k2011;
  DocLines block{token_, {}, {}};
  // A bad token behind the lines is reported after what is wrong with them.
  const auto peek = [&] {
    Diagnostics ignored;
    return Lexer(lexer_, ignored).next(true);
  };
  for (block.closing = peek(); block.closing.kind == TokenKind::kComment; block.closing = peek()) {
    if (block.closing.text.starts_with("##")) break;
    accept(true);
    block.lines.push_back(token_);
  }
  const bool closed = block.closing.kind == TokenKind::kComment;
  ParsedDoc parsed = parse_doc(block, schema_.dialect, schema_.diagnostics);
  accept(true);
  if (closed) accept();
  for (const auto& [span, name] : parsed.empty_parts) {
    fail(span, fmt::format("no text stands behind '{}:'", name));
  }
  // In 2011 a block might lack its end: then it was no documentation.
  if (!closed && !lax) parsed.broken = true;
  doc_broken_ = parsed.broken;
  if (parsed.broken) return;
  if (parsed.doc.symbol.empty()) {
    free_doc_ = block.opening.span;
    auto& free_docs = schema_.result.free_docs;
    free_docs.push_back({std::move(parsed.doc), schema_.result.definitions.size()});
    return;
  }
  doc_ = std::move(parsed.doc);
}

bool FileParser::lax_commas() const { return schema_.dialect == Dialect::k2011; }

void FileParser::unexpected(std::string_view expected) {
  if (!failed_ && token_.kind != TokenKind::kBad) {
    fail(token_.span, fmt::format("expected {}, not {}", expected, describe(token_)));
  }
  failed_ = true;
}

Node FileParser::parse_node(int depth) {
  Node node;
  node.span = token_.span;
  if (depth > kMaxDepth) {
    unexpected(fmt::format("less than {} brackets inside each other", kMaxDepth));
    return node;
  }
  switch (token_.kind) {
    case TokenKind::kBraceOpen:
      parse_object(node, depth);
      break;
    case TokenKind::kBracketOpen:
      parse_list(node, depth);
      break;
    case TokenKind::kString:
      node.kind = Node::Kind::kString;
      node.text = token_.text;
      accept();
      break;
    case TokenKind::kTrue:
    case TokenKind::kFalse:
      node.kind = Node::Kind::kBool;
      node.boolean = token_.kind == TokenKind::kTrue;
      accept();
      break;
    default:
      unexpected("'{', '[', a string, true or false");
  }
  return node;
}

void FileParser::parse_object(Node& node, int depth) {
  node.kind = Node::Kind::kObject;
  accept();
  std::unordered_set<std::string_view> names;  // of objects with many members
  if (token_.kind != TokenKind::kString && token_.kind != TokenKind::kBraceClose) {
    return unexpected("a member's name or '}'");
  }
  while (token_.kind != TokenKind::kBraceClose) {
    if (token_.kind != TokenKind::kString) return unexpected("a member's name");
    Node::Member member{token_.text, token_.span, {}};
    accept();
    if (token_.kind != TokenKind::kColon) return unexpected("':'");
    accept();
    constexpr size_t kFew = 16;
    if (node.members.size() == kFew) {
      for (const Node::Member& other : node.members) names.insert(other.name);
    }
    const bool twice = node.members.size() < kFew ? node.member(member.name) != nullptr
                                                  : !names.insert(member.name).second;
    if (twice) {
      schema_.diagnostics.error_in(token_.span, member.name_span,
                                   fmt::format("'{}' stands here twice", member.name));
      schema_.diagnostics.note(node.member(member.name)->name_span, "the first time is here");
    }
    member.value = parse_node(depth + 1);
    if (failed_) return;
    if (!twice) node.members.push_back(std::move(member));
    if (token_.kind == TokenKind::kBraceClose) break;
    if (token_.kind != TokenKind::kComma) {
      // Until 2013 nobody looked at the commas between members.
      if (lax_commas() && token_.kind == TokenKind::kString) continue;
      return unexpected("',' or '}'");
    }
    accept();
    if (token_.kind == TokenKind::kBraceClose && !lax_commas()) {
      return unexpected("a member's name");
    }
  }
  node.span.end = token_.span.end;
  accept();
}

void FileParser::parse_list(Node& node, int depth) {
  node.kind = Node::Kind::kList;
  accept();
  if (token_.kind != TokenKind::kBracketClose) {
    for (;;) {
      node.elements.push_back(parse_node(depth + 1));
      if (failed_) return;
      if (token_.kind == TokenKind::kBracketClose) break;
      if (token_.kind != TokenKind::kComma) return unexpected("',' or ']'");
      accept();
    }
  }
  node.span.end = token_.span.end;
  accept();
}

// `include` and `pragma` have no other keys.
bool FileParser::stands_alone(const Node& node, std::string_view name) {
  for (const Node::Member& member : node.members) {
    if (member.name == name) continue;
    schema_.diagnostics.error_in(node.span, member.name_span,
                                 fmt::format("'{}' stands alone, without '{}'", name, member.name));
    return false;
  }
  return true;
}

void FileParser::add_definition(Node node) {
  const Span start = node.span;
  const Span free = std::exchange(free_doc_, {});
  if (const Node::Member* include = node.member("include")) {
    reject_doc();
    if (stands_alone(node, "include")) schema_.include(include->value, start, file_);
    return;
  }
  if (const Node::Member* pragma = node.member("pragma")) {
    reject_doc();
    if (!stands_alone(node, "pragma")) return;
    return read_pragma(pragma->value, start, schema_.dialect, schema_.result.pragmas,
                       schema_.diagnostics);
  }
  if (free.file && schema_.dialect == Dialect::kToday) {
    fail(free, "this documentation does not say what it is of, and a definition follows",
         "its first line has to be '# @name:'; free text stands further up");
  }
  schema_.result.definitions.push_back(
      {std::move(node), std::exchange(doc_, std::nullopt), std::exchange(doc_broken_, false)});
}

}  // namespace

ParsedSchema parse_schema(SourceManager& sources, const SourceFile& top, Dialect dialect,
                          Diagnostics& diagnostics) {
  SchemaParser parser(sources, dialect, diagnostics);
  parser.parse_file(top);
  return std::move(parser.result);
}

}  // namespace firn::qapi
