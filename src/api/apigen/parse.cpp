#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "schema.hpp"

namespace apigen {
namespace {

class Parser {
 public:
  explicit Parser(Schema& schema) : schema_(schema) {}

  void file(const std::string& path) {
    path_ = path;
    stem_ = std::filesystem::path(path).stem().string();
    schema_.files.push_back(stem_);
    std::ifstream in(path);
    if (!in) fail("cannot read");
    line_number_ = 0;
    for (std::string line; std::getline(in, line);) {
      ++line_number_;
      one_line(line);
    }
  }

 private:
  [[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "%s:%d: %s\n", path_.c_str(), line_number_, why.c_str());
    std::exit(1);
  }

  void one_line(const std::string& line) {
    if (line.empty() || line[0] == '#') return;
    std::string text = line, doc;
    if (size_t dashes = line.find(" -- "); dashes != std::string::npos) {
      text = line.substr(0, dashes);
      doc = line.substr(dashes + 4);
    }
    std::istringstream words(text);
    std::string first;
    words >> first;
    if (line[0] == ' ') return in_kind_ ? kind_line(first, text) : field_line(words, first, doc);
    if (first == "package") return package_line(words);
    if (first == "kind") return kind_head(words);
    if (first == "type") return type_head(words, doc);
    fail("expected package, kind or type, got '" + first + "'");
  }

  void package_line(std::istringstream& words) {
    std::string keyword;
    words >> proto_package_ >> keyword >> openapi_package_;
    if (keyword != "openapi") fail("package PROTO openapi OPENAPI");
  }

  void kind_head(std::istringstream& words) {
    Kind kind;
    std::string group_version;
    words >> kind.kind >> group_version;
    size_t slash = group_version.find('/');
    if (slash == std::string::npos) fail("kind NAME GROUP/VERSION");
    kind.group = group_version.substr(0, slash);
    if (kind.group == "core") kind.group.clear();
    kind.version = group_version.substr(slash + 1);
    pending_.push_back(kind);
    in_kind_ = true;
  }

  static std::string rest_after(const std::string& text, const std::string& word) {
    size_t begin = text.find_first_not_of(' ', text.find(word) + word.size());
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
  }

  void kind_line(const std::string& key, const std::string& text) {
    Kind& kind = pending_.back();
    std::string rest = rest_after(text, key);
    if (key == "subresource") return subresource_line(kind, rest);
    if (key == "column") return column_line(kind, rest);
    kind.lines[key] = rest;
  }

  void subresource_line(Kind& kind, const std::string& rest) {
    Subresource sub;
    std::istringstream words(rest);
    words >> sub.name;
    for (std::string word; words >> word;) {
      if (size_t colon = word.find(':'); colon != std::string::npos) {
        sub.api_version = word.substr(0, colon);
        if (sub.api_version.starts_with("core/")) sub.api_version.erase(0, 5);
        sub.kind = word.substr(colon + 1);
      } else {
        sub.verbs += (sub.verbs.empty() ? "" : " ") + word;
      }
    }
    kind.subresources.push_back(sub);
  }

  void column_line(Kind& kind, const std::string& rest) {
    size_t quote = rest.find('"', 1);
    if (rest.empty() || rest[0] != '"' || quote == std::string::npos) fail("column \"NAME\" TYPE[/FORMAT] [wide]");
    Column column{.name = rest.substr(1, quote - 1), .type = {}, .format = {}};
    std::istringstream words(rest.substr(quote + 1));
    words >> column.type;
    if (size_t slash = column.type.find('/'); slash != std::string::npos) {
      column.format = column.type.substr(slash + 1);
      column.type.resize(slash);
    }
    std::string wide;
    column.wide = static_cast<bool>(words >> wide);
    kind.columns.push_back(column);
  }

  void type_head(std::istringstream& words, const std::string& doc) {
    in_kind_ = false;
    Type type;
    words >> type.name;
    type.openapi = type.name;
    for (std::string word; words >> word;) {
      if (word == "atomic") type.atomic = true;
      else if (word == "openapi") words >> type.openapi;
      else fail("unknown word '" + word + "'");
    }
    type.doc = doc;
    type.file = stem_;
    type.proto_package = proto_package_;
    type.openapi_package = openapi_package_;
    type.kinds = std::move(pending_);
    pending_.clear();
    if (!schema_.by_name.emplace(type.name, schema_.types.size()).second) fail("type " + type.name + " stands twice");
    schema_.types.push_back(std::move(type));
  }

  // A flag is one word; '~' stands for a space within it.
  static std::string flag_value(std::string text) {
    std::replace(text.begin(), text.end(), '~', ' ');
    return text;
  }

  void field_line(std::istringstream& words, const std::string& name, const std::string& doc) {
    if (schema_.types.empty()) fail("a field before any type");
    Field field;
    field.name = name;
    field.doc = doc;
    if (!(words >> field.number >> field.type)) fail("field NAME NUMBER TYPE");
    for (std::string word; words >> word;) {
      size_t equals = word.find('=');
      if (word == "required") field.required = true;
      else if (equals != std::string::npos) field.flags[word.substr(0, equals)] = flag_value(word.substr(equals + 1));
      else fail("unknown flag '" + word + "'");
    }
    schema_.types.back().fields.push_back(std::move(field));
  }

  Schema& schema_;
  std::string path_, stem_, proto_package_, openapi_package_;
  int line_number_ = 0;
  bool in_kind_ = false;
  std::vector<Kind> pending_;
};

}  // namespace

Schema parse(const std::vector<std::string>& paths) {
  Schema schema;
  Parser parser(schema);
  for (const std::string& path : paths) parser.file(path);
  return schema;
}

}  // namespace apigen
