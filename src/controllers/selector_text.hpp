#pragma once

#include <string>

#include "api/gen/meta.hpp"

namespace skiff::controllers {

/// A label selector as Kubernetes' messages print one: "&LabelSelector{MatchLabels:map[string]string{a: b,},...}", or
/// "nil".
std::string selector_text(const api::LabelSelector* selector);

}  // namespace skiff::controllers
