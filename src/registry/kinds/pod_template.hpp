#pragma once

#include <string>

#include "api/gen/pod.hpp"
#include "api/status.hpp"

namespace skiff::registry {

/// ValidatePodSpec; `path` is where it stands ("spec", "spec.template.spec").
void validate_pod_spec(const api::PodSpec& spec, const std::string& path, api::FieldErrors& errors);
/// A controller's template: labels that the selector matches, and a spec.
void validate_template(const api::PodTemplateSpec& pod_template, const std::string& path, api::FieldErrors& errors);
/// A workload's selector: present, valid, matching its template's labels.
void validate_selector(const api::LabelSelector* selector, const api::PodTemplateSpec& pod_template,
                       api::FieldErrors& errors);
/// Workloads restart for ever.
void require_restart_always(const api::PodTemplateSpec& pod_template, api::FieldErrors& errors);
void validate_label_selector(const api::LabelSelector& selector, const std::string& path, api::FieldErrors& errors);
/// ValidateNonnegativeField.
void require_nonnegative(std::int64_t value, std::string path, api::FieldErrors& errors);

}  // namespace skiff::registry
