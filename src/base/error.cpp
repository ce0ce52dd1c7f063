#include "base/error.hpp"

#include <cstdio>
#include <cstring>

namespace skiff {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::BadRequest: return "BadRequest";
    case Code::Unauthorized: return "Unauthorized";
    case Code::Forbidden: return "Forbidden";
    case Code::NotFound: return "NotFound";
    case Code::MethodNotAllowed: return "MethodNotAllowed";
    case Code::NotAcceptable: return "NotAcceptable";
    case Code::AlreadyExists: return "AlreadyExists";
    case Code::Conflict: return "Conflict";
    case Code::Gone: return "Gone";
    case Code::Expired: return "Expired";
    case Code::TooLarge: return "RequestEntityTooLarge";
    case Code::UnsupportedMediaType: return "UnsupportedMediaType";
    case Code::Invalid: return "Invalid";
    case Code::TooManyRequests: return "TooManyRequests";
    case Code::Internal: return "InternalError";
    case Code::Unavailable: return "ServiceUnavailable";
    case Code::Timeout: return "Timeout";
    case Code::Canceled: return "Canceled";
    case Code::System: return "InternalError";
  }
  return "";
}

Error Error::in(std::string_view doing) && {
  message_.insert(0, fmt::format("{}: ", doing));
  return std::move(*this);
}

Error Error::with(std::shared_ptr<const ErrorDetail> detail) && {
  detail_ = std::move(detail);
  return std::move(*this);
}

Error system_error(int sys_errno, std::string doing) {
  char buffer[128];
  doing += ": ";
  doing += strerror_r(sys_errno, buffer, sizeof buffer);
  return Error(Code::System, std::move(doing), sys_errno);
}

void die_of_unchecked_result(const Error& error) {
  std::fprintf(stderr, "BUG: value() of a failed Result: %s\n", error.message().c_str());
  std::abort();
}

}  // namespace skiff
