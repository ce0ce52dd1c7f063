#pragma once
// The audit log: one audit.k8s.io/v1 Event a line for every request that was answered.

#include <memory>
#include <optional>
#include <string>

#include "apiserver/message.hpp"
#include "apiserver/request_info.hpp"
#include "api/descriptor.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

enum class AuditLevel { None, Metadata, Request, RequestResponse };
/// nullopt: no such level.
std::optional<AuditLevel> audit_level(std::string_view name);

/// What there is to say about one answered request.
struct AuditEntry {
  const Request& request;
  const RequestInfo& info;
  const registry::User& user;
  const api::TypeInfo* type;         // of a body in protobuf; null: not known
  int code;
  const std::string* response;       // null: not a plain JSON answer
  const std::map<std::string, std::string>& annotations;  // of admission
  WallTime received, answered;
};

/// Appends to a file. Any thread; an entry is one write.
class AuditLog {
 public:
  /// System: the file cannot be opened.
  static Result<std::unique_ptr<AuditLog>> open(const std::string& path, AuditLevel level);

  void record(const AuditEntry& entry);

 private:
  AuditLog(UniqueFd file, AuditLevel level) : file_(std::move(file)), level_(level) {}

  const UniqueFd file_;
  const AuditLevel level_;
  Mutex mutex_;
  SystemRandom random_ GUARDED_BY(mutex_);
};

}  // namespace skiff::apiserver
