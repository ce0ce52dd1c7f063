#include "cluster/state.hpp"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <tuple>

#include "api/names.hpp"
#include "base/encoding.hpp"
#include "net/sockets.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/process.hpp"

namespace skiff::cluster {
namespace {

/// A kind of range: how long it is in each family, and which ones are tried when nobody names one.
struct RangeKind {
  const char* flag;
  int v4_bits, v6_bits;
  const char *v4_candidates, *v6_candidates;

  int bits(net::Family family) const { return family == net::Family::V4 ? v4_bits : v6_bits; }
  const char* candidates(net::Family family) const {
    return family == net::Family::V4 ? v4_candidates : v6_candidates;
  }
};

constexpr RangeKind kPodRange{"--pod-cidr", 16, 56,
                              "10.244.0.0/16 10.245.0.0/16 10.246.0.0/16 172.27.0.0/16 172.28.0.0/16",
                              "fd00:10:244::/56 fd00:10:245::/56 fd00:10:246::/56"};
constexpr RangeKind kServiceRange{"--service-cidr", 16, 112,
                                  "10.96.0.0/16 10.97.0.0/16 10.98.0.0/16 172.29.0.0/16 172.30.0.0/16",
                                  "fd00:10:96::/112 fd00:10:97::/112 fd00:10:98::/112"};
constexpr RangeKind kNodeRange{"", 20, 112,
                               "10.243.0.0/20 10.243.16.0/20 10.242.0.0/20 172.26.0.0/20 192.168.240.0/20",
                               "fd00:10:243::/112 fd00:10:242::/112 fd00:10:241::/112"};

/// "A" or "A,B": one range, or one of each family.
Result<std::vector<net::Cidr>> parse_ranges(const std::string& text, const RangeKind& kind) {
  std::vector<net::Cidr> ranges;
  for (const std::string& one : split(text, ',')) {
    Result<net::Cidr> parsed = net::parse_cidr(one);
    bool fits = parsed.ok() && parsed.value().str() == one && parsed.value().length == kind.bits(parsed.value().family());
    bool again = fits && !ranges.empty() && ranges.front().family() == parsed.value().family();
    if (!fits || again || ranges.size() == 2)
      return error(Code::Invalid, "{} {}: want an IPv4 /{}, an IPv6 /{} or one of each, such as {},{}", kind.flag, text,
                   kind.v4_bits, kind.v6_bits, split(kind.v4_candidates, ' ')[0], split(kind.v6_candidates, ' ')[0]);
    ranges.push_back(parsed.value());
  }
  if (ranges.empty()) return error(Code::Invalid, "{}: no range", kind.flag);
  return ranges;
}

std::string text_of(const std::vector<net::Cidr>& ranges) {
  std::string text;
  for (const net::Cidr& range : ranges) text += (text.empty() ? "" : ",") + range.str();
  return text;
}

std::vector<net::Family> families_of(const std::vector<net::Cidr>& ranges) {
  std::vector<net::Family> families;
  for (const net::Cidr& range : ranges) families.push_back(range.family());
  return families;
}

// What `range` overlaps on this host; empty when nothing.
Result<std::string> collision_of(const net::Cidr& range) {
  TRY_ASSIGN(UniqueFd host, sys::open_namespace(sys::Namespace::Network));
  TRY_ASSIGN(std::optional<net::RangeCollision> found, net::find_collision(host, {range}));
  return found ? found->with : std::string();
}

// The first of the candidates that this host does not use.
Result<net::Cidr> free_range(const RangeKind& kind, net::Family family) {
  for (const std::string& candidate : split(kind.candidates(family), ' ')) {
    TRY_ASSIGN(net::Cidr range, net::parse_cidr(candidate));
    TRY_ASSIGN(std::string collision, collision_of(range));
    if (collision.empty()) return range;
  }
  return error(Code::Invalid, "every default range is taken by this host's networks; choose one with {}", kind.flag);
}

// `wish`, or a free range of each family.
Result<std::string> choose_ranges(const std::string& wish, const RangeKind& kind, const std::vector<net::Family>& families) {
  std::vector<net::Cidr> chosen;
  if (wish.empty()) {
    for (net::Family family : families) {
      TRY_ASSIGN(net::Cidr range, free_range(kind, family));
      chosen.push_back(range);
    }
    return text_of(chosen);
  }
  TRY_ASSIGN(chosen, parse_ranges(wish, kind));
  if (families_of(chosen) != families)
    return error(Code::Invalid, "{} {}: pods and services need ranges of the same families in the same order", kind.flag, wish);
  for (const net::Cidr& range : chosen) {
    TRY_ASSIGN(std::string collision, collision_of(range));
    if (!collision.empty())
      return error(Code::Invalid, "{} {}: overlaps {} of this host", kind.flag, range.str(), collision);
  }
  return wish;
}

// What the ranges name, else what the flag says.
Result<std::vector<net::Family>> wanted_families(const ClusterConfig& config) {
  if (!config.pod_cidr.empty()) {
    TRY_ASSIGN(std::vector<net::Cidr> ranges, parse_ranges(config.pod_cidr, kPodRange));
    return families_of(ranges);
  }
  if (!config.service_cidr.empty()) {
    TRY_ASSIGN(std::vector<net::Cidr> ranges, parse_ranges(config.service_cidr, kServiceRange));
    return families_of(ranges);
  }
  if (config.ip_family == "ipv4") return std::vector{net::Family::V4};
  if (config.ip_family == "ipv6") return std::vector{net::Family::V6};
  if (config.ip_family == "dual") return std::vector{net::Family::V4, net::Family::V6};
  return error(Code::Invalid, "--ip-family {}: want ipv4, ipv6 or dual", config.ip_family);
}

bool port_is_free(const std::string& address, std::uint16_t port) {
  Result<net::Address> where = net::parse_address(address);
  return where.ok() && net::open_listener(net::Protocol::Tcp, {where.value(), port}).ok();
}

Result<std::uint16_t> choose_port(const ClusterConfig& config) {
  if (!net::parse_address(config.expose).ok())
    return error(Code::Invalid, "--expose {}: want an address of this host", config.expose);
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

std::vector<net::ClusterRanges> Settings::ranges() const {
  // All were checked when the settings were made or loaded.
  std::vector<net::Cidr> pods = parse_ranges(config.pod_cidr, kPodRange).value();
  std::vector<net::Cidr> services = parse_ranges(config.service_cidr, kServiceRange).value();
  std::vector<net::Cidr> nodes = parse_ranges(node_cidr, kNodeRange).value();
  std::vector<net::ClusterRanges> ranges;
  for (size_t i = 0; i < pods.size(); ++i) ranges.push_back({pods[i], services[i], nodes[i]});
  return ranges;
}

std::vector<net::Cidr> Settings::node_pods(int index) const {
  std::vector<net::Cidr> ranges;
  for (const net::ClusterRanges& family : this->ranges())
    ranges.push_back(family.pods.part(static_cast<std::uint64_t>(index), family.pods.length + 8));
  return ranges;
}

std::vector<net::Address> Settings::service_addresses(std::uint32_t host_part) const {
  std::vector<net::Address> addresses;
  for (const net::ClusterRanges& family : ranges()) addresses.push_back(family.services.at(host_part));
  return addresses;
}

std::vector<net::Cidr> Settings::answered() const {
  std::vector<net::Cidr> ranges;
  for (const net::ClusterRanges& family : this->ranges())
    ranges.push_back(family.balancers().part(0, sys::bits_of(family.pods.family()) - 5));
  return ranges;
}

std::vector<net::Address> Settings::ingress_addresses() const {
  std::vector<net::Address> addresses;
  for (const net::Cidr& range : answered()) addresses.push_back(range.at(1));
  return addresses;
}

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
  Result<std::vector<net::Cidr>> pods = parse_ranges(kept.pod_cidr, kPodRange),
                                 services = parse_ranges(kept.service_cidr, kServiceRange),
                                 nodes = parse_ranges(settings.node_cidr, kNodeRange);
  bool whole = !settings.id.empty() && kept.nodes >= 1 && pods.ok() && services.ok() && nodes.ok() &&
               families_of(pods.value()) == families_of(services.value()) &&
               families_of(pods.value()) == families_of(nodes.value());
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
  TRY_ASSIGN(std::vector<net::Family> families, wanted_families(config));
  TRY_ASSIGN(settings.node_cidr, choose_ranges("", kNodeRange, families));
  TRY_ASSIGN(settings.config.pod_cidr, choose_ranges(config.pod_cidr, kPodRange, families));
  TRY_ASSIGN(settings.config.service_cidr, choose_ranges(config.service_cidr, kServiceRange, families));
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
