#include "net/dns_cache.hpp"

namespace skiff::net {

std::string DnsCache::key_of(const DnsQuery& query) {
  return fmt::format("{} {} {}", static_cast<int>(query.type), query.edns ? query.payload_size : 0,
                     query.name);
}

std::optional<std::string> DnsCache::find(const DnsQuery& query, TimePoint now) const {
  auto found = entries_.find(key_of(query));
  if (found == entries_.end() || found->second.until <= now) return std::nullopt;
  const Entry& entry = found->second;
  std::string packet = entry.packet;
  packet[0] = static_cast<char>(query.id >> 8);
  packet[1] = static_cast<char>(query.id & 255);
  packet.replace(12, query.question.size(),
                 query.question);  // the same name; only its letter case may differ
  auto age =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now - entry.added).count());
  for (size_t at : entry.facts.ttl_offsets) {
    std::uint32_t ttl = 0;
    for (size_t i = 0; i < 4; ++i) ttl = ttl << 8 | static_cast<unsigned char>(packet[at + i]);
    ttl = ttl > age ? ttl - age : 0;
    for (size_t i = 0; i < 4; ++i) packet[at + i] = static_cast<char>(ttl >> (24 - 8 * i) & 255);
  }
  return packet;
}

void DnsCache::add(const DnsQuery& query, const DnsResponseFacts& facts, std::string packet, TimePoint now) {
  if (facts.ttl == 0 || facts.truncated) return;
  std::string key = key_of(query);
  order_.emplace_back(key, now);
  entries_[std::move(key)] = {std::move(packet), facts, now, now + std::chrono::seconds(facts.ttl)};
  while (order_.size() > capacity_) {
    auto oldest = entries_.find(order_.front().first);
    // An entry that was renewed stands in the queue a second time.
    if (oldest != entries_.end() && oldest->second.added == order_.front().second) entries_.erase(oldest);
    order_.pop_front();
  }
}

}  // namespace skiff::net
