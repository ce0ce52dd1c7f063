#pragma once
// The cluster's names (the Kubernetes DNS specification, version 1.1), looked up in the caches at each query.

#include <optional>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/service.hpp"
#include "client/informer.hpp"
#include "net/dns_server.hpp"

namespace skiff::proxy {

struct DnsRecordsSpec {
  std::vector<std::string> domains = {"cluster.local", "cluster.internal"};  // the first is in PTR answers
  std::vector<net::Cidr> reverse;  // addresses whose names nobody else knows: services and pods
  std::vector<net::Address> servers;  // the DNS service's addresses
  std::uint32_t ttl = 5;
  std::vector<net::Address> host;  // of kHostName; none: the name is not known
};

/// By which pods find the machine that the cluster runs on.
inline constexpr std::string_view kHostName = "host.skiff.internal";

/// Construct before Informers::start(). Until the caches are filled every name of the cluster is
/// ServerFailure.
class DnsRecords final : public net::DnsZones {
 public:
  DnsRecords(client::Informers& informers, DnsRecordsSpec spec);

  std::optional<net::DnsAnswer> answer(const std::string& name, net::DnsType type) const override;

  /// Whether it can answer.
  bool synced() const;

 private:
  struct Question;
  struct Found;
  using DnsAnswers = std::vector<net::DnsRecord>;
  Found find(const Question& question) const;
  Found find_apex(const Question& question) const;
  Found find_service(const Question& question) const;
  Found find_cluster_ip(const Question& question, const api::Service& service) const;
  Found find_headless(const Question& question, const api::Service& service) const;
  Found find_pod(const Question& question) const;
  std::optional<net::DnsAnswer> reverse(const std::string& name, net::DnsType type) const;
  bool has_namespace(const std::string& name) const;
  DnsAnswers address_records(const Question& question, const std::vector<net::Address>& addresses) const;
  net::DnsRecord record(const std::string& name, net::Address address) const;
  net::DnsRecord authority(const std::string& zone) const;

  const DnsRecordsSpec spec_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Namespace> namespaces_;
};

}  // namespace skiff::proxy
