#pragma once
// Versions in which built-in resources are served besides the one that is stored.

#include <deque>
#include <memory>
#include <vector>

#include "registry/catalogue.hpp"

namespace skiff::registry {

struct OtherVersions {
  std::vector<ServedKind> served;
  std::deque<api::KindInfo> kinds;                          // of versions that the schema does not know
  std::vector<std::unique_ptr<const Conversion>> conversions;
};

/// `resources` must outlive the result.
OtherVersions other_versions(const std::vector<Resource>& resources);

}  // namespace skiff::registry
