#pragma once
// Who owns which field of an object: metadata.managedFields as kube-apiserver keeps it
// (k8s.io/apimachinery/pkg/util/managedfields and sigs.k8s.io/structured-merge-diff/merge).

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

#include "api/field_changes.hpp"
#include "api/field_set.hpp"
#include "api/gen/meta.hpp"
#include "api/merge_schema.hpp"

namespace skiff::api {

/// Whom an entry belongs to. Appliers are the same whatever version they write.
struct ManagerId {
  std::string name;
  std::string api_version;
  std::string subresource;
  bool applies = false;

  /// `"kubectl" using apps/v1`, as conflicts print it.
  std::string text() const;
};

/// What server-side apply is asked to do to one object.
struct ApplyRequest {
  const nlohmann::json& applied;
  MergeSchema schema;
  ManagerId manager;
  bool force = false;
  std::vector<std::string> reset;   // top-level fields that this way of writing does not set ("status")
  Time now;
};

/// The managers of one object. Entries are parsed when something may change them.
class ManagedFields {
 public:
  /// BadRequest: an entry has no operation, version or type, or its fields cannot be read.
  static Result<ManagedFields> decode(const std::vector<ManagedFieldsEntry>& entries);
  std::vector<ManagedFieldsEntry> encode() const;
  bool empty() const { return entries_.empty(); }

  /// Gives `manager` what it changed and takes it from the others. BadRequest: an entry's fields cannot be read.
  Status update(const FieldChanges& changes, const ManagerId& manager, Time now);

  /// `live` merged with what is applied, without what the applier alone owned and no longer sends; nothing when that
  /// changes nothing. Conflict: somebody else owns a field (causes FieldManagerConflict).
  Result<std::optional<nlohmann::json>> apply(const nlohmann::json& live, const ApplyRequest& request);

 private:
  struct Entry {
    ManagerId id;
    Time time;
    FieldSet set;
    std::string text;   // the set as it was stored; empty once it has changed
    bool parsed = false;
  };
  struct Conflict {
    const Entry* entry;
    FieldSet fields;
  };

  Entry* find(const ManagerId& id);
  Status parse();
  void drop_empty();
  void cap_updaters();
  void take(const FieldChanges& changes, const Entry* except);
  std::vector<Conflict> conflicts(const FieldChanges& changes, const Entry* except) const;
  nlohmann::json prune(const nlohmann::json& document, const FieldSet& last, const ApplyRequest& request) const;
  static Error conflict_error(std::vector<Conflict> conflicts);
  static FieldSet excused(const nlohmann::json& live, const ApplyRequest& request);

  std::vector<Entry> entries_;
};

/// The one way to drop all managers: a list of one empty entry.
bool is_reset(const std::vector<ManagedFieldsEntry>& entries);

/// Whether two lists differ in nothing but times.
bool same_but_for_times(const std::vector<ManagedFieldsEntry>& a, const std::vector<ManagedFieldsEntry>& b);

}  // namespace skiff::api
