#pragma once
// Types made at run time. The last field of such a type has no name: it is a Raw that holds all members the other
// fields do not describe, as one JSON object. The codec fills and writes it; what may stand in it is the type's to say.

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace skiff::api {

/// Any thread.
class OpenType {
 public:
  virtual ~OpenType() = default;
  /// Drops what the type does not know from a decoded object and names it: `unknown field "spec.foo"`.
  virtual void prune(void* object, std::vector<std::string>& unknown) const = 0;
  virtual void apply_defaults(void* object) const = 0;
  /// The OpenAPI schema of the objects, for server-side apply: how lists and maps merge. Null when there is none.
  virtual const nlohmann::json* schema() const { return nullptr; }
};

}  // namespace skiff::api
