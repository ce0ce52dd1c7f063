#pragma once
// Errors as the API tells them: one table from Code to HTTP status and reason, and metav1.Status documents.

#include <string>

#include "apiserver/message.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

int http_status(Code code);

/// The metav1.Status of a failure, as JSON without a line break.
std::string status_document(const Error& error);
std::string status_protobuf(const Error& error);
Reply status_reply(const Error& error, bool protobuf = false);

/// The object that something was done to, as a Status names it.
struct DoneTo {
  std::string_view name, group, plural, uid;
};
/// The Status that says that it was done.
Reply success_reply(int code, const DoneTo& object, bool protobuf);

Reply json_reply(int status, std::string body);

/// 404, "the server could not find the requested resource".
Error resource_not_found();
/// 405, "the server does not allow this method on the requested resource".
Error method_not_allowed();
/// 401, "Unauthorized".
Error unauthorized();

}  // namespace skiff::apiserver
