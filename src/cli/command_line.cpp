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
  ServiceQuestion service;
  std::function<int()> run;
};

void add_profile(CLI::App& app, Command& command) {
  app.add_option("-p,--profile", command.options.cluster.name, "Name of the cluster")->capture_default_str();
}

void add_cluster_settings(CLI::App& app, ClusterConfig& cluster) {
  app.add_option("--nodes", cluster.nodes, "Number of nodes")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--expose", cluster.expose, "Host address where the API and NodePorts answer")->capture_default_str();
  app.add_option("--api-port", cluster.api_port, "Port of the API on the host (default 6443, or a free one)");
  app.add_option("--audit-log", cluster.audit_log, "File for the API's audit events (default: none)");
  app.add_option("--audit-level", cluster.audit_level, "How much an audit event says")
      ->check(CLI::IsMember({"None", "Metadata", "Request", "RequestResponse"}))
      ->capture_default_str();
  app.add_option("--pod-cidr", cluster.pod_cidr, "IPv4 range of pods, a /16");
  app.add_option("--cluster-domain", cluster.cluster_domain, "DNS domain of the cluster")->capture_default_str();
  app.add_option("--service-cidr", cluster.service_cidr, "IPv4 range of services, a /16");
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

void add_commands(CLI::App& app, Command& command) {
  CLI::App* starting = add(app, command, "start", "Create a cluster, or start a stopped one",
                           [&command] { return start(command.options); });
  add_cluster_settings(*starting, command.options.cluster);
  add(app, command, "stop", "Stop a cluster; its state is kept", [&command] { return stop(command.options); });
  add(app, command, "status", "Say how a cluster is", [&command] { return status(command.options); });
  add(app, command, "delete", "Remove a cluster and everything of it", [&command] { return remove(command.options); });
  add(app, command, "version", "Print the version", [&command] { return version(command.options); });
  CLI::App* node = app.add_subcommand("node", "Nodes of a cluster");
  node->require_subcommand(1);
  node->fallthrough();
  add(*node, command, "list", "List nodes", [&command] { return node_list(command.options); })->alias("ls");
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
