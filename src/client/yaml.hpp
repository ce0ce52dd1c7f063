#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace skiff::client {

/// One YAML document (JSON is one too) as compact JSON, scalars typed as Kubernetes' parser does (YAML 1.1: yes, no,
/// on and off are booleans). BadRequest: "error decoding YAML: ...".
Result<std::string> json_from_yaml(std::string_view text);

}  // namespace skiff::client
