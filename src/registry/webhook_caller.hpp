#pragma once
// Calls out of the API server: conversion webhooks here, admission webhooks and the like beside them.

#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::registry {

/// Where a webhook listens: a URL, or a Service of the cluster.
struct WebhookTarget {
  std::string url;                         // https://..., or "" for the service
  std::string service_namespace, service_name, service_path;
  std::int32_t service_port = 443;
  std::string ca_bundle;                   // PEM; "": the system's authorities
};

/// Any thread.
class WebhookCaller {
 public:
  virtual ~WebhookCaller() = default;
  /// POSTs `json` over HTTPS and returns the body of a 2xx answer. Unavailable: no connection, or another status;
  /// Timeout: no answer within `timeout`. The message names the URL, as in `Post "https://...": ...`.
  virtual Result<std::string> post(const WebhookTarget& target, const std::string& json, Duration timeout) = 0;
};

}  // namespace skiff::registry
