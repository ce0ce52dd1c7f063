#pragma once
// Errors are values. A function that can fail returns Result<T> (or Status, when there is no value);
// callers branch on Code, people read message(). One table in `apiserver` maps codes to HTTP.

#include <fmt/core.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace skiff {

/// Why something failed. All but Canceled and System are the reasons of a Kubernetes Status
/// (metav1.StatusReason); each maps to one HTTP status and one retry policy.
enum class Code : std::uint8_t {
  BadRequest,             // 400
  Unauthorized,           // 401
  Forbidden,              // 403
  NotFound,               // 404
  MethodNotAllowed,       // 405
  NotAcceptable,          // 406
  AlreadyExists,          // 409
  Conflict,               // 409
  Gone,                   // 410
  Expired,                // 410, the resourceVersion or continue token is too old
  TooLarge,               // 413
  UnsupportedMediaType,   // 415
  Invalid,                // 422
  TooManyRequests,        // 429
  Internal,               // 500
  Unavailable,            // 503
  Timeout,                // 504
  Canceled,               // the caller's stop token was triggered
  System,                 // a system call failed; sys_errno() says how
};

/// The name of `code` as metav1.StatusReason spells it ("NotFound", "AlreadyExists", ...).
std::string_view to_string(Code code);

/// What a room adds to an error beyond its text (the API's StatusDetails, for example).
struct ErrorDetail {
  virtual ~ErrorDetail() = default;
};

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message, int sys_errno = 0)
      : code_(code), sys_errno_(sys_errno), message_(std::move(message)) {}

  Code code() const { return code_; }
  int sys_errno() const { return sys_errno_; }  // 0 unless a system call failed
  const std::string& message() const { return message_; }
  const std::shared_ptr<const ErrorDetail>& detail() const { return detail_; }

  /// Prefixes the caller's half of the story: "doing: message".
  Error in(std::string_view doing) &&;
  Error with(std::shared_ptr<const ErrorDetail> detail) &&;

 private:
  Code code_;
  int sys_errno_;
  std::string message_;
  std::shared_ptr<const ErrorDetail> detail_;
};

template <class... Args>
Error error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Code::System with errno's text appended: "openat '/x': No such file or directory".
Error system_error(int sys_errno, std::string doing);

template <class... Args>
Error errno_error(int sys_errno, fmt::format_string<Args...> format, Args&&... args) {
  return system_error(sys_errno, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void die_of_unchecked_result(const Error& error);

/// A T or an Error. value() on an error is a bug and aborts with the error's text.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  template <class U>
    requires std::convertible_to<U, T> && (!std::same_as<std::remove_cvref_t<U>, T>) &&
             (!std::same_as<std::remove_cvref_t<U>, Error>) && (!std::same_as<std::remove_cvref_t<U>, Result<T>>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const = delete;  // say ok()

  T& value() & { return check(), std::get<0>(state_); }
  const T& value() const& { return check(), std::get<0>(state_); }
  T value() && { return check(), std::get<0>(std::move(state_)); }  // by value: safe in a range-for

  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  void check() const {
    if (!ok()) die_of_unchecked_result(std::get<1>(state_));
  }
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;
inline Status ok() { return Ok{}; }

#define SKIFF_CONCAT2(a, b) a##b
#define SKIFF_CONCAT(a, b) SKIFF_CONCAT2(a, b)

/// Returns the error of `expr`, if any, to the caller.
#define TRY(expr)                                                 \
  do {                                                            \
    if (auto try_result = (expr); !try_result.ok())               \
      return std::move(try_result).error();                       \
  } while (false)

/// The same, otherwise `decl` = the value. A statement: never under a bare `if`.
#define TRY_ASSIGN(decl, expr)                                          \
  auto SKIFF_CONCAT(try_result_, __LINE__) = (expr);                    \
  if (!SKIFF_CONCAT(try_result_, __LINE__).ok())                        \
    return std::move(SKIFF_CONCAT(try_result_, __LINE__)).error();      \
  decl = std::move(SKIFF_CONCAT(try_result_, __LINE__)).value()

}  // namespace skiff
