#include "apiserver/proxy.hpp"

#include <algorithm>
#include <charconv>

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/status.hpp"
#include "apiserver/html_links.hpp"
#include "apiserver/node_endpoints.hpp"
#include "apiserver/passing.hpp"
#include "apiserver/service_dialer.hpp"
#include "apiserver/status.hpp"
#include "apiserver/upgrade.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {

struct ProxyName {
  std::string name;
  std::string port;
  bool https = false;
};

// utilnet.SplitSchemeNamePort.
Result<ProxyName> parse_name(const RequestInfo& info) {
  std::vector<std::string> parts = split(info.name, ':');
  bool known = parts.size() < 3 || parts[0].empty() || parts[0] == "http" || parts[0] == "https";
  std::string kind = info.resource.substr(0, info.resource.size() - 1);
  if (parts.size() > 3 || !known) return api::bad_request(fmt::format("invalid {} request {}", kind, api::quote(info.name)));
  ProxyName name;
  if (parts.size() == 3) {
    name.https = parts[0] == "https";
    parts.erase(parts.begin());
  }
  name.name = parts[0];
  if (parts.size() == 2) name.port = parts[1];
  if (name.name.empty()) return api::bad_request(fmt::format("invalid {} request {}", kind, api::quote(info.name)));
  return name;
}

std::optional<std::uint16_t> port_number(const std::string& text) {
  std::uint16_t port = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failure != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

Result<ProxyTarget> pod_target(Call& call, const ProxyName& name) {
  TRY_ASSIGN(client::Ref<api::Pod> pod,
             call.registry.local_client().get<api::Pod>({call.info.namespace_, name.name}));
  std::uint16_t port = 0;
  for (const auto& container : pod->spec.containers)
    for (const auto& declared : container.ports)
      if (port == 0 && (name.port.empty() || declared.name == name.port))
        port = static_cast<std::uint16_t>(declared.containerPort);
  if (!name.port.empty()) port = port_number(name.port).value_or(port);
  if (port == 0)
    return api::bad_request(fmt::format("pod {} has no port {}", name.name, api::quote(name.port)));
  std::shared_ptr<client::NodeAccess> node = call.nodes(pod->spec.nodeName);
  if (!node || pod->status.podIP.empty())
    return error(Code::Unavailable, "address not allowed or pod not running");
  client::ObjectKey key{call.info.namespace_, name.name};
  return ProxyTarget{[node, key, port] { return node->dial_pod(key, port); },
                     fmt::format("{}:{}", pod->status.podIP, port), name.https};
}

Result<ProxyTarget> service_target(Call& call, const ProxyName& name) {
  client::ObjectKey key{call.info.namespace_, name.name};
  TRY_ASSIGN(client::Ref<api::Service> service, call.registry.local_client().get<api::Service>(key));
  // A number must be one of the service's ports; a name may be of any endpoint's.
  std::string port_name = name.port;
  if (std::optional<std::uint16_t> number = port_number(name.port)) {
    auto chosen = std::ranges::find(service->spec.ports, *number, &api::ServicePort::port);
    if (chosen == service->spec.ports.end())
      return error(Code::Unavailable, "no service port {} found for service {}", *number, api::quote(name.name));
    port_name = chosen->name;
  }
  Error none = error(Code::Unavailable, "no endpoints available for service {}", api::quote(name.name));
  Result<client::Ref<api::Endpoints>> endpoints = call.registry.local_client().get<api::Endpoints>(key);
  std::shared_ptr<client::NodeAccess> node = any_node(call.registry.local_client(), call.nodes);
  if (!endpoints.ok() || !node) return none;
  for (const auto& subset : endpoints.value()->subsets) {
    for (const auto& port : subset.ports) {
      if (port.name != port_name || subset.addresses.empty()) continue;
      std::string address = subset.addresses.front().ip;
      auto number = static_cast<std::uint16_t>(port.port);
      return ProxyTarget{[node, address, number] { return node->dial(address, number); },
                         fmt::format("{}:{}", address, number), name.https};
    }
  }
  return none;
}

Result<ProxyTarget> node_target(Call& call, const ProxyName& name) {
  TRY_ASSIGN(client::Ref<api::Node> node, call.registry.local_client().get<api::Node>({"", name.name}));
  std::shared_ptr<client::NodeAccess> access = call.nodes(name.name);
  std::optional<std::uint16_t> port = port_number(name.port);
  if (!access || !port)
    return error(Code::Unavailable, "node {} serves nothing on port {}", api::quote(name.name),
                 api::quote(name.port));
  return ProxyTarget{[access, number = *port] { return access->dial("127.0.0.1", number); },
                     fmt::format("{}:{}", name.name, *port), name.https};
}

std::string_view query_of(const Request& request) {
  size_t at = request.target.find('?');
  return at == std::string::npos ? std::string_view() : std::string_view(request.target).substr(at);
}

// Pages find their own files relative to a directory, which a path without a "/" at its end is not.
std::optional<Response> to_directory(const Call& call) {
  bool reads = call.request.method == "GET" || call.request.method == "HEAD";
  if (!call.info.rest.empty() || !reads || wants_upgrade(call.request)) return std::nullopt;
  Reply reply{301, "", {}, nullptr};
  reply.headers.emplace("Location", fmt::format("{}/{}", written_path(call.request), query_of(call.request)));
  return Response(std::move(reply));
}

ProxyPlace place_of(const Call& call, const ProxyTarget& target) {
  std::string prefix(written_path(call.request));
  if (prefix.ends_with(call.info.rest)) prefix.resize(prefix.size() - call.info.rest.size());
  return {std::move(prefix), target.host, std::string(call.request.header("Host"))};
}

bool is_html(const AnswerHead& head) {
  auto type = head.headers.find("Content-Type");
  if (type == head.headers.end()) return false;
  std::string_view media = std::string_view(type->second).substr(0, type->second.find(';'));
  return media == "text/html" && !head.headers.contains("Content-Encoding");
}

std::unique_ptr<BodyFilter> lead_back(AnswerHead& head, const ProxyPlace& place) {
  if (auto location = head.headers.find("Location"); location != head.headers.end()) {
    location->second = through_proxy(location->second, place);
    return nullptr;
  }
  if (!is_html(head)) return nullptr;
  return std::make_unique<HtmlLinks>([place](std::string_view url) { return through_proxy(url, place); });
}

// Compressed pages could not be read: nobody is told that they are welcome.
bool is_dropped(std::string_view name) { return same_header(name, "Accept-Encoding"); }

Reply unreachable(const Error& why) {
  return status_reply(error(Code::Unavailable, "error trying to reach service: {}", why.message()));
}

}  // namespace

Result<ProxyTarget> find_proxy_target(Call& call) {
  TRY_ASSIGN(ProxyName name, parse_name(call.info));
  if (call.info.resource == "pods") return pod_target(call, name);
  if (call.info.resource == "services") return service_target(call, name);
  return node_target(call, name);
}

Result<std::optional<Response>> node_answer(Call& call) {
  if (call.info.resource != "nodes") return std::optional<Response>();
  TRY_ASSIGN(ProxyName name, parse_name(call.info));
  TRY_ASSIGN(client::Ref<api::Node> node, call.registry.local_client().get<api::Node>({"", name.name}));
  std::string own = std::to_string(node->status.daemonEndpoints.kubeletEndpoint.Port);
  if (!name.port.empty() && name.port != own) return std::optional<Response>();
  std::shared_ptr<client::NodeAccess> access = call.nodes(name.name);
  if (!access) return error(Code::Unavailable, "node {} is not reachable", api::quote(name.name));
  std::string path = call.info.rest.empty() ? "/" : call.info.rest;
  return std::optional<Response>(node_endpoint(call, std::move(access), name.name, path));
}

Response proxy_request(const Call& call, ProxyTarget target) {
  if (std::optional<Response> redirect = to_directory(call)) return std::move(*redirect);
  ProxyPlace place = place_of(call, target);
  std::string path = call.info.rest.empty() ? "/" : call.info.rest;
  std::string forwarded;
  add_header(forwarded, "X-Forwarded-Uri", written_path(call.request));
  Onward onward;
  onward.text = onward_request(call.request, path.append(query_of(call.request)), place.request_host, is_dropped, forwarded);
  onward.connect = [target = std::move(target)](Outbound::Deadline deadline) -> Result<std::unique_ptr<Outbound>> {
    TRY_ASSIGN(UniqueFd socket, target.dial());
    auto connection = std::make_unique<Outbound>(std::move(socket), deadline);
    std::string name = target.host.substr(0, target.host.rfind(':'));
    if (target.https) TRY(connection->handshake({.name = name, .authorities = "", .verify = false}));
    return connection;
  };
  onward.unreachable = unreachable;
  onward.patient = true;
  onward.look = [place = std::move(place)](AnswerHead& head) { return lead_back(head, place); };
  return pass_on(call.request, std::move(onward));
}

}  // namespace skiff::apiserver
