#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "api/gen/apiextensions.hpp"
#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "api/presence.hpp"
#include "api/protobuf.hpp"
#include "api/protobuf_choices.hpp"
#include "api/values.hpp"

namespace skiff::api {

namespace {

/// Writes a message from its end to its beginning, so that the length of what lies inside is known when it is needed
/// and nothing is copied twice.
class BackwardWriter {
 public:
  size_t size() const { return buffer_.size() - begin_; }

  void bytes(std::string_view text) {
    char* to = room(text.size());
    std::memcpy(to, text.data(), text.size());
  }
  void varint(std::uint64_t value) {
    char encoded[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7) encoded[count++] = static_cast<char>((value & 0x7f) | 0x80);
    encoded[count++] = static_cast<char>(value);
    bytes({encoded, count});
  }
  void tag(unsigned number, unsigned wire) { varint(number << 3 | wire); }

  // Fields: tags come before what they announce, so they are written after it.
  void integer(unsigned number, std::uint64_t value) {
    varint(value);
    tag(number, 0);
  }
  void text(unsigned number, std::string_view value) {
    bytes(value);
    close(number, value.size());
  }
  /// Ends a nested message of `length` bytes, all of which have just been written.
  void close(unsigned number, size_t length) {
    varint(length);
    tag(number, 2);
  }

  std::string take() && { return buffer_.substr(begin_); }

 private:
  char* room(size_t count) {
    if (begin_ < count) {
      std::string larger(std::max(buffer_.size() * 2, size() + count + 256), '\0');
      size_t begin = larger.size() - size();
      if (size() > 0) std::memcpy(larger.data() + begin, buffer_.data() + begin_, size());
      buffer_ = std::move(larger);
      begin_ = begin;
    }
    begin_ -= count;
    return buffer_.data() + begin_;
  }
  std::string buffer_;
  size_t begin_ = 0;
};

// "2.5" -> 2 and "5"; "7" -> 7 and "".
std::pair<unsigned, std::string_view> head_of(std::string_view path) {
  unsigned number = 0;
  std::from_chars(path.data(), path.data() + path.size(), number);
  size_t dot = path.find('.');
  return {number, dot == path.npos ? std::string_view() : path.substr(dot + 1)};
}

// What is left of a field's number inside the embedded message `prefix` ("2."); empty when it is not in there.
std::string_view inside(const FieldInfo& field, std::string_view prefix) {
  std::string_view path = field.proto;
  return path.starts_with(prefix) ? path.substr(prefix.size()) : std::string_view();
}

class Encoder {
 public:
  BackwardWriter out;

  void message(const TypeInfo& type, const void* object) { fields(type, object, ""); }

  void metadata(const ListMeta& metadata) {
    size_t before = out.size();
    message(type_of<ListMeta>(), &metadata);
    out.close(1, out.size() - before);
  }

 private:
  // The fields of one (embedded) message, last first.
  void fields(const TypeInfo& type, const void* object, const std::string& prefix) {
    std::set<unsigned> embedded;
    for (size_t i = type.fields.size(); i-- > 0;) {
      const FieldInfo& field = type.fields[i];
      auto [number, rest] = head_of(inside(field, prefix));
      if (number == 0) continue;
      if (rest.empty()) {
        const void* member = field_at(object, field);
        if (!is_absent(field, member)) this->member(number, field, member);
      } else if (embedded.insert(number).second) {
        size_t before = out.size();
        fields(type, object, prefix + std::to_string(number) + ".");
        out.close(number, out.size() - before);
      }
    }
  }

  void member(unsigned number, const FieldInfo& field, const void* member) {
    switch (field.shape) {
      case Shape::Plain: return value(number, field, member);
      case Shape::Optional:
        if (field.ops->size(member) > 0) value(number, field, field.ops->at(member, 0));
        return;
      case Shape::List:
        for (size_t i = field.ops->size(member); i-- > 0;) value(number, field, field.ops->at(member, i));
        return;
      case Shape::Map: return map(number, field, member);
    }
  }

  void map(unsigned number, const FieldInfo& field, const void* member) {
    std::vector<std::pair<const std::string*, const void*>> entries;
    field.ops->each(member, [&](const std::string& key, const void* element) { entries.emplace_back(&key, element); });
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
      size_t before = out.size();
      value(2, field, entry->second);
      out.text(1, *entry->first);
      out.close(number, out.size() - before);
    }
  }

  void value(unsigned number, const FieldInfo& field, const void* value) {
    switch (field.value) {
      case ValueKind::String: return out.text(number, *static_cast<const std::string*>(value));
      case ValueKind::Bool: return out.integer(number, *static_cast<const bool*>(value) ? 1 : 0);
      case ValueKind::Int32: return out.integer(number, sign_extended(*static_cast<const std::int32_t*>(value)));
      case ValueKind::Int64: return out.integer(number, sign_extended(*static_cast<const std::int64_t*>(value)));
      case ValueKind::Double: return number_value(number, *static_cast<const double*>(value));
      case ValueKind::Bytes: return out.text(number, static_cast<const Bytes*>(value)->data);
      case ValueKind::Time: return time(number, *static_cast<const Time*>(value));
      case ValueKind::MicroTime: return time(number, *static_cast<const MicroTime*>(value));
      case ValueKind::Quantity: return wrapped(number, static_cast<const Quantity*>(value)->text());
      case ValueKind::IntOrString: return int_or_string(number, *static_cast<const IntOrString*>(value));
      case ValueKind::Raw: return raw(number, choice_of(field), static_cast<const Raw*>(value)->json);
      case ValueKind::Struct: {
        size_t before = out.size();
        message(field.type(), value);
        return out.close(number, out.size() - before);
      }
      case ValueKind::StringList: {
        const auto& texts = *static_cast<const std::vector<std::string>*>(value);
        size_t before = out.size();
        for (auto text = texts.rbegin(); text != texts.rend(); ++text) out.text(1, *text);
        return out.close(number, out.size() - before);
      }
    }
  }

  void raw(unsigned number, SchemaChoice choice, const std::string& json) {
    if (choice == SchemaChoice::None) return wrapped(number, json);
    size_t before = out.size();
    nlohmann::json document = nlohmann::json::parse(json, nullptr, false);
    if (document.is_array()) {
      for (auto item = document.rbegin(); item != document.rend(); ++item)
        choice == SchemaChoice::Array ? schema(2, *item) : out.text(2, item->is_string() ? item->get<std::string>() : "");
    } else if (choice == SchemaChoice::Bool) {
      if (document.is_object()) schema(2, document);
      out.integer(1, document.is_boolean() && !document.get<bool>() ? 0 : 1);
    } else {
      schema(1, document);
    }
    out.close(number, out.size() - before);
  }

  // What is no schema, as nothing but a mistaken validation lets through, is an empty one.
  void schema(unsigned number, const nlohmann::json& document) {
    JSONSchemaProps props;
    if (!decode_document(document, type_of<JSONSchemaProps>(), &props).ok()) props = {};
    size_t before = out.size();
    message(type_of<JSONSchemaProps>(), &props);
    out.close(number, out.size() - before);
  }

  static std::uint64_t sign_extended(std::int64_t value) { return static_cast<std::uint64_t>(value); }

  void number_value(unsigned number, double value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);  // little-endian, as the machines we run on
    out.bytes({bytes, sizeof bytes});
    out.tag(number, 1);
  }

  // A message whose field 1 is all there is to it: Quantity, RawExtension, FieldsV1, JSON.
  void wrapped(unsigned number, std::string_view text) {
    size_t before = out.size();
    if (!text.empty()) out.text(1, text);
    out.close(number, out.size() - before);
  }

  // An unset time is an empty message.
  template <class AnyTime>
  void time(unsigned number, const AnyTime& time) {
    size_t before = out.size();
    if (time) {
      using namespace std::chrono;
      auto since = time.wall().time_since_epoch();
      auto whole = floor<seconds>(since);
      auto nanos = duration_cast<nanoseconds>(since - whole).count();
      if (nanos != 0) out.integer(2, static_cast<std::uint64_t>(nanos));
      out.integer(1, sign_extended(whole.count()));
    }
    out.close(number, out.size() - before);
  }

  void int_or_string(unsigned number, const IntOrString& value) {
    size_t before = out.size();
    if (!value.text.empty()) out.text(3, value.text);
    out.integer(2, sign_extended(value.number));
    out.integer(1, value.is_string ? 1 : 0);
    out.close(number, out.size() - before);
  }
};

// Wraps all that has been written as runtime.Unknown.
std::string document(Encoder encoder, std::string_view api_version, std::string_view kind) {
  BackwardWriter& out = encoder.out;
  size_t raw = out.size();
  out.close(2, raw);
  size_t before = out.size();
  out.text(2, kind);
  out.text(1, api_version);
  out.close(1, out.size() - before);
  out.bytes({"k8s\0", 4});
  return std::move(out).take();
}

}  // namespace

bool has_protobuf(const TypeInfo& type) {
  return std::ranges::all_of(type.fields, [](const FieldInfo& field) { return head_of(field.proto).first != 0; });
}

std::string encode_protobuf(const TypeInfo& type, const void* object) {
  Encoder encoder;
  encoder.message(type, object);
  return document(std::move(encoder), type.kind->api_version(), type.kind->kind);
}

std::string encode_protobuf_list(const ProtobufList& list, const ListMeta& metadata) {
  Encoder encoder;
  for (auto item = list.items.rbegin(); item != list.items.rend(); ++item) {
    size_t before = encoder.out.size();
    encoder.message(*list.type, *item);
    encoder.out.close(2, encoder.out.size() - before);
  }
  encoder.metadata(metadata);
  return document(std::move(encoder), list.api_version, list.kind);
}

namespace {

void partial_metadata(Encoder& encoder, const ObjectMeta& metadata) {
  size_t before = encoder.out.size();
  encoder.message(type_of<ObjectMeta>(), &metadata);
  encoder.out.close(1, encoder.out.size() - before);
}

}  // namespace

std::string encode_protobuf_metadata(const std::string& api_version, const ObjectMeta& metadata) {
  Encoder encoder;
  partial_metadata(encoder, metadata);
  return document(std::move(encoder), api_version, "PartialObjectMetadata");
}

std::string encode_protobuf_metadata_list(const std::string& api_version, const std::vector<const ObjectMeta*>& items,
                                          const ListMeta& metadata) {
  Encoder encoder;
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    size_t before = encoder.out.size();
    partial_metadata(encoder, **item);
    encoder.out.close(2, encoder.out.size() - before);
  }
  encoder.metadata(metadata);
  return document(std::move(encoder), api_version, "PartialObjectMetadataList");
}

std::string protobuf_watch_frame(std::string_view type, std::string_view document) {
  BackwardWriter out;
  out.text(1, document);
  out.close(2, out.size());
  out.text(1, type);
  size_t size = out.size();
  char head[4];
  for (unsigned i = 0; i < 4; ++i) head[i] = static_cast<char>((size >> (24 - 8 * i)) & 0xff);
  out.bytes({head, 4});
  return std::move(out).take();
}

}  // namespace skiff::api
