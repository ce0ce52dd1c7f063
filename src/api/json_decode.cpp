// Typed decoding. nlohmann's SAX parser drives a stack of frames, one per open object or array; each frame knows
// the struct, list or map it fills, so no document tree is built and nothing recurses.

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "api/json.hpp"
#include "api/json_errors.hpp"
#include "api/open_type.hpp"
#include "api/values.hpp"
#include "base/encoding.hpp"

namespace skiff::api {
namespace {

std::string go_scalar(ValueKind value) {
  switch (value) {
    case ValueKind::String: return "string";
    case ValueKind::Bool: return "bool";
    case ValueKind::Int32: return "int32";
    case ValueKind::Int64: return "int64";
    case ValueKind::Double: return "float64";
    case ValueKind::Bytes: return "[]uint8";
    case ValueKind::Time: return "v1.Time";
    case ValueKind::MicroTime: return "v1.MicroTime";
    case ValueKind::Quantity: return "resource.Quantity";
    case ValueKind::IntOrString: return "intstr.IntOrString";
    case ValueKind::Raw: return "runtime.RawExtension";
    case ValueKind::StringList: return "[]string";
    case ValueKind::Struct: return "";
  }
  return "";
}

// The Go type of what `field` holds (element: of one element of its list or map), as Go prints it.
std::string go_type(const FieldInfo& field, bool element) {
  std::string name = field.type ? std::string("v1.") + field.type().name : go_scalar(field.value);
  if (!element && field.shape == Shape::List) return "[]" + name;
  if (!element && field.shape == Shape::Map) return "map[string]" + name;
  return name;
}

// Collects a value of any shape as compact JSON text. What stands in an open type is as much of the object as any
// field, so duplicate members are noticed there.
class RawText {
 public:
  explicit RawText(std::vector<std::string>* duplicates = nullptr, std::string path = "")
      : duplicates_(duplicates), path_(std::move(path)) {}

  void separator() {
    if (!text_.empty() && text_.back() != '{' && text_.back() != '[' && text_.back() != ':') text_ += ',';
  }
  void key(const std::string& name) {
    separator();
    append_json_string(text_, name);
    text_ += ':';
    if (!duplicates_) return;
    Level& level = levels_.back();
    level.name = name;
    if (!level.seen.insert(name).second) duplicates_->push_back(fmt::format("duplicate field \"{}\"", path()));
  }
  void open(char bracket) {
    separator();
    count();
    text_ += bracket;
    ++depth_;
    if (duplicates_) levels_.push_back({.array = bracket == '['});
  }
  void close(char bracket) {
    text_ += bracket;
    --depth_;
    if (duplicates_) levels_.pop_back();
  }
  void scalar(const std::string& text) {
    separator();
    count();
    text_ += text;
  }
  bool complete() const { return depth_ == 0; }
  std::string take() { return std::move(text_); }

 private:
  struct Level {
    bool array = false;
    size_t index = 0;  // of the next element
    std::string name = {};
    std::set<std::string> seen = {};
  };

  void count() {
    if (!levels_.empty()) ++levels_.back().index;
  }
  std::string path() const {
    std::string text = path_;
    for (const Level& level : levels_)
      text += level.array ? fmt::format("[{}]", level.index - 1) : "." + level.name;
    return text;
  }

  std::string text_;
  int depth_ = 0;
  std::vector<std::string>* duplicates_;
  std::string path_;
  std::vector<Level> levels_;  // only while duplicates are looked for
};

// One open object or array.
struct Frame {
  const TypeInfo* type = nullptr;    // fills a struct ...
  const FieldInfo* field = nullptr;  // ... or the list or map of this field (or a StringList element of one)
  void* target = nullptr;
  bool string_list = false;
  bool is_array = false;
  size_t index = 0;                  // of the next list element
  std::string name;                  // of the pending member
  std::vector<std::string> seen;     // members so far, for duplicates
};

// Where the next value goes.
struct Slot {
  enum class Kind { Value, Skip, Nowhere } kind = Kind::Nowhere;
  const FieldInfo* field = nullptr;
  void* target = nullptr;
  bool element = false;      // an element of the field's list or map, not the whole
  bool string_element = false;  // a string inside a StringList
  bool open = false;         // a member of an open type that no field describes; target is the Raw that collects them
};

// The field that collects the other members of an open type.
const FieldInfo* rest_of(const TypeInfo& type) { return type.open ? &type.fields.back() : nullptr; }

// Null also for the nameless field of an open type, which is no member of the document.
const FieldInfo* member_of(const TypeInfo& type, std::string_view name) {
  return name.empty() ? nullptr : find_field(type, name);
}

bool is_type_meta(const TypeInfo& type, std::string_view name) {
  return type.kind && (name == "apiVersion" || name == "kind");
}

class Decoder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Decoder(const TypeInfo& type, void* into, DecodeReport& report) : root_(type), into_(into), report_(report) {}

  Status result() { return failure_ ? Status(*failure_) : ok(); }

  bool null() override {
    return scalar("null", "null", [](const Slot&) { return true; });
  }
  bool boolean(bool value) override {
    return scalar("bool", value ? "true" : "false", [&](const Slot& slot) {
      if (slot.string_element || slot.field->value != ValueKind::Bool) return false;
      *static_cast<bool*>(holder(slot)) = value;
      return true;
    });
  }
  bool number_integer(number_integer_t value) override { return integer(value, std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
      return number_text(std::to_string(value), static_cast<double>(value));
    return integer(static_cast<std::int64_t>(value), std::to_string(value));
  }
  bool number_float(number_float_t value, const string_t& text) override { return number_text(text, value); }
  bool string(string_t& value) override {
    std::string literal;
    if (capturing()) append_json_string(literal, value);
    note_type_meta(value);
    return scalar("string", literal, [&](const Slot& slot) { return store_string(slot, value); });
  }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool key(string_t& name) override {
    if (raw_ || skip_depth_ > 0) {
      if (raw_) raw_->key(name);
      return true;
    }
    frames_.back().name = name;
    return true;
  }
  bool end_object() override { return close('}'); }
  bool end_array() override { return close(']'); }

  bool parse_error(std::size_t, const std::string& token, const nlohmann::detail::exception& problem) override {
    return fail(Error(Code::BadRequest, syntax_error_words(problem.what(), token)));
  }

 private:
  bool fail(Error error) {
    if (!failure_) failure_ = std::move(error);
    return false;
  }

  bool capturing() {
    if (raw_) return true;
    if (skip_depth_ > 0 || frames_.empty()) return false;
    Frame& frame = frames_.back();
    if (frame.type) {
      const FieldInfo* field = member_of(*frame.type, frame.name);
      if (!field) return frame.type->open && !is_type_meta(*frame.type, frame.name);
      return field->value == ValueKind::Raw;
    }
    return frame.field->value == ValueKind::Raw;
  }

  void note_type_meta(const std::string& value) {
    if (frames_.size() != 1 || raw_ || skip_depth_ > 0) return;
    if (frames_.back().name == "apiVersion") report_.api_version = value;
    if (frames_.back().name == "kind") report_.kind = value;
  }

  // "spec.containers[0]": the open frames, with or without list positions, then the pending member.
  std::string path(bool with_index) const {
    std::string text;
    for (const Frame& frame : frames_) {
      if (frame.is_array) {
        if (with_index) text += fmt::format("[{}]", frame.index == 0 ? 0 : frame.index - 1);
        continue;
      }
      if (!text.empty()) text += '.';
      text += frame.name;
    }
    return text;
  }

  bool mismatch(const std::string& what, const Slot& slot) {
    std::string owner = root_.name;
    for (const Frame& frame : frames_)
      if (frame.type) owner = frame.type->name;
    if (!slot.field)
      return fail(error(Code::BadRequest, "json: cannot unmarshal {} into Go value of type v1.{}", what, root_.name));
    return fail(error(Code::BadRequest, "json: cannot unmarshal {} into Go struct field {}.{} of type {}", what, owner,
                      path(false), slot.string_element ? "string" : go_type(*slot.field, slot.element)));
  }

  // Finds where the value that starts now belongs, and counts list positions.
  Slot next_slot() {
    if (frames_.empty()) return {};
    Frame& frame = frames_.back();
    if (frame.is_array) ++frame.index;
    if (frame.string_list) {
      auto* list = static_cast<std::vector<std::string>*>(frame.target);
      return {Slot::Kind::Value, frame.field, &list->emplace_back(), true, true};
    }
    if (frame.type) return member_slot(frame);
    void* element = frame.is_array ? frame.field->ops->append(frame.target)
                                   : frame.field->ops->insert(frame.target, frame.name);
    return {Slot::Kind::Value, frame.field, element, true, false};
  }

  Slot member_slot(Frame& frame) {
    const FieldInfo* field = member_of(*frame.type, frame.name);
    bool type_meta = is_type_meta(*frame.type, frame.name);
    if (std::find(frame.seen.begin(), frame.seen.end(), frame.name) != frame.seen.end())
      report_.strict.push_back(fmt::format("duplicate field \"{}\"", path(true)));
    else
      frame.seen.push_back(frame.name);
    if (const FieldInfo* rest = rest_of(*frame.type); rest && !field && !type_meta)
      return {Slot::Kind::Value, rest, field_at(frame.target, *rest), false, false, true};
    if (!field) {
      if (!type_meta) report_.strict.push_back(fmt::format("unknown field \"{}\"", path(true)));
      return {Slot::Kind::Skip};
    }
    return {Slot::Kind::Value, field, field_at(frame.target, *field), false, false};
  }

  // The storage of a single value; an optional one is made present.
  static void* holder(const Slot& slot) {
    if (!slot.element && slot.field->shape == Shape::Optional) return slot.field->ops->append(slot.target);
    return slot.target;
  }

  template <class Put>
  bool scalar(const std::string& what, const std::string& literal, Put put) {
    if (skip_depth_ > 0) return true;
    if (raw_) {
      raw_->scalar(literal);
      return true;
    }
    bool is_raw = capturing();
    Slot slot = next_slot();
    if (slot.kind == Slot::Kind::Skip) return true;
    if (slot.kind == Slot::Kind::Nowhere) return what == "null" ? true : mismatch(what, slot);
    if (slot.open) return add_member(static_cast<Raw*>(slot.target), literal);
    if (is_raw && (slot.element || slot.field->shape == Shape::Plain)) {
      if (what != "null") static_cast<Raw*>(slot.target)->json = literal;
      return true;
    }
    bool single = slot.element || slot.field->shape == Shape::Plain || slot.field->shape == Shape::Optional;
    if (what == "null") return true;
    if (!single || (slot.field->value == ValueKind::Struct) ||
        (slot.field->value == ValueKind::StringList && !slot.string_element))
      return mismatch(what, slot);
    return put(slot) ? true : (failure_ ? false : mismatch(what, slot));
  }

  bool integer(std::int64_t value, const std::string& text) {
    return scalar("number", text, [&](const Slot& slot) {
      if (slot.string_element) return false;
      switch (slot.field->value) {
        case ValueKind::Int64: *static_cast<std::int64_t*>(holder(slot)) = value; return true;
        case ValueKind::Double: *static_cast<double*>(holder(slot)) = static_cast<double>(value); return true;
        case ValueKind::Int32:
          if (value != static_cast<std::int32_t>(value)) return mismatch("number " + text, slot);
          *static_cast<std::int32_t*>(holder(slot)) = static_cast<std::int32_t>(value);
          return true;
        case ValueKind::IntOrString:
          if (value != static_cast<std::int32_t>(value)) return mismatch("number " + text, slot);
          *static_cast<IntOrString*>(holder(slot)) = IntOrString(static_cast<std::int32_t>(value));
          return true;
        case ValueKind::Quantity: return store_quantity(slot, text);
        default: return false;
      }
    });
  }

  bool number_text(const std::string& text, double value) {
    return scalar("number", text, [&](const Slot& slot) {
      if (slot.string_element) return false;
      if (slot.field->value == ValueKind::Double) {
        *static_cast<double*>(holder(slot)) = value;
        return true;
      }
      if (slot.field->value == ValueKind::Quantity) return store_quantity(slot, text);
      if (slot.field->value == ValueKind::Int32 || slot.field->value == ValueKind::Int64)
        return mismatch("number " + text, slot);
      return false;
    });
  }

  template <class T>
  bool store_parsed(const Slot& slot, Result<T> parsed) {
    if (!parsed.ok()) return fail(std::move(parsed).error());
    *static_cast<T*>(holder(slot)) = std::move(parsed).value();
    return true;
  }

  bool store_quantity(const Slot& slot, const std::string& text) { return store_parsed(slot, Quantity::parse(text)); }

  bool store_string(const Slot& slot, std::string& value) {
    if (slot.string_element) {
      *static_cast<std::string*>(slot.target) = std::move(value);
      return true;
    }
    switch (slot.field->value) {
      case ValueKind::String: *static_cast<std::string*>(holder(slot)) = std::move(value); return true;
      case ValueKind::IntOrString: *static_cast<IntOrString*>(holder(slot)) = IntOrString(std::move(value)); return true;
      case ValueKind::Quantity: return store_quantity(slot, value);
      case ValueKind::Time: return value.empty() || store_parsed(slot, Time::parse(value));
      case ValueKind::MicroTime: return value.empty() || store_parsed(slot, MicroTime::parse(value));
      case ValueKind::Bytes: return store_bytes(slot, value);
      default: return false;
    }
  }

  bool store_bytes(const Slot& slot, const std::string& value) {
    std::optional<std::string> bytes = base64_decode(value);
    if (!bytes) return fail(Error(Code::BadRequest, "illegal base64 data at input byte " + bad_base64_at(value)));
    static_cast<Bytes*>(holder(slot))->data = *std::move(bytes);
    return true;
  }

  // Where Go's decoder gives up: the first foreign character, else the last incomplete group.
  static std::string bad_base64_at(const std::string& text) {
    size_t at = text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n");
    return std::to_string(at == std::string::npos ? text.size() / 4 * 4 : at);
  }

  bool open(bool array) {
    if (++depth_ > kMaxDepth) return fail(Error(Code::BadRequest, "exceeded max depth"));
    if (skip_depth_ > 0) {
      ++skip_depth_;
      return true;
    }
    if (raw_) {
      raw_->open(array ? '[' : '{');
      return true;
    }
    if (frames_.empty()) {
      if (array) return mismatch("array", {});
      frames_.push_back({.type = &root_, .target = into_});
      return true;
    }
    bool is_raw = capturing();
    Slot slot = next_slot();
    if (slot.kind == Slot::Kind::Skip) {
      skip_depth_ = 1;
      return true;
    }
    if (is_raw && (slot.element || slot.field->shape == Shape::Plain)) {
      raw_ = slot.open ? RawText(&report_.strict, path(true)) : RawText();
      raw_open_ = slot.open;
      raw_target_ = static_cast<Raw*>(slot.target);
      raw_->open(array ? '[' : '{');
      return true;
    }
    return open_typed(slot, array);
  }

  bool open_typed(const Slot& slot, bool array) {
    const FieldInfo& field = *slot.field;
    std::string what = array ? "array" : "object";
    if (slot.string_element) return mismatch(what, slot);
    if (!slot.element && (field.shape == Shape::List || field.shape == Shape::Map)) {
      if (array != (field.shape == Shape::List)) return mismatch(what, slot);
      field.ops->clear(slot.target);
      frames_.push_back({.field = &field, .target = slot.target, .is_array = array});
      return true;
    }
    if (field.value == ValueKind::StringList && array) {
      frames_.push_back({.field = &field, .target = slot.target, .string_list = true, .is_array = true});
      return true;
    }
    if (field.value != ValueKind::Struct || array) return mismatch(what, slot);
    frames_.push_back({.type = &field.type(), .target = holder(slot)});
    return true;
  }

  // Adds the pending member to those that an open type collects. The last of two alike wins when the text is parsed.
  bool add_member(Raw* rest, const std::string& literal) {
    if (rest->json.empty()) rest->json = "{";
    else rest->json.back() = ',';
    append_json_string(rest->json, frames_.back().name);
    rest->json.append(":").append(literal).append("}");
    return true;
  }

  bool close(char bracket) {
    --depth_;
    if (skip_depth_ > 0) {
      --skip_depth_;
      return true;
    }
    if (raw_) {
      raw_->close(bracket);
      if (raw_->complete()) {
        std::string text = raw_->take();
        raw_.reset();
        if (raw_open_) return add_member(raw_target_, text);
        raw_target_->json = std::move(text);
      }
      return true;
    }
    frames_.pop_back();
    return true;
  }

  const TypeInfo& root_;
  void* into_;
  DecodeReport& report_;
  std::optional<Error> failure_;
  std::vector<Frame> frames_;
  int depth_ = 0;
  int skip_depth_ = 0;
  std::optional<RawText> raw_;
  Raw* raw_target_ = nullptr;
  bool raw_open_ = false;
};

// Replays a document as SAX events. Recursion is bounded by kMaxDepth: the decoder refuses deeper ones.
bool replay(const nlohmann::json& value, Decoder& decoder) {
  switch (value.type()) {
    case nlohmann::json::value_t::null:
    case nlohmann::json::value_t::discarded:
    case nlohmann::json::value_t::binary: return decoder.null();
    case nlohmann::json::value_t::boolean: return decoder.boolean(value.get<bool>());
    case nlohmann::json::value_t::number_integer: return decoder.number_integer(value.get<std::int64_t>());
    case nlohmann::json::value_t::number_unsigned: return decoder.number_unsigned(value.get<std::uint64_t>());
    case nlohmann::json::value_t::number_float: return decoder.number_float(value.get<double>(), value.dump());
    case nlohmann::json::value_t::string: {
      std::string text = value.get<std::string>();
      return decoder.string(text);
    }
    case nlohmann::json::value_t::array: {
      if (!decoder.start_array(value.size())) return false;
      for (const nlohmann::json& element : value)
        if (!replay(element, decoder)) return false;
      return decoder.end_array();
    }
    case nlohmann::json::value_t::object: {
      if (!decoder.start_object(value.size())) return false;
      for (const auto& [name, member] : value.items()) {
        std::string key = name;
        if (!decoder.key(key) || !replay(member, decoder)) return false;
      }
      return decoder.end_object();
    }
  }
  return false;
}

}  // namespace

Status decode_json(std::string_view text, const TypeInfo& type, void* into, DecodeReport* report) {
  DecodeReport unused;
  Decoder decoder(type, into, report ? *report : unused);
  nlohmann::json::sax_parse(text, &decoder);
  TRY(decoder.result());
  if (type.open) type.open->prune(into, report ? report->strict : unused.strict);
  return ok();
}

Status decode_document(const nlohmann::json& document, const TypeInfo& type, void* into, DecodeReport* report) {
  DecodeReport unused;
  Decoder decoder(type, into, report ? *report : unused);
  replay(document, decoder);
  TRY(decoder.result());
  if (type.open) type.open->prune(into, report ? report->strict : unused.strict);
  return ok();
}

Result<nlohmann::json> parse_json(std::string_view text) {
  struct TooDeep {};
  auto limit_depth = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) throw TooDeep{};
    return true;
  };
  try {
    return nlohmann::json::parse(text, limit_depth);
  } catch (const nlohmann::json::parse_error& problem) {
    return Error(Code::BadRequest, syntax_error_words(problem.what(), text.substr(0, problem.byte)));
  } catch (const nlohmann::json::out_of_range&) {
    return Error(Code::BadRequest, "json: cannot unmarshal number into Go value of type float64");
  } catch (const TooDeep&) {
    return Error(Code::BadRequest, "exceeded max depth");
  }
}

Result<std::vector<std::string>> list_items(std::string_view text) {
  TRY_ASSIGN(nlohmann::json document, parse_json(text));
  auto items = document.is_object() ? document.find("items") : document.end();
  if (!document.is_object() || items == document.end() || !items->is_array())
    return Error(Code::BadRequest, "not a list");
  std::vector<std::string> texts;
  for (const nlohmann::json& item : *items) texts.push_back(item.dump());
  return texts;
}

}  // namespace skiff::api
