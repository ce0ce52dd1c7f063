#include "apiserver/status.hpp"

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "api/protobuf.hpp"
#include "api/status.hpp"

namespace skiff::apiserver {

int http_status(Code code) {
  switch (code) {
    case Code::BadRequest:
      return 400;
    case Code::Unauthorized:
      return 401;
    case Code::Forbidden:
      return 403;
    case Code::NotFound:
      return 404;
    case Code::MethodNotAllowed:
      return 405;
    case Code::NotAcceptable:
      return 406;
    case Code::AlreadyExists:
      return 409;
    case Code::Conflict:
      return 409;
    case Code::Gone:
      return 410;
    case Code::Expired:
      return 410;
    case Code::TooLarge:
      return 413;
    case Code::UnsupportedMediaType:
      return 415;
    case Code::Invalid:
      return 422;
    case Code::TooManyRequests:
      return 429;
    case Code::Internal:
      return 500;
    case Code::Unavailable:
      return 503;
    case Code::Timeout:
      return 504;
    case Code::Canceled:
      return 503;
    case Code::System:
      return 500;
  }
  return 500;
}

namespace {

bool is_internal(Code code) { return code == Code::Internal || code == Code::System; }

void fill_details(api::StatusDetails& details, const Error& error) {
  if (const api::StatusDetail* detail = api::detail_of(error)) {
    details.name = detail->name;
    details.group = detail->group;
    details.kind = detail->kind;
    details.uid = detail->uid;
    details.retryAfterSeconds = detail->retry_after_seconds;
    for (const api::StatusDetail::Cause& cause : detail->causes) {
      api::StatusCause& out = details.causes.emplace_back();
      out.reason = cause.reason;
      out.message = cause.message;
      out.field = cause.field;
    }
  } else if (is_internal(error.code())) {
    details.causes.emplace_back().message = error.message();
  }
}

// Kubernetes leaves the details of these out, and writes empty ones for the others.
bool has_details(const Error& error) {
  if (error.detail() != nullptr) return true;
  return is_internal(error.code()) || error.code() == Code::NotFound ||
         error.code() == Code::MethodNotAllowed;
}

api::MetaStatus status_of(const Error& error) {
  api::MetaStatus status;
  if (const api::StatusDetail* detail = api::detail_of(error); detail && detail->undecorated) {
    status.status = "Failure";
    status.message = error.message();
    status.code = http_status(error.code());
    return status;
  }
  status.status = "Failure";
  status.message =
      is_internal(error.code()) ? "Internal error occurred: " + error.message() : error.message();
  status.reason = error.code() == Code::Canceled ? "ServiceUnavailable" : to_string(error.code());
  status.code = http_status(error.code());
  if (has_details(error)) fill_details(status.details.emplace(), error);
  return status;
}

}  // namespace

namespace {

std::string protobuf_of(const api::MetaStatus& status) {
  return api::encode_protobuf(api::type_of<api::MetaStatus>(), &status);
}

Reply reply_of(int code, const api::MetaStatus& status, bool protobuf) {
  if (!protobuf) return json_reply(code, api::to_json(status));
  return {code, std::string(api::kProtobufType), {}, std::make_shared<std::string>(protobuf_of(status))};
}

}  // namespace

std::string status_document(const Error& error) { return api::to_json(status_of(error)); }

std::string status_protobuf(const Error& error) { return protobuf_of(status_of(error)); }

Reply status_reply(const Error& error, bool protobuf) {
  Reply reply = reply_of(http_status(error.code()), status_of(error), protobuf);
  const api::StatusDetail* detail = api::detail_of(error);
  if (detail != nullptr && detail->retry_after_seconds > 0)
    reply.headers.emplace("Retry-After", std::to_string(detail->retry_after_seconds));
  return reply;
}

Reply success_reply(int code, const DoneTo& object, bool protobuf) {
  api::MetaStatus status;
  status.status = "Success";
  api::StatusDetails& details = status.details.emplace();
  details.name = object.name;
  details.group = object.group;
  details.kind = object.plural;
  details.uid = object.uid;
  return reply_of(code, status, protobuf);
}

Reply json_reply(int status, std::string body) {
  body.push_back('\n');
  return {status, "application/json", {}, std::make_shared<std::string>(std::move(body))};
}

Error resource_not_found() {
  return Error(Code::NotFound, "the server could not find the requested resource");
}
Error method_not_allowed() {
  return Error(Code::MethodNotAllowed, "the server does not allow this method on the requested resource");
}
Error unauthorized() { return Error(Code::Unauthorized, "Unauthorized"); }

}  // namespace skiff::apiserver
