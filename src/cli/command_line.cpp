// The command line: what there is to say, and which function answers. The work is in the other files.

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <functional>

#include "base/log.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"

namespace skiff::cli {
namespace {

std::string environment(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value && *value ? value : fallback;
}

struct Command {
  Options options;
  int progress_fd = -1;
  std::vector<std::string> arguments;
  std::string output_file;
  ServiceQuestion service;
  NodeOptions node;
  std::string namespace_ = "default";
  std::function<int()> run;
};

void add_profile(CLI::App& app, Command& command) {
  app.add_option("-p,--profile", command.options.cluster.name, "Name of the cluster")->capture_default_str();
}

void add_cluster_settings(CLI::App& app, ClusterConfig& cluster) {
  app.add_option("--nodes", cluster.nodes, "Number of nodes")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--node-cpus", cluster.node_cpus, "CPUs of each node, such as 2 or 500m (default: all)");
  app.add_option("--node-memory", cluster.node_memory, "Memory of each node, such as 2Gi (default: all)");
  app.add_option("--node-labels", cluster.node_labels, "Labels of each node: a=b,c=d");
  app.add_option("--zones", cluster.zones, "Spread the nodes over so many zones")->check(CLI::Range(0, 64));
  app.add_option("--fake-nodes", cluster.fake_nodes, "Simulated nodes beside the real ones")->check(CLI::Range(0, 5000));
  app.add_option("--scheduler-profiles", cluster.scheduler_profiles,
                 "Further schedulerNames and how they fill nodes: packed=MostAllocated");
  app.add_option("--eviction-after", cluster.eviction_after, "Seconds that pods stay on a lost node unless they say otherwise")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--node-grace", cluster.node_grace, "Seconds after which a silent node counts as lost")
      ->check(CLI::Range(4, 3600))
      ->capture_default_str();
  app.add_option("--expose", cluster.expose, "Host address where the API and NodePorts answer")->capture_default_str();
  app.add_option("--api-port", cluster.api_port, "Port of the API on the host (default 6443, or a free one)");
  app.add_option("--audit-log", cluster.audit_log, "File for the API's audit events (default: none)");
  app.add_option("--audit-level", cluster.audit_level, "How much an audit event says")
      ->check(CLI::IsMember({"None", "Metadata", "Request", "RequestResponse"}))
      ->capture_default_str();
  app.add_option("--pod-cidr", cluster.pod_cidr, "Range of pods: an IPv4 /16, an IPv6 /56, or both with a comma between, the main one first");
  app.add_option("--ip-family", cluster.ip_family, "Addresses of pods and services where no range says so")
      ->check(CLI::IsMember({"ipv4", "ipv6", "dual"}))
      ->capture_default_str();
  app.add_option("--cluster-domain", cluster.cluster_domain, "DNS domain of the cluster")->capture_default_str();
  app.add_option("--service-cidr", cluster.service_cidr, "Range of services: an IPv4 /16, an IPv6 /112, or both with a comma between");
}

CLI::App* add(CLI::App& app, Command& command, const char* name, const char* help, std::function<int()> run) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->callback([&command, run = std::move(run)] { command.run = run; });
  sub->fallthrough();
  return sub;
}

void add_image_commands(CLI::App& app, Command& command) {
  CLI::App* image = app.add_subcommand("image", "Images of this host, shared by all clusters");
  image->require_subcommand(1);
  image->fallthrough();
  CLI::App* load = add(*image, command, "load", "Load images from docker-save tars or OCI layouts",
                       [&command] { return image_load(command.options, command.arguments); });
  load->add_option("FILE", command.arguments, "Archives or OCI layout directories")->required();
  add(*image, command, "ls", "List images", [&command] { return image_list(command.options); })->alias("list");
  CLI::App* pull = add(*image, command, "pull", "Pull images from registries (see registries.yaml in the README)",
                       [&command] { return image_pull(command.options, command.arguments); });
  pull->add_option("NAME", command.arguments, "Names, with tag or digest")->required();
  CLI::App* save = add(*image, command, "save", "Write images into an archive that docker, podman and skopeo read",
                       [&command] { return image_save(command.options, command.arguments, command.output_file); });
  save->add_option("NAME", command.arguments, "Names or ids")->required();
  save->add_option("-o,--output", command.output_file, "The archive to write")->required();
  CLI::App* tag = add(*image, command, "tag", "Give an image a further name",
                      [&command] { return image_tag(command.options, command.arguments); });
  tag->add_option("NAME NEW_NAME", command.arguments, "An image's name or id, and the new name")->required()->expected(2);
  add(*image, command, "prune", "Remove images without a name", [&command] { return image_prune(command.options); });
  CLI::App* remove = add(*image, command, "rm", "Remove images",
                         [&command] { return image_remove(command.options, command.arguments); });
  remove->add_option("NAME", command.arguments, "Names or ids")->required();
}

void add_service_command(CLI::App& app, Command& command) {
  CLI::App* service = add(app, command, "service", "Print where a Service answers from this host",
                          [&command] { return service_urls(command.options, command.service); });
  service->add_option("NAME", command.service.name, "The Service")->required();
  service->add_option("-n,--namespace", command.service.namespace_, "Its namespace")->capture_default_str();
  service->add_flag("--url", command.service.only_urls, "Print nothing but the URLs");
}

void add_node_commands(CLI::App& app, Command& command) {
  CLI::App* node = app.add_subcommand("node", "Nodes of a running cluster");
  node->require_subcommand(1);
  node->fallthrough();
  add(*node, command, "list", "List nodes", [&command] { return node_list(command.options); })->alias("ls");
  CLI::App* adding = add(*node, command, "add", "Add nodes", [&command] { return node_add(command.options, command.node); });
  adding->add_option("--count", command.node.count, "How many")->check(CLI::Range(1, 64))->capture_default_str();
  adding->add_option("--cpus", command.node.cpus, "Such as 2 or 500m (default: all of the machine's)");
  adding->add_option("--memory", command.node.memory, "Such as 2Gi (default: all)");
  adding->add_option("--labels", command.node.labels, "a=b,c=d");
  adding->add_option("--taints", command.node.taints, "a=b:NoSchedule,c:NoExecute");
  adding->add_option("--zone", command.node.zone, "Value of the label topology.kubernetes.io/zone");
  for (auto [verb, help] : {std::pair{"delete", "Remove nodes with all that is on them"},
                            {"stop", "Cut the power of nodes: nobody is told"},
                            {"start", "Power nodes on again"},
                            {"pause", "Freeze nodes: nothing on them runs on, and they are not heard of"},
                            {"resume", "Let frozen nodes run on"}}) {
    CLI::App* sub = add(*node, command, verb, help, [&command, verb = std::string(verb)] {
      return node_command(command.options, verb, command.arguments);
    });
    sub->add_option("NAME", command.arguments, "Names of nodes")->required();
  }
}

void add_commands(CLI::App& app, Command& command) {
  CLI::App* starting = add(app, command, "start", "Create a cluster, or start a stopped one",
                           [&command] { return start(command.options); });
  add_cluster_settings(*starting, command.options.cluster);
  add(app, command, "stop", "Stop a cluster; its state is kept", [&command] { return stop(command.options); });
  add(app, command, "status", "Say how a cluster is", [&command] { return status(command.options); });
  add(app, command, "delete", "Remove a cluster and everything of it", [&command] { return remove(command.options); });
  add(app, command, "version", "Print the version", [&command] { return version(command.options); });
  add_node_commands(app, command);
  CLI::App* asking = add(app, command, "why", "Say what keeps a pod from running, and what would help",
                         [&command] { return why(command.options, command.namespace_, command.arguments); });
  asking->add_option("POD", command.arguments, "Pods, or deployment/NAME, replicaset/NAME, statefulset/NAME")->required();
  asking->add_option("-n,--namespace", command.namespace_, "Their namespace")->capture_default_str();
  add_image_commands(app, command);
  add_service_command(app, command);
  CLI::App* tool = add(app, command, "kubectl", "Run kubectl against a cluster: skiff kubectl get pods",
                       [&command] { return kubectl(command.options, command.arguments); });
  tool->prefix_command()->fallthrough(false);
  tool->callback([&command, tool] {
    command.arguments = tool->remaining();
    command.run = [&command] { return kubectl(command.options, command.arguments); };
  });
  CLI::App* serving = add(app, command, "serve", "", [&command] { return serve(command.options, command.progress_fd); });
  add_cluster_settings(*serving, command.options.cluster);
  serving->add_option("--progress-fd", command.progress_fd);
  serving->group("");  // for start() only: not shown
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app("A complete Kubernetes cluster in one process.", "skiff");
  Command command;
  command.options.cluster.home = environment("SKIFF_HOME", command.options.cluster.home);
  command.options.cluster.cgroup_root = environment("SKIFF_CGROUP_ROOT", command.options.cluster.cgroup_root);
  app.require_subcommand(1);
  app.add_option("-v,--v", command.options.verbosity, "Log level: 0 normal, 4 and above everything");
  add_profile(app, command);
  app.footer("State is kept under $SKIFF_HOME (default /var/lib/skiff).");
  add_commands(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? kDone : kUsage;
  }
  if (command.options.verbosity >= 4) log::set_level(log::Level::Debug);
  return command.run();
}

}  // namespace skiff::cli
