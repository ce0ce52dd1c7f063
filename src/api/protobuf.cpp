#include "api/protobuf.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

#include "api/gen/apiextensions.hpp"
#include "api/protobuf_choices.hpp"
#include "api/status.hpp"
#include "api/values.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

using nlohmann::json;

namespace {

constexpr int kMaxDepth = 100;
constexpr std::string_view kMagic{"k8s\0", 4};

Error malformed() { return api::bad_request("the body of the request is not a valid protobuf message"); }

/// One field of a message as it stands on the wire.
struct WireField {
  std::uint64_t number = 0;
  std::uint64_t integer = 0;  // varint and fixed types
  std::string_view bytes;     // length-delimited
  bool delimited = false;
};

/// Reads a message field by field. A default one is empty.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }

  Result<WireField> next() {
    WireField field;
    TRY_ASSIGN(std::uint64_t tag, varint());
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0: {
        TRY_ASSIGN(field.integer, varint());
        return field;
      }
      case 1:
        return fixed(field, 8);
      case 5:
        return fixed(field, 4);
      case 2: {
        TRY_ASSIGN(std::uint64_t size, varint());
        if (size > rest_.size()) return malformed();
        field.bytes = rest_.substr(0, size);
        field.delimited = true;
        rest_.remove_prefix(size);
        return field;
      }
      default:
        return malformed();
    }
  }

  Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return malformed();
  }

 private:
  Result<WireField> fixed(WireField field, size_t size) {
    if (rest_.size() < size) return malformed();
    std::memcpy(&field.integer, rest_.data(), size);  // little-endian, as the machines we run on
    rest_.remove_prefix(size);
    return field;
  }
  std::string_view rest_;
};

/// The bytes of the last length-delimited field `number`, or empty.
Result<std::string_view> delimited(std::string_view message, std::uint64_t number) {
  std::string_view found;
  for (WireReader reader(message); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    if (field.number == number && field.delimited) found = field.bytes;
  }
  return found;
}

Result<std::int64_t> integer(std::string_view message, std::uint64_t number) {
  std::uint64_t found = 0;
  for (WireReader reader(message); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    if (field.number == number && !field.delimited) found = field.integer;
  }
  return static_cast<std::int64_t>(found);
}

Result<WallTime> moment(std::string_view message) {
  TRY_ASSIGN(std::int64_t seconds, integer(message, 1));
  TRY_ASSIGN(std::int64_t nanos, integer(message, 2));
  if (seconds < -62135596800 || seconds > 253402300799) return malformed();
  return WallTime(std::chrono::seconds(seconds) + std::chrono::microseconds(nanos / 1000));
}

Result<json> raw_json(std::string_view message) {
  TRY_ASSIGN(std::string_view text, delimited(message, 1));
  json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return malformed();
  return parsed;
}

Result<json> int_or_string(std::string_view message) {
  TRY_ASSIGN(std::int64_t is_string, integer(message, 1));
  TRY_ASSIGN(std::int64_t number, integer(message, 2));
  TRY_ASSIGN(std::string_view text, delimited(message, 3));
  return is_string != 0 ? json(text) : json(static_cast<std::int32_t>(number));
}

Result<json> string_list(std::string_view message) {
  json items = json::array();
  for (WireReader reader(message); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    if (field.number == 1 && field.delimited) items.push_back(field.bytes);
  }
  return items;
}

Result<json> message_json(std::string_view message, const api::TypeInfo& type, const std::string& prefix,
                          int depth);

Result<json> choice_json(std::string_view message, SchemaChoice choice, int depth) {
  json schema, items = json::array(), allows = false;
  const std::uint64_t schema_at = choice == SchemaChoice::Bool ? 2 : 1;
  for (WireReader reader(message); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    if (field.number == schema_at && field.delimited) {
      TRY_ASSIGN(schema, message_json(field.bytes, type_of<JSONSchemaProps>(), "", depth));
    } else if (field.number == 1) {
      allows = field.integer != 0;
    } else if (field.number == 2 && choice == SchemaChoice::Strings) {
      items.push_back(field.bytes);
    } else if (field.number == 2) {
      TRY_ASSIGN(json item, message_json(field.bytes, type_of<JSONSchemaProps>(), "", depth));
      items.push_back(std::move(item));
    }
  }
  if (!schema.is_null()) return schema;
  return choice == SchemaChoice::Bool ? allows : items;
}

Result<json> value_json(const api::FieldInfo& info, const WireField& field, int depth) {
  switch (info.value) {
    case api::ValueKind::String:
      return json(field.bytes);
    case api::ValueKind::Bool:
      return json(field.integer != 0);
    case api::ValueKind::Int32:
      return json(static_cast<std::int32_t>(field.integer));
    case api::ValueKind::Int64:
      return json(static_cast<std::int64_t>(field.integer));
    case api::ValueKind::Double: {
      double value = 0;
      std::memcpy(&value, &field.integer, sizeof value);
      return json(value);
    }
    case api::ValueKind::Bytes:
      return json(base64_encode(field.bytes));
    case api::ValueKind::Time: {
      if (field.bytes.empty()) return json(nullptr);
      TRY_ASSIGN(WallTime time, moment(field.bytes));
      return json(api::Time::from(time).text());
    }
    case api::ValueKind::MicroTime: {
      if (field.bytes.empty()) return json(nullptr);
      TRY_ASSIGN(WallTime time, moment(field.bytes));
      return json(api::MicroTime::from(time).text());
    }
    case api::ValueKind::Quantity: {
      TRY_ASSIGN(std::string_view text, delimited(field.bytes, 1));
      return json(text.empty() ? "0" : text);
    }
    case api::ValueKind::IntOrString:
      return int_or_string(field.bytes);
    case api::ValueKind::Raw:
      return choice_of(info) == SchemaChoice::None ? raw_json(field.bytes)
                                                   : choice_json(field.bytes, choice_of(info), depth + 1);
    case api::ValueKind::Struct:
      return message_json(field.bytes, info.type(), "", depth + 1);
    case api::ValueKind::StringList:
      return string_list(field.bytes);
  }
  return malformed();
}

Status add_entry(json& map, const api::FieldInfo& info, std::string_view entry, int depth) {
  std::string_view key;
  WireField value;
  value.delimited = true;
  for (WireReader reader(entry); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    if (field.number == 1) key = field.bytes;
    if (field.number == 2) value = field;
  }
  TRY_ASSIGN(map[std::string(key)], value_json(info, value, depth));
  return ok();
}

bool is_number(api::ValueKind kind) {
  return kind == api::ValueKind::Int32 || kind == api::ValueKind::Int64 || kind == api::ValueKind::Bool;
}

// Sets what `field` says on `object`; repeated fields come as often as they have elements (numbers perhaps
// packed).
Status take_field(json& object, const api::FieldInfo& info, const WireField& field, int depth) {
  json& place = object[info.name];
  if (info.shape == api::Shape::Map) {
    if (!place.is_object()) place = json::object();
    return add_entry(place, info, field.bytes, depth);
  }
  if (info.shape != api::Shape::List) {
    TRY_ASSIGN(place, value_json(info, field, depth));
    return ok();
  }
  if (!place.is_array()) place = json::array();
  if (!is_number(info.value) || !field.delimited) {
    TRY_ASSIGN(json item, value_json(info, field, depth));
    place.push_back(std::move(item));
    return ok();
  }
  for (WireReader reader(field.bytes); !reader.done();) {
    WireField item;
    TRY_ASSIGN(item.integer, reader.varint());
    TRY_ASSIGN(json value, value_json(info, item, depth));
    place.push_back(std::move(value));
  }
  return ok();
}

// `prefix` is the path of embedded messages that JSON inlines: "2." while reading field 2 of such a type.
Result<json> message_json(std::string_view message, const api::TypeInfo& type, const std::string& prefix,
                          int depth) {
  if (depth > kMaxDepth) return malformed();
  json object = json::object();
  for (WireReader reader(message); !reader.done();) {
    TRY_ASSIGN(WireField field, reader.next());
    std::string path = prefix + std::to_string(field.number);
    bool embedded = false;
    for (const api::FieldInfo& info : type.fields) {
      if (path == number_of(info)) {
        TRY(take_field(object, info, field, depth));
      } else if (std::string_view(info.proto).starts_with(path + ".")) {
        embedded = true;
      }
    }
    if (!embedded || !field.delimited) continue;
    TRY_ASSIGN(json inner, message_json(field.bytes, type, path + ".", depth + 1));
    object.update(inner);
  }
  return object;
}

}  // namespace

Result<std::string> json_from_protobuf(std::string_view body, const api::TypeInfo& type) {
  if (!body.starts_with(kMagic)) return malformed();
  body.remove_prefix(kMagic.size());
  TRY_ASSIGN(std::string_view type_meta, delimited(body, 1));
  TRY_ASSIGN(std::string_view raw, delimited(body, 2));
  TRY_ASSIGN(std::string_view api_version, delimited(type_meta, 1));
  TRY_ASSIGN(std::string_view kind, delimited(type_meta, 2));
  TRY_ASSIGN(json object, message_json(raw, type, "", 0));
  if (!api_version.empty()) object["apiVersion"] = api_version;
  if (!kind.empty()) object["kind"] = kind;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace skiff::api
