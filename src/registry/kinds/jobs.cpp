// Jobs and CronJobs.

#include <algorithm>
#include <set>

#include "api/gen/batch.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/json.hpp"
#include "api/selector.hpp"
#include "base/time_zone.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/pod_template.hpp"
#include "registry/kinds/schedules.hpp"

namespace skiff::registry {
namespace {

using api::Job;
using api::JobSpec;
using api::quote;

constexpr char kNeedsIndexes[] = "requires indexed completion mode";
constexpr char kControllerUid[] = "batch.kubernetes.io/controller-uid";
constexpr char kJobName[] = "batch.kubernetes.io/job-name";

// jobStrategy.PrepareForCreate: a Job finds its pods by its own UID unless told otherwise.
Status prepare_create(Job& job, StrategyContext&) {
  if (job.spec.manualSelector.value_or(false)) return ok();
  auto& labels = job.spec.template_.metadata.labels;
  // What the template says already stays, and validation refuses it if it is wrong.
  for (const char* label : {"controller-uid", kControllerUid}) labels.emplace(label, job.metadata.uid);
  for (const char* label : {"job-name", kJobName}) labels.emplace(label, job.metadata.name);
  job.spec.selector.ensure().matchLabels[kControllerUid] = job.metadata.uid;
  return ok();
}

void check_generated_labels(const Job& job, FieldErrors& errors) {
  if (job.spec.manualSelector.value_or(false)) return;
  const auto& labels = job.spec.template_.metadata.labels;
  const Path metadata("spec.template.metadata");
  auto expect = [&](const char* label, const std::string& value) {
    auto found = labels.find(label);
    if (found != labels.end() && found->second == value) return;
    const std::string why = fmt::format("must be '{}'", value);
    if (found == labels.end()) errors.required(metadata.key("labels", label), why);
    else errors.invalid(metadata.key("labels", label), json_of(labels), why);
  };
  expect("controller-uid", job.metadata.uid);
  expect("job-name", job.metadata.name);
  expect(kControllerUid, job.metadata.uid);
  expect(kJobName, job.metadata.name);
  if (!job.spec.selector) return;
  Result<api::Selector> selector = api::Selector::from(*job.spec.selector);
  const api::Labels expected{{"controller-uid", job.metadata.uid}, {kControllerUid, job.metadata.uid},
                             {"job-name", job.metadata.name}, {kJobName, job.metadata.name}};
  if (selector.ok() && !selector.value().matches(expected))
    errors.invalid("spec.selector", json_of(*job.spec.selector), "`selector` not auto-generated");
}

void check_exit_codes(const api::PodFailurePolicyOnExitCodesRequirement& codes, const JobSpec& spec, const Path& path,
                      FieldErrors& errors) {
  require_one_of(codes.operator_, path.child("operator"), {"In", "NotIn"}, errors);
  if (!codes.containerName.empty()) {
    auto named = [&](const api::Container& one) { return one.name == codes.containerName; };
    const api::PodSpec& pod = spec.template_.spec;
    if (std::none_of(pod.containers.begin(), pod.containers.end(), named) &&
        std::none_of(pod.initContainers.begin(), pod.initContainers.end(), named))
      errors.invalid(path.child("containerName"), quote(codes.containerName),
                     "must be one of the container or initContainer names in the pod template");
  }
  if (codes.values.empty()) errors.invalid(path.child("values"), "[]", "at least one value is required");
  if (codes.values.size() > 255) errors.too_many(path.child("values"), codes.values.size(), 255);
  std::set<int> seen;
  bool ordered = true;
  for (size_t i = 0; i < codes.values.size(); ++i) {
    int value = codes.values[i];
    if (codes.operator_ == "In" && value == 0)
      errors.invalid(path.child("values", i), "0", "must not be 0 for the In operator");
    if (!seen.insert(value).second) errors.duplicate(path.child("values", i), std::to_string(value));
    ordered = ordered && (i == 0 || codes.values[i - 1] <= value);
  }
  if (!ordered) errors.invalid(path.child("values"), "[]", "must be ordered");
}

void check_failure_policy(const JobSpec& spec, const Path& path, FieldErrors& errors) {
  const api::PodFailurePolicy& policy = *spec.podFailurePolicy;
  if (policy.rules.size() > 20) errors.too_many(path.child("rules"), policy.rules.size(), 20);
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const api::PodFailurePolicyRule& rule = policy.rules[i];
    const Path at = path.child("rules", i);
    require_one_of(rule.action, at.child("action"), {"Count", "FailIndex", "FailJob", "Ignore"}, errors);
    if (rule.action == "FailIndex" && !spec.backoffLimitPerIndex)
      errors.invalid(at.child("action"), quote(rule.action), "requires the backoffLimitPerIndex to be set");
    if (rule.onExitCodes) check_exit_codes(*rule.onExitCodes, spec, at.child("onExitCodes"), errors);
    if (rule.onPodConditions.size() > 20) errors.too_many(at.child("onPodConditions"), rule.onPodConditions.size(), 20);
    for (size_t j = 0; j < rule.onPodConditions.size(); ++j) {
      const Path pattern = at.child("onPodConditions", j);
      check_qualified_name(rule.onPodConditions[j].type, pattern.child("type"), errors);
      require_one_of(rule.onPodConditions[j].status, pattern.child("status"), {"False", "True", "Unknown"}, errors);
    }
    if (rule.onExitCodes && !rule.onPodConditions.empty())
      errors.invalid(at, "\"\"", "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!rule.onExitCodes && rule.onPodConditions.empty())
      errors.invalid(at, "\"\"", "specifying one of OnExitCodes and OnPodConditions is required");
  }
}

void check_success_policy(const JobSpec& spec, const Path& path, FieldErrors& errors) {
  const api::SuccessPolicy& policy = *spec.successPolicy;
  if (policy.rules.empty()) errors.required(path.child("rules"), "at least one rules must be specified when the successPolicy is specified");
  if (policy.rules.size() > 20) errors.too_many(path.child("rules"), policy.rules.size(), 20);
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const api::SuccessPolicyRule& rule = policy.rules[i];
    const Path at = path.child("rules", i);
    if (!rule.succeededCount && rule.succeededIndexes.empty())
      errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    require_nonnegative(rule.succeededCount, at.child("succeededCount"), errors);
    if (rule.succeededCount && rule.succeededIndexes.empty() && spec.completions &&
        *rule.succeededCount > *spec.completions)
      errors.invalid(at.child("succeededCount"), std::to_string(*rule.succeededCount),
                     fmt::format("must be less than or equal to {} (the number of specified completions)",
                                 *spec.completions));
    if (rule.succeededIndexes.find_first_not_of("0123456789,-") != std::string::npos)
      errors.invalid(at.child("succeededIndexes"), quote(rule.succeededIndexes),
                     "error parsing succeededIndexes: cannot convert string to integer for index");
  }
}

void check_indexes(const JobSpec& spec, const Path& path, FieldErrors& errors) {
  constexpr int kMost = 100000;
  if (!spec.completionMode.empty())
    check_one_of(spec.completionMode, path.child("completionMode"), {"NonIndexed", "Indexed"}, errors);
  if (spec.completionMode == "Indexed") {
    if (!spec.completions) errors.required(path.child("completions"), "when completion mode is Indexed");
    if (spec.parallelism.value_or(0) > kMost)
      errors.invalid(path.child("parallelism"), std::to_string(*spec.parallelism),
                     fmt::format("must be less than or equal to {} when completion mode is Indexed", kMost));
    if (spec.backoffLimitPerIndex && spec.maxFailedIndexes.value_or(0) > kMost)
      errors.invalid(path.child("maxFailedIndexes"), std::to_string(*spec.maxFailedIndexes),
                     fmt::format("must be less than or equal to {}", kMost));
    return;
  }
  if (spec.backoffLimitPerIndex)
    errors.invalid(path.child("backoffLimitPerIndex"), std::to_string(*spec.backoffLimitPerIndex), kNeedsIndexes);
  if (spec.maxFailedIndexes)
    errors.invalid(path.child("maxFailedIndexes"), std::to_string(*spec.maxFailedIndexes), kNeedsIndexes);
}

void check_spec(const JobSpec& spec, const Path& path, FieldErrors& errors) {
  require_nonnegative(spec.parallelism, path.child("parallelism"), errors);
  require_nonnegative(spec.completions, path.child("completions"), errors);
  require_nonnegative(spec.activeDeadlineSeconds, path.child("activeDeadlineSeconds"), errors);
  require_nonnegative(spec.backoffLimit, path.child("backoffLimit"), errors);
  require_nonnegative(spec.ttlSecondsAfterFinished, path.child("ttlSecondsAfterFinished"), errors);
  require_nonnegative(spec.backoffLimitPerIndex, path.child("backoffLimitPerIndex"), errors);
  require_nonnegative(spec.maxFailedIndexes, path.child("maxFailedIndexes"), errors);
  if (spec.maxFailedIndexes && !spec.backoffLimitPerIndex)
    errors.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
  if (!spec.managedBy.empty()) {
    if (spec.managedBy.find('/') == std::string::npos)
      errors.invalid(path.child("managedBy"), quote(spec.managedBy),
                     "must be a domain-prefixed path (such as \"acme.io/foo\")");
    if (spec.managedBy.size() > 63) errors.too_long(path.child("managedBy"), 63);
  }
  check_indexes(spec, path, errors);
  if (spec.podFailurePolicy) check_failure_policy(spec, path.child("podFailurePolicy"), errors);
  if (spec.successPolicy) {
    if (spec.completionMode != "Indexed")
      errors.invalid(path.child("successPolicy"), api::to_json(*spec.successPolicy), kNeedsIndexes);
    else check_success_policy(spec, path.child("successPolicy"), errors);
  }
  if (!spec.podReplacementPolicy.empty()) {
    if (spec.podFailurePolicy) check_one_of(spec.podReplacementPolicy, path.child("podReplacementPolicy"), {"Failed"}, errors);
    else check_one_of(spec.podReplacementPolicy, path.child("podReplacementPolicy"), {"Failed", "TerminatingOrFailed"}, errors);
  }
  check_template(spec.template_, path.child("template"), errors);
  const std::string& policy = spec.template_.spec.restartPolicy;
  const Path at = path.child("template.spec.restartPolicy");
  if (policy.empty() || policy == "Always") errors.required(at, "valid values: \"OnFailure\", \"Never\"");
  else if (!is_one_of(policy, {"OnFailure", "Never"})) errors.not_supported(at, policy, {"OnFailure", "Never"});
  else if (spec.podFailurePolicy && policy != "Never")
    errors.invalid(at, quote(policy), "only \"Never\" is supported when podFailurePolicy is specified");
}

void check_completions(const JobSpec& spec, const JobSpec& old, FieldErrors& errors) {
  const Path path("spec");
  if (spec.completionMode != "Indexed") return require_same(spec.completions, old.completions, path.child("completions"), errors);
  if (spec.completions == old.completions) return;
  if (!spec.completions || !old.completions) require_same(spec.completions, old.completions, path.child("completions"), errors);
  else if (spec.completions != spec.parallelism)
    errors.invalid(path.child("completions"), std::to_string(*spec.completions),
                   "can only be modified in tandem with spec.parallelism");
}

void check_update(const Job& job, const Job& old, FieldErrors& errors) {
  const Path path("spec");
  auto immutable = [&](const auto& next, const auto& before, const char* name) {
    if (next == before) return;
    using T = std::remove_cvref_t<decltype(*next)>;
    errors.invalid(path.child(name), next ? json_of(api::type_of<T>(), &*next) : "null", kImmutable);
  };
  check_completions(job.spec, old.spec, errors);
  immutable(job.spec.selector, old.spec.selector, "selector");
  // A Job that waits suspended and never ran may still be told where to run.
  api::PodTemplateSpec expected = old.spec.template_;
  if (old.spec.suspend.value_or(false) && !old.status.startTime) {
    const api::PodTemplateSpec& next = job.spec.template_;
    expected.metadata.labels = next.metadata.labels;
    expected.metadata.annotations = next.metadata.annotations;
    expected.spec.nodeSelector = next.spec.nodeSelector;
    expected.spec.tolerations = next.spec.tolerations;
    expected.spec.schedulingGates = next.spec.schedulingGates;
    if (expected.spec.affinity || next.spec.affinity)
      expected.spec.affinity.ensure().nodeAffinity =
          next.spec.affinity ? next.spec.affinity->nodeAffinity : api::Box<api::NodeAffinity>();
    if (!next.spec.affinity && expected.spec.affinity && *expected.spec.affinity == api::Affinity())
      expected.spec.affinity.reset();
  }
  if (!(expected == job.spec.template_))
    errors.invalid(path.child("template"), api::to_json(job.spec.template_), kImmutable);
  require_same(job.spec.completionMode, old.spec.completionMode, path.child("completionMode"), errors);
  immutable(job.spec.podFailurePolicy, old.spec.podFailurePolicy, "podFailurePolicy");
  require_same(job.spec.backoffLimitPerIndex, old.spec.backoffLimitPerIndex, path.child("backoffLimitPerIndex"), errors);
  require_same(job.spec.managedBy, old.spec.managedBy, path.child("managedBy"), errors);
  immutable(job.spec.successPolicy, old.spec.successPolicy, "successPolicy");
}

void validate(const Job& job, const Job* old, FieldErrors& errors) {
  const Path path("spec");
  if (!old) check_generated_labels(job, errors);
  check_spec(job.spec, path, errors);
  if (!job.spec.selector) {
    errors.required(path.child("selector"));
  } else {
    check_label_selector(*job.spec.selector, path.child("selector"), errors);
    Result<api::Selector> selector = api::Selector::from(*job.spec.selector);
    if (selector.ok() && !selector.value().matches(job.spec.template_.metadata.labels))
      errors.invalid(path.child("template.metadata.labels"), json_of(job.spec.template_.metadata.labels),
                     "`selector` does not match template `labels`");
  }
  if (old) check_update(job, *old, errors);
}

void validate_status(const Job& job, const Job&, FieldErrors& errors) {
  const Path path("status");
  require_nonnegative(job.status.active, path.child("active"), errors);
  require_nonnegative(job.status.succeeded, path.child("succeeded"), errors);
  require_nonnegative(job.status.failed, path.child("failed"), errors);
}

void warn(const Job& job, const Job* old, Warnings& warnings) {
  if (old && old->metadata.generation == job.metadata.generation) return;
  if (job.spec.completionMode == "Indexed" && job.metadata.name.size() > 63 - 1)
    warnings.push_back("metadata.name: this is used in Pod names and hostnames, which can result in surprising "
                       "behavior; a DNS label is recommended: [must be no more than 63 characters]");
  warn_about_pod(job.spec.template_.metadata, job.spec.template_.spec, Path("spec.template"), warnings);
}

std::map<std::string, std::string> selectable_fields(const Job& job) {
  return {{"status.successful", std::to_string(job.status.succeeded)}};
}

// ---- CronJobs

void check_time_zone(const std::string& zone, FieldErrors& errors) {
  const Path at("spec.timeZone");
  if (zone == "Local" || zone == "local")
    return errors.invalid(at, quote(zone),
                          "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
  if (Result<TimeZone> known = TimeZone::named(zone); !known.ok())
    errors.invalid(at, quote(zone), known.error().message());
}

void validate_cron_job(const api::CronJob& job, const api::CronJob* old, FieldErrors& errors) {
  const Path path("spec");
  if (!old && job.metadata.name.size() > 52)  // eleven characters are added for each Job
    errors.invalid("metadata.name", quote(job.metadata.name), "must be no more than 52 characters");
  const api::CronJobSpec& spec = job.spec;
  if (require(spec.schedule, path.child("schedule"), errors)) {
    bool zone = spec.schedule.find("TZ") != std::string::npos;
    if (zone && !(old && old->spec.schedule == spec.schedule))
      errors.invalid(path.child("schedule"), quote(spec.schedule),
                     "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    else if (std::string problem = zone ? "" : schedule_problem(spec.schedule); !problem.empty())
      errors.invalid(path.child("schedule"), quote(spec.schedule), problem);
  }
  require_nonnegative(spec.startingDeadlineSeconds, path.child("startingDeadlineSeconds"), errors);
  if (!spec.timeZone.empty() && !(old && old->spec.timeZone == spec.timeZone)) check_time_zone(spec.timeZone, errors);
  require_one_of(spec.concurrencyPolicy, path.child("concurrencyPolicy"), {"Allow", "Forbid", "Replace"}, errors);
  const Path job_template = path.child("jobTemplate");
  const Path job_spec = job_template.child("spec");
  check_spec(spec.jobTemplate.spec, job_spec, errors);
  if (spec.jobTemplate.spec.selector)
    errors.invalid(job_spec.child("selector"), json_of(*spec.jobTemplate.spec.selector),
                   "`selector` will be auto-generated");
  if (spec.jobTemplate.spec.manualSelector.value_or(false))
    errors.not_supported(job_spec.child("manualSelector"), "true", {"nil", "false"});
  require_nonnegative(spec.successfulJobsHistoryLimit, path.child("successfulJobsHistoryLimit"), errors);
  require_nonnegative(spec.failedJobsHistoryLimit, path.child("failedJobsHistoryLimit"), errors);
}

void warn_about_cron_job(const api::CronJob& job, const api::CronJob* old, Warnings& warnings) {
  if (old && old->metadata.generation == job.metadata.generation) return;
  if (job.spec.schedule.find("TZ") != std::string::npos)
    warnings.push_back("spec.schedule: CRON_TZ or TZ used in spec.schedule is not officially supported, see "
                       "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
  const api::PodTemplateSpec& pods = job.spec.jobTemplate.spec.template_;
  warn_about_pod(pods.metadata, pods.spec, Path("spec.jobTemplate.spec.template"), warnings);
}

}  // namespace

std::vector<Resource> jobs() {
  Rules<Job> rules;
  rules.prepare_create = prepare_create;
  rules.validate = validate;
  rules.validate_status = validate_status;
  rules.warn = warn;
  rules.selectable_fields = selectable_fields;
  rules.counts_generation = true;
  rules.orphans_by_default = true;
  Rules<api::CronJob> cron;
  cron.validate = validate_cron_job;
  cron.warn = warn_about_cron_job;
  cron.counts_generation = true;
  return {define(rules), define(cron)};
}

}  // namespace skiff::registry
