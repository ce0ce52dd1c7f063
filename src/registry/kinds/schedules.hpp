#pragma once

#include <string>

namespace skiff::registry {

/// What is wrong with a cron expression (five fields, @daily or @every 1h), in the words of the parser that Kubernetes
/// uses; empty when nothing is.
std::string schedule_problem(const std::string& schedule);

}  // namespace skiff::registry
