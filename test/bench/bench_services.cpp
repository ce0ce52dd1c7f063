// What Services cost: the time a change takes to reach the kernel, and what a connection's first packet waits
// for, with 10, 1,000 and 10,000 services of 5 endpoints each. Run it in scripts/sandbox: it needs root, and
// makes a network namespace of its own.
//   bench_services [SERVICES...]

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "net/dial.hpp"
#include "net/service_rules.hpp"
#include "net/sockets.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

using namespace skiff;
using namespace skiff::net;

namespace {

constexpr std::uint32_t kEndpoints = 5;
constexpr int kChanges = 200, kConnections = 2000;
const Cidr kServices = parse_cidr("10.96.0.0/12").value();
const Address kServer = parse_address("10.0.0.1").value();
constexpr std::uint16_t kPort = 8080;

template <class T>
T checked(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

template <class Call>
double timed(Call&& call) {
  auto begin = std::chrono::steady_clock::now();
  call();
  return milliseconds(std::chrono::steady_clock::now() - begin);
}

struct Figures {
  double p50, p99;
};
Figures figures(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return {all[all.size() / 2], all[all.size() * 99 / 100]};
}

std::vector<ServiceRule> service(std::uint32_t index, bool real) {
  ServiceRule rule{.id = std::to_string(index), .frontends = {{kServices.at(index + 100), 80}}};
  for (std::uint32_t i = 0; i < kEndpoints; ++i)
    rule.backends.push_back(
        {real ? kServer : Address{Family::V4, parse_address("10.200.0.0").value().value + index * 8 + i}, kPort});
  return {rule};
}

/// Takes connections and closes them until it goes.
class Listener {
 public:
  explicit Listener(const UniqueFd& network)
      : socket_(checked(sys::in_network(network,
                                        [] {
                                          return open_listener(Protocol::Tcp, {kServer, kPort});
                                        }))),
        wake_(checked(sys::make_pipe())),
        thread_([this] { run(); }) {}
  ~Listener() { wake_.write.reset(); }

 private:
  void run() {
    for (;;) {
      pollfd waiting[] = {{socket_.get(), POLLIN, 0}, {wake_.read.get(), POLLIN, 0}};
      ::poll(waiting, 2, -1);
      if (waiting[1].revents != 0) return;
      UniqueFd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
  }
  UniqueFd socket_;
  sys::Pipe wake_;
  std::jthread thread_;
};

Figures connect_times(const UniqueFd& network, Endpoint target) {
  std::vector<double> times;
  for (int i = 0; i < kConnections; ++i)
    times.push_back(timed([&] { checked(dial_in(network, target, std::chrono::steady_clock::now() + 3s)); }));
  return figures(std::move(times));
}

void measure(std::uint32_t count) {
  UniqueFd network = checked(sys::new_network_namespace());
  auto netlink = checked(sys::Netlink::open(network));
  int lo = checked(netlink->link("lo")).index;
  checked(netlink->set_up(lo));
  checked(netlink->add_address({lo, sys::Prefix::single(kServer)}));
  checked(netlink->replace_route({.destination = {kServices.base, kServices.length}, .link = lo}));
  Listener listener(network);
  auto rules = checked(ServiceRules::open(UniqueFd(::dup(network.get())), {.services = kServices}));
  RuleGroups all;
  for (std::uint32_t i = 0; i < count; ++i) all[std::to_string(i)] = service(i, i == count - 1);
  double whole = timed([&] { checked(rules->replace(all)); });
  std::vector<double> changes;
  for (int i = 0; i < kChanges; ++i) {
    // An endpoint goes, and comes back.
    std::string name = std::to_string(static_cast<std::uint32_t>(i / 2) * 7919 % (count - 1));
    std::vector<ServiceRule> changed = all.at(name);
    if (i % 2 == 0) changed[0].backends.pop_back();
    changes.push_back(timed([&] { checked(rules->change({{name, changed}})); }));
  }
  Figures change = figures(std::move(changes));
  Figures direct = connect_times(network, {kServer, kPort});
  Figures through = connect_times(network, {kServices.at(count + 99), 80});
  std::printf("%8u %10.1f ms %8.2f %8.2f ms %10.3f %8.3f ms %10.3f %8.3f ms\n", count, whole, change.p50,
              change.p99, direct.p50, direct.p99, through.p50, through.p99);
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("%8s %13s %20s %23s %23s\n", "services", "all at once", "change p50, p99", "connect directly",
              "through a service");
  std::vector<std::uint32_t> counts = {10, 1000, 10000};
  if (argc > 1) counts.clear();
  for (int i = 1; i < argc; ++i)
    counts.push_back(static_cast<std::uint32_t>(std::max(2, std::atoi(argv[i]))));
  for (std::uint32_t count : counts) measure(count);
}
