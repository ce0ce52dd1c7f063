// The parts of volumes that refer to fields of pods.

#include <algorithm>

#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;

bool is_pod_field(std::string_view path) {
  return is_one_of(path, {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace",
                          "metadata.uid", "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName",
                          "spec.schedulerName", "status.phase", "status.hostIP", "status.hostIPs", "status.podIP",
                          "status.podIPs"});
}

// "metadata.labels['key']" -> its two parts; empty key when there is no subscript.
std::pair<std::string_view, std::optional<std::string_view>> split_subscript(std::string_view path) {
  if (!path.ends_with("']")) return {path, std::nullopt};
  size_t open = path.find("['");
  if (open == std::string_view::npos || open == 0) return {path, std::nullopt};
  return {path.substr(0, open), path.substr(open + 2, path.size() - open - 4)};
}

std::vector<std::string> listed(Words words) { return {words.begin(), words.end()}; }

void check_divisor(const api::ResourceFieldSelector& ref, const Path& path, FieldErrors& errors) {
  if (!ref.divisor || ref.divisor->zero()) return;
  constexpr char kSizes[] = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
  bool size = is_one_of(ref.divisor->text(), {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti",
                                              "1Pi", "1Ei"});
  auto refuse = [&](const std::string& values, const char* what) {
    errors.invalid(path.child("divisor"), quote(ref.resource),
                   fmt::format("only divisor's values {} are supported with the {} resource", values, what));
  };
  std::string_view name = ref.resource;
  name.remove_prefix(std::min(name.find('.') + 1, name.size()));
  if (name == "cpu" && !is_one_of(ref.divisor->text(), {"1m", "1"})) refuse("1m and 1", "cpu");
  if (name == "memory" && !size) refuse(kSizes, "memory");
  if (name == "ephemeral-storage" && !size) refuse(kSizes, "local ephemeral storage");
  if (name.starts_with("hugepages-") && !size) refuse(kSizes, "hugepages");
}

}  // namespace

void check_field_ref(const api::ObjectFieldSelector& ref, Words allowed, const Path& path, FieldErrors& errors) {
  if (ref.apiVersion.empty()) return errors.required(path.child("apiVersion"));
  if (ref.fieldPath.empty()) return errors.required(path.child("fieldPath"));
  auto [field, subscript] = split_subscript(ref.fieldPath);
  auto refuse = [&](std::string_view why) {
    errors.invalid(path.child("fieldPath"), quote(ref.fieldPath), fmt::format("error converting fieldPath: {}", why));
  };
  if (ref.apiVersion != "v1") return refuse("unsupported pod version: " + ref.apiVersion);
  if (!is_pod_field(field)) return refuse("field label not supported: " + ref.fieldPath);
  if (!subscript) {
    if (!is_one_of(field, allowed)) errors.not_supported(path.child("fieldPath"), field, listed(allowed));
    return;
  }
  std::string key(*subscript);
  if (field == "metadata.annotations")
    for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (field == "metadata.annotations" || field == "metadata.labels")
    add_problems(path, *subscript, api::qualified_name_problems(key), errors);
  else refuse("field label not supported: " + ref.fieldPath);
}

void check_resource_field_ref(const api::ResourceFieldSelector& ref, bool in_volume, const Path& path,
                              FieldErrors& errors) {
  const Words kResources = {"limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
                                       "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
  if (in_volume && ref.containerName.empty()) errors.required(path.child("containerName"));
  else if (ref.resource.empty()) errors.required(path.child("resource"));
  else if (!is_one_of(ref.resource, kResources) && !ref.resource.starts_with("limits.hugepages-") &&
           !ref.resource.starts_with("requests.hugepages-"))
    errors.not_supported(path.child("resource"), ref.resource, listed(kResources));
  check_divisor(ref, path, errors);
}

}  // namespace skiff::registry
