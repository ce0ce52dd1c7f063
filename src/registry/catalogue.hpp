#pragma once
// Which resources are served, and in which versions of the API.

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "registry/resource.hpp"

namespace skiff::registry {

class Object;

/// Makes objects of one version of an API into those of the version that is stored, and back. All of a list at once,
/// because a webhook may do it. Any thread.
class Conversion {
 public:
  virtual ~Conversion() = default;
  virtual Status to_stored(std::vector<nlohmann::json>& objects) const = 0;
  virtual Status from_stored(std::vector<nlohmann::json>& objects) const = 0;
};

/// One version in which a resource is served.
struct ServedKind {
  const Resource* resource = nullptr;         // what is stored, and its rules
  const api::KindInfo* kind = nullptr;        // what clients of this version see
  const Conversion* conversion = nullptr;     // null: objects travel as they are stored
  std::string warning;                        // text of the Warning header that every request gets, or ""

  /// Whether the version has a schema of its own rather than the stored one's.
  bool has_own_type() const { return kind->type != resource->kind->type; }
};

/// `resource` in the version that is stored.
inline ServedKind as_stored(const Resource& resource) { return {&resource, resource.kind, nullptr, ""}; }

/// `json`, an object as it is stored, as clients of `served` see it.
Result<std::string> in_version(const ServedKind& served, const std::string& json);
Result<std::vector<std::string>> in_version(const ServedKind& served, const std::vector<Object>& objects);

/// A resource with its versions, as Registry::publish takes it.
struct Publication {
  std::shared_ptr<const Resource> resource;
  std::vector<ServedKind> versions;
  std::shared_ptr<const void> holds;          // whatever else the above point to
};

/// Everything that is served at one moment. Immutable; what its entries point to lives as long as the registry.
class Catalogue {
 public:
  Catalogue(std::vector<const ServedKind*> served, std::uint64_t generation);

  /// Null when there is no such resource.
  const ServedKind* find(std::string_view group, std::string_view version, std::string_view plural) const;
  /// By apiVersion and kind, as owner references name objects. Null when there is none.
  const ServedKind* find_kind(std::string_view api_version, std::string_view kind) const;
  /// The resource that is stored under these names. Null when there is none.
  const Resource* stored_as(std::string_view group, std::string_view plural) const;
  /// The resource that stores objects of `kind`; null when there is none.
  const Resource* of(const api::KindInfo& kind) const;
  const std::vector<const ServedKind*>& served() const { return served_; }
  /// Grows with every change.
  std::uint64_t generation() const { return generation_; }

 private:
  using Name = std::tuple<std::string_view, std::string_view, std::string_view>;
  std::vector<const ServedKind*> served_;
  std::map<Name, const ServedKind*> by_name_;
  std::map<std::pair<std::string, std::string_view>, const ServedKind*, std::less<>> by_kind_name_;
  std::map<std::pair<std::string_view, std::string_view>, const Resource*> by_place_;
  std::unordered_map<const api::KindInfo*, const Resource*> by_kind_;
  std::uint64_t generation_;
};

}  // namespace skiff::registry
