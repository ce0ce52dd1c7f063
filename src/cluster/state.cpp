#include "cluster/state.hpp"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <tuple>

#include "api/names.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/process.hpp"

namespace skiff::cluster {
namespace {

constexpr char kPodCandidates[] = "10.244.0.0/16 10.245.0.0/16 10.246.0.0/16 172.27.0.0/16 172.28.0.0/16";
constexpr char kNodeCandidates[] = "10.243.0.0/20 10.243.16.0/20 10.242.0.0/20 172.26.0.0/20 192.168.240.0/20";
constexpr char kServiceCandidates[] = "10.96.0.0/16 10.97.0.0/16 10.98.0.0/16 172.29.0.0/16 172.30.0.0/16";

Status check_shape(const std::string& range, const char* flag) {
  Result<net::Cidr> parsed = net::parse_cidr(range);
  if (!parsed.ok() || parsed.value().length != 16 || parsed.value().str() != range)
    return error(Code::Invalid, "{} {}: want an IPv4 /16 such as 10.244.0.0/16", flag, range);
  return ok();
}

// What `range` overlaps on this host; empty when nothing.
Result<std::string> collision_of(const std::string& range) {
  TRY_ASSIGN(UniqueFd host, sys::open_namespace(sys::Namespace::Network));
  TRY_ASSIGN(net::Cidr parsed, net::parse_cidr(range));
  TRY_ASSIGN(std::optional<net::RangeCollision> found, net::find_collision(host, {parsed}));
  return found ? found->with : std::string();
}

// `wish`, or the first of `candidates` (space-separated) that this host does not use.
Result<std::string> choose_range(const std::string& wish, const char* flag, const char* candidates) {
  if (!wish.empty()) {
    TRY(check_shape(wish, flag));
    TRY_ASSIGN(std::string collision, collision_of(wish));
    if (!collision.empty()) return error(Code::Invalid, "{} {}: overlaps {} of this host", flag, wish, collision);
    return wish;
  }
  for (const std::string& candidate : split(candidates, ' ')) {
    TRY_ASSIGN(std::string collision, collision_of(candidate));
    if (collision.empty()) return candidate;
  }
  return error(Code::Invalid, "every default range is taken by this host's networks; choose one with {}", flag);
}

bool port_is_free(const std::string& address, std::uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in where{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  ::inet_pton(AF_INET, address.c_str(), &where.sin_addr);
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) == 0;
}

Result<std::uint16_t> choose_port(const ClusterConfig& config) {
  if (config.api_port != 0) return config.api_port;
  for (std::uint16_t port = 6443; port < 6543; ++port)
    if (port_is_free(config.expose, port)) return port;
  return error(Code::Invalid, "no port from 6443 to 6542 is free on {}; choose one with --api-port", config.expose);
}

std::string text_of(const Settings& settings) {
  const ClusterConfig& config = settings.config;
  return fmt::format("id={}\nnode-cidr={}\nnodes={}\npod-cidr={}\nservice-cidr={}\napi-port={}\nexpose={}\ndomain={}\ncgroup-root={}\n",
                     settings.id, settings.node_cidr, config.nodes, config.pod_cidr, config.service_cidr, config.api_port, config.expose,
                     config.cluster_domain, config.cgroup_root);
}

int number(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

net::ClusterRanges Settings::ranges() const {
  // Both were checked when the settings were made or loaded.
  return {net::parse_cidr(config.pod_cidr).value(), net::parse_cidr(config.service_cidr).value(),
          net::parse_cidr(node_cidr).value()};
}

net::Cidr Settings::node_pods(int index) const { return {ranges().pods.at(static_cast<std::uint32_t>(index) << 8), 24}; }

net::Ipv4 Settings::service_address(std::uint32_t host_part) const { return ranges().services.at(host_part); }

Result<Settings> load_settings(const ClusterConfig& config) {
  Paths paths(config);
  if (!sys::exists(paths.settings())) return error(Code::NotFound, "there is no cluster '{}'", config.name);
  TRY_ASSIGN(std::string text, sys::read_file(paths.settings()));
  std::map<std::string, std::string> values;
  for (const std::string& line : split(text, '\n'))
    if (size_t equals = line.find('='); equals != std::string::npos)
      values[line.substr(0, equals)] = line.substr(equals + 1);
  Settings settings{config, values["id"], values["node-cidr"]};
  ClusterConfig& kept = settings.config;
  kept.nodes = number(values["nodes"]);
  kept.pod_cidr = values["pod-cidr"];
  kept.service_cidr = values["service-cidr"];
  kept.api_port = static_cast<std::uint16_t>(number(values["api-port"]));
  kept.expose = values["expose"];
  kept.cluster_domain = values["domain"];
  kept.cgroup_root = values["cgroup-root"];
  bool whole = !settings.id.empty() && kept.nodes >= 1 && check_shape(kept.pod_cidr, "").ok() &&
               check_shape(kept.service_cidr, "").ok() && net::parse_cidr(settings.node_cidr).ok();
  if (!whole)
    return error(Code::Invalid, "{} is damaged; `skiff delete -p {}` removes the cluster", paths.settings(), config.name);
  for (auto [wish, has, flag] : {std::tuple{&config.pod_cidr, &kept.pod_cidr, "--pod-cidr"},
                                 {&config.service_cidr, &kept.service_cidr, "--service-cidr"}})
    if (!wish->empty() && *wish != *has)
      return error(Code::Invalid, "cluster '{}' was made with {} {}; it cannot change to {}", config.name, flag, *has, *wish);
  return settings;
}

Result<Settings> choose_settings(const ClusterConfig& config, Random& random) {
  if (api::Problems problems = api::dns1123_label_problems(config.name); !problems.empty())
    return error(Code::Invalid, "cluster name '{}': {}", config.name, problems[0]);
  Settings settings{config, random.hex(3), ""};
  TRY_ASSIGN(settings.node_cidr, choose_range("", "", kNodeCandidates));
  TRY_ASSIGN(settings.config.pod_cidr, choose_range(config.pod_cidr, "--pod-cidr", kPodCandidates));
  TRY_ASSIGN(settings.config.service_cidr, choose_range(config.service_cidr, "--service-cidr", kServiceCandidates));
  TRY_ASSIGN(settings.config.api_port, choose_port(config));
  TRY(sys::replace_file(Paths(config).settings(), text_of(settings)));
  return settings;
}

Result<Settings> load_or_choose_settings(const ClusterConfig& config, Random& random) {
  Result<Settings> kept = load_settings(config);
  if (!kept.ok() && kept.error().code() == Code::NotFound) return choose_settings(config, random);
  return kept;
}

Result<UniqueFd> lock_cluster(const Paths& paths) {
  TRY(sys::make_directories(paths.root(), 0700));
  TRY_ASSIGN(UniqueFd fd, sys::open(paths.lock(), O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "flock '{}'", paths.lock());
    return error(Code::Unavailable, "the cluster in {} is already run by process {}", paths.root(), running_process(paths));
  }
  if (::ftruncate(fd.get(), 0) < 0) return errno_error(errno, "ftruncate '{}'", paths.lock());
  TRY(sys::write_all(fd, std::to_string(::getpid()), paths.lock()));
  return fd;
}

namespace {

constexpr Duration kEndPatience = 5s;

// Whether SIGKILL is on its way to `pid` or it is ending already: it keeps its lock until its last thread is gone.
bool is_ending(pid_t pid) {
  Result<std::string> stat = sys::read_file(fmt::format("/proc/{}/stat", pid));
  Result<std::string> status = sys::read_file(fmt::format("/proc/{}/status", pid));
  if (!stat.ok() || !status.ok()) return true;
  std::vector<std::string> fields = split(std::string_view(stat.value()).substr(stat.value().rfind(')') + 2), ' ');
  constexpr unsigned long kExiting = 0x4;  // PF_EXITING of linux/sched.h
  if (fields.size() < 7 || fields[0] == "Z" || fields[0] == "X" || (std::strtoul(fields[6].c_str(), nullptr, 10) & kExiting) != 0)
    return true;
  for (const char* pending : {"SigPnd:\t", "ShdPnd:\t"}) {
    size_t at = status.value().find(pending);
    if (at == std::string::npos) continue;
    unsigned long mask = std::strtoul(status.value().c_str() + at + 8, nullptr, 16);
    if ((mask & (1UL << (SIGKILL - 1))) != 0) return true;
  }
  return false;
}

}  // namespace

pid_t running_process(const Paths& paths) {
  Result<UniqueFd> fd = sys::open(paths.lock(), O_RDONLY);
  if (!fd.ok() || ::flock(fd.value().get(), LOCK_SH | LOCK_NB) == 0) return 0;
  Result<std::string> text = sys::read_some(fd.value(), 32, paths.lock());
  pid_t pid = text.ok() ? number(text.value()) : 0;
  if (pid == 0 || !is_ending(pid)) return pid;
  if (Result<UniqueFd> process = sys::open_pidfd(pid); process.ok())
    static_cast<void>(sys::wait_ended(process.value(), kEndPatience));
  return ::flock(fd.value().get(), LOCK_SH | LOCK_NB) == 0 ? 0 : pid;
}

}  // namespace skiff::cluster
