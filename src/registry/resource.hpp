#pragma once
// A resource: a kind of the schema and the rules of its own. Generic code asks these functions and knows no kind by
// name.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/descriptor.hpp"
#include "api/status.hpp"
#include "base/random.hpp"
#include "client/certificate_authority.hpp"
#include "client/client.hpp"
#include "registry/authorizer.hpp"

namespace skiff::registry {

/// Who asks, and how the request wants to be treated. One per request.
struct RequestContext {
  enum class FieldValidation { Ignore, Warn, Strict };

  User user;
  std::string verb;         // as authorised: get, create, deletecollection, ...
  std::string subresource;  // of the request, "" for the object itself
  bool dry_run = false;
  FieldValidation field_validation = FieldValidation::Warn;
  std::string field_manager;
  std::string api_version;  // that the client speaks, for managedFields; "": the stored one
  bool force = false;       // server-side apply takes fields from other managers
  std::vector<std::string> warnings;  // out: texts of Warning headers
  std::map<std::string, std::string> audit_annotations;  // out: what the audit log says besides
};

/// What a strategy function may ask of the cluster.
struct StrategyContext {
  RequestContext& request;
  client::Client& cluster;   // reads and writes other objects
  const Authorizer& authorizer;
  const TokenAuthenticator* tokens;  // null: no token can be told
  const client::CertificateAuthority* certificates;  // null: requests cannot be read
  Random& random;
  WallTime now;
};

/// The rules of one kind over type-erased objects; define<T>() in kinds/kind.hpp fills it from typed functions. Empty
/// functions mean "nothing to do".
struct Strategy {
  /// Sets what a creator may not choose (status, generation); runs after decoding and defaulting.
  std::function<Status(void* object, StrategyContext&)> prepare_create;
  /// Copies from `old` what an updater may not change.
  std::function<Status(void* next, const void* old, StrategyContext&)> prepare_update;
  std::function<Status(void* next, const void* old, StrategyContext&)> prepare_status_update;
  /// The same for subresources that show the object itself, status excepted (approval).
  std::function<Status(void* next, const void* old, const std::string& subresource, StrategyContext&)>
      prepare_subresource_update;
  /// Finds problems; `old` is null on create. Must not change anything.
  std::function<void(const void* object, const void* old, api::FieldErrors&)> validate;
  std::function<void(const void* next, const void* old, api::FieldErrors&)> validate_status;
  /// The same for subresources that show the object itself, status excepted (resize).
  std::function<void(const void* next, const void* old, const std::string& subresource, api::FieldErrors&)>
      validate_subresource;
  /// What the writer of a valid object should know: texts of Warning headers. `old` is null on create.
  std::function<void(const void* object, const void* old, std::vector<std::string>& warnings)> warn;
  /// Takes what the object needs from shared ranges (cluster IPs, node ports) just before it is written.
  std::function<Status(void* object, const void* old, StrategyContext&)> allocate;
  /// Gives back what `gone` holds and `kept` (may be null) does not: after a failed write, an update or a deletion.
  std::function<void(const void* gone, const void* kept)> release;
  /// Marks as taken what an object holds that was there when the registry opened.
  std::function<void(const void* object)> adopt;
  /// Fields by which lists can be selected besides metadata.name and metadata.namespace.
  std::function<std::map<std::string, std::string>(const void* object)> selectable_fields;
  std::vector<std::string> selectable_names;
  /// For kinds that go gracefully: the grace period in seconds for this deletion, 0 to go at once.
  std::function<std::int64_t(const void* object, const client::DeleteOptions&)> grace_seconds;
  /// Called when a deletion begins (deletionTimestamp was just set on `object`).
  std::function<void(void* object)> begin_deletion;
  /// Whether more than metadata.finalizers holds the object (a namespace's spec.finalizers).
  std::function<bool(const void* object)> held;
  /// Names must satisfy this (default: DNS subdomain).
  std::function<std::vector<std::string>(std::string_view name)> name_problems;

  // Filled by define<T>() for every kind.
  std::function<void(void* object)> reset_status;                       // null when the type has no status
  std::function<void(void* to, const void* from)> copy_status;
  std::function<void(void* to, const void* from)> copy_spec;            // all but metadata and status
  std::function<bool(const void* a, const void* b)> same_spec;

  bool counts_generation = false;      // metadata.generation: 1, then +1 when the spec changes
  bool create_on_update = false;       // PUT of a name that does not exist creates
  bool unconditional_update = true;    // an update may leave resourceVersion out
  bool orphans_by_default = false;     // a DELETE that names no propagation leaves the dependents alone
  bool returns_deleted = false;        // DELETE answers with the object rather than a Status
  bool durable = true;                 // false: kept in memory only (leases)
  std::string warning;                 // text of the Warning header of every request, or ""
  bool stored = true;                  // false: create answers without storing (reviews)
  /// The answer of a create that stores nothing.
  std::function<Status(void* object, StrategyContext&)> answer;
  bool answers_status = false;         // ... and it is a Status rather than the object
  /// All objects of a kind that is not stored but made when somebody asks.
  std::function<std::vector<std::shared_ptr<void>>()> make_all;
};

class ServiceRanges;
struct UsageSource;

struct Resource {
  const api::KindInfo* kind;
  Strategy strategy;

  std::string prefix() const;                                     // of its keys in the store
  std::string key(const client::ObjectKey& key) const;
};

/// Every resource served, built once per registry by kinds/all.cpp. `ranges` is what its Services share, `usage` answers
/// for metrics.k8s.io.
std::vector<Resource> all_resources(std::shared_ptr<ServiceRanges> ranges, std::shared_ptr<const UsageSource> usage);

}  // namespace skiff::registry
