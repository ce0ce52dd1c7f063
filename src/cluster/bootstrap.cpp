#include "cluster/bootstrap.hpp"

#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/scheduling.hpp"
#include "api/gen/service.hpp"
#include "api/gen/storage.hpp"
#include "apiserver/default_policy.hpp"
#include "base/encoding.hpp"
#include "controllers/volume_directories.hpp"
#include "proxy/ingress_routes.hpp"

namespace skiff::cluster {
namespace {

template <class T>
Status ensure(client::Client& client, T object) {
  // Asked first: creating again would find its own cluster IP taken.
  if (client.get<T>(client::key_of(object)).ok()) return ok();
  Result<client::Ref<T>> created = client.create(std::move(object));
  if (created.ok() || created.error().code() == Code::AlreadyExists) return ok();
  return std::move(created).error();
}

api::Namespace namespace_named(const char* name) {
  api::Namespace object;
  object.metadata.name = name;
  return object;
}

api::ServicePort service_port(const char* name, int port, const char* protocol, int target) {
  api::ServicePort one;
  one.name = name;
  one.port = port;
  one.protocol = protocol;
  one.targetPort = api::IntOrString(target);
  return one;
}

constexpr int kApiPort = 6443;  // inside the nodes

api::Service api_service(const Settings& settings) {
  api::Service service;
  service.metadata.name = "kubernetes";
  service.metadata.namespace_ = "default";
  service.metadata.labels = {{"component", "apiserver"}, {"provider", "kubernetes"}};
  service.spec.clusterIP = settings.service_address(1).str();
  service.spec.ports = {service_port("https", 443, "TCP", kApiPort)};
  return service;
}

// Stands for the DNS server inside each node; it has no pods.
api::Service dns_service(const Settings& settings) {
  api::Service service;
  service.metadata.name = "kube-dns";
  service.metadata.namespace_ = "kube-system";
  service.metadata.labels = {{"k8s-app", "kube-dns"},
                             {"kubernetes.io/cluster-service", "true"},
                             {"kubernetes.io/name", "CoreDNS"}};
  service.spec.clusterIP = settings.service_address(10).str();
  service.spec.ports = {service_port("dns", 53, "UDP", 53), service_port("dns-tcp", 53, "TCP", 53)};
  return service;
}

api::PriorityClass priority_class(const char* name, int value, const char* text) {
  api::PriorityClass object;
  object.metadata.name = name;
  object.value = value;
  object.description = text;
  return object;
}

// Directories of the host: any node, any access mode, made when a pod needs them.
api::StorageClass standard_class() {
  api::StorageClass object;
  object.metadata.name = "standard";
  object.metadata.annotations["storageclass.kubernetes.io/is-default-class"] = "true";
  object.provisioner = controllers::kDirectoryProvisioner;
  object.reclaimPolicy = "Delete";
  object.volumeBindingMode = "WaitForFirstConsumer";
  object.allowVolumeExpansion = true;
  return object;
}

// Where the addresses of Services come from.
api::ServiceCIDR service_cidr(const Settings& settings) {
  api::ServiceCIDR object;
  object.metadata.name = "kubernetes";
  object.metadata.finalizers = {"networking.k8s.io/service-cidr-finalizer"};
  object.spec.cidrs = split(settings.config.service_cidr, ',');
  return object;
}

Status publish_service_cidr(client::Client& client, const Settings& settings) {
  const api::ServiceCIDR cidr = service_cidr(settings);
  TRY(ensure(client, cidr));
  auto mark_ready = [](api::ServiceCIDR& present) {
    if (!present.status.conditions.empty()) return false;
    api::Condition& ready = present.status.conditions.emplace_back();
    ready.type = "Ready";
    ready.status = "True";
    ready.lastTransitionTime = api::Time::from(SystemClock().wall_now());
    ready.message = "Kubernetes default Service CIDR is ready";
    return true;
  };
  Result<client::Ref<api::ServiceCIDR>> marked =
      client.update_with_retry<api::ServiceCIDR>(client::key_of(cidr), mark_ready, true);
  return marked.ok() ? ok() : Status(marked.error());
}

// Ingresses without a class get this one.
api::IngressClass ingress_class() {
  api::IngressClass object;
  object.metadata.name = "skiff";
  object.metadata.annotations["ingressclass.kubernetes.io/is-default-class"] = "true";
  object.spec.controller = proxy::kIngressController;
  return object;
}

// By which aggregated API servers know users and the front proxy (--requestheader-* as kubeadm sets them).
Status publish_authentication(client::Client& client, const Identity& identity) {
  const std::map<std::string, std::string> data = {
      {"client-ca-file", identity.authority.certificate},
      {"requestheader-allowed-names", R"(["front-proxy-client"])"},
      {"requestheader-client-ca-file", identity.front_proxy_authority.certificate},
      {"requestheader-extra-headers-prefix", R"(["X-Remote-Extra-"])"},
      {"requestheader-group-headers", R"(["X-Remote-Group"])"},
      {"requestheader-uid-headers", R"(["X-Remote-Uid"])"},
      {"requestheader-username-headers", R"(["X-Remote-User"])"}};
  api::ConfigMap map;
  map.metadata.name = "extension-apiserver-authentication";
  map.metadata.namespace_ = "kube-system";
  map.data = data;
  const client::ObjectKey key = client::key_of(map);
  TRY(ensure(client, std::move(map)));
  Result<client::Ref<api::ConfigMap>> kept =
      client.update_with_retry<api::ConfigMap>(key, [&](api::ConfigMap& present) {
        if (present.data == data) return false;
        present.data = data;
        return true;
      });
  return kept.ok() ? ok() : Status(kept.error());
}

}  // namespace

Status bootstrap_objects(client::Client& client, const Settings& settings, const Identity& identity) {
  std::vector<client::Task> namespaces;
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
    namespaces.push_back([&client, name] { return ensure(client, namespace_named(name)); });
  TRY(client::run_together(namespaces));
  const apiserver::DefaultPolicy policy = apiserver::default_policy();
  std::vector<client::Task> tasks = apiserver::reconcile_default_policy(client, policy);
  tasks.push_back([&] { return ensure(client, api_service(settings)); });
  tasks.push_back([&] { return ensure(client, dns_service(settings)); });
  tasks.push_back([&] {
    return ensure(client, priority_class("system-cluster-critical", 2000000000,
                                         "For pods that the cluster cannot do without, on any node."));
  });
  tasks.push_back([&] {
    return ensure(client, priority_class("system-node-critical", 2000001000,
                                         "For pods that their node cannot do without."));
  });
  tasks.push_back([&] { return ensure(client, standard_class()); });
  tasks.push_back([&] { return ensure(client, ingress_class()); });
  tasks.push_back([&] { return publish_authentication(client, identity); });
  tasks.push_back([&] { return publish_service_cidr(client, settings); });
  return client::run_together(tasks);
}

namespace {

struct PublishedPort {
  const char *name, *protocol;
  std::uint16_t number;
};

// Endpoints and one slice of a Service without selector.
Status publish(client::Client& client, const client::ObjectKey& service, const std::vector<std::string>& addresses,
               const std::vector<PublishedPort>& ports) {
  api::Endpoints endpoints;
  endpoints.metadata.name = service.name;
  endpoints.metadata.namespace_ = service.namespace_;
  endpoints.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true";
  api::EndpointSubset& subset = endpoints.subsets.emplace_back();
  api::EndpointSlice slice;
  slice.metadata.name = service.name;
  slice.metadata.namespace_ = service.namespace_;
  slice.metadata.labels["kubernetes.io/service-name"] = service.name;
  slice.addressType = !addresses.empty() && addresses.front().find(':') != std::string::npos ? "IPv6" : "IPv4";
  for (const std::string& address : addresses) {
    subset.addresses.emplace_back().ip = address;
    api::Endpoint& endpoint = slice.endpoints.emplace_back();
    endpoint.addresses = {address};
    endpoint.conditions.ensure().ready = true;
  }
  for (const PublishedPort& port : ports) {
    api::EndpointPort& where = subset.ports.emplace_back();
    where.name = port.name;
    where.port = port.number;
    where.protocol = port.protocol;
    api::DiscoveryEndpointPort& slice_port = slice.ports.emplace_back();
    slice_port.name = port.name;
    slice_port.port = port.number;
    slice_port.protocol = port.protocol;
  }
  TRY(client.update(endpoints));  // both kinds are created by an update of a missing name, or replaced
  Result<client::Ref<api::EndpointSlice>> present = client.get<api::EndpointSlice>(service);
  if (!present.ok()) return ensure(client, slice);
  TRY(client.update(slice));
  return ok();
}

}  // namespace

Status publish_api_endpoints(client::Client& client, const std::vector<std::string>& addresses, std::uint16_t port) {
  return publish(client, {"default", "kubernetes"}, addresses, {{"https", "TCP", port}});
}

Status publish_dns_endpoints(client::Client& client, const std::vector<std::string>& addresses) {
  return publish(client, {"kube-system", "kube-dns"}, addresses, {{"dns", "UDP", 53}, {"dns-tcp", "TCP", 53}});
}

}  // namespace skiff::cluster
