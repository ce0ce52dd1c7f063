#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cluster/state.hpp"

namespace skiff::cli {

int kubectl(const Options& options, const std::vector<std::string>& arguments) {
  cluster::Paths paths(options.cluster);
  if (::access(paths.kubeconfig().c_str(), R_OK) != 0)
    return fail(error(Code::NotFound, "there is no cluster '{}' (no {})", options.cluster.name, paths.kubeconfig()),
                "`skiff start` makes one."), kNotRunning;
  std::vector<std::string> words = {"kubectl", "--kubeconfig=" + paths.kubeconfig()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp("kubectl", argv.data());
  return fail(system_error(errno, "kubectl"),
              "`apt-get install kubernetes-client` brings a kubectl (any version from 1.20 on will do).");
}

}  // namespace skiff::cli
