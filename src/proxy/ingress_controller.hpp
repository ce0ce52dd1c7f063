#pragma once
// The ingress controller: Ingresses answered on the host's ports and inside the cluster.

#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/gen/core.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/http_front.hpp"
#include "proxy/ingress_routes.hpp"

namespace skiff::proxy {

struct IngressControllerSpec {
  net::Ipv4 address;              // what status says; answered in every node
  std::vector<net::Ipv4> listen;  // addresses of the host
  std::string host = "host";      // the host's name at the HttpProxy
  std::uint16_t http_port = 80, https_port = 443;
};

/// Ports are open while there is an Ingress of ours. One that somebody else has becomes an event on each
/// Ingress and is tried again every ten seconds. Construct before Informers::start(), start() after.
class IngressController {
 public:
  struct Parts {
    client::Client& client;
    client::Informers& informers;
    client::Informer<api::Secret> certificates;  // those of type kubernetes.io/tls
    client::EventRecorder& events;
    Clock& clock;
    HttpFront& front;
  };
  IngressController(Parts parts, IngressControllerSpec spec);
  ~IngressController() { stop(); }

  /// A namespace that answers on the ingress' address. Any thread.
  void add_node(const std::string& network);
  void remove_node(const std::string& network);

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
  Result<CertificateTable::Certificate> certificate(const client::ObjectKey& secret);
  std::vector<net::HttpListener> listeners();
  Status write_status(const api::Ingress& ingress, bool served);
  bool settle_statuses(const Ingresses& served);
  void report(const Ingresses& served, const std::vector<IngressProblem>& problems,
              const std::vector<net::HttpListenerFailure>& failures);

  Parts parts_;
  const IngressControllerSpec spec_;
  client::Informer<api::Ingress> ingresses_;
  client::Informer<api::IngressClass> classes_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Secret> secrets_;
  ChangeCounter changes_;
  Mutex mutex_;
  std::set<std::string> nodes_ GUARDED_BY(mutex_);
  // The thread's:
  CertificateTable::Certificate own_;
  struct Parsed {
    std::string version;
    Result<CertificateTable::Certificate> certificate;
  };
  std::map<client::ObjectKey, Parsed> certificates_;
  std::set<IngressProblem> reported_;
  std::map<std::string, std::int64_t> synced_;  // by UID: the generation that was told
  std::jthread thread_;
};

}  // namespace skiff::proxy
