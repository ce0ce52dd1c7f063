#pragma once
// What configMap, secret, downwardAPI and projected volumes contain.

#include <map>

#include "api/gen/core.hpp"
#include "base/mutex.hpp"
#include "client/client.hpp"
#include "kubelet/atomic_writer.hpp"
#include "kubelet/fields.hpp"

namespace skiff::kubelet {

/// Tokens of service accounts, asked for once and again at four fifths of their life or after a day. Any thread.
class TokenCache {
 public:
  TokenCache(client::Client& client, Clock& clock) : client_(client), clock_(clock) {}

  Result<std::string> token(const api::Pod& pod, const api::ServiceAccountTokenProjection& projection);
  void forget(const std::string& pod_uid);
  /// When the next token of the pod is due; max when there is none.
  TimePoint next_refresh(const std::string& pod_uid) const;

 private:
  struct Token {
    std::string text;
    TimePoint refresh_at;
  };
  client::Client& client_;
  Clock& clock_;
  mutable Mutex mutex_;
  std::map<std::string, std::map<std::string, Token>> tokens_
      GUARDED_BY(mutex_);  // by pod UID, then what was asked
};

struct FileSources {
  const FieldSource& fields;
  client::Client& client;
  TokenCache& tokens;
};

/// True for the kinds of volume this file can fill.
bool has_files(const api::Volume& volume);

/// The files of such a volume. An error's message is the kubelet's (`configmap "x" not found`).
Result<VolumeFiles> volume_files(const api::Volume& volume, const FileSources& sources);

/// Whether a volume or an environment of the pod uses this ConfigMap, or Secret.
bool refers_to(const api::Pod& pod, bool secret, const std::string& name);

}  // namespace skiff::kubelet
