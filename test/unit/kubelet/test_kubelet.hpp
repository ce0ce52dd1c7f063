#pragma once
// A whole node with its kubelet over a cluster in memory, in a directory, cgroup and namespaces of its own.
// Everything of it is gone with it.

#include <unistd.h>

#include <iostream>

#include "api/gen/authentication.hpp"
#include "api/pods.hpp"
#include "kubelet/kubelet.hpp"
#include "support/test_cluster.hpp"
#include "sys/files.hpp"
#include "unit/image/support.hpp"

namespace skiff::kubelet {

/// True (with a line that says so) where the machine cannot run containers.
inline bool skip_without_root() {
  if (::geteuid() == 0 && sys::exists("/bin/busybox")) return false;
  std::cout << "skipped: containers need root and /bin/busybox\n";
  return true;
}

template <class T>
T checked(Result<T> result) {
  INFO((result.ok() ? "" : result.error().message()));
  REQUIRE(result.ok());
  return std::move(result).value();
}

/// busybox with a shell and the applets that scripts here use.
inline std::string busybox_layer() {
  image::test::Tar tar;
  for (const char* name : {"bin", "etc", "tmp", "proc", "dev", "sys"}) tar.directory(name);
  tar.file("bin/busybox", sys::read_file("/bin/busybox").value(), {.mode = 0755});
  for (const char* applet :
       {"sh", "cat",   "echo", "ls", "sleep",    "env",   "true", "false", "test", "touch", "grep",
        "id", "httpd", "wget", "nc", "hostname", "mkdir", "rm",   "sort",  "tr",   "seq"})
    tar.symlink(std::string("bin/") + applet, "busybox");
  tar.file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
  return tar.end();
}

class TestKubelet {
 public:
  TestKubelet() {
    images.must_load(image::test::docker_archive({"busybox:1"}, {busybox_layer()},
                                                 R"("Cmd":["/bin/sh"],"Env":["FROM=image"])"));
    for (const char* name : {"default", "kube-node-lease"})
      cluster.create<api::Namespace>(fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name));
    cluster.registry.set_token_signer(
        [](const client::ObjectKey& account, const std::string&, registry::Draft& draft) {
          auto& request = *static_cast<api::TokenRequest*>(draft.value.get());
          request.status.token = "token-of-" + account.name;
          return ok();
        });
    cluster.create<api::ServiceAccount>(R"({"metadata":{"name":"default","namespace":"default"}})");
    cluster.create<api::ConfigMap>(
        R"({"metadata":{"name":"kube-root-ca.crt","namespace":"default"},"data":{"ca.crt":"PEM"}})");
    cluster.start<api::Pod, api::Event, api::Node>();
    cgroups = checked(sys::CgroupTree::detect());
    node_spec = {images.directory / "node", "node-1", root_group() + "/node"};
    node = checked(runtime::Node::start(node_spec, {*cgroups, cluster.clock}, exit_handler()));
    open_network();
    start();
  }
  ~TestKubelet() {
    stop();
    if (node) CHECK(node->power_off().ok());
    node.reset();
    CHECK(cgroups->remove(root_group(), cluster.clock).ok());
  }

  image::RegistryConfig registries;

  void start() {
    KubeletSpec spec;
    spec.name = "node-1";
    spec.directory = node_spec.directory;
    spec.cgroup = node_spec.cgroup;
    spec.ips = {"10.244.0.1"};
    spec.machine_id = "0123456789abcdef0123456789abcdef";
    spec.eviction = eviction;
    spec.dns = {{"10.96.0.10"}, "cluster.local", "nameserver 192.0.2.1\n"};
    kubelet = checked(Kubelet::start(spec, {cluster.client, *node, exits, *cgroups, *images.store, registries,
                                            *pod_network, cluster.clock, cluster.random}));
  }
  void stop() { kubelet.reset(); }
  /// As a restart of skiff: agent and connection go, the node stays.
  void reconnect() {
    stop();
    node.reset();
    node = checked(runtime::Node::connect(node_spec, {*cgroups, cluster.clock}, exit_handler()));
    open_network();
    start();
  }

  /// A pod "p" on this node with a container "c" that runs `script`; `more` are further members of the
  /// container, `spec` of the pod's spec.
  void create(const std::string& script, const std::string& more = "", const std::string& spec = "") {
    create_pod(fmt::format(R"("containers":[{}]{})", container("c", script, more), spec));
  }
  static std::string container(const std::string& name, const std::string& script,
                               const std::string& more = "") {
    std::string quoted;
    for (char c : script) quoted += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    return fmt::format(R"({{"name":"{}","image":"busybox:1","command":["sh","-c","{}"]{}}})", name, quoted,
                       more);
  }
  void create_pod(const std::string& spec) {
    cluster.create<api::Pod>(fmt::format(
        R"({{"metadata":{{"name":"p","namespace":"default","labels":{{"app":"web"}}}},"spec":{{"nodeName":"node-1","terminationGracePeriodSeconds":1,{}}}}})",
        spec));
  }

  client::Ref<api::Pod> pod() { return cluster.get<api::Pod>("p"); }
  bool wait_for(const std::function<bool(const api::Pod&)>& condition) {
    bool seen = cluster.wait_for([&] {
      client::Ref<api::Pod> now = pod();
      return now && condition(*now);
    });
    if (!seen && pod()) UNSCOPED_INFO(api::to_json(pod()->status));
    return seen;
  }
  bool wait_phase(const std::string& phase) {
    return wait_for([&](const api::Pod& now) { return now.status.phase == phase; });
  }
  bool wait_waiting(const std::string& reason) {
    return wait_for([&](const api::Pod& now) {
      return !now.status.containerStatuses.empty() && now.status.containerStatuses[0].state.waiting &&
             now.status.containerStatuses[0].state.waiting->reason == reason;
    });
  }
  bool wait_ready() {
    return wait_for([](const api::Pod& now) { return api::is_ready(now); });
  }
  bool wait_gone() {
    return cluster.wait_for([&] { return pod() == nullptr; });
  }
  bool wait_event(const std::string& reason, const std::string& message) {
    bool seen = cluster.wait_for([&] {
      for (const auto& event : cluster.list<api::Event>())
        if (event->reason == reason && event->message.find(message) != std::string::npos) return true;
      return false;
    });
    if (!seen)
      for (const auto& event : cluster.list<api::Event>())
        UNSCOPED_INFO(event->reason + ": " + event->message);
    return seen;
  }
  void remove(std::optional<std::int64_t> grace = {}) {
    client::DeleteOptions options;
    options.grace_seconds = grace;
    REQUIRE(cluster.client.remove<api::Pod>({"default", "p"}, options).ok());
  }

  std::string logs(client::LogOptions options = {}) {
    std::string text;
    Status read = kubelet->access()->logs({"default", "p"}, options,
                                          [&](std::string_view part) {
                                            text += part;
                                            return true;
                                          },
                                          {});
    INFO((read.ok() ? "" : read.error().message()));
    CHECK(read.ok());
    return text;
  }
  /// Runs a command in container "c"; its output and exit code.
  std::pair<std::string, int> run(const std::vector<std::string>& command) {
    client::ExecOptions options;
    options.container = "c";
    options.command = command;
    options.out = options.err = true;
    std::unique_ptr<client::ExecSession> session =
        checked(kubelet->access()->exec({"default", "p"}, options));
    std::string text;
    for (std::string part; part = sys::read_some(session->out, 4096, "out").value(), !part.empty();)
      text += part;
    return {text, checked(session->wait({})).code};
  }

  test::TestCluster<SystemClock> cluster;
  image::test::Fixture images;
  std::unique_ptr<sys::CgroupTree> cgroups;
  runtime::NodeSpec node_spec;
  EvictionThresholds eviction{.period = 200ms};
  ContainerExits exits;
  std::unique_ptr<runtime::Node> node;
  std::unique_ptr<net::PodNetwork> network;
  std::unique_ptr<VethNetwork> pod_network;
  std::unique_ptr<Kubelet> kubelet;

 private:
  static std::string root_group() { return fmt::format("skiff-test-{}", ::getpid()); }
  runtime::Node::ExitHandler exit_handler() {
    return [this](const runtime::ContainerStatus& container) { exits.notify(container); };
  }
  void open_network() {
    network =
        checked(net::PodNetwork::open(node->network(), {{net::parse_cidr("10.244.0.0/24").value()}, 1500}));
    pod_network = std::make_unique<VethNetwork>(*network);
  }
};

}  // namespace skiff::kubelet
