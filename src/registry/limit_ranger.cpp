// Admission plugin LimitRanger: what LimitRanges fill in and what they refuse.

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/pods.hpp"
#include "base/encoding.hpp"
#include "registry/admission_plugins.hpp"

namespace skiff::registry {
namespace {

using api::Quantity;
using api::ResourceList;

const Quantity* find(const ResourceList& list, const std::string& resource) {
  auto found = list.find(resource);
  return found == list.end() ? nullptr : &found->second;
}

// ---- defaults

std::string fill_in(ResourceList& to, const ResourceList& defaults) {
  std::vector<std::string> set;
  for (const auto& [resource, quantity] : defaults)
    if (to.try_emplace(resource, quantity).second) set.push_back(resource);
  return join(set, ", ");
}

void default_container(api::Container& container, const api::LimitRangeItem& item, const std::string& what,
                       std::vector<std::string>& notes) {
  std::string requests = fill_in(container.resources.requests, item.defaultRequest);
  std::string limits = fill_in(container.resources.limits, item.default_);
  if (!requests.empty()) notes.push_back(fmt::format("{} request for {} {}", requests, what, container.name));
  if (!limits.empty()) notes.push_back(fmt::format("{} limit for {} {}", limits, what, container.name));
}

// ---- bounds

/// One bound of one resource, and what an object states of it.
struct Bound {
  const std::string& resource;
  const std::string& type;
  const Quantity& enforced;
  const Quantity* request;
  const Quantity* limit;

  std::string usage(const char* which) const {
    return fmt::format("{} {} usage per {} is {}", which, resource, type, enforced.text());
  }
};

using Problems = std::vector<std::string>;

void check_min(const Bound& bound, Problems& problems) {
  std::string usage = bound.usage("minimum");
  if (!bound.request) problems.push_back(usage + ".  No request is specified");
  else if (*bound.request < bound.enforced) problems.push_back(usage + ", but request is " + bound.request->text());
  else if (bound.limit && *bound.limit < bound.enforced) problems.push_back(usage + ", but limit is " + bound.limit->text());
}

void check_max(const Bound& bound, Problems& problems) {
  std::string usage = bound.usage("maximum");
  if (!bound.limit) problems.push_back(usage + ".  No limit is specified");
  else if (*bound.limit > bound.enforced) problems.push_back(usage + ", but limit is " + bound.limit->text());
  else if (bound.request && *bound.request > bound.enforced) problems.push_back(usage + ", but request is " + bound.request->text());
}

void check_max_request(const Bound& bound, Problems& problems) {
  std::string usage = bound.usage("maximum");
  if (!bound.request) problems.push_back(usage + ".  No request is specified");
  else if (*bound.request > bound.enforced) problems.push_back(usage + ", but request is " + bound.request->text());
}

void check_ratio(const Bound& bound, Problems& problems) {
  std::string ratio = fmt::format("{} max limit to request ratio per {} is {}", bound.resource, bound.type,
                                  bound.enforced.text());
  if (!bound.request || bound.request->zero()) {
    problems.push_back(ratio + ", but no request is specified or request is 0");
  } else if (!bound.limit || bound.limit->zero()) {
    problems.push_back(ratio + ", but no limit is specified or limit is 0");
  } else {
    double observed = static_cast<double>(bound.limit->milli()) / static_cast<double>(bound.request->milli());
    if (observed * 1000 > static_cast<double>(bound.enforced.milli()))
      problems.push_back(fmt::format("{}, but provided ratio is {:f}", ratio, observed));
  }
}

using Check = void (*)(const Bound&, Problems&);

/// What an object asks for, as one item's bounds see it.
struct Asked {
  const ResourceList& requests;
  const ResourceList& limits;

  void check(Check bounds, const ResourceList& enforced, const std::string& type, Problems& problems) const {
    for (const auto& [resource, quantity] : enforced)
      bounds({resource, type, quantity, find(requests, resource), find(limits, resource)}, problems);
  }
};

void check_item(const Asked& asked, const api::LimitRangeItem& item, Problems& problems) {
  asked.check(check_min, item.min, item.type, problems);
  asked.check(check_max, item.max, item.type, problems);
  asked.check(check_ratio, item.maxLimitRequestRatio, item.type, problems);
}

void check_pod(const api::Pod& pod, const api::LimitRangeItem& item, Problems& problems) {
  if (item.type == "Container") {
    for (const auto* containers : {&pod.spec.containers, &pod.spec.initContainers})
      for (const api::Container& one : *containers)
        check_item({one.resources.requests, one.resources.limits}, item, problems);
  } else if (item.type == "Pod") {
    ResourceList requests = api::pod_requests(pod), limits = api::limits_of_pod(pod);
    check_item({requests, limits}, item, problems);
  }
}

void check_claim(const api::PersistentVolumeClaim& claim, const api::LimitRangeItem& item, Problems& problems) {
  if (item.type != "PersistentVolumeClaim") return;
  const ResourceList none;
  Asked asked{claim.spec.resources.requests, none};
  asked.check(check_min, item.min, item.type, problems);
  asked.check(check_max_request, item.max, item.type, problems);
}

// Containers cannot change their resources but by resizing, so updates of pods are not looked at.
const api::Pod* checked_pod(const Attributes& attributes) {
  if (attributes.operation == Operation::Create) return attributes.object_as<api::Pod>();
  bool resizes = attributes.subresource == "resize" && attributes.object && attributes.old_as<api::Pod>();
  return resizes ? static_cast<const api::Pod*>(attributes.object->value.get()) : nullptr;
}

const api::PersistentVolumeClaim* checked_claim(const Attributes& attributes) {
  const auto* claim = attributes.object_as<api::PersistentVolumeClaim>();
  bool going = attributes.operation == Operation::Update && claim && claim->metadata.deletionTimestamp;
  return going ? nullptr : claim;
}

}  // namespace

Status admit_limit_ranges(const PluginContext& context, Attributes& attributes) {
  api::Pod* pod = attributes.operation == Operation::Create ? attributes.object_as<api::Pod>() : nullptr;
  if (pod == nullptr) return ok();
  for (const auto& range : all_of<api::LimitRange>(context, attributes.key.namespace_)) {
    std::vector<std::string> notes;
    for (const api::LimitRangeItem& item : range->spec.limits) {
      if (item.type != "Container") continue;
      for (api::Container& one : pod->spec.containers) default_container(one, item, "container", notes);
      for (api::Container& one : pod->spec.initContainers) default_container(one, item, "init container", notes);
    }
    if (!notes.empty())
      pod->metadata.annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + join(notes, "; ");
  }
  return ok();
}

Status check_limit_ranges(const PluginContext& context, const Attributes& attributes) {
  const api::Pod* pod = checked_pod(attributes);
  const api::PersistentVolumeClaim* claim = pod ? nullptr : checked_claim(attributes);
  if (!pod && !claim) return ok();
  for (const auto& range : all_of<api::LimitRange>(context, attributes.key.namespace_)) {
    Problems problems;
    for (const api::LimitRangeItem& item : range->spec.limits) {
      if (pod) check_pod(*pod, item, problems);
      if (claim) check_claim(*claim, item, problems);
    }
    if (problems.size() == 1) return forbidden(attributes, problems[0]);
    if (!problems.empty()) return forbidden(attributes, "[" + join(problems, ", ") + "]");
  }
  return ok();
}

}  // namespace skiff::registry
