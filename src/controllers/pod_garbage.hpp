#pragma once

#include <vector>

#include "api/gen/pod.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

/// Which of the finished pods go, so that `keep` of them are left: those that nodes threw out first, then the oldest.
std::vector<client::Ref<api::Pod>> surplus_pods(std::vector<client::Ref<api::Pod>> finished, size_t keep);

}  // namespace skiff::controllers
