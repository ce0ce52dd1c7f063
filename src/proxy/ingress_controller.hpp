#pragma once
// The ingress controller: Ingresses answered on the host's ports and inside the cluster.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/external_names.hpp"
#include "proxy/http_front.hpp"
#include "proxy/ingress_routes.hpp"

namespace skiff::proxy {

struct IngressControllerSpec {
  std::vector<net::Address> addresses;  // what status says; answered in every node
  std::vector<net::Address> listen;  // addresses of the host
  std::string host = "host";      // the host's name at the HttpProxy
  std::uint16_t http_port = 80, https_port = 443;
};

/// Ports are open while there is an Ingress of ours. One of the host that another program has becomes an event on each
/// Ingress, which names the free one that is open instead, and is tried again every ten seconds. Construct before Informers::start(), start() after.
class IngressController {
 public:
  struct Parts {
    client::Client& client;
    client::Informers& informers;
    client::Informer<api::Secret> certificates;  // those of type kubernetes.io/tls
    client::EventRecorder& events;
    Clock& clock;
    HttpFront& front;
    ExternalNames::Lookup resolve{};  // for backends of type ExternalName; none: they are refused
  };
  IngressController(Parts parts, IngressControllerSpec spec);
  ~IngressController() { stop(); }

  /// A namespace that answers on the ingress' address. Any thread.
  void add_node(const std::string& network) { nodes_.add(network); }
  void remove_node(const std::string& network) { nodes_.remove(network); }

  void start();
  void stop();
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  using Ingresses = std::vector<client::Ref<api::Ingress>>;
  void watch_changes();
  void run(std::stop_token stop);
  bool settle();
  Ingresses ours() const;
  IngressView view(const Ingresses& ingresses);
  std::function<std::vector<net::Address>(const std::string&)> external_names();
  Result<CertificateTable::Certificate> certificate(const client::ObjectKey& secret);
  std::vector<net::HttpListener> listeners();
  /// The failures, and by listener what is open instead.
  struct Opened {
    std::vector<net::HttpListenerFailure> failures;
    std::map<net::HttpListener, net::HttpListener> instead;
  };
  Opened open(const std::vector<net::HttpListener>& wanted, const std::shared_ptr<const net::HttpRoutes>& routes);
  static bool failed(const std::vector<net::HttpListenerFailure>& failures, const net::HttpListener& listener);
  Status write_status(const api::Ingress& ingress, bool served);
  bool settle_statuses(const Ingresses& served);
  void report(const Ingresses& served, const std::vector<IngressProblem>& problems, const Opened& opened);
  std::string failure_text(const net::HttpListenerFailure& failure, const Opened& opened) const;

  Parts parts_;
  const IngressControllerSpec spec_;
  client::Informer<api::Ingress> ingresses_;
  client::Informer<api::IngressClass> classes_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Secret> secrets_;
  ChangeCounter changes_;
  ServedNetworks nodes_;
  ExternalNames external_;
  // The thread's:
  CertificateTable::Certificate own_;
  std::uint16_t https_port_;  // where redirects lead
  std::map<net::HttpListener, net::HttpListener> instead_;
  struct Parsed {
    std::string version;
    Result<CertificateTable::Certificate> certificate;
  };
  std::map<client::ObjectKey, Parsed> certificates_;
  std::set<IngressProblem> reported_;
  std::set<std::string> external_used_;  // names outside that the rules of this turn lead to
  std::map<std::string, std::int64_t> synced_;  // by UID: the generation that was told
  Worker worker_;
};

}  // namespace skiff::proxy
