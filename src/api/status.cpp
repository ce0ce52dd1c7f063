#include "api/status.hpp"

#include "base/encoding.hpp"

namespace skiff::api {
namespace {

std::string qualified_resource(const KindInfo& kind) {
  return *kind.group ? fmt::format("{}.{}", kind.plural, kind.group) : std::string(kind.plural);
}

std::shared_ptr<StatusDetail> detail_for(const KindInfo& kind, std::string_view name) {
  auto detail = std::make_shared<StatusDetail>();
  detail->name = name;
  detail->group = kind.group;
  detail->kind = kind.plural;
  return detail;
}

std::string_view reason(FieldError::Type type) {
  switch (type) {
    case FieldError::Type::Required: return "FieldValueRequired";
    case FieldError::Type::Invalid: return "FieldValueInvalid";
    case FieldError::Type::TypeInvalid: return "FieldValueTypeInvalid";
    case FieldError::Type::NotSupported: return "FieldValueNotSupported";
    case FieldError::Type::Duplicate: return "FieldValueDuplicate";
    case FieldError::Type::Forbidden: return "FieldValueForbidden";
    case FieldError::Type::TooLong: return "FieldValueTooLong";
    case FieldError::Type::TooMany: return "FieldValueTooMany";
    case FieldError::Type::NotFound: return "FieldValueNotFound";
    case FieldError::Type::Internal: return "InternalError";
  }
  return "";
}

}  // namespace

const StatusDetail* detail_of(const Error& error) { return dynamic_cast<const StatusDetail*>(error.detail().get()); }

Error not_found(const KindInfo& kind, std::string_view name) {
  return error(Code::NotFound, "{} \"{}\" not found", qualified_resource(kind), name).with(detail_for(kind, name));
}

Error already_exists(const KindInfo& kind, std::string_view name) {
  return error(Code::AlreadyExists, "{} \"{}\" already exists", qualified_resource(kind), name)
      .with(detail_for(kind, name));
}

Error conflict(const KindInfo& kind, std::string_view name, std::string_view why) {
  return error(Code::Conflict, "Operation cannot be fulfilled on {} \"{}\": {}", qualified_resource(kind), name, why)
      .with(detail_for(kind, name));
}

Error forbidden(const KindInfo& kind, std::string_view name, std::string_view why) {
  return error(Code::Forbidden, "{} \"{}\" is forbidden: {}", qualified_resource(kind), name, why)
      .with(detail_for(kind, name));
}

Error stale_update(const KindInfo& kind, std::string_view name) {
  return conflict(kind, name,
                  "the object has been modified; please apply your changes to the latest version and try again");
}

Error uid_conflict(const KindInfo& kind, std::string_view name, std::string_view wanted, std::string_view has) {
  return conflict(kind, name,
                  fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", wanted, has));
}

Error bad_request(std::string message) { return Error(Code::BadRequest, std::move(message)); }

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') quoted += "\\n";
    else if (c == '\t') quoted += "\\t";
    else quoted += c;
  }
  return quoted + "\"";
}

void FieldErrors::add(FieldError::Type type, std::string field, std::string message) {
  errors_.push_back({type, std::move(field), std::move(message)});
}

namespace {
std::string with_detail(std::string what, std::string_view detail) {
  return detail.empty() ? what : fmt::format("{}: {}", what, detail);
}
}  // namespace

void FieldErrors::required(std::string field, std::string_view detail) {
  add(FieldError::Type::Required, std::move(field), with_detail("Required value", detail));
}
void FieldErrors::invalid(std::string field, std::string_view value, std::string_view detail) {
  add(FieldError::Type::Invalid, std::move(field), with_detail(fmt::format("Invalid value: {}", value), detail));
}
void FieldErrors::type_invalid(std::string field, std::string_view value, std::string_view detail) {
  add(FieldError::Type::TypeInvalid, std::move(field), with_detail(fmt::format("Invalid value: {}", value), detail));
}
void FieldErrors::not_supported(std::string field, std::string_view value, const std::vector<std::string>& supported) {
  std::vector<std::string> quoted;
  for (const std::string& one : supported) quoted.push_back(quote(one));
  add(FieldError::Type::NotSupported, std::move(field),
      fmt::format("Unsupported value: {}: supported values: {}", quote(value), join(quoted, ", ")));
}
void FieldErrors::duplicate(std::string field, std::string_view value) {
  add(FieldError::Type::Duplicate, std::move(field), fmt::format("Duplicate value: {}", value));
}
void FieldErrors::forbidden(std::string field, std::string_view detail) {
  add(FieldError::Type::Forbidden, std::move(field), with_detail("Forbidden", detail));
}
void FieldErrors::too_long(std::string field, size_t max_bytes) {
  add(FieldError::Type::TooLong, std::move(field), fmt::format("Too long: may not be more than {} bytes", max_bytes));
}
void FieldErrors::too_many(std::string field, size_t actual, size_t max) {
  add(FieldError::Type::TooMany, std::move(field),
      fmt::format("Too many: {}: must have at most {} items", actual, max));
}
void FieldErrors::not_found(std::string field, std::string_view value) {
  add(FieldError::Type::NotFound, std::move(field), fmt::format("Not found: {}", value));
}

Error invalid(const KindInfo& kind, std::string_view name, const FieldErrors& errors) {
  auto detail = std::make_shared<StatusDetail>();
  detail->name = name;
  detail->group = kind.group;
  detail->kind = kind.kind;
  std::vector<std::string> messages;
  for (const FieldError& one : errors.all()) {
    detail->causes.push_back({std::string(reason(one.type)), one.message, one.field});
    messages.push_back(fmt::format("{}: {}", one.field, one.message));
  }
  std::string text = messages.size() == 1 ? messages[0] : "[" + join(messages, ", ") + "]";
  std::string qualified = *kind.group ? fmt::format("{}.{}", kind.kind, kind.group) : std::string(kind.kind);
  return error(Code::Invalid, "{} \"{}\" is invalid: {}", qualified, name, text).with(std::move(detail));
}

}  // namespace skiff::api
