#include "controllers/revisions.hpp"

#include <algorithm>

#include "api/json.hpp"
#include "controllers/rollout.hpp"

namespace skiff::controllers {
namespace {

// A revision is a patch of its owner that replaces the template.
constexpr std::string_view kHead = R"({"spec":{"template":{"$patch":"replace",)";
constexpr std::string_view kTail = "}}";

}  // namespace

std::string revision_hash(const api::ObjectMeta& object) {
  auto label = object.labels.find(kRevisionHash);
  return label == object.labels.end() ? "" : label->second;
}

std::string revision_data(const api::PodTemplateSpec& pod_template) {
  return std::string(kHead) + api::to_json(pod_template).substr(1) + std::string(kTail);
}

std::string hash_of(const api::PodTemplateSpec& pod_template) {
  return template_hash(pod_template, std::nullopt);
}

Result<api::PodTemplateSpec> template_in(const api::ControllerRevision& revision) {
  const std::string& data = revision.data.json;
  if (!data.starts_with(kHead) || !data.ends_with(kTail))
    return error(Code::Invalid, "controller revision {} holds no pod template", revision.metadata.name);
  return api::from_json<api::PodTemplateSpec>(
      "{" + data.substr(kHead.size(), data.size() - kHead.size() - kTail.size()));
}

Revision History::find(const std::string& hash) const {
  auto found = std::find_if(all_.begin(), all_.end(),
                            [&](const Revision& one) { return revision_hash(one->metadata) == hash; });
  return found == all_.end() ? nullptr : *found;
}

Result<Revision> History::ensure(const api::PodTemplateSpec& pod_template, const api::Labels& labels) {
  const std::string hash = hash_of(pod_template);
  std::int64_t newest = 0;
  for (const Revision& revision : all_) newest = std::max(newest, revision->revision);
  Revision known = find(hash);
  if (known && known->revision == newest) return known;
  if (known)
    return client_.update_with_retry<api::ControllerRevision>(client::key_of(*known),
                                                              [&](api::ControllerRevision& next) {
                                                                bool moved = next.revision < newest + 1;
                                                                next.revision = newest + 1;
                                                                return moved;
                                                              });
  api::ControllerRevision revision;
  revision.metadata.name = key_.name + "-" + hash;
  revision.metadata.namespace_ = key_.namespace_;
  revision.metadata.labels = labels;
  revision.metadata.labels[kRevisionHash] = hash;
  revision.metadata.ownerReferences = {owner_};
  revision.data.json = revision_data(pod_template);
  revision.revision = newest + 1;
  const std::string name = revision.metadata.name;
  Result<Revision> created = client_.create(std::move(revision));
  if (created.ok() || created.error().code() != Code::AlreadyExists) return created;
  return client_.get<api::ControllerRevision>({key_.namespace_, name});  // the cache had not seen it yet
}

Status History::clean(std::int32_t limit, const std::vector<std::string>& in_use) {
  std::vector<Revision> unused;
  for (const Revision& revision : all_)
    if (std::find(in_use.begin(), in_use.end(), revision_hash(revision->metadata)) == in_use.end())
      unused.push_back(revision);
  std::sort(unused.begin(), unused.end(),
            [](const Revision& a, const Revision& b) { return a->revision < b->revision; });
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(unused.size()) - limit; ++i) {
    auto removed = client_.remove<api::ControllerRevision>(client::key_of(*unused[static_cast<size_t>(i)]));
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
  }
  return ok();
}

}  // namespace skiff::controllers
