#include "kubelet/fields.hpp"

#include <algorithm>

#include "base/encoding.hpp"

namespace skiff::kubelet {
namespace {

/// key="value" lines, sorted, with Go's quoting of the characters that matter.
std::string lines_of(const std::map<std::string, std::string>& entries) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : entries) {
    std::string quoted;
    for (char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (c == '\n')
        quoted += "\\n";
      else if (c == '\t')
        quoted += "\\t";
      else
        quoted += c;
    }
    lines.push_back(key + "=\"" + quoted + "\"");
  }
  return join(lines, "\n");
}

/// The key of "metadata.labels['key']"; empty when the path is not of that form.
std::string subscript_of(std::string_view path, std::string_view field) {
  if (!path.starts_with(field) || !path.substr(field.size()).starts_with("['") || !path.ends_with("']"))
    return "";
  return std::string(path.substr(field.size() + 2, path.size() - field.size() - 4));
}

std::string at(const std::map<std::string, std::string>& entries, const std::string& key) {
  auto found = entries.find(key);
  return found == entries.end() ? "" : found->second;
}

std::int64_t divide_up(std::int64_t value, std::int64_t divisor) {
  if (divisor <= 0) divisor = 1;
  return value / divisor + (value % divisor != 0 ? 1 : 0);
}

}  // namespace

Result<std::string> field_value(const FieldSource& source, const std::string& path) {
  const api::ObjectMeta& metadata = source.pod.metadata;
  if (path == "metadata.name") return metadata.name;
  if (path == "metadata.namespace") return metadata.namespace_;
  if (path == "metadata.uid") return metadata.uid;
  if (path == "metadata.labels") return lines_of(metadata.labels);
  if (path == "metadata.annotations") return lines_of(metadata.annotations);
  if (std::string key = subscript_of(path, "metadata.labels"); !key.empty()) return at(metadata.labels, key);
  if (std::string key = subscript_of(path, "metadata.annotations"); !key.empty())
    return at(metadata.annotations, key);
  if (path == "spec.nodeName") return source.pod.spec.nodeName;
  if (path == "spec.serviceAccountName") return source.pod.spec.serviceAccountName;
  if (path == "status.hostIP") return source.host_ips.empty() ? std::string() : source.host_ips.front();
  if (path == "status.hostIPs") return join(source.host_ips, ",");
  if (path == "status.podIP") return source.pod_ips.empty() ? std::string() : source.pod_ips.front();
  if (path == "status.podIPs") return join(source.pod_ips, ",");
  return error(Code::Invalid, "unsupported fieldPath: {}", path);
}

Result<std::string> resource_value(const FieldSource& source, const api::Container& container,
                                   const api::ResourceFieldSelector& selector) {
  size_t dot = selector.resource.find('.');
  std::string which = selector.resource.substr(0, dot);
  std::string name = dot == std::string::npos ? "" : selector.resource.substr(dot + 1);
  if ((which != "limits" && which != "requests") || name.empty())
    return error(Code::Invalid, "unsupported container resource : {}", selector.resource);
  const auto& wanted = which == "limits" ? container.resources.limits : container.resources.requests;
  api::Quantity value;
  if (auto found = wanted.find(name); found != wanted.end())
    value = found->second;
  else if (auto node = source.allocatable.find(name); which == "limits" && node != source.allocatable.end())
    value = node->second;
  bool has_divisor = selector.divisor && !selector.divisor->zero();
  if (name == "cpu")  // in thousandths, so that a divisor of 1m works
    return std::to_string(divide_up(value.milli(), has_divisor ? selector.divisor->milli() : 1000));
  return std::to_string(divide_up(value.value(), has_divisor ? selector.divisor->value() : 1));
}

const api::Container* find_container(const api::Pod& pod, const std::string& name) {
  auto main = std::ranges::find(pod.spec.containers, name, &api::Container::name);
  if (main != pod.spec.containers.end()) return &*main;
  auto init = std::ranges::find(pod.spec.initContainers, name, &api::Container::name);
  return init == pod.spec.initContainers.end() ? nullptr : &*init;
}

api::Container as_container(const api::EphemeralContainer& from) {
  api::Container container;
  container.name = from.name;
  container.image = from.image;
  container.command = from.command;
  container.args = from.args;
  container.workingDir = from.workingDir;
  container.env = from.env;
  container.envFrom = from.envFrom;
  container.volumeMounts = from.volumeMounts;
  container.volumeDevices = from.volumeDevices;
  container.terminationMessagePath = from.terminationMessagePath;
  container.terminationMessagePolicy = from.terminationMessagePolicy;
  container.imagePullPolicy = from.imagePullPolicy;
  container.securityContext = from.securityContext;
  container.stdin = from.stdin;
  container.stdinOnce = from.stdinOnce;
  container.tty = from.tty;
  return container;
}

bool has_container(const api::Pod& pod, const std::string& name) {
  return find_container(pod, name) != nullptr ||
         std::ranges::find(pod.spec.ephemeralContainers, name, &api::EphemeralContainer::name) !=
             pod.spec.ephemeralContainers.end();
}

}  // namespace skiff::kubelet
