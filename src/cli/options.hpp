#pragma once
// What each command takes. command_line.cpp fills these from the command line; each command is a function of its own file.

#include <string>
#include <vector>

#include "skiff/config.hpp"

namespace skiff::cli {

/// Exit statuses, the same for every command.
enum Exit : int {
  kDone = 0,
  kFailed = 1,       // the message says why and what helps
  kUsage = 2,        // the command line is wrong
  kNotRunning = 3,   // there is no such cluster, or it is stopped
};

struct Options {
  ClusterConfig cluster;
  int verbosity = 0;
};

/// What `node add` is told.
struct NodeOptions {
  std::string cpus, memory, labels, taints, zone;
  int count = 1;
};

/// The whole program: reads the command line and runs what it says.
int run(int argc, char** argv);

int start(const Options& options);
/// The process behind a cluster; `progress_fd` is where start() listens.
int serve(const Options& options, int progress_fd);
int stop(const Options& options);
int status(const Options& options);
int remove(const Options& options);
int version(const Options& options);
int node_list(const Options& options);
int node_add(const Options& options, const NodeOptions& wish);
/// delete, stop, start, pause or resume.
int node_command(const Options& options, const std::string& verb, const std::vector<std::string>& names);
/// Says what keeps a pod ("web-1") or a workload ("deployment/web") from running.
int why(const Options& options, const std::string& namespace_, const std::vector<std::string>& names);
int image_load(const Options& options, const std::vector<std::string>& files);
int image_list(const Options& options);
int image_pull(const Options& options, const std::vector<std::string>& names);
int image_save(const Options& options, const std::vector<std::string>& names, const std::string& file);
int image_tag(const Options& options, const std::vector<std::string>& name_and_new_name);
int image_prune(const Options& options);
int image_remove(const Options& options, const std::vector<std::string>& names);
struct ServiceQuestion {
  std::string name, namespace_ = "default";
  bool only_urls = false;
};
/// Prints where a Service answers from this host.
int service_urls(const Options& options, const ServiceQuestion& question);
/// Becomes kubectl, looking at this cluster; returns only when there is none.
int kubectl(const Options& options, const std::vector<std::string>& arguments);

}  // namespace skiff::cli
