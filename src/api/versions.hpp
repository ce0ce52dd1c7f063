#pragma once
// Versions of the API besides the one each kind is stored in: those that Kubernetes serves as well (autoscaling/v1,
// events.k8s.io/v1), and those it has removed, which tutorials and charts of their time still use. Conversions work on
// documents; what a version defaulted differently is written out on the way in, as its server did.

#include <nlohmann/json_fwd.hpp>

#include <span>
#include <string>

#include "base/error.hpp"

namespace skiff::api {

struct OtherVersion {
  const char* group;
  const char* version;
  const char* kind;
  const char* plural;
  const char* singular;
  const char* stored_version;   // "apps/v1"
  const char* stored_kind;
  const char* deprecated;       // the Kubernetes release, or "" while it is not
  const char* removed;          // the release without it, or ""
  Status (*to_stored)(nlohmann::json& object);     // null: same shape
  void (*from_stored)(nlohmann::json& object);

  std::string api_version() const { return *group ? std::string(group) + "/" + version : std::string(version); }
};

std::span<const OtherVersion> other_versions();

/// Change an object in place, its apiVersion and kind too. BadRequest: the object has no counterpart.
Status to_stored_version(const OtherVersion& version, nlohmann::json& object);
void from_stored_version(const OtherVersion& version, nlohmann::json& object);

}  // namespace skiff::api
