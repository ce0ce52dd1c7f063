#include "api/managed_fields.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "api/merge.hpp"
#include "api/status.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

using nlohmann::json;

namespace {

constexpr size_t kMaxUpdaters = 10;
constexpr const char* kAncient = "ancient-changes";
constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

bool same_manager(const ManagerId& a, const ManagerId& b) {
  return a.name == b.name && a.applies == b.applies && a.subresource == b.subresource &&
         (a.applies || a.api_version == b.api_version);
}

// Sorts as the JSON that kube-apiserver knows a manager by.
auto sort_key(const ManagerId& id) { return std::tie(id.name, id.applies, id.api_version, id.subresource); }

// What no manager owns: the document's type and the metadata that the system writes.
const FieldSet& system_fields() {
  static const FieldSet kFields = [] {
    FieldSet set;
    for (const char* step : {"f:apiVersion", "f:kind", "f:metadata"}) set.add(step);
    for (const char* name : {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                             "managedFields", "resourceVersion"})
      set.add(FieldSet::Path{"f:metadata", std::string("f:") + name});
    return set;
  }();
  return kFields;
}

FieldSet reset_fields(const ApplyRequest& request) {
  FieldSet set;
  for (const std::string& field : request.reset) set.add("f:" + field);
  return set;
}

FieldChanges without(FieldChanges changes, const FieldSet& ignored) {
  if (ignored.empty()) return changes;
  return {changes.added.without_trees(ignored), changes.removed.without_trees(ignored), changes.modified.without_trees(ignored)};
}

}  // namespace

std::string ManagerId::text() const {
  std::string out = quote(name);
  if (!subresource.empty()) out += " with subresource " + quote(subresource);
  if (!applies) out += " using " + api_version;
  return out;
}

bool is_reset(const std::vector<ManagedFieldsEntry>& entries) {
  return entries.size() == 1 && entries[0] == ManagedFieldsEntry();
}

bool same_but_for_times(const std::vector<ManagedFieldsEntry>& a, const std::vector<ManagedFieldsEntry>& b) {
  return std::ranges::equal(a, b, [](const ManagedFieldsEntry& x, const ManagedFieldsEntry& y) {
    return x.manager == y.manager && x.operation == y.operation && x.apiVersion == y.apiVersion &&
           x.subresource == y.subresource && x.fieldsV1 == y.fieldsV1;
  });
}

Result<ManagedFields> ManagedFields::decode(const std::vector<ManagedFieldsEntry>& entries) {
  ManagedFields managed;
  for (size_t i = 0; i < entries.size(); ++i) {
    const ManagedFieldsEntry& one = entries[i];
    if (one.operation != "Apply" && one.operation != "Update") return bad_request("operation must be `Apply` or `Update`");
    if (one.apiVersion.empty()) return bad_request("apiVersion must not be empty");
    if (one.fieldsType.empty()) return bad_request(fmt::format("missing fieldsType in managed fields entry {}", i));
    if (one.fieldsType != "FieldsV1")
      return bad_request(fmt::format("invalid fieldsType {} in managed fields entry {}", quote(one.fieldsType), i));
    Entry entry{.id = {one.manager, one.apiVersion, one.subresource, one.operation == "Apply"},
                .time = one.time, .set = {}, .text = one.fieldsV1.json, .parsed = false};
    if (Entry* known = managed.find(entry.id)) *known = std::move(entry);
    else managed.entries_.push_back(std::move(entry));
  }
  return managed;
}

std::vector<ManagedFieldsEntry> ManagedFields::encode() const {
  std::vector<ManagedFieldsEntry> entries;
  entries.reserve(entries_.size());
  for (const Entry& one : entries_) {
    ManagedFieldsEntry& entry = entries.emplace_back();
    entry.manager = one.id.name;
    entry.operation = one.id.applies ? "Apply" : "Update";
    entry.apiVersion = one.id.api_version;
    entry.time = one.time;
    entry.fieldsType = "FieldsV1";
    entry.fieldsV1.json = one.text.empty() ? one.set.json() : one.text;
    entry.subresource = one.id.subresource;
  }
  std::ranges::sort(entries, {}, [](const ManagedFieldsEntry& one) {
    return std::tie(one.operation, one.time, one.manager, one.apiVersion, one.subresource);
  });
  return entries;
}

ManagedFields::Entry* ManagedFields::find(const ManagerId& id) {
  auto found = std::ranges::find_if(entries_, [&](const Entry& one) { return same_manager(one.id, id); });
  return found == entries_.end() ? nullptr : &*found;
}

Status ManagedFields::parse() {
  for (Entry& one : entries_) {
    if (one.parsed) continue;
    if (!one.text.empty()) {
      TRY_ASSIGN(one.set, FieldSet::parse(one.text));
    }
    one.parsed = true;
  }
  return ok();
}

void ManagedFields::drop_empty() {
  std::erase_if(entries_, [](const Entry& one) { return one.parsed && one.set.empty(); });
}

// Everybody but `except` loses what was changed or removed.
void ManagedFields::take(const FieldChanges& changes, const Entry* except) {
  FieldSet lost = changes.added.united(changes.modified).united(changes.removed);
  for (Entry& one : entries_) {
    if (&one == except) continue;
    FieldSet kept = one.set.without(lost);
    if (kept == one.set) continue;
    one.set = std::move(kept);
    one.text.clear();
  }
}

Status ManagedFields::update(const FieldChanges& changes, const ManagerId& manager, Time now) {
  if (changes.empty()) return ok();
  TRY(parse());
  take(changes, nullptr);
  FieldSet gained = changes.added.united(changes.modified).without(system_fields());
  if (!gained.empty()) {
    Entry* mine = find(manager);
    if (!mine) mine = &entries_.emplace_back(Entry{.id = manager, .time = {}, .set = {}, .text = "", .parsed = true});
    mine->set = mine->set.united(gained);
    mine->text.clear();
    mine->time = now;
  }
  drop_empty();
  cap_updaters();
  return ok();
}

// Merges the oldest updaters of a version into one entry, so that the list stays short.
void ManagedFields::cap_updaters() {
  std::vector<Entry*> updaters;
  for (Entry& one : entries_)
    if (!one.id.applies) updaters.push_back(&one);
  if (updaters.size() <= kMaxUpdaters) return;
  std::ranges::sort(updaters, [](const Entry* a, const Entry* b) {
    if (a->time != b->time) return a->time < b->time;
    return sort_key(a->id) < sort_key(b->id);
  });
  std::map<std::string, Entry*> first_of;  // version -> its oldest updater, the bucket once a second one joins
  size_t count = updaters.size();
  for (size_t i = 0; i < updaters.size() && count > kMaxUpdaters; ++i) {
    Entry& one = *updaters[i];
    auto [place, fresh] = first_of.emplace(one.id.api_version, &one);
    if (fresh) continue;
    ManagerId bucket_id{kAncient, one.id.api_version, "", false};
    Entry* bucket = find(bucket_id);
    Entry& joining = bucket == &one ? *place->second : one;  // the bucket itself may be the younger of the two
    if (!bucket) {
      bucket = place->second;
      bucket->id = std::move(bucket_id);
    }
    bucket->set = bucket->set.united(joining.set);
    bucket->text.clear();
    bucket->time = one.time;
    joining.set = {};
    --count;
  }
  drop_empty();
}

// ---- server-side apply

std::vector<ManagedFields::Conflict> ManagedFields::conflicts(const FieldChanges& changes, const Entry* except) const {
  std::vector<Conflict> found;
  FieldSet changed = changes.modified.united(changes.added);
  for (const Entry& one : entries_) {
    if (&one == except) continue;
    FieldSet contested = one.set.intersected(changed);
    if (!contested.empty()) found.push_back({&one, std::move(contested)});
  }
  return found;
}

Error ManagedFields::conflict_error(std::vector<Conflict> conflicts) {
  std::ranges::sort(conflicts, [](const Conflict& a, const Conflict& b) {
    return sort_key(a.entry->id) < sort_key(b.entry->id);
  });
  auto detail = std::make_shared<StatusDetail>();
  std::vector<std::string> lines;
  for (const Conflict& one : conflicts) {
    std::string manager = one.entry->id.text();
    lines.push_back(fmt::format("conflicts with {}:", manager));
    one.fields.each([&](const FieldSet::Path& path) {
      std::string field = path_text(path);
      lines.push_back("- " + field);
      detail->causes.push_back({"FieldManagerConflict", "conflict with " + manager, field});
    });
  }
  size_t count = detail->causes.size();
  std::string message = count == 1
                            ? fmt::format("Apply failed with 1 conflict: {}: {}", detail->causes[0].message, detail->causes[0].field)
                            : fmt::format("Apply failed with {} conflicts: {}", count, join(lines, "\n"));
  return Error(Code::Conflict, std::move(message)).with(std::move(detail));
}

// Fields that `kubectl apply` wrote earlier from the client's side and that are still so: kubectl may take them over.
FieldSet ManagedFields::excused(const json& live, const ApplyRequest& request) {
  if (request.manager.name != "kubectl") return {};
  json annotation = live.value(json::json_pointer("/metadata/annotations"), json::object()).value(kLastApplied, json());
  if (!annotation.is_string()) return {};
  Result<json> last = parse_json(annotation.get<std::string>());
  if (!last.ok() || !last.value().is_object()) return {};
  FieldChanges changes = compare_documents(last.value(), live, request.schema);
  return fields_of(last.value(), request.schema).without(changes.modified).without(changes.added).without(changes.removed);
}

// Removes what the applier set last time and does not set now, unless somebody else holds it.
json ManagedFields::prune(const json& document, const FieldSet& last, const ApplyRequest& request) const {
  if (last.empty()) return document;
  const MergeSchema& schema = request.schema;
  auto named = [&](const FieldSet& set) { return with_named_fields(set, schema); };
  auto object = [](json value) { return value.is_null() ? json::object() : value; };
  json pruned = object(without_fields(document, named(last), schema));
  FieldSet owned;
  for (const Entry& one : entries_) owned = owned.united(one.set);
  FieldSet all = named(fields_of(document, schema));
  // Back with what others own, then with what nobody owned that was inside.
  FieldSet kept = named(fields_of(pruned, schema)).united(named(owned));
  pruned = object(without_fields(document, all.without(kept), schema));
  FieldSet gone = all.without(named(fields_of(pruned, schema))).intersected(named(last));
  return object(without_fields(document, gone, schema));
}

Result<std::optional<json>> ManagedFields::apply(const json& live, const ApplyRequest& request) {
  TRY(parse());
  FieldSet ignored = reset_fields(request);
  json document = merged(live, request.applied, request.schema);
  Entry* mine = find(request.manager);
  FieldSet last = mine ? mine->set : FieldSet();
  if (!mine) mine = &entries_.emplace_back(Entry{.id = request.manager, .time = {}, .set = {}, .text = "", .parsed = true});
  mine->set = fields_of(request.applied, request.schema).without_trees(ignored);
  mine->text.clear();
  document = prune(document, last, request);
  FieldChanges changes = without(compare_documents(live, document, request.schema), ignored);
  if (!request.force) {
    std::vector<Conflict> found = conflicts(changes, mine);
    FieldSet allowed = found.empty() ? FieldSet() : excused(live, request);
    for (Conflict& one : found) one.fields = one.fields.without(allowed);
    std::erase_if(found, [](const Conflict& one) { return one.fields.empty(); });
    if (!found.empty()) return conflict_error(std::move(found));
  }
  take(changes, mine);
  mine->set = mine->set.without(system_fields());
  mine->id.api_version = request.manager.api_version;
  bool changed = document != live;
  if (changed || !mine->time) mine->time = request.now;
  drop_empty();
  if (!changed) return std::optional<json>();
  return std::optional<json>(std::move(document));
}

}  // namespace skiff::api
