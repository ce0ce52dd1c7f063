#pragma once
// The API's errors: a base Error with the details of a metav1.Status, in Kubernetes' words
// (k8s.io/apimachinery/pkg/api/errors and .../util/validation/field).

#include <string>
#include <vector>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace skiff::api {

/// metav1.StatusDetails, carried by Error::detail().
struct StatusDetail : ErrorDetail {
  struct Cause {
    std::string reason, message, field;
  };
  std::string name, group, kind, uid;   // kind: the resource's plural for most reasons, the Kind for Invalid
  std::vector<Cause> causes;
  int retry_after_seconds = 0;
  bool undecorated = false;             // an internal error that stands for itself: no reason, no prefix, no details
};

/// The detail of `error`, or null.
const StatusDetail* detail_of(const Error& error);

/// `pods "x" not found`, `deployments.apps "x" not found`.
Error not_found(const KindInfo& kind, std::string_view name);
Error already_exists(const KindInfo& kind, std::string_view name);
/// `Operation cannot be fulfilled on pods "x": why`.
Error conflict(const KindInfo& kind, std::string_view name, std::string_view why);
/// `pods "x" is forbidden: why`.
Error forbidden(const KindInfo& kind, std::string_view name, std::string_view why);
/// The conflict of an update whose resourceVersion is not the current one.
Error stale_update(const KindInfo& kind, std::string_view name);
/// The conflict of a request that names another UID than the object has.
Error uid_conflict(const KindInfo& kind, std::string_view name, std::string_view wanted, std::string_view has);
Error bad_request(std::string message);

/// One problem of one field (field.Error).
struct FieldError {
  enum class Type {
    Required, Invalid, TypeInvalid, NotSupported, Duplicate, Forbidden, TooLong, TooMany, NotFound, Internal
  };
  Type type;
  std::string field;    // "spec.containers[0].image"
  std::string message;  // "Required value: must not be empty", without the field
};

/// The problems of one object. Paths are built by the caller: errors.required(path + ".name", "...").
class FieldErrors {
 public:
  void required(std::string field, std::string_view detail = "");
  /// `value` as Go prints it: quote() strings first.
  void invalid(std::string field, std::string_view value, std::string_view detail);
  /// The same with the reason FieldValueTypeInvalid.
  void type_invalid(std::string field, std::string_view value, std::string_view detail);
  void not_supported(std::string field, std::string_view value, const std::vector<std::string>& supported);
  void duplicate(std::string field, std::string_view value);
  void forbidden(std::string field, std::string_view detail);
  void too_long(std::string field, size_t max_bytes);
  void too_many(std::string field, size_t actual, size_t max);
  void not_found(std::string field, std::string_view value);

  void add(FieldError error) { errors_.push_back(std::move(error)); }

  bool empty() const { return errors_.empty(); }
  const std::vector<FieldError>& all() const { return errors_; }

 private:
  void add(FieldError::Type type, std::string field, std::string message);
  std::vector<FieldError> errors_;
};

/// "text" in double quotes, as Go's %q for plain text.
std::string quote(std::string_view text);

/// `Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: must be ...`; code 422 with all causes.
Error invalid(const KindInfo& kind, std::string_view name, const FieldErrors& errors);

}  // namespace skiff::api
