#include "apiserver/about.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apiserver/status.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

Reply text_reply(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", {}, std::make_shared<std::string>(std::move(text))};
}

Reply version_document(const std::string& git_version) {
  Json document = {{"major", "1"},
                   {"minor", "36"},
                   {"emulationMajor", "1"},
                   {"emulationMinor", "36"},
                   {"minCompatibilityMajor", "1"},
                   {"minCompatibilityMinor", "35"},
                   {"gitVersion", git_version},
                   {"gitCommit", ""},
                   {"gitTreeState", "clean"},
                   {"buildDate", "1970-01-01T00:00:00Z"},
                   {"goVersion", ""},
                   {"compiler", "g++"},
                   {"platform", "linux/amd64"}};
#if defined(__aarch64__)
  document["platform"] = "linux/arm64";
#endif
  return json_reply(200, document.dump(2));
}

bool is_health_path(std::string_view path) {
  for (std::string_view one : {"/healthz", "/livez", "/readyz"})
    if (path == one || (path.starts_with(one) && path[one.size()] == '/')) return true;
  return false;
}

Reply health_report(const Request& request, const std::vector<HealthCheck>& known) {
  std::string name = request.path.substr(1, request.path.find('/', 1) - 1);
  std::string only = request.path.size() > name.size() + 2 ? request.path.substr(name.size() + 2) : "";
  std::vector<HealthCheck> checks{{"ping", [] { return ok(); }}};
  for (const HealthCheck& check : known)
    if (!check.readiness_only || name == "readyz") checks.push_back(check);
  if (!only.empty()) {
    std::erase_if(checks, [&only](const HealthCheck& check) { return check.name != only; });
    if (checks.empty()) return text_reply(404, "404 page not found\n");
  }
  auto [begin, end] = request.query.equal_range("exclude");
  for (auto excluded = begin; excluded != end; ++excluded)
    std::erase_if(checks, [&](const HealthCheck& check) { return check.name == excluded->second; });
  std::string lines;
  bool healthy = true;
  for (const HealthCheck& check : checks) {
    bool passed = check.check().ok();
    healthy = healthy && passed;
    lines += passed ? fmt::format("[+]{} ok\n", check.name)
                    : fmt::format("[-]{} failed: reason withheld\n", check.name);
  }
  if (!healthy) return text_reply(500, lines + name + " check failed\n");
  return text_reply(200, request.query.contains("verbose") ? lines + name + " check passed\n" : "ok");
}

}  // namespace skiff::apiserver
