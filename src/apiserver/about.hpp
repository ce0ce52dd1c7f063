#pragma once
// What the server says about itself: its version and its health.

#include <functional>
#include <string>
#include <vector>

#include "apiserver/message.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

/// One line of /readyz?verbose. `check` runs on a worker thread and must not block.
struct HealthCheck {
  std::string name;
  std::function<Status()> check;
  bool readiness_only = false;      // asked by /readyz, but not by /healthz and /livez
};

/// GET /version.
Reply version_document(const std::string& git_version);

bool is_health_path(std::string_view path);
/// /healthz, /livez and /readyz, each as a whole (?verbose, ?exclude=name) or one check of it.
Reply health_report(const Request& request, const std::vector<HealthCheck>& known);

Reply text_reply(int status, std::string text);

}  // namespace skiff::apiserver
