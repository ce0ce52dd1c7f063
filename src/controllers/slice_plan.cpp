#include "controllers/slice_plan.hpp"

#include <algorithm>
#include <map>

namespace skiff::controllers {
namespace {

constexpr size_t kMaxEndpoints = 100;

// What an endpoint is, apart from its state.
std::string identity(const api::Endpoint& endpoint) {
  std::string id = endpoint.targetRef ? endpoint.targetRef->uid : "";
  for (const std::string& address : endpoint.addresses) id += "/" + address;
  return id;
}

// A slice as it will be.
struct Draft {
  Slice stored;  // null: a new one
  std::vector<api::Endpoint> endpoints;
  bool changed = false;
};

// Keeps in each slice what is still wanted there and takes that out of `wanted`.
std::vector<Draft> keep(const std::vector<Slice>& slices, std::map<std::string, api::Endpoint>& wanted) {
  std::vector<Draft> drafts;
  for (const Slice& slice : slices) {
    Draft& draft = drafts.emplace_back(Draft{slice, {}, false});
    for (const api::Endpoint& endpoint : slice->endpoints) {
      auto found = wanted.find(identity(endpoint));
      if (found == wanted.end()) {
        draft.changed = true;
        continue;
      }
      draft.changed |= !(found->second == endpoint);
      draft.endpoints.push_back(std::move(found->second));
      wanted.erase(found);
    }
  }
  return drafts;
}

void place(std::map<std::string, api::Endpoint>& wanted, std::vector<Draft>& drafts) {
  auto fill = [&](Draft& draft) {
    while (!wanted.empty() && draft.endpoints.size() < kMaxEndpoints) {
      draft.endpoints.push_back(std::move(wanted.begin()->second));
      wanted.erase(wanted.begin());
      draft.changed = true;
    }
  };
  for (Draft& draft : drafts)
    if (draft.changed && !draft.endpoints.empty()) fill(draft);
  for (Draft& draft : drafts) fill(draft);
  while (!wanted.empty()) fill(drafts.emplace_back());
}

bool same_frame(const api::EndpointSlice& slice, const api::EndpointSlice& model) {
  return slice.metadata.labels == model.metadata.labels &&
         slice.metadata.annotations == model.metadata.annotations &&
         slice.metadata.ownerReferences == model.metadata.ownerReferences;
}

void settle(const api::EndpointSlice& model, const Ports& ports, std::vector<Draft> drafts, SlicePlan& plan) {
  for (Draft& draft : drafts) {
    if (draft.endpoints.empty() && draft.stored) {
      plan.remove.push_back(draft.stored);
      continue;
    }
    if (draft.stored && !draft.changed && same_frame(*draft.stored, model)) continue;
    api::EndpointSlice slice = draft.stored ? *draft.stored : model;
    slice.metadata.labels = model.metadata.labels;
    slice.metadata.annotations = model.metadata.annotations;
    slice.metadata.ownerReferences = model.metadata.ownerReferences;
    slice.ports = ports;
    slice.endpoints = std::move(draft.endpoints);
    (draft.stored ? plan.update : plan.create).push_back(std::move(slice));
  }
}

// Nothing to point at: one slice stays (or is made) and says so.
void keep_placeholder(const api::EndpointSlice& model, SlicePlan& plan, const std::vector<Slice>& existing) {
  auto empty = std::find_if(existing.begin(), existing.end(), [](const Slice& slice) {
    return slice->endpoints.empty() && slice->ports.empty();
  });
  if (empty == existing.end()) {
    plan.create.push_back(model);
    return;
  }
  std::erase_if(plan.remove, [&](const Slice& slice) { return slice == *empty; });
  if (same_frame(**empty, model)) return;
  api::EndpointSlice slice = **empty;
  slice.metadata.labels = model.metadata.labels;
  slice.metadata.annotations = model.metadata.annotations;
  slice.metadata.ownerReferences = model.metadata.ownerReferences;
  plan.update.push_back(std::move(slice));
}

// Turns what would go and what would come into updates: one write instead of two, and the name stays.
void recycle(SlicePlan& plan) {
  while (!plan.create.empty() && !plan.remove.empty()) {
    api::EndpointSlice slice = std::move(plan.create.back());
    api::ObjectMeta metadata = plan.remove.back()->metadata;
    metadata.labels = std::move(slice.metadata.labels);
    metadata.annotations = std::move(slice.metadata.annotations);
    metadata.ownerReferences = std::move(slice.metadata.ownerReferences);
    slice.metadata = std::move(metadata);
    plan.update.push_back(std::move(slice));
    plan.create.pop_back();
    plan.remove.pop_back();
  }
}

}  // namespace

void EndpointGroups::add(Ports ports, api::Endpoint endpoint) {
  auto group =
      std::find_if(groups_.begin(), groups_.end(), [&](const auto& one) { return one.ports == ports; });
  if (group == groups_.end()) group = groups_.insert(groups_.end(), EndpointGroup{std::move(ports), {}});
  group->endpoints.push_back(std::move(endpoint));
}

std::vector<EndpointGroup> EndpointGroups::take() { return std::move(groups_); }

SlicePlan plan_slices(const api::EndpointSlice& model, std::vector<EndpointGroup> groups,
                      const std::vector<Slice>& existing) {
  SlicePlan plan;
  std::vector<Slice> unused = existing;
  for (EndpointGroup& group : groups) {
    std::vector<Slice> fitting;
    std::erase_if(unused, [&](const Slice& slice) {
      if (slice->ports != group.ports) return false;
      fitting.push_back(slice);
      return true;
    });
    std::map<std::string, api::Endpoint> wanted;
    for (api::Endpoint& endpoint : group.endpoints) wanted[identity(endpoint)] = std::move(endpoint);
    std::vector<Draft> drafts = keep(fitting, wanted);
    place(wanted, drafts);
    settle(model, group.ports, std::move(drafts), plan);
  }
  plan.remove.insert(plan.remove.end(), unused.begin(), unused.end());
  if (groups.empty()) keep_placeholder(model, plan, existing);
  recycle(plan);
  return plan;
}

}  // namespace skiff::controllers
