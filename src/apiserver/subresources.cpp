// Verbs on subresources: scale, binding and its like, and what a pod's node answers (log, exec, port-forward,
// proxy).

#include <charconv>

#include "api/gen/autoscaling.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/protobuf.hpp"
#include "api/status.hpp"
#include "apiserver/proxy.hpp"
#include "apiserver/remote.hpp"
#include "apiserver/status.hpp"
#include "apiserver/verbs.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using client::NodeAccess;
using registry::Draft;

namespace {

constexpr size_t kLogBacklog = 1U << 20;  // of a log that the client has yet to read

struct PodOnNode {
  client::Ref<api::Pod> pod;
  std::shared_ptr<NodeAccess> node;
};

Result<PodOnNode> find_pod(Call& call) {
  TRY_ASSIGN(registry::Object object, call.registry.get(call.resource, call.key()));
  PodOnNode found{object.any().as<api::Pod>(), nullptr};
  const std::string& node = found.pod->spec.nodeName;
  if (node.empty())
    return api::bad_request(fmt::format("pod {} does not have a host assigned", call.info.name));
  found.node = call.nodes(node);
  if (!found.node)
    return error(Code::Unavailable, "node \"{}\" of pod {} cannot be reached", node, call.info.name);
  return found;
}

std::vector<std::string> container_names(const api::Pod& pod) {
  std::vector<std::string> names;
  for (const auto& container : pod.spec.containers) names.push_back(container.name);
  for (const auto& container : pod.spec.initContainers) names.push_back(container.name);
  for (const auto& container : pod.spec.ephemeralContainers) names.push_back(container.name);
  return names;
}

// The container that is meant: the one named, the default one, or the only one.
Result<std::string> choose_container(const api::Pod& pod, std::string_view wanted) {
  std::vector<std::string> names = container_names(pod);
  if (wanted.empty()) {
    auto chosen = pod.metadata.annotations.find("kubectl.kubernetes.io/default-container");
    if (chosen != pod.metadata.annotations.end() && std::ranges::count(names, chosen->second) > 0)
      return chosen->second;
    if (pod.spec.containers.size() == 1) return pod.spec.containers[0].name;
    return api::bad_request(fmt::format("a container name must be specified for pod {}, choose one of: [{}]",
                                        pod.metadata.name, join(names, " ")));
  }
  if (std::ranges::count(names, wanted) > 0) return std::string(wanted);
  return api::bad_request(fmt::format("container {} is not valid for pod {}", wanted, pod.metadata.name));
}

Result<std::optional<std::int64_t>> count_parameter(const Request& request, std::string_view name,
                                                    std::int64_t least) {
  std::string_view text = request.parameter(name);
  if (text.empty()) return std::optional<std::int64_t>();
  std::int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size())
    return api::bad_request(fmt::format("strconv.ParseInt: parsing {}: invalid syntax", api::quote(text)));
  if (value >= least) return std::optional(value);
  return error(Code::Invalid,
               "PodLogOptions \"\" is invalid: {}: Invalid value: {}: must be greater than or equal to {}",
               name, value, least);
}

Result<client::LogOptions> log_options(const Call& call, const api::Pod& pod) {
  const Request& request = call.request;
  client::LogOptions options;
  TRY_ASSIGN(options.container, choose_container(pod, request.parameter("container")));
  options.follow = is_true(request, "follow");
  options.previous = is_true(request, "previous");
  options.timestamps = is_true(request, "timestamps");
  TRY_ASSIGN(options.since_seconds, count_parameter(request, "sinceSeconds", 1));
  options.since_time = request.parameter("sinceTime");
  TRY_ASSIGN(options.tail_lines, count_parameter(request, "tailLines", 0));
  TRY_ASSIGN(options.limit_bytes, count_parameter(request, "limitBytes", 1));
  options.stream = request.parameter("stream");
  if (options.stream == "All") options.stream.clear();
  return options;
}

client::ExecOptions exec_options(const Call& call, std::string container) {
  client::ExecOptions options;
  options.container = std::move(container);
  auto [begin, end] = call.request.query.equal_range("command");
  for (auto entry = begin; entry != end; ++entry) options.command.push_back(entry->second);
  options.in = is_true(call.request, "stdin");
  options.out = is_true(call.request, "stdout");
  options.tty = is_true(call.request, "tty");
  options.err = is_true(call.request, "stderr") && !options.tty;
  return options;
}

RemoteProcess as_process(std::unique_ptr<client::ExecSession> owned) {
  std::shared_ptr<client::ExecSession> session = std::move(owned);
  RemoteProcess process;
  process.input = std::move(session->in);
  process.output = std::move(session->out);
  process.error = std::move(session->err);
  process.resize = [session](TerminalSize size) {
    // A size that the terminal does not take leaves it as it is.
    [[maybe_unused]] Status resized = session->resize(size.columns, size.rows);
  };
  process.wait = [session](std::stop_token stop) -> Result<int> {
    TRY_ASSIGN(client::ExitStatus status, session->wait(std::move(stop)));
    return status.code;
  };
  return process;
}

using StartSession = Result<std::unique_ptr<client::ExecSession>> (NodeAccess::*)(const client::ObjectKey&,
                                                                                  const client::ExecOptions&);

Result<Response> remote(Call& call, StartSession start) {
  TRY_ASSIGN(PodOnNode found, find_pod(call));
  TRY_ASSIGN(std::string container, choose_container(*found.pod, call.request.parameter("container")));
  client::ExecOptions options = exec_options(call, std::move(container));
  TRY(admit_connect(call));
  if (!options.in && !options.out && !options.err)
    return api::bad_request("you must specify at least 1 of stdin, stdout, stderr");
  const std::string& phase = found.pod->status.phase;
  if (phase == "Succeeded" || phase == "Failed")
    return api::bad_request(fmt::format("cannot {} a container in a completed pod; current phase is {}",
                                        call.info.subresource == "attach" ? "attach" : "exec into", phase));
  RemoteOptions wanted{options.in, options.out, options.err, options.tty};
  std::string command = "[" + join(options.command, " ") + "]";
  StartProcess begin = [node = found.node, start, key = call.key(),
                        options](std::stop_token) -> Result<RemoteProcess> {
    TRY_ASSIGN(std::unique_ptr<client::ExecSession> session, ((*node).*start)(key, options));
    return as_process(std::move(session));
  };
  return remote_command(call.request, wanted, std::move(command), std::move(begin));
}

}  // namespace

Result<Response> get_scale(Call& call) {
  TRY_ASSIGN(client::AnyRef scale, call.registry.get_scale(call.resource, call.key()));
  return answer(call, 200, scale);
}

Result<Response> update_scale(Call& call) {
  TRY_ASSIGN(std::string body, json_body(call.request, api::type_of<api::Scale>()));
  TRY_ASSIGN(Draft draft, call.registry.decode(api::kind_of<api::Scale>(), body, call.context));
  TRY_ASSIGN(client::AnyRef scale,
             call.registry.update_scale(call.resource, call.key(), draft, call.context));
  return answer(call, 200, scale);
}

Result<Response> patch_scale(Call& call) {
  TRY_ASSIGN(client::PatchType type, patch_type(call.request));
  TRY(patch_options(call, type));
  if (type == client::PatchType::Apply) {
    TRY_ASSIGN(client::AnyRef applied,
               call.registry.apply_scale(call.resource, call.key(), call.request.body, call.context));
    return answer(call, 200, applied);
  }
  TRY_ASSIGN(client::AnyRef scale,
             call.registry.patch_scale(call.resource, call.key(), type, call.request.body, call.context));
  return answer(call, 200, scale);
}

Result<Response> create_subresource(Call& call) {
  const api::KindInfo* kind = call.resource.kind;
  for (const api::SubresourceInfo& known : call.resource.kind->subresources)
    if (known.name == call.info.subresource && *known.kind != '\0')
      kind = api::find_kind(known.api_version, known.kind);
  if (kind == nullptr) return resource_not_found();
  TRY_ASSIGN(std::string body, json_body(call.request, *kind->type));
  TRY_ASSIGN(Draft draft, call.registry.decode(*kind, body, call.context));
  TRY_ASSIGN(client::AnyRef result,
             call.registry.create_subresource(call.resource, call.key(), call.info.subresource,
                                              std::move(draft), call.context));
  call.form = {};
  call.form.protobuf = prefers_protobuf(call.request) && api::has_protobuf(*result.kind().type);
  return answer(call, 201, result);
}

Result<Response> pod_log(Call& call) {
  TRY_ASSIGN(PodOnNode found, find_pod(call));
  TRY_ASSIGN(client::LogOptions options, log_options(call, *found.pod));
  StreamReply reply;
  reply.content_type = "text/plain";
  reply.own_thread = true;
  reply.late_head = true;  // until the first line, a failure can still be told as a Status
  reply.start = [node = found.node, key = call.key(), options](std::shared_ptr<StreamSink> sink,
                                                               std::stop_token stop) {
    // A reader that leaves while a followed log is silent must end the following too.
    std::stop_source over;
    std::stop_callback shutting_down(stop, [&over] { over.request_stop(); });
    sink->on_closed([over]() mutable { over.request_stop(); });
    auto write = [&sink, &over](std::string_view piece) {
      return sink->wait_below(kLogBacklog, over.get_token()) &&
             sink->write(std::make_shared<std::string>(piece));
    };
    Status done = node->logs(key, options, write, over.get_token());
    if (!done.ok() && done.error().code() != Code::Canceled) sink->answer(status_reply(done.error()));
    sink->close();
  };
  return Response(std::move(reply));
}

Result<Response> pod_exec(Call& call) {
  if (!call.request.query.contains("command"))
    return api::bad_request("you must specify at least 1 command for the container");
  return remote(call, &NodeAccess::exec);
}

Result<Response> pod_attach(Call& call) { return remote(call, &NodeAccess::attach); }

Result<Response> pod_port_forward(Call& call) {
  TRY(admit_connect(call));
  TRY_ASSIGN(PodOnNode found, find_pod(call));
  DialPort dial = [node = found.node, key = call.key()](std::uint16_t port) {
    return node->dial_pod(key, port);
  };
  return port_forward(call.request, call.key().str(), std::move(dial));
}

Result<Response> proxy(Call& call) {
  TRY(admit_connect(call));
  TRY_ASSIGN(std::optional<Response> own, node_answer(call));
  if (own) return std::move(*own);
  TRY_ASSIGN(ProxyTarget target, find_proxy_target(call));
  return proxy_request(call, std::move(target));
}

}  // namespace skiff::apiserver
