#include "apiserver/discovery.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apiserver/api_service_priorities.hpp"
#include "apiserver/negotiate.hpp"
#include "apiserver/status.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

// GA before beta before alpha, higher numbers first (version.CompareKubeAwareVersionStrings).
std::tuple<int, int, int> priority(std::string_view version) {
  auto number = [](std::string_view text) {
    int value = 0;
    for (char c : text)
      if (c >= '0' && c <= '9') value = value * 10 + (c - '0');
    return value;
  };
  size_t stage = version.find_first_of("ab");
  int level = stage == version.npos ? 2 : version[stage] == 'b' ? 1 : 0;
  int minor = stage == version.npos ? 0 : number(version.substr(stage));
  return {-level, -number(version.substr(0, stage)), -minor};
}

std::string group_version(const Discovery::Group& group, const Discovery::Version& version) {
  return group.name.empty() ? version.version : group.name + "/" + version.version;
}

Json words(const char* text) { return split(text, ' '); }

// The kind that a subresource exchanges, as a group, a version and a kind.
struct SubresourceKind {
  std::string group, version, kind;
};
SubresourceKind kind_of(const api::KindInfo& parent, const api::SubresourceInfo& sub) {
  if (*sub.api_version == '\0') return {parent.group, parent.version, parent.kind};
  std::string text = sub.api_version;
  size_t slash = text.find('/');
  if (text.starts_with("core/")) return {"", text.substr(5), sub.kind};
  if (slash == text.npos) return {"", text, sub.kind};
  return {text.substr(0, slash), text.substr(slash + 1), sub.kind};
}

Json resource_entry(const api::KindInfo& kind) {
  Json entry = {{"name", kind.plural},
                {"singularName", kind.singular},
                {"namespaced", kind.namespaced},
                {"kind", kind.kind},
                {"verbs", words(kind.verbs)}};
  if (*kind.short_names != '\0') entry["shortNames"] = words(kind.short_names);
  if (*kind.categories != '\0') entry["categories"] = words(kind.categories);
  return entry;
}

Json subresource_entry(const api::KindInfo& parent, const api::SubresourceInfo& sub) {
  SubresourceKind kind = kind_of(parent, sub);
  Json entry = {{"name", fmt::format("{}/{}", parent.plural, sub.name)},
                {"singularName", ""},
                {"namespaced", parent.namespaced}};
  if (kind.group != parent.group || kind.version != parent.version) {
    entry["group"] = kind.group;
    entry["version"] = kind.version;
  }
  entry["kind"] = kind.kind;
  entry["verbs"] = words(sub.verbs);
  return entry;
}

Json response_kind(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

Json aggregated_entry(const api::KindInfo& kind) {
  Json entry = {{"resource", kind.plural},
                {"responseKind", response_kind(kind.group, kind.version, kind.kind)},
                {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
                {"singularResource", kind.singular},
                {"verbs", words(kind.verbs)}};
  if (*kind.short_names != '\0') entry["shortNames"] = words(kind.short_names);
  if (*kind.categories != '\0') entry["categories"] = words(kind.categories);
  for (const api::SubresourceInfo& sub : kind.subresources) {
    SubresourceKind of = kind_of(kind, sub);
    entry["subresources"].push_back({{"subresource", sub.name},
                                     {"responseKind", response_kind(of.group, of.version, of.kind)},
                                     {"verbs", words(sub.verbs)}});
  }
  return entry;
}

// What a backend serves, as far as it is known.
void add_remote_state(Json& entry, const Backend& backend) {
  if (backend.documents) entry["resources"] = Json::parse(backend.documents->resources);
  if (!backend.available || !backend.documents) entry["freshness"] = "Stale";
}

// "v2" or "v2beta1" when the client prefers the aggregated form.
std::optional<std::string> wants_aggregated(const Request& request) {
  for (const MediaType& type : parse_accept(request.header("Accept"))) {
    if (!is_json(type)) continue;
    if (type.as.empty()) return std::nullopt;
    bool known = type.as == "APIGroupDiscoveryList" && type.group == "apidiscovery.k8s.io" &&
                 (type.version == "v2" || type.version == "v2beta1");
    if (known) return type.version;
  }
  return std::nullopt;
}

}  // namespace

Discovery::Discovery(std::vector<const api::KindInfo*> kinds, const Backends& backends) {
  add_local(std::move(kinds));
  add_remote(backends);
  // As the priorities of their APIServices have it; clients resolve short names in this order.
  auto version_key = [](const Group& group, const Version& version) {
    std::int32_t rank = version.remote ? version.remote->version_priority
                                       : local_priority(group.name, version.version).version;
    return std::tuple(-rank, priority(version.version));
  };
  auto group_key = [](const Group& group) {
    std::int32_t highest = 0;
    for (const Version& version : group.versions)
      highest = std::max(highest, version.remote ? version.remote->group_priority
                                                 : local_priority(group.name, version.version).group);
    return std::tuple(-highest, std::string_view(group.name));
  };
  for (Group& group : groups_)
    std::ranges::stable_sort(group.versions, [&](const Version& a, const Version& b) {
      return version_key(group, a) < version_key(group, b);
    });
  std::ranges::stable_sort(groups_, [&](const Group& a, const Group& b) { return group_key(a) < group_key(b); });
}

void Discovery::add_local(std::vector<const api::KindInfo*> kinds) {
  std::ranges::stable_sort(kinds, [](const api::KindInfo* a, const api::KindInfo* b) {
    auto key = [](const api::KindInfo* kind) {
      return std::tuple(std::string_view(kind->group), std::string_view(kind->version),
                        std::string_view(kind->plural));
    };
    return key(a) < key(b);
  });
  for (const api::KindInfo* kind : kinds) {
    if (groups_.empty() || groups_.back().name != kind->group) groups_.push_back({kind->group, {}});
    std::vector<Version>& versions = groups_.back().versions;
    if (versions.empty() || versions.back().version != kind->version) versions.push_back({kind->version, {}});
    versions.back().kinds.push_back(kind);
  }
}

void Discovery::add_remote(const Backends& backends) {
  for (const auto& [name, backend] : backends.by_version) {
    auto group = std::ranges::find(groups_, backend->group, &Group::name);
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{backend->group, {}});
    std::erase_if(group->versions, [&](const Version& version) { return version.version == backend->version; });
    group->versions.push_back({backend->version, {}, backend});
  }
}

bool Discovery::has_group(std::string_view group) const {
  return std::ranges::find(groups_, group, &Group::name) != groups_.end();
}

bool Discovery::has_version(std::string_view group, std::string_view version) const {
  auto found = std::ranges::find(groups_, group, &Group::name);
  return found != groups_.end() &&
         std::ranges::find(found->versions, version, &Version::version) != found->versions.end();
}

std::string Discovery::core_versions() const {
  Json document = {
      {"kind", "APIVersions"}, {"versions", Json::array()}, {"serverAddressByClientCIDRs", Json::array()}};
  for (const Group& group : groups_)
    for (const Version& version : group.versions)
      if (group.name.empty()) document["versions"].push_back(version.version);
  return document.dump();
}

std::string Discovery::group_document(const Group& group, bool with_kind) const {
  Json document = Json::object();
  if (with_kind) document = {{"kind", "APIGroup"}, {"apiVersion", "v1"}};
  document["name"] = group.name;
  document["versions"] = Json::array();
  for (const Version& version : group.versions)
    document["versions"].push_back(
        {{"groupVersion", group_version(group, version)}, {"version", version.version}});
  document["preferredVersion"] = document["versions"][0];
  return document.dump();
}

std::string Discovery::group_list() const {
  std::string out = R"({"kind":"APIGroupList","apiVersion":"v1","groups":[)";
  for (const Group& group : groups_) {
    if (group.name.empty()) continue;
    if (out.back() != '[') out.push_back(',');
    out.append(group_document(group, false));
  }
  return out.append("]}");
}

std::string Discovery::resource_list(const Group& group, const Version& version) const {
  Json document = {{"kind", "APIResourceList"}};
  if (!group.name.empty()) document["apiVersion"] = "v1";
  document["groupVersion"] = group_version(group, version);
  document["resources"] = Json::array();
  for (const api::KindInfo* kind : version.kinds) {
    document["resources"].push_back(resource_entry(*kind));
    for (const api::SubresourceInfo& sub : kind->subresources)
      document["resources"].push_back(subresource_entry(*kind, sub));
  }
  return document.dump();
}

std::string Discovery::aggregated(bool core, const std::string& api_version) const {
  Json document = {{"kind", "APIGroupDiscoveryList"},
                   {"apiVersion", "apidiscovery.k8s.io/" + api_version},
                   {"metadata", Json::object()},
                   {"items", Json::array()}};
  for (const Group& group : groups_) {
    if (group.name.empty() != core) continue;
    Json metadata = Json::object();
    if (!core) metadata["name"] = group.name;
    Json item = {{"metadata", std::move(metadata)}, {"versions", Json::array()}};
    for (const Version& version : group.versions) {
      Json entry = {{"version", version.version}, {"resources", Json::array()}};
      for (const api::KindInfo* kind : version.kinds) entry["resources"].push_back(aggregated_entry(*kind));
      entry["freshness"] = "Current";
      if (version.remote) add_remote_state(entry, *version.remote);
      item["versions"].push_back(std::move(entry));
    }
    document["items"].push_back(std::move(item));
  }
  return document.dump();
}

std::optional<Reply> Discovery::serve(const Request& request) const {
  std::vector<std::string> parts = split(request.path, '/');
  std::erase(parts, "");
  if (parts.empty() || (parts[0] != "api" && parts[0] != "apis")) return std::nullopt;
  bool core = parts[0] == "api";
  if (parts.size() == 1) {
    if (std::optional<std::string> version = wants_aggregated(request)) {
      Reply reply = json_reply(200, aggregated(core, *version));
      reply.content_type =
          "application/json;g=apidiscovery.k8s.io;v=" + *version + ";as=APIGroupDiscoveryList";
      reply.headers.emplace("Vary", "Accept");
      return reply;
    }
    return json_reply(200, core ? core_versions() : group_list());
  }
  auto group = std::ranges::find(groups_, core ? std::string() : parts[1], &Group::name);
  if (group == groups_.end()) return std::nullopt;
  size_t at = core ? 1 : 2;
  if (parts.size() == at) return json_reply(200, group_document(*group, true));
  auto version = std::ranges::find(group->versions, parts[at], &Version::version);
  if (version == group->versions.end() || parts.size() > at + 1) return std::nullopt;
  return json_reply(200, resource_list(*group, *version));
}

}  // namespace skiff::apiserver
