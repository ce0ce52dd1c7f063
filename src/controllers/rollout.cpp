#include "controllers/rollout.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "api/json.hpp"

namespace skiff::controllers {
namespace {

constexpr char kRolling[] = "RollingUpdate";
constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";
constexpr char kRollbackTo[] = "deprecated.deployment.rollback.to";

std::int32_t wanted(const api::Deployment& deployment) { return deployment.spec.replicas.value_or(1); }

std::optional<std::int64_t> number_in(const api::ObjectMeta& metadata, const char* annotation) {
  auto found = metadata.annotations.find(annotation);
  if (found == metadata.annotations.end()) return std::nullopt;
  std::int64_t number = 0;
  const std::string& text = found->second;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Pods that are to go are as good as gone.
std::int32_t available_of(const api::ReplicaSet& set) {
  return std::min(set.status.availableReplicas, set.spec.replicas.value_or(1));
}

bool set_annotation(api::ReplicaSet& set, const std::string& name, const std::string& value) {
  std::string& annotation = set.metadata.annotations[name];
  if (annotation == value) return false;
  annotation = value;
  return true;
}

bool is_own_annotation(const std::string& name) {
  return name == kLastApplied || name == kRevision || name == kRevisionHistory || name == kDesiredReplicas ||
         name == kMaxReplicas || name == kRollbackTo;
}

bool older(const Set& a, const Set& b) {
  if (a->metadata.creationTimestamp != b->metadata.creationTimestamp)
    return a->metadata.creationTimestamp < b->metadata.creationTimestamp;
  return a->metadata.name < b->metadata.name;
}

// The deployment's bounds, or zero for one that does not roll.
Fenceposts rolling_bounds(const api::Deployment& deployment) {
  return deployment.spec.strategy.type == kRolling ? fenceposts(deployment) : Fenceposts{};
}

std::int32_t max_replicas(const api::Deployment& deployment) {
  return wanted(deployment) + rolling_bounds(deployment).surge;
}

// The set that takes all of a scaling: the only one with pods, or the newest when none has any.
Set active_or_latest(const Set& latest, const Sets& old) {
  Sets active = with_replicas(old);
  if (latest && replicas_of(*latest) > 0) active.push_back(latest);
  if (active.size() == 1) return active.front();
  if (!active.empty()) return nullptr;
  if (latest) return latest;
  auto newest = std::max_element(old.begin(), old.end(), older);
  return newest == old.end() ? nullptr : *newest;
}

bool is_saturated(const api::Deployment& deployment, const Set& latest) {
  if (!latest) return false;
  return replicas_of(*latest) == wanted(deployment) &&
         number_in(latest->metadata, kDesiredReplicas) == wanted(deployment) &&
         latest->status.availableReplicas == wanted(deployment);
}

// What a set of the old size becomes in the new size, as a difference.
std::int32_t fraction(const api::ReplicaSet& set, const api::Deployment& deployment) {
  std::int32_t size = replicas_of(set);
  if (wanted(deployment) == 0) return -size;
  std::int64_t before = number_in(set.metadata, kMaxReplicas).value_or(0);
  if (before == 0) before = deployment.status.replicas;
  if (before == 0) return 0;
  double scaled = static_cast<double>(size) * max_replicas(deployment) / static_cast<double>(before);
  return static_cast<std::int32_t>(std::lround(scaled)) - size;
}

std::vector<Scaling> proportional(const api::Deployment& deployment, Sets active) {
  std::int32_t allowed = wanted(deployment) > 0 ? max_replicas(deployment) : 0;
  const std::int32_t to_add = allowed - sum_of_replicas(active);
  // The largest set takes what rounding leaves; of equal ones the newer grows and the older shrinks first.
  std::sort(active.begin(), active.end(), [&](const Set& a, const Set& b) {
    if (replicas_of(*a) != replicas_of(*b)) return replicas_of(*a) > replicas_of(*b);
    return to_add > 0 ? older(b, a) : older(a, b);
  });
  std::vector<Scaling> plan;
  std::int32_t added = 0;
  for (const Set& set : active) {
    std::int32_t share = 0, left = to_add - added;
    if (replicas_of(*set) > 0 && left != 0) {
      share = fraction(*set, deployment);
      share = to_add > 0 ? std::min(share, left) : std::max(share, left);
    }
    added += share;
    plan.push_back({set, replicas_of(*set) + share});
  }
  if (!plan.empty()) plan.front().to = std::max(0, plan.front().to + to_add - added);
  return plan;
}

}  // namespace

Fenceposts fenceposts(const api::Deployment& deployment) {
  Fenceposts posts;
  if (const auto& rolling = deployment.spec.strategy.rollingUpdate) {
    auto scaled = [&](const std::optional<api::IntOrString>& value, bool up) {
      Result<std::int32_t> number = value.value_or(0).scaled(wanted(deployment), up);
      return number.ok() ? number.value() : 0;  // validation let nothing else pass
    };
    posts = {scaled(rolling->maxSurge, true), scaled(rolling->maxUnavailable, false)};
  }
  // Both may round to nothing; then one may be missing, or nothing would ever move.
  if (posts.surge == 0 && posts.unavailable == 0) posts.unavailable = 1;
  posts.unavailable = std::min(posts.unavailable, wanted(deployment));
  return posts;
}

std::int32_t replicas_of(const api::ReplicaSet& set) { return set.spec.replicas.value_or(1); }

std::int32_t sum_of_replicas(const Sets& sets) {
  std::int32_t sum = 0;
  for (const Set& set : sets) sum += replicas_of(*set);
  return sum;
}

Sets with_replicas(const Sets& sets) {
  Sets active;
  std::copy_if(sets.begin(), sets.end(), std::back_inserter(active),
               [](const Set& set) { return replicas_of(*set) > 0; });
  return active;
}

Set find_new_set(const api::Deployment& deployment, const Sets& sets) {
  Set found;
  for (const Set& set : sets) {
    if (found && !older(set, found)) continue;
    api::PodTemplateSpec theirs = set->spec.template_, ours = deployment.spec.template_;
    theirs.metadata.labels.erase(kTemplateHash);
    ours.metadata.labels.erase(kTemplateHash);
    if (theirs == ours) found = set;
  }
  return found;
}

std::string template_hash(const api::PodTemplateSpec& pod_template, std::optional<std::int32_t> collisions) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string text = api::to_json(pod_template);
  if (collisions) text += std::to_string(*collisions);
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (unsigned char byte : text) hash = (hash ^ byte) * 16777619U;
  std::string encoded = std::to_string(hash);
  for (char& c : encoded) c = kAlphabet[static_cast<unsigned char>(c) % kAlphabet.size()];
  return encoded;
}

std::int64_t revision_number(const api::ObjectMeta& metadata) {
  return number_in(metadata, kRevision).value_or(0);
}

bool is_settled(const Sets& sets) {
  return std::all_of(sets.begin(), sets.end(), [](const Set& set) {
    return set->status.observedGeneration >= set->metadata.generation;
  });
}

std::int32_t new_set_size(const api::Deployment& deployment, const Sets& all, std::int32_t current) {
  if (deployment.spec.strategy.type != kRolling) return wanted(deployment);
  // Pods that are still to go take room too, unlike in Kubernetes, whose surge may show for a moment.
  std::int32_t room = max_replicas(deployment);
  for (const Set& set : all) room -= std::max(replicas_of(*set), set->status.replicas);
  if (room <= 0) return current;
  return current + std::min(room, wanted(deployment) - current);
}

std::vector<Scaling> plan_old_sets(const api::Deployment& deployment, const Sets& old_sets,
                                   const api::ReplicaSet& latest) {
  Sets old = with_replicas(old_sets);
  std::sort(old.begin(), old.end(), older);
  const std::int32_t min_available = wanted(deployment) - rolling_bounds(deployment).unavailable;
  const std::int32_t total = sum_of_replicas(old) + replicas_of(latest);
  const std::int32_t new_unavailable = replicas_of(latest) - available_of(latest);
  std::int32_t spare = total - min_available - new_unavailable;
  if (old.empty() || spare <= 0) return {};

  std::int32_t available = available_of(latest);
  std::vector<Scaling> plan;
  for (const Set& set : old) {  // pods that serve nobody go first
    available += available_of(*set);
    std::int32_t unhealthy = replicas_of(*set) - available_of(*set);
    std::int32_t gone = std::min(spare, unhealthy);
    spare -= gone;
    plan.push_back({set, replicas_of(*set) - gone});
  }
  std::int32_t surplus = available - min_available;
  for (Scaling& scaling : plan) {
    if (surplus <= 0) break;
    std::int32_t gone = std::min(surplus, scaling.to);
    surplus -= gone;
    scaling.to -= gone;
  }
  std::erase_if(plan, [](const Scaling& scaling) { return scaling.to == replicas_of(*scaling.set); });
  return plan;
}

std::vector<Scaling> plan_scale(const api::Deployment& deployment, const Set& latest, const Sets& old) {
  if (Set only = active_or_latest(latest, old)) return {{only, wanted(deployment)}};
  Sets active = with_replicas(old);
  std::vector<Scaling> plan;
  if (is_saturated(deployment, latest)) {
    for (const Set& set : active) plan.push_back({set, 0});
    return plan;
  }
  if (deployment.spec.strategy.type != kRolling) return {};
  if (latest && replicas_of(*latest) > 0) active.push_back(latest);
  return proportional(deployment, std::move(active));
}

bool is_scaling(const api::Deployment& deployment, const Sets& sets) {
  return std::any_of(sets.begin(), sets.end(), [&](const Set& set) {
    if (replicas_of(*set) == 0) return false;
    std::optional<std::int64_t> desired = number_in(set->metadata, kDesiredReplicas);
    return desired && *desired != wanted(deployment);
  });
}

bool set_size_annotations(api::ReplicaSet& set, const api::Deployment& deployment) {
  bool desired = set_annotation(set, kDesiredReplicas, std::to_string(wanted(deployment)));
  bool most = set_annotation(set, kMaxReplicas, std::to_string(max_replicas(deployment)));
  return desired || most;
}

bool set_revision_annotations(api::ReplicaSet& set, const api::Deployment& deployment,
                              std::int64_t revision) {
  bool changed = false;
  for (const auto& [name, value] : deployment.metadata.annotations)
    if (!is_own_annotation(name)) changed |= set_annotation(set, name, value);
  std::int64_t had = revision_number(set.metadata);
  if (had >= revision) return changed;
  if (had > 0) {  // a rollback made an old set the newest: remember which revisions it was
    std::string& history = set.metadata.annotations[kRevisionHistory];
    history += (history.empty() ? "" : ",") + std::to_string(had);
  }
  return set_annotation(set, kRevision, std::to_string(revision)) || changed;
}

Sets expired_sets(const api::Deployment& deployment, const Sets& old) {
  const std::int32_t limit = deployment.spec.revisionHistoryLimit.value_or(10);
  if (limit == std::numeric_limits<std::int32_t>::max()) return {};
  Sets alive;
  for (const Set& set : old)
    if (!set->metadata.deletionTimestamp) alive.push_back(set);
  std::sort(alive.begin(), alive.end(), [](const Set& a, const Set& b) {
    std::int64_t left = revision_number(a->metadata), right = revision_number(b->metadata);
    return left != right ? left < right : older(a, b);
  });
  std::ptrdiff_t surplus = static_cast<std::ptrdiff_t>(alive.size()) - limit;
  if (surplus <= 0) return {};
  alive.resize(static_cast<size_t>(surplus));
  std::erase_if(alive, [](const Set& set) {
    return set->status.replicas != 0 || replicas_of(*set) != 0 ||
           set->metadata.generation > set->status.observedGeneration;
  });
  return alive;
}

}  // namespace skiff::controllers
