#pragma once
// API servers behind this one: a Service of the cluster that serves a version of a group.

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "apiserver/message.hpp"
#include "apiserver/service_dialer.hpp"
#include "apiserver/outbound.hpp"
#include "base/mutex.hpp"

namespace skiff::apiserver {

/// What a backend said of itself when it was last asked.
struct RemoteDocuments {
  std::string resources;    // apidiscovery entries of its resources, a JSON array
  std::string openapi_url;  // of its OpenAPI v3 document, as its own index has it; may be empty
  bool operator==(const RemoteDocuments&) const = default;
};

struct Backend {
  std::string group, version;
  client::ObjectKey service;
  std::int32_t port = 443;
  std::string authorities;  // PEM
  bool verify = true;
  std::int32_t group_priority = 0, version_priority = 0;
  bool available = false;
  std::shared_ptr<const RemoteDocuments> documents;  // null: never reached

  std::string host() const { return service.name + "." + service.namespace_ + ".svc"; }
  /// Of its discovery document.
  std::string path() const { return "/apis/" + group + "/" + version; }
};

/// All of them at one moment.
struct Backends {
  std::uint64_t generation = 0;  // grows with every change
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const Backend>, std::less<>> by_version;
};

/// Calls backends as the front proxy. Any thread.
class BackendCaller {
 public:
  BackendCaller(ServiceDialer services, CertificatePair identity)
      : services_(std::move(services)), identity_(std::move(identity)) {}

  /// A connection whose server has proved to be the backend.
  Result<std::unique_ptr<Outbound>> connect(const Backend& backend, Outbound::Deadline deadline) const;
  /// GET of a JSON document in the name of the aggregator, which may read everything.
  Result<Reply> get(const Backend& backend, const std::string& path, Duration timeout) const;
  /// Shown from now on.
  void set_identity(CertificatePair identity);

 private:
  ServiceDialer services_;
  mutable Mutex mutex_;
  CertificatePair identity_ GUARDED_BY(mutex_);
};

}  // namespace skiff::apiserver
