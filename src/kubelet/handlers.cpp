#include "kubelet/handlers.hpp"

#include <poll.h>
#include <signal.h>

#include <charconv>

#include "base/encoding.hpp"
#include "kubelet/grpc_check.hpp"
#include "kubelet/http_check.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr size_t kMaxOutput = 10 << 10;
constexpr int kMaxRedirects = 10;

bool is_redirect(const HttpAnswer& answer) {
  return answer.status >= 300 && answer.status < 400 && !answer.location.empty();
}

/// What both streams bring until they end or `deadline`; false at the deadline.
bool collect(const runtime::Streams& streams, Clock& clock, TimePoint deadline, std::stop_token stop,
             std::string& output) {
  pollfd waiting[2] = {{streams.output.get(), POLLIN, 0}, {streams.error.get(), POLLIN, 0}};
  int open = 2;
  while (open > 0) {
    if (stop.stop_requested()) return false;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.now()).count();
    if (left <= 0) return false;
    // In slices, so that a stop is noticed.
    if (::poll(waiting, 2, static_cast<int>(std::min<std::int64_t>(left, 200))) <= 0) continue;
    for (pollfd& stream : waiting) {
      if (stream.fd < 0 || stream.revents == 0) continue;
      char part[4096];
      ssize_t got = ::read(stream.fd, part, sizeof part);
      if (got <= 0) {
        stream.fd = -1;  // poll passes over it
        --open;
      } else if (output.size() < kMaxOutput) {
        output.append(part, static_cast<size_t>(got));
      }
    }
  }
  return true;
}

struct CommandEnd {
  int code = 0;
  bool timed_out = false;
  std::string output;
};

/// Runs a command in a container to its end; at the deadline it is killed.
Result<CommandEnd> run_command(runtime::Node& node, Clock& clock, const runtime::ExecSpec& spec,
                               TimePoint deadline, std::stop_token stop) {
  TRY_ASSIGN(runtime::ExecSession session, node.exec(spec));
  CommandEnd end;
  if (!collect(session.streams, clock, deadline, stop, end.output)) {
    end.timed_out = true;
    TRY(node.signal_exec(session.id, SIGKILL));
  }
  TRY_ASSIGN(end.code, node.wait_exec(session.id, {}));
  return end;
}

}  // namespace

Result<int> port_number(const api::IntOrString& port, const api::Container& container) {
  if (!port.is_string) return port.number;
  for (const api::ContainerPort& known : container.ports)
    if (known.name == port.text) return known.containerPort;
  int number = 0;
  auto [end, failed] = std::from_chars(port.text.data(), port.text.data() + port.text.size(), number);
  if (failed == std::errc() && end == port.text.data() + port.text.size() && number > 0) return number;
  return error(Code::Invalid, "couldn't find port: {} in container {}", port.text, container.name);
}

CheckResult Handlers::check_command(const api::ExecAction& action, const HandlerTarget& target,
                                    Duration timeout) const {
  Result<CommandEnd> end =
      run_command(node_, clock_, {.container = target.container_id, .arguments = action.command},
                  clock_.now() + timeout, {});
  if (!end.ok()) return {false, end.error().message()};
  if (end.value().timed_out)
    return {false, fmt::format("command timed out: \"{}\" timed out after {}s", join(action.command, " "),
                               std::chrono::duration_cast<std::chrono::seconds>(timeout).count())};
  return {end.value().code == 0, end.value().output};
}

namespace {

Result<HttpRequest> request_of(const api::HTTPGetAction& action, const HandlerTarget& target) {
  TRY_ASSIGN(int port, port_number(action.port, target.container));
  HttpRequest request{
      {action.host.empty() ? target.pod_ip : action.host, port}, action.scheme == "HTTPS", asked_path(action.path), {}};
  for (const api::HTTPHeader& header : action.httpHeaders) request.headers.emplace_back(header.name, header.value);
  return request;
}

}  // namespace

CheckResult Handlers::check_http(const api::HTTPGetAction& action, const HandlerTarget& target,
                                 Duration timeout) const {
  Result<HttpRequest> first = request_of(action, target);
  if (!first.ok()) return {false, first.error().message()};
  HttpRequest request = std::move(first).value();
  TimePoint deadline = clock_.now() + timeout;
  Result<HttpAnswer> answer = http_get(node_.network(), request, deadline);
  // Redirects on the same host are followed; one to elsewhere says that the server answers, which is enough.
  for (int hops = 0; answer.ok() && is_redirect(answer.value()) && hops < kMaxRedirects; ++hops) {
    std::optional<HttpRequest> next = follow(request, answer.value().location);
    if (!next) return {true, "Probe terminated redirects, Response body: " + answer.value().body};
    request = std::move(*next);
    answer = http_get(node_.network(), request, deadline);
  }
  if (!answer.ok()) return {false, answer.error().message()};
  int status = answer.value().status;
  if (status >= 200 && status < 400) return {true, answer.value().body};
  return {false, fmt::format("HTTP probe failed with statuscode: {}", status)};
}

CheckResult Handlers::check_grpc(const api::GRPCAction& action, const HandlerTarget& target, Duration timeout) const {
  Address address{target.pod_ip, action.port};
  TimePoint deadline = clock_.now() + timeout;
  std::string limit = fmt::format("{}s", std::chrono::duration_cast<std::chrono::seconds>(timeout).count());
  Result<UniqueFd> socket = connect_tcp(node_.network(), address, deadline);
  if (!socket.ok())
    return {false, fmt::format("timeout: failed to connect service \"{}\" within {}: context deadline exceeded",
                               address.str(), limit)};
  std::unique_ptr<ProbeStream> stream = plain_stream(std::move(socket).value());
  Result<HealthAnswer> answer = check_health(*stream, address.str(), action.service.value_or(""), deadline);
  if (!answer.ok() && answer.error().code() == Code::Timeout)
    return {false, "timeout: health rpc did not complete within " + limit};
  if (!answer.ok()) return {false, "error: health rpc probe failed: " + answer.error().message()};
  const HealthAnswer& health = answer.value();
  constexpr int kUnimplemented = 12;
  if (health.grpc_status == kUnimplemented)
    return {false, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                       health.grpc_message};
  if (health.grpc_status != 0)
    return {false, fmt::format("error: health rpc probe failed: rpc error: code = {} desc = {}", health.grpc_status,
                               health.grpc_message)};
  if (health.health == "SERVING") return {true, "service healthy"};
  return {false, fmt::format("service unhealthy (responded with \"{}\")", health.health)};
}

CheckResult Handlers::check(const api::Probe& probe, const HandlerTarget& target) const {
  Duration timeout = std::chrono::seconds(std::max(probe.timeoutSeconds, 1));
  if (probe.exec) return check_command(*probe.exec, target, timeout);
  if (probe.httpGet) return check_http(*probe.httpGet, target, timeout);
  if (probe.tcpSocket) {
    Result<int> port = port_number(probe.tcpSocket->port, target.container);
    if (!port.ok()) return {false, port.error().message()};
    const std::string& host = probe.tcpSocket->host.empty() ? target.pod_ip : probe.tcpSocket->host;
    Result<UniqueFd> socket = connect_tcp(node_.network(), {host, port.value()}, clock_.now() + timeout);
    return socket.ok() ? CheckResult{true, ""} : CheckResult{false, socket.error().message()};
  }
  if (probe.grpc) return check_grpc(*probe.grpc, target, timeout);
  return {false, "the probe has no handler"};
}

// A hook's request: any answer will do. Elsewhere tens of milliseconds pass between a container's start and its hook;
// here a server that is about to listen would be missed by one or two.
Status Handlers::notify(const api::HTTPGetAction& action, const HandlerTarget& target, std::stop_token stop) const {
  constexpr Duration kPatience = 1s, kPause = 20ms;
  TRY_ASSIGN(HttpRequest request, request_of(action, target));
  const TimePoint began = clock_.now();
  for (;;) {
    Result<HttpAnswer> answer = http_get(node_.network(), request, clock_.now() + 30s);
    if (answer.ok()) return ok();
    bool refused = answer.error().sys_errno() == ECONNREFUSED;
    if (!refused || clock_.now() - began > kPatience || !clock_.wait_for(stop, kPause)) return std::move(answer).error();
  }
}

Status Handlers::run(const api::LifecycleHandler& handler, const HandlerTarget& target,
                     std::stop_token stop) const {
  // The caller bounds the time: by the grace period, or not at all as for postStart.
  constexpr Duration kLong = std::chrono::hours(24);
  if (handler.exec) {
    TRY_ASSIGN(
        CommandEnd end,
        run_command(node_, clock_, {.container = target.container_id, .arguments = handler.exec->command},
                    clock_.now() + kLong, stop));
    if (stop.stop_requested()) return error(Code::Canceled, "canceled");
    if (end.code == 0) return ok();
    return error(Code::System, "command '{}' exited with {}: {}", join(handler.exec->command, " "), end.code,
                 end.output);
  }
  if (handler.sleep) {
    (void)clock_.wait_for(stop, std::chrono::seconds(handler.sleep->seconds));
    return ok();
  }
  if (handler.httpGet) return notify(*handler.httpGet, target, std::move(stop));
  return ok();  // tcpSocket is accepted and ignored, as Kubernetes does
}

}  // namespace skiff::kubelet
