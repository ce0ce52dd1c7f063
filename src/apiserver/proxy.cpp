#include "apiserver/proxy.hpp"

#include <poll.h>

#include <charconv>

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/status.hpp"
#include "apiserver/http_answer.hpp"
#include "apiserver/node_endpoints.hpp"
#include "apiserver/status.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

namespace {

constexpr size_t kMaxAnswer = 64U << 20;
constexpr int kAnswerTimeoutMs = 30'000;  // between two pieces of an answer

struct ProxyName {
  std::string name;
  std::string port;
  bool https = false;
};

Result<ProxyName> parse_name(const std::string& text) {
  std::vector<std::string> parts = split(text, ':');
  if (parts.size() == 1) return ProxyName{parts[0], ""};
  if (parts.size() == 2) return ProxyName{parts[0], parts[1]};
  bool known = parts[0].empty() || parts[0] == "http" || parts[0] == "https";
  if (parts.size() == 3 && known) return ProxyName{parts[1], parts[2], parts[0] == "https"};
  return api::bad_request(fmt::format("invalid proxy request {}", api::quote(text)));
}

std::optional<std::uint16_t> port_number(const std::string& text) {
  std::uint16_t port = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failure != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::string path_of(const Call& call) {
  std::string path = call.info.rest.empty() ? "/" : call.info.rest;
  size_t query = call.request.target.find('?');
  return query == std::string::npos ? path : path + call.request.target.substr(query);
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
                     fmt::format("{}:{}", pod->status.podIP, port), path_of(call)};
}

// Any node can reach any endpoint: the first one that runs here dials.
std::shared_ptr<client::NodeAccess> any_node(Call& call) {
  Result<std::vector<client::Ref<api::Node>>> nodes = call.registry.local_client().list<api::Node>();
  if (!nodes.ok()) return nullptr;
  for (const client::Ref<api::Node>& node : nodes.value())
    if (std::shared_ptr<client::NodeAccess> access = call.nodes(node->metadata.name)) return access;
  return nullptr;
}

Result<ProxyTarget> service_target(Call& call, const ProxyName& name) {
  client::ObjectKey key{call.info.namespace_, name.name};
  TRY_ASSIGN(client::Ref<api::Service> service, call.registry.local_client().get<api::Service>(key));
  const api::ServicePort* chosen = nullptr;
  for (const api::ServicePort& port : service->spec.ports)
    if (chosen == nullptr &&
        (name.port.empty() || port.name == name.port || std::to_string(port.port) == name.port))
      chosen = &port;
  Error none = error(Code::Unavailable, "no endpoints available for service {}", api::quote(name.name));
  if (chosen == nullptr)
    return error(Code::Unavailable, "no service port {} found for service {}", api::quote(name.port),
                 api::quote(name.name));
  Result<client::Ref<api::Endpoints>> endpoints = call.registry.local_client().get<api::Endpoints>(key);
  std::shared_ptr<client::NodeAccess> node = any_node(call);
  if (!endpoints.ok() || !node) return none;
  for (const auto& subset : endpoints.value()->subsets) {
    for (const auto& port : subset.ports) {
      if (port.name != chosen->name || subset.addresses.empty()) continue;
      std::string address = subset.addresses.front().ip;
      auto number = static_cast<std::uint16_t>(port.port);
      return ProxyTarget{[node, address, number] { return node->dial(address, number); },
                         fmt::format("{}:{}", address, number), path_of(call)};
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
                     fmt::format("{}:{}", name.name, *port), path_of(call)};
}

std::string request_text(const Request& request, const ProxyTarget& target) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", request.method,
                                 target.path, target.host);
  for (const auto& [name, value] : request.headers)
    if (!is_hop_header(name)) text.append(name).append(": ").append(value).append("\r\n");
  if (!request.body.empty()) text.append(fmt::format("Content-Length: {}\r\n", request.body.size()));
  return text.append("\r\n").append(request.body);
}

Result<std::string> exchange(const Request& request, const ProxyTarget& target) {
  TRY_ASSIGN(UniqueFd fd, target.dial());
  TRY(sys::write_all(fd, request_text(request, target), target.host));
  std::string answer;
  while (answer.size() < kMaxAnswer) {
    pollfd readable{fd.get(), POLLIN, 0};
    if (::poll(&readable, 1, kAnswerTimeoutMs) == 0)
      return error(Code::Timeout, "{} does not answer", target.host);
    TRY_ASSIGN(std::string piece, sys::read_some(fd, 64U << 10, target.host));
    if (piece.empty()) return answer;
    answer.append(piece);
  }
  return error(Code::Unavailable, "the answer of {} is larger than {} bytes", target.host, kMaxAnswer);
}

}  // namespace

Result<ProxyTarget> find_proxy_target(Call& call) {
  TRY_ASSIGN(ProxyName name, parse_name(call.info.name));
  if (name.https) return api::bad_request(fmt::format("invalid proxy request {}", api::quote(call.info.name)));
  if (call.info.resource == "pods") return pod_target(call, name);
  if (call.info.resource == "services") return service_target(call, name);
  return node_target(call, name);
}

Result<std::optional<Response>> node_answer(Call& call) {
  if (call.info.resource != "nodes") return std::optional<Response>();
  TRY_ASSIGN(ProxyName name, parse_name(call.info.name));
  TRY_ASSIGN(client::Ref<api::Node> node, call.registry.local_client().get<api::Node>({"", name.name}));
  std::string own = std::to_string(node->status.daemonEndpoints.kubeletEndpoint.Port);
  if (!name.port.empty() && name.port != own) return std::optional<Response>();
  std::shared_ptr<client::NodeAccess> access = call.nodes(name.name);
  if (!access) return error(Code::Unavailable, "node {} is not reachable", api::quote(name.name));
  std::string path = call.info.rest.empty() ? "/" : call.info.rest;
  return std::optional<Response>(node_endpoint(call, std::move(access), name.name, path));
}

Response proxy_request(const Request& request, ProxyTarget target) {
  StreamReply reply;
  reply.own_thread = true;
  reply.late_head = true;  // and never written: the answer comes whole
  reply.start = [request, target = std::move(target)](std::shared_ptr<StreamSink> sink, std::stop_token) {
    Result<std::string> text = exchange(request, target);
    Result<Reply> answer = text.ok() ? parse_answer(text.value()) : Result<Reply>(text.error());
    if (text.ok() && !answer.ok())
      answer = error(Code::Unavailable, "error trying to reach service: malformed HTTP response from {}", target.host);
    sink->answer(answer.ok() ? answer.value() : status_reply(answer.error()));
  };
  return reply;
}

}  // namespace skiff::apiserver
