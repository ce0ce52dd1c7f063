#pragma once
// Questions that are not the cluster's go to the host's resolvers.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/dns_cache.hpp"
#include "net/resolv_conf.hpp"

namespace skiff::net {

/// Who is asked about names that are not the cluster's.
struct DnsUpstreams {
  std::map<std::string, std::vector<Endpoint>> zones;  // of a domain and all below it; the longest one counts
  std::vector<Endpoint> others;                        // of everything else; none: the host's resolvers
  bool operator==(const DnsUpstreams&) const = default;
};

/// Lives on one event loop, whose thread is in the namespace the resolvers are reached from.
class DnsForwarder {
 public:
  using Reply = std::function<void(std::string packet)>;

  /// `self` is never asked, whatever the host's file says: the question would come back.
  DnsForwarder(EventLoop& loop, std::string resolv_conf, std::set<Address> self);
  ~DnsForwarder();

  /// Answers `query`, whose packet is `packet`, through `reply`, exactly once: from the cache, from a
  /// resolver, or with ServerFailure when none answers. `stream`: ask over TCP, for a client that can take
  /// any length.
  void forward(const DnsQuery& query, const std::string& packet, bool stream, Reply reply);
  /// From the next question on; what is cached is forgotten.
  void set_upstreams(DnsUpstreams upstreams);

 private:
  struct Exchange;
  void ask_next(std::uint64_t id);
  void on_readable(std::uint64_t id);
  void on_stream(std::uint64_t id, std::uint32_t events);
  void take_answer(std::uint64_t id, std::string packet);
  void finish(std::uint64_t id, std::string packet);
  void release_socket(Exchange& exchange);
  Status open_exchange(Exchange& exchange, Endpoint server);
  std::vector<Endpoint> servers_for(const std::string& name);

  EventLoop& loop_;
  HostResolvers resolvers_;
  const std::set<Address> self_;
  DnsUpstreams upstreams_;
  DnsCache cache_;
  std::uint64_t next_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Exchange>> exchanges_;
};

/// "ServerFailure" for `query`.
std::string server_failure(const DnsQuery& query);

}  // namespace skiff::net
