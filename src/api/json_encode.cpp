#include <charconv>
#include <fmt/format.h>

#include "api/json.hpp"
#include "api/presence.hpp"
#include "api/values.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  size_t plain = 0;  // start of the run that needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
    }
  }
  out.append(text, plain, text.size() - plain);
  out += '"';
}

namespace {

void append_double(std::string& out, double value) {
  char buffer[32];
  auto [end, failure] = std::to_chars(buffer, buffer + sizeof buffer, value);
  out.append(buffer, end);
}

class Encoder {
 public:
  explicit Encoder(EncodeOptions options) : options_(options) {}

  void object(const TypeInfo& type, const void* object) {
    out_ += '{';
    bool first = true;
    if (type.kind) {
      out_ += "\"kind\":\"";
      out_ += type.kind->kind;
      out_ += "\",\"apiVersion\":\"";
      out_ += type.kind->api_version();
      out_ += '"';
      first = false;
    }
    for (const FieldInfo& field : type.fields) {
      const void* member = field_at(object, field);
      if (member != options_.splice && is_absent(field, member)) continue;
      if (*field.name == '\0') {
        members(*static_cast<const Raw*>(member), first);
        continue;
      }
      if (!first) out_ += ',';
      first = false;
      out_ += '"';
      out_ += field.name;
      out_ += "\":";
      this->member(field, member);
    }
    out_ += '}';
  }

  Encoded take() && { return {std::move(out_), position_}; }

 private:
  // The members that an open type has collected, among its own.
  void members(const Raw& rest, bool& first) {
    if (rest.json.size() <= 2) return;  // {}
    if (!first) out_ += ',';
    first = false;
    out_.append(rest.json, 1, rest.json.size() - 2);
  }

  void member(const FieldInfo& field, const void* member) {
    switch (field.shape) {
      case Shape::Plain: return value(field, member);
      case Shape::Optional:
        if (field.ops->size(member) == 0) out_ += "null";
        else value(field, field.ops->at(member, 0));
        return;
      case Shape::List: return list(field, member);
      case Shape::Map: return map(field, member);
    }
  }

  void list(const FieldInfo& field, const void* member) {
    size_t size = field.ops->size(member);
    if (size == 0) {  // a required list that Go holds as nil
      out_ += "null";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < size; ++i) {
      if (i > 0) out_ += ',';
      value(field, field.ops->at(member, i));
    }
    out_ += ']';
  }

  void map(const FieldInfo& field, const void* member) {
    if (field.ops->size(member) == 0) {
      out_ += "null";
      return;
    }
    out_ += '{';
    bool first = true;
    field.ops->each(member, [&](const std::string& key, const void* element) {
      if (!first) out_ += ',';
      first = false;
      append_json_string(out_, key);
      out_ += ':';
      value(field, element);
    });
    out_ += '}';
  }

  void text_or_null(const std::string& text) {
    if (text.empty()) out_ += "null";
    else append_json_string(out_, text);
  }

  void value(const FieldInfo& field, const void* value) {
    switch (field.value) {
      case ValueKind::String: return string_value(static_cast<const std::string*>(value));
      case ValueKind::Bool: out_ += *static_cast<const bool*>(value) ? "true" : "false"; return;
      case ValueKind::Int32: fmt::format_to(std::back_inserter(out_), "{}", *static_cast<const std::int32_t*>(value)); return;
      case ValueKind::Int64: fmt::format_to(std::back_inserter(out_), "{}", *static_cast<const std::int64_t*>(value)); return;
      case ValueKind::Double: return append_double(out_, *static_cast<const double*>(value));
      case ValueKind::Bytes: return append_json_string(out_, base64_encode(static_cast<const Bytes*>(value)->data));
      case ValueKind::Time: return text_or_null(static_cast<const Time*>(value)->text());
      case ValueKind::MicroTime: return text_or_null(static_cast<const MicroTime*>(value)->text());
      case ValueKind::Quantity: return append_json_string(out_, static_cast<const Quantity*>(value)->text());
      case ValueKind::IntOrString: return int_or_string(*static_cast<const IntOrString*>(value));
      case ValueKind::Raw: return raw(*static_cast<const Raw*>(value));
      case ValueKind::Struct: return object(field.type(), value);
      case ValueKind::StringList: return string_list(*static_cast<const std::vector<std::string>*>(value));
    }
  }

  void string_value(const std::string* text) {
    if (text == options_.splice) {
      out_ += '"';
      position_ = out_.size();
      out_ += '"';
      return;
    }
    append_json_string(out_, *text);
  }

  void int_or_string(const IntOrString& value) {
    if (value.is_string) append_json_string(out_, value.text);
    else out_ += std::to_string(value.number);
  }

  void raw(const Raw& value) { out_ += value.json.empty() ? std::string("null") : value.json; }

  void string_list(const std::vector<std::string>& texts) {
    out_ += '[';
    for (const std::string& text : texts) {
      if (&text != &texts.front()) out_ += ',';
      append_json_string(out_, text);
    }
    out_ += ']';
  }

  EncodeOptions options_;
  std::string out_;
  std::optional<size_t> position_;
};

}  // namespace

Encoded encode_json(const TypeInfo& type, const void* object, EncodeOptions options) {
  Encoder encoder(options);
  encoder.object(type, object);
  return std::move(encoder).take();
}

std::string encode_json(const TypeInfo& type, const void* object) { return encode_json(type, object, {}).text; }

}  // namespace skiff::api
