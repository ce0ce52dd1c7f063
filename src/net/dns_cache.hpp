#pragma once
// Answers of the upstream resolvers, as long as they may be kept.

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "net/dns_message.hpp"

namespace skiff::net {

/// At most `capacity` answers; the oldest go first. One thread.
class DnsCache {
 public:
  explicit DnsCache(size_t capacity) : capacity_(capacity) {}

  /// The packet for `query`: with its id and question, and the time to live that is left.
  std::optional<std::string> find(const DnsQuery& query, TimePoint now) const;
  void add(const DnsQuery& query, const DnsResponseFacts& facts, std::string packet, TimePoint now);

 private:
  struct Entry {
    std::string packet;
    DnsResponseFacts facts;
    TimePoint added, until;
  };
  static std::string key_of(const DnsQuery& query);

  size_t capacity_;
  std::map<std::string, Entry> entries_;
  std::deque<std::pair<std::string, TimePoint>> order_;
};

}  // namespace skiff::net
