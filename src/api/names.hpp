#pragma once
// The formats of names (k8s.io/apimachinery/pkg/util/validation). Each function returns Kubernetes' messages for
// what is wrong; empty means fine.

#include <string>
#include <string_view>
#include <vector>

namespace skiff::api {

using Problems = std::vector<std::string>;

Problems dns1123_label_problems(std::string_view name);
Problems dns1123_subdomain_problems(std::string_view name);
Problems dns1035_label_problems(std::string_view name);
/// A label key: optional DNS prefix, '/', name part.
Problems qualified_name_problems(std::string_view name);
Problems label_value_problems(std::string_view value);
/// What may stand in a URL path segment (RBAC names).
Problems path_segment_problems(std::string_view name);
Problems env_var_name_problems(std::string_view name);
Problems config_map_key_problems(std::string_view key);
Problems port_name_problems(std::string_view name);
Problems port_number_problems(int port);
/// IPv4 or IPv6 text.
bool is_ip(std::string_view text);

}  // namespace skiff::api
