#pragma once
// HTTPS requests to a cluster's API with the identity of a kubeconfig.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "client/kubeconfig.hpp"

namespace skiff::client {

struct HttpAnswer {
  int status = 0;
  std::string body;
};

/// One keep-alive connection; one thread at a time.
class HttpClient {
 public:
  /// Invalid: the entry's certificates cannot be read.
  static Result<std::unique_ptr<HttpClient>> create(const KubeconfigEntry& entry, Duration timeout);
  ~HttpClient();

  /// Any HTTP status is an answer. Unavailable: no connection; the message says why.
  Result<HttpAnswer> get(const std::string& path);
  Result<HttpAnswer> post(const std::string& path, const std::string& json);
  Result<HttpAnswer> put(const std::string& path, const std::string& json);
  /// Hands over a streaming answer (a watch) piece by piece until it ends; Canceled when `take` returns false.
  Status stream(const std::string& path, const std::function<bool(std::string_view)>& take);

 private:
  struct Connection;
  explicit HttpClient(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace skiff::client
