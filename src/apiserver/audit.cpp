#include "apiserver/audit.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "api/protobuf.hpp"
#include "api/values.hpp"
#include "base/log.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::array<std::string_view, 4> kLevels{"None", "Metadata", "Request", "RequestResponse"};

Json user_of(const registry::User& user) {
  Json who = {{"username", user.name}};
  if (!user.uid.empty()) who["uid"] = user.uid;
  who["groups"] = user.groups;
  if (!user.extra.empty()) who["extra"] = user.extra;
  return who;
}

Json object_of(const RequestInfo& info) {
  Json object = {{"resource", info.resource}};
  auto put = [&object](const char* name, const std::string& value) {
    if (!value.empty()) object[name] = value;
  };
  put("namespace", info.namespace_);
  put("name", info.name);
  put("apiGroup", info.group);
  put("apiVersion", info.version);
  put("subresource", info.subresource);
  return object;
}

// A body that is JSON, as it was; bodies of secrets are never written.
void put_body(Json& event, const char* name, const std::string& body, const RequestInfo& info) {
  if (body.empty() || info.resource == "secrets" || info.subresource == "token") return;
  Json document = Json::parse(body, nullptr, false);
  if (!document.is_discarded()) event[name] = std::move(document);
}

std::string json_of_body(const AuditEntry& entry) {
  const std::string& body = entry.request.body;
  if (entry.type == nullptr || !body.starts_with("k8s")) return body;
  Result<std::string> json = api::json_from_protobuf(body, *entry.type);
  return json.ok() ? std::move(json).value() : "";
}

std::string text_of(WallTime moment) { return api::MicroTime::from(moment).text(); }

}  // namespace

std::optional<AuditLevel> audit_level(std::string_view name) {
  for (size_t i = 0; i < kLevels.size(); ++i)
    if (kLevels[i] == name) return static_cast<AuditLevel>(i);
  return std::nullopt;
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(const std::string& path, AuditLevel level) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return errno_error(errno, "open audit log '{}'", path);
  return std::unique_ptr<AuditLog>(new AuditLog(std::move(file), level));
}

void AuditLog::record(const AuditEntry& entry) {
  if (level_ == AuditLevel::None) return;
  Json event = {{"kind", "Event"},
                {"apiVersion", "audit.k8s.io/v1"},
                {"level", kLevels[static_cast<size_t>(level_)]},
                {"auditID", ""},
                {"stage", "ResponseComplete"},
                {"requestURI", entry.request.target},
                {"verb", entry.info.verb},
                {"user", user_of(entry.user)},
                {"sourceIPs", Json::array({entry.request.remote_address})},
                {"userAgent", entry.request.header("User-Agent")}};
  if (entry.info.is_resource) event["objectRef"] = object_of(entry.info);
  event["responseStatus"] = {{"metadata", Json::object()}, {"code", entry.code}};
  if (level_ >= AuditLevel::Request) put_body(event, "requestObject", json_of_body(entry), entry.info);
  if (level_ >= AuditLevel::RequestResponse && entry.response != nullptr)
    put_body(event, "responseObject", *entry.response, entry.info);
  if (!entry.annotations.empty()) event["annotations"] = entry.annotations;
  event["requestReceivedTimestamp"] = text_of(entry.received);
  event["stageTimestamp"] = text_of(entry.answered);
  MutexLock lock(mutex_);
  event["auditID"] = random_.uuid();
  const std::string line = event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (write(file_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    log::warning("apiserver", "{}", system_error(errno, "write to the audit log").message());
}

}  // namespace skiff::apiserver
