#pragma once
// In which order groups and versions are preferred: the priorities of their APIServices.

#include <cstdint>
#include <string_view>

namespace skiff::apiserver {

struct ApiServicePriority {
  std::int32_t group = 0;    // groupPriorityMinimum
  std::int32_t version = 0;  // versionPriority
};

/// Of a group version that is built in, or else that of custom resources.
ApiServicePriority local_priority(std::string_view group, std::string_view version);

}  // namespace skiff::apiserver
