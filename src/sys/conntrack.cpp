#include "sys/conntrack.hpp"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::sys {
namespace {

constexpr size_t kReceiveBuffer = 64 << 10;
constexpr size_t kHead = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));

/// The payload of attribute `wanted` in `data`, with its header in `whole`; empty when it is not there.
std::string_view attribute(std::string_view data, int wanted, std::string_view* whole = nullptr) {
  while (data.size() >= sizeof(nlattr)) {
    nlattr header;
    memcpy(&header, data.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > data.size()) return {};
    if ((header.nla_type & NLA_TYPE_MASK) == wanted) {
      if (whole != nullptr) *whole = data.substr(0, header.nla_len);
      return data.substr(sizeof header, header.nla_len - sizeof header);
    }
    data.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), data.size()));
  }
  return {};
}

template <class T>
T number(std::string_view data) {
  T value = 0;
  if (data.size() >= sizeof value) memcpy(&value, data.data(), sizeof value);
  return value;
}

struct Tuple {
  Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 0;
};

Tuple read_tuple(std::string_view data) {
  std::string_view address = attribute(data, CTA_TUPLE_IP), protocol = attribute(data, CTA_TUPLE_PROTO);
  auto either = [&](int v4, int v6) {
    std::string_view bytes = attribute(address, v4);
    return Address::from_bytes(bytes.empty() ? attribute(address, v6) : bytes);
  };
  return {either(CTA_IP_V4_SRC, CTA_IP_V6_SRC), either(CTA_IP_V4_DST, CTA_IP_V6_DST),
          ntohs(number<std::uint16_t>(attribute(protocol, CTA_PROTO_SRC_PORT))),
          ntohs(number<std::uint16_t>(attribute(protocol, CTA_PROTO_DST_PORT))),
          number<std::uint8_t>(attribute(protocol, CTA_PROTO_NUM))};
}

std::string message(Family family_asked, int type, int flags, std::string_view attributes) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(kHead + attributes.size());
  header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  nfgenmsg family{.nfgen_family = static_cast<unsigned char>(family_asked == Family::V6 ? AF_INET6 : AF_INET), .version = NFNETLINK_V0, .res_id = 0};
  std::string bytes(kHead, '\0');
  memcpy(bytes.data(), &header, sizeof header);
  memcpy(bytes.data() + NLMSG_HDRLEN, &family, sizeof family);
  return bytes.append(attributes);
}

Status send(const UniqueFd& socket, const std::string& bytes) {
  if (::send(socket.get(), bytes.data(), bytes.size(), 0) < 0) return errno_error(errno, "send to conntrack");
  return ok();
}

/// Calls `each(type, payload)` for what comes until the answer is complete. ENOENT: gone already.
template <class Each>
Status receive(const UniqueFd& socket, Each&& each) {
  std::string buffer(kReceiveBuffer, '\0');
  for (;;) {
    ssize_t size = retry_eintr([&] { return ::recv(socket.get(), buffer.data(), buffer.size(), 0); });
    if (size < 0) return errno_error(errno, "receive from conntrack");
    std::string_view left(buffer.data(), static_cast<size_t>(size));
    while (left.size() >= NLMSG_HDRLEN) {
      nlmsghdr header;
      memcpy(&header, left.data(), sizeof header);
      if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > left.size()) break;
      if (header.nlmsg_type == NLMSG_DONE) return ok();
      if (header.nlmsg_type == NLMSG_ERROR) {
        int failure = -number<std::int32_t>(left.substr(NLMSG_HDRLEN));
        if (failure == 0 || failure == ENOENT) return ok();
        return errno_error(failure, "conntrack");
      }
      if (header.nlmsg_len >= kHead) each(left.substr(kHead, header.nlmsg_len - kHead));
      left.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), left.size()));
    }
  }
}

Result<UniqueFd> open_socket() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) return errno_error(errno, "netfilter socket");
  return socket;
}

}  // namespace

Status remove_udp_flows(const UniqueFd& network, Family family,
                        const std::function<bool(const Flow&)>& stale) {
  TRY_ASSIGN(UniqueFd socket, in_network(network, open_socket));
  TRY(send(socket, message(family, IPCTNL_MSG_CT_GET, NLM_F_DUMP, {})));
  std::vector<std::string> doomed;  // the attribute that names the flow
  TRY(receive(socket, [&](std::string_view attributes) {
    std::string_view whole;
    Tuple original = read_tuple(attribute(attributes, CTA_TUPLE_ORIG, &whole));
    Tuple reply = read_tuple(attribute(attributes, CTA_TUPLE_REPLY));
    Flow flow{original.destination, original.destination_port, reply.source, reply.source_port};
    if (original.protocol == IPPROTO_UDP && stale(flow)) doomed.emplace_back(whole);
  }));
  for (const std::string& tuple : doomed) {
    TRY(send(socket, message(family, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, tuple)));
    TRY(receive(socket, [](std::string_view) {}));
  }
  return ok();
}

}  // namespace skiff::sys
