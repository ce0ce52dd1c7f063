#pragma once
// What a namespace that is being deleted says about it
// (pkg/controller/namespace/deletion/status_condition_utils.go).

#include <map>
#include <string>
#include <vector>

#include "api/gen/core.hpp"

namespace skiff::controllers {

struct NamespaceContent {
  std::map<std::string, int> remaining;   // "pods." -> how many
  std::map<std::string, int> finalizers;  // finalizer -> of how many objects
  std::vector<std::string> errors;
  int total() const;
};

/// The five conditions of `content`, merged into `status`; whether anything changed.
bool set_deletion_conditions(api::NamespaceStatus& status, const NamespaceContent& content, api::Time now);

}  // namespace skiff::controllers
