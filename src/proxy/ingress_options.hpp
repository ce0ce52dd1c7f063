#pragma once
// What annotations ask of the ingress: those of ingress-nginx that tutorials use. Pure.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace skiff::proxy {

struct IngressOptions {
  std::optional<std::string> rewrite_target;  // the path servers get; $1 is the path's first group
  bool use_regex = false;                     // paths are regular expressions
  bool ssl_redirect = true;                   // to https, for hosts that have TLS
  bool force_ssl_redirect = false;            // and for those that have not
  std::uint64_t max_body = 0;                 // bytes; 0: any
  std::string app_root;                       // where "/" leads
  std::string redirect;                       // everything leads here
  int redirect_status = 301;
  std::string upstream_host;  // the Host that servers get
  bool http2 = false;         // servers speak HTTP/2 without TLS (backend-protocol: GRPC)
  Duration connect_timeout = std::chrono::seconds(5), answer_timeout = std::chrono::seconds(60);
  std::vector<std::string> problems;  // annotations that mean nothing, in words
};

/// Annotations below nginx.ingress.kubernetes.io/ (or, as long ago, ingress.kubernetes.io/).
IngressOptions ingress_options(const std::map<std::string, std::string>& annotations);

}  // namespace skiff::proxy
