#pragma once
// The parsed form of src/api/schema/*.api. apigen is a build tool: a mistake in a schema ends it with file:line.

#include <map>
#include <string>
#include <vector>

namespace apigen {

struct Field {
  std::string name, number, type, doc;
  bool required = false;
  std::map<std::string, std::string> flags;  // enum=..., list=..., map=..., patch=..., default=..., schemadefault=...
};

struct Subresource {
  std::string name, api_version, kind, verbs;
};

struct Column {
  std::string name, type, format;
  bool wide = false;
};

struct Kind {
  std::string kind, group, version;
  std::map<std::string, std::string> lines;  // plural, singular, short, categories, scope, verbs
  std::vector<Subresource> subresources;
  std::vector<Column> columns;
};

struct Type {
  std::string name, openapi, proto_package, openapi_package, doc, file;
  bool atomic = false;
  std::vector<Field> fields;
  std::vector<Kind> kinds;  // none or one
};

/// All types of the schema, by file in the order given.
struct Schema {
  std::vector<std::string> files;  // stems: "core", "apps"
  std::vector<Type> types;
  std::map<std::string, size_t> by_name;
};

Schema parse(const std::vector<std::string>& paths);

/// Writes <file>.hpp and <file>.cpp for each schema file, and kinds.cpp, into `directory`.
void generate(const Schema& schema, const std::string& directory);

}  // namespace apigen
