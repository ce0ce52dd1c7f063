#pragma once
// The servers behind a Service's port, for the HTTP proxy: endpoints themselves, not the Service's address.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/http_routes.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {

/// How objects are looked up while routes are made.
struct ServiceLookup {
  std::function<client::Ref<api::Service>(const client::ObjectKey&)> service;
  std::function<Slices(const client::ObjectKey&)> slices;
  /// The addresses of a name outside; empty: Services that are such names cannot be backends.
  std::function<std::vector<net::Address>(const std::string&)> external{};
};

/// A Service's port by number or, with 0, by name.
struct PortWish {
  std::int32_t number = 0;
  std::string name;
  bool http2 = false;  // whatever the Service says of its protocol
};

/// Ready endpoints; while there are none, those that end but still serve. NotFound: no such Service or port.
/// Invalid: a Service that has no endpoints by its kind.
Result<std::shared_ptr<const net::HttpBackends>> http_backends(const ServiceLookup& lookup,
                                                               const client::ObjectKey& service,
                                                               const PortWish& port);

}  // namespace skiff::proxy
