#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "schema.hpp"

namespace apigen {
namespace {

// A field's type text taken apart: "[]Container" is a List of Struct Container.
struct Shape {
  std::string shape = "Plain";  // Plain, Optional, List, Map
  std::string value;            // the ValueKind
  std::string element;          // the C++ element type
  std::string struct_name;      // of a Struct element
};

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "apigen: %s\n", why.c_str());
  std::exit(1);
}

Shape shape_of(const Schema& schema, const Type& owner, const Field& field) {
  static const std::map<std::string, std::pair<std::string, std::string>> kScalars = {
      {"string", {"String", "std::string"}},   {"bool", {"Bool", "bool"}},
      {"int32", {"Int32", "std::int32_t"}},    {"int64", {"Int64", "std::int64_t"}},
      {"double", {"Double", "double"}},        {"bytes", {"Bytes", "Bytes"}},
      {"Time", {"Time", "Time"}},              {"MicroTime", {"MicroTime", "MicroTime"}},
      {"Quantity", {"Quantity", "Quantity"}},  {"IntOrString", {"IntOrString", "IntOrString"}},
      {"Raw", {"Raw", "Raw"}},                 {"[]string", {"StringList", "std::vector<std::string>"}}};
  Shape shape;
  std::string text = field.type;
  if (text.starts_with("[]")) {
    shape.shape = "List";
    text = text.substr(2);
  } else if (text.starts_with("map[")) {
    shape.shape = "Map";
    text = text.substr(4, text.size() - 5);
  } else if (text.ends_with("?")) {
    shape.shape = "Optional";
    text.pop_back();
  }
  if (auto scalar = kScalars.find(text); scalar != kScalars.end()) {
    shape.value = scalar->second.first;
    // std::vector<bool> has no addressable elements.
    shape.element = text == "bool" && shape.shape == "List" ? "Flag" : scalar->second.second;
  } else if (schema.by_name.contains(text)) {
    shape.value = "Struct";
    shape.element = shape.struct_name = text;
  } else {
    fail(owner.name + "." + field.name + ": unknown type " + field.type);
  }
  return shape;
}

std::string member_type(const Shape& shape) {
  if (shape.shape == "List") return "std::vector<" + shape.element + ">";
  if (shape.shape == "Map") return "std::map<std::string, " + shape.element + ">";
  if (shape.shape == "Optional")
    return (shape.value == "Struct" ? "Box<" : "std::optional<") + shape.element + ">";
  return shape.element;
}

// JSON names that C++ cannot spell.
std::string member_name(const std::string& name) {
  static const std::set<std::string> kKeywords = {"namespace", "template", "operator", "default", "continue", "enum",
                                                  "not",       "static",   "delete",   "export",  "volatile", "and",
                                                  "or",        "int",      "bool",     "class",    "public",   "private", "protected"};
  std::string member;
  for (char c : name)
    if (c == '-') member += '_';
    else if (c != '$') member += c;
  return kKeywords.contains(name) || name[0] == '$' ? member + "_" : member;
}

std::string quoted(const std::string& text) {
  std::string literal = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') literal += '\\';
    literal += c;
  }
  return literal + "\"";
}

std::string flag(const Field& field, const std::string& name) {
  auto found = field.flags.find(name);
  return found == field.flags.end() ? "" : found->second;
}

// "map(a,b)" -> {"map", "a,b"}.
std::pair<std::string, std::string> with_argument(const std::string& text) {
  size_t open = text.find('(');
  if (open == std::string::npos) return {text, ""};
  return {text.substr(0, open), text.substr(open + 1, text.size() - open - 2)};
}

class FileWriter {
 public:
  FileWriter(const Schema& schema, std::string file) : schema_(schema), file_(std::move(file)) {
    for (const Type& type : schema_.types)
      if (type.file == file_) visit(type);
  }

  std::string header() {
    std::ostringstream out;
    out << "// Made by apigen from src/api/schema/" << file_ << ".api. Do not edit.\n#pragma once\n"
        << "#include <cstdint>\n#include <map>\n#include <optional>\n#include <string>\n#include <vector>\n\n"
        << "#include \"api/box.hpp\"\n#include \"api/descriptor.hpp\"\n#include \"api/values.hpp\"\n";
    for (const std::string& other : includes_) out << "#include \"api/gen/" << other << ".hpp\"\n";
    out << "\nnamespace skiff::api {\n\n";
    for (const Type* type : ordered_) out << "struct " << type->name << ";\n";
    for (const Type* type : ordered_) write_struct(out, *type);
    out << "\n";
    for (const Type* type : ordered_)
      out << "template <>\nconst TypeInfo& type_of<" << type->name << ">();\n";
    out << "\n}  // namespace skiff::api\n";
    return out.str();
  }

  std::string source() {
    std::ostringstream out;
    out << "// Made by apigen from src/api/schema/" << file_ << ".api. Do not edit.\n"
        << "#include \"api/gen/" << file_ << ".hpp\"\n\n#include <cstddef>\n\n#include \"api/container_ops.hpp\"\n\n"
        << "// offsetof of a member of a class with std members is conditionally supported; g++ and clang support it.\n"
        << "#pragma GCC diagnostic ignored \"-Winvalid-offsetof\"\n\nnamespace skiff::api {\n";
    for (const Type* type : ordered_) write_members(out, *type);
    out << "namespace {\n";
    for (const Type* type : ordered_) write_fields(out, *type);
    out << "}  // namespace\n";
    for (const Type* type : ordered_) write_infos(out, *type);
    out << "}  // namespace skiff::api\n";
    return out.str();
  }

 private:
  // Orders types so that members held by value come first.
  void visit(const Type& type) {
    if (!visited_.insert(type.name).second) return;
    for (const Field& field : type.fields) {
      Shape shape = shape_of(schema_, type, field);
      if (shape.value != "Struct") continue;
      const Type& used = schema_.types[schema_.by_name.at(shape.struct_name)];
      if (used.file != file_) includes_.insert(used.file);
      else if (shape.shape == "Plain" || shape.shape == "Map") visit(used);
    }
    ordered_.push_back(&type);
  }

  // Leaves stay aggregates; types that hold others have their special members in the source file, so that the
  // rooms that copy a Pod do not each compile the copying of its hundred parts.
  bool composite(const Type& type) const {
    for (const Field& field : type.fields) {
      Shape shape = shape_of(schema_, type, field);
      if (shape.value == "Struct" || shape.shape == "Map") return true;
    }
    return false;
  }

  void write_struct(std::ostringstream& out, const Type& type) {
    out << "\n";
    if (!type.doc.empty()) out << "/// " << type.doc << "\n";
    out << "struct " << type.name << " {\n";
    if (composite(type))
      out << "  " << type.name << "();\n  " << type.name << "(const " << type.name << "&);\n  " << type.name << "("
          << type.name << "&&) noexcept;\n  " << type.name << "& operator=(const " << type.name << "&);\n  "
          << type.name << "& operator=(" << type.name << "&&) noexcept;\n  ~" << type.name << "();\n\n";
    for (const Field& field : type.fields) {
      Shape shape = shape_of(schema_, type, field);
      out << "  " << member_type(shape) << " " << member_name(field.name);
      bool number = shape.value == "Int32" || shape.value == "Int64" || shape.value == "Double";
      if (shape.shape == "Plain" && number) out << " = 0";
      if (shape.shape == "Plain" && shape.value == "Bool") out << " = false";
      if (shape.shape == "Plain" && shape.value == "String") out << " = {}";
      out << ";\n";
    }
    out << "\n  bool operator==(const " << type.name << "&) const" << (composite(type) ? ";" : " = default;")
        << "\n};\n";
  }

  void write_members(std::ostringstream& out, const Type& type) {
    if (!composite(type)) return;
    const std::string& n = type.name;
    out << n << "::" << n << "() = default;\n" << n << "::" << n << "(const " << n << "&) = default;\n"
        << n << "::" << n << "(" << n << "&&) noexcept = default;\n"
        << n << "& " << n << "::operator=(const " << n << "&) = default;\n"
        << n << "& " << n << "::operator=(" << n << "&&) noexcept = default;\n"
        << n << "::~" << n << "() = default;\n"
        << "bool " << n << "::operator==(const " << n << "&) const = default;\n";
  }

  void write_fields(std::ostringstream& out, const Type& type) {
    if (type.fields.empty()) return;
    out << "constexpr FieldInfo k" << type.name << "Fields[] = {\n";
    for (const Field& field : type.fields) {
      Shape shape = shape_of(schema_, type, field);
      auto [list, keys] = with_argument(flag(field, "list"));
      auto [strategy, merge_key] = with_argument(flag(field, "patch"));
      std::string list_type = list == "map" ? "Map" : list == "set" ? "Set" : list == "atomic" ? "Atomic" : "Unset";
      std::string map = flag(field, "map");
      out << "    {.name = " << quoted(field.name) << ", .offset = offsetof(" << type.name << ", "
          << member_name(field.name) << "), .value = ValueKind::" << shape.value
          << ", .shape = Shape::" << shape.shape << ", .required = " << (field.required ? "true" : "false")
          << ", .list_type = ListType::" << list_type
          << ", .map_type = MapType::" << (map == "atomic" ? "Atomic" : map == "granular" ? "Granular" : "Unset")
          << ", .type = " << (shape.struct_name.empty() ? "nullptr" : "&type_of<" + shape.struct_name + ">")
          << ", .ops = " << (shape.shape == "Plain" ? "nullptr" : "&OpsOf<" + member_type(shape) + ">::kOps")
          << ", .proto = " << quoted(field.number) << ", .list_keys = " << quoted(keys)
          << ", .patch_strategy = " << quoted(strategy) << ", .patch_merge_key = " << quoted(merge_key)
          << ", .enum_values = " << quoted(flag(field, "enum"))
          << ", .default_json = " << quoted(flag(field, "default"))
          << ", .schema_default = " << quoted(flag(field, "schemadefault")) << ", .doc = " << quoted(field.doc)
          << "},\n";
    }
    out << "};\n";
  }

  static std::string line(const Kind& kind, const std::string& key) {
    auto found = kind.lines.find(key);
    return found == kind.lines.end() ? "" : found->second;
  }

  void write_kind(std::ostringstream& out, const Type& type, const Kind& kind) {
    if (!kind.subresources.empty()) {
      out << "constexpr SubresourceInfo k" << type.name << "Subresources[] = {\n";
      for (const Subresource& sub : kind.subresources)
        out << "    {" << quoted(sub.name) << ", " << quoted(sub.api_version) << ", " << quoted(sub.kind) << ", "
            << quoted(sub.verbs) << "},\n";
      out << "};\n";
    }
    if (!kind.columns.empty()) {
      out << "constexpr ColumnInfo k" << type.name << "Columns[] = {\n";
      for (const Column& column : kind.columns)
        out << "    {" << quoted(column.name) << ", " << quoted(column.type) << ", " << quoted(column.format) << ", "
            << (column.wide ? "true" : "false") << "},\n";
      out << "};\n";
    }
    out << "extern const TypeInfo k" << type.name << "Type;\n"
        << "extern const KindInfo k" << type.name << "Kind;\n"
        << "const KindInfo k" << type.name << "Kind = {" << quoted(kind.group) << ", " << quoted(kind.version) << ", "
        << quoted(kind.kind) << ", " << quoted(line(kind, "plural")) << ", " << quoted(line(kind, "singular")) << ", "
        << quoted(line(kind, "short")) << ", " << quoted(line(kind, "categories")) << ", "
        << quoted(line(kind, "verbs")) << ", " << (line(kind, "scope") == "Namespaced" ? "true" : "false") << ", "
        << (kind.subresources.empty() ? "{}" : "k" + type.name + "Subresources") << ", "
        << (kind.columns.empty() ? "{}" : "k" + type.name + "Columns") << ", &k" << type.name << "Type};\n";
  }

  void write_infos(std::ostringstream& out, const Type& type) {
    if (type.kinds.size() > 1) fail(type.name + " has more than one kind");
    if (!type.kinds.empty()) write_kind(out, type, type.kinds.front());
    const std::string& n = type.name;
    out << "extern const TypeInfo k" << n << "Type;\n"
        << "const TypeInfo k" << n << "Type = {" << quoted(n) << ", " << quoted(type.openapi_package + "." + type.openapi)
        << ", " << quoted(type.proto_package + "." + type.openapi) << ", " << quoted(type.doc) << ", "
        << (type.atomic ? "true" : "false") << ", "
        << (type.fields.empty() ? "{}" : "k" + n + "Fields") << ", "
        << (type.kinds.empty() ? "nullptr" : "&k" + n + "Kind") << ", "
        << (type.kinds.empty() ? "nullptr" : "&OpsOfKind<" + n + ">::kOps") << "};\n"
        << "template <>\nconst TypeInfo& type_of<" << n << ">() {\n  return k" << n << "Type;\n}\n";
  }

  const Schema& schema_;
  std::string file_;
  std::set<std::string> visited_, includes_;
  std::vector<const Type*> ordered_;
};

std::string kinds_source(const Schema& schema) {
  std::ostringstream out;
  out << "// Made by apigen from src/api/schema. Do not edit.\n#include \"api/descriptor.hpp\"\n\n"
      << "namespace skiff::api {\n";
  for (const Type& type : schema.types)
    if (!type.kinds.empty()) out << "extern const KindInfo k" << type.name << "Kind;\n";
  out << "namespace {\nconst KindInfo* const kKinds[] = {\n";
  for (const Type& type : schema.types)
    if (!type.kinds.empty()) out << "    &k" << type.name << "Kind,\n";
  out << "};\n}  // namespace\nstd::span<const KindInfo* const> all_kinds() { return kKinds; }\n"
      << "}  // namespace skiff::api\n";
  return out.str();
}

// Leaves a file alone that already says the same, so that its dependents are not rebuilt.
void write_if_changed(const std::string& path, const std::string& text) {
  std::ifstream in(path);
  std::stringstream present;
  present << in.rdbuf();
  if (in && present.str() == text) return;
  std::ofstream out(path);
  out << text;
  if (!out.flush()) fail("cannot write " + path);
}

}  // namespace

void generate(const Schema& schema, const std::string& directory) {
  for (const std::string& file : schema.files) {
    FileWriter writer(schema, file);
    write_if_changed(directory + "/" + file + ".hpp", writer.header());
    write_if_changed(directory + "/" + file + ".cpp", writer.source());
  }
  write_if_changed(directory + "/kinds.cpp", kinds_source(schema));
}

}  // namespace apigen
