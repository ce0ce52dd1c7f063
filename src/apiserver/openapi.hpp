#pragma once
// OpenAPI documents, made from the descriptors when first asked for and kept.

#include <map>
#include <optional>
#include <string>

#include "apiserver/discovery.hpp"
#include "apiserver/message.hpp"
#include "base/mutex.hpp"

namespace skiff::apiserver {

/// /openapi/v2 (JSON, and the protobuf that kubectl before 1.27 insists on), /openapi/v3 and
/// /openapi/v3/<path>. Any thread.
class OpenApi {
 public:
  OpenApi(const Discovery& discovery, std::string version)
      : discovery_(discovery), version_(std::move(version)) {}

  /// nullopt: no such path.
  std::optional<Reply> serve(const Request& request);

 private:
  Chunk cached(const std::string& key, const std::function<std::string()>& make);
  std::string index_v3();

  const Discovery& discovery_;
  const std::string version_;
  Mutex mutex_;
  std::map<std::string, Chunk> documents_ GUARDED_BY(mutex_);
};

/// The whole API as Swagger 2.0.
std::string openapi_v2(const Discovery& discovery, const std::string& version);
/// One group version as OpenAPI 3.0.
std::string openapi_v3(const Discovery::Group& group, const Discovery::Version& version,
                       const std::string& release);
/// A Swagger 2.0 document in the binary form of gnostic's openapi.v2.Document: definitions and the parameters
/// of operations, which is what clients read of it.
std::string openapi_v2_protobuf(const std::string& document);

}  // namespace skiff::apiserver
