#pragma once
// A resolver's half of a conversation: asks from inside a namespace and turns the answer into text.

#include <atomic>

#include "net/dns_message.hpp"
#include "world.hpp"

namespace skiff::net {

inline std::string dns_query(const std::string& name, DnsType type) {
  std::string packet("\x12\x34\x01\0\0\x01\0\0\0\0\0\0", 12);
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find('.', at), name.size());
    packet += static_cast<char>(end - at);
    packet += name.substr(at, end - at);
    at = end + 1;
  }
  return packet + std::string("\0\0", 2) + static_cast<char>(type) + std::string("\0\1", 2);
}

/// "NoError truncated target.of.alias 10.0.0.1 ...".
inline std::string dns_text(const std::string& packet) {
  if (packet.size() < 12) return "no answer";
  static const char* const kCodes[] = {"NoError",   "FormatError",    "ServerFailure",
                                       "NameError", "NotImplemented", "Refused"};
  std::string text = kCodes[packet[3] & 7];
  if ((packet[2] & 2) != 0) text += " truncated";
  for (const DnsRecord& record : read_answers(packet)) {
    if (auto* address = std::get_if<Address>(&record.data)) text += " " + address->str();
    if (auto* target = std::get_if<DnsTarget>(&record.data)) text += " " + target->name;
  }
  return text;
}

inline std::string dns_exchange(const UniqueFd& network, Endpoint server, const std::string& packet) {
  // Once, for tests count the questions. But a new address of IPv6 is not there until the kernel's worker has made its
  // route, and a socket that was connected before keeps the wrong one: there one asks anew, as resolvers do.
  const int tries = server.address.is_v6() ? 10 : 1;
  for (int i = 0; i < tries; ++i) {
    UniqueFd socket = checked(sys::in_network(network, [&] { return open_socket(Protocol::Udp, server.address.family); }));
    if (!connect_socket(socket, server).ok() || !sys::write_all(socket, packet, "DNS server").ok()) continue;
    pollfd waiting{socket.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 5000 / tries) <= 0) continue;
    Result<std::string> answer = sys::read_some(socket, 65536, "DNS server");
    if (answer.ok()) return answer.value();
  }
  return "";
}

/// One answer without its length, or "" when the server closes the connection.
inline std::string dns_stream_exchange(const UniqueFd& network, Endpoint server, const std::string& bytes) {
  UniqueFd socket = checked(dial_in(network, server, std::chrono::steady_clock::now() + 3s));
  checked(sys::write_all(socket, bytes, "DNS server"));
  std::string in;
  for (;;) {
    pollfd waiting{socket.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 5000) <= 0) return "";
    Result<std::string> some = sys::read_some(socket, 65536, "DNS server");
    if (!some.ok() || some.value().empty()) return "";
    in += some.value();
    if (in.size() < 2) continue;
    size_t length =
        static_cast<size_t>(static_cast<unsigned char>(in[0])) << 8 | static_cast<unsigned char>(in[1]);
    if (in.size() >= length + 2) return in.substr(2, length);
  }
}

inline std::string dns_ask(const UniqueFd& network, Endpoint server, const std::string& name,
                           DnsType type = DnsType::A) {
  return dns_text(dns_exchange(network, server, dns_query(name, type)));
}

inline std::string dns_ask_stream(const UniqueFd& network, Endpoint server, const std::string& name,
                                  DnsType type = DnsType::A) {
  std::string packet = dns_query(name, type);
  std::string framed{static_cast<char>(packet.size() >> 8), static_cast<char>(packet.size() & 255)};
  return dns_text(dns_stream_exchange(network, server, framed + packet));
}

}  // namespace skiff::net
