#pragma once
// Pod specs and the templates that pods are made from.

#include <string>

#include "api/gen/pod.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {

/// ValidatePodSpec; `path` is where it stands ("spec", "spec.template.spec").
void check_pod_spec(const api::PodSpec& spec, PodKind kind, const Path& path, FieldErrors& errors);
/// Annotations that mean something to pods.
void check_pod_annotations(const std::map<std::string, std::string>& annotations, const api::PodSpec& spec,
                           const Path& path, FieldErrors& errors);
/// Labels and annotations, without the spec.
void check_template_metadata(const api::PodTemplateSpec& pod_template, const Path& path, FieldErrors& errors);
/// ValidatePodTemplateSpec.
void check_template(const api::PodTemplateSpec& pod_template, const Path& path, FieldErrors& errors);

/// Texts of Warning headers (pkg/api/pod/warnings.go); `path` is "" for a pod, "spec.template" for a workload.
using Warnings = std::vector<std::string>;
void warn_about_pod(const api::ObjectMeta& metadata, const api::PodSpec& spec, const Path& path, Warnings& warnings);

}  // namespace skiff::registry
