#include "registry/kinds/other_versions.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/versions.hpp"

namespace skiff::registry {
namespace {

class VersionConversion final : public Conversion {
 public:
  explicit VersionConversion(const api::OtherVersion& version) : version_(version) {}

  Status to_stored(std::vector<nlohmann::json>& objects) const override {
    for (nlohmann::json& object : objects) TRY(api::to_stored_version(version_, object));
    return ok();
  }
  Status from_stored(std::vector<nlohmann::json>& objects) const override {
    for (nlohmann::json& object : objects) api::from_stored_version(version_, object);
    return ok();
  }

 private:
  const api::OtherVersion& version_;
};

const Resource* find_stored(const std::vector<Resource>& resources, const api::OtherVersion& version) {
  for (const Resource& resource : resources)
    if (resource.kind->api_version() == version.stored_version && resource.kind->kind == version.stored_kind)
      return &resource;
  return nullptr;
}

// The kind as that version knew it: what the schema says, or the stored one's shape under the other name.
const api::KindInfo* kind_of(const api::OtherVersion& version, const Resource& stored,
                             std::deque<api::KindInfo>& made) {
  if (const api::KindInfo* known = api::find_kind(version.api_version(), version.kind)) return known;
  api::KindInfo& kind = made.emplace_back(*stored.kind);
  kind.group = version.group;
  kind.version = version.version;
  kind.short_names = "";  // they, and "all", mean the version of today
  kind.categories = "";
  kind.kind = version.kind;
  kind.plural = version.plural;
  kind.singular = version.singular;
  return &kind;
}

// In kube-apiserver's words (k8s.io/apiserver/pkg/endpoints/deprecation).
std::string warning_of(const api::OtherVersion& version) {
  if (*version.deprecated == '\0') return "";
  std::string text = fmt::format("{} {} is deprecated in {}+", version.api_version(), version.kind, version.deprecated);
  if (*version.removed) text += fmt::format(", unavailable in {}+", version.removed);
  if (version.api_version() != version.stored_version)
    text += fmt::format("; use {} {}", version.stored_version, version.stored_kind);
  return text;
}

}  // namespace

OtherVersions other_versions(const std::vector<Resource>& resources) {
  OtherVersions all;
  for (const api::OtherVersion& version : api::other_versions()) {
    const Resource* stored = find_stored(resources, version);
    if (stored == nullptr) continue;
    all.conversions.push_back(std::make_unique<VersionConversion>(version));
    all.served.push_back({stored, kind_of(version, *stored, all.kinds), all.conversions.back().get(),
                          warning_of(version)});
  }
  return all;
}

}  // namespace skiff::registry
