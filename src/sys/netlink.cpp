#include "sys/netlink.hpp"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include <array>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::sys {
namespace {

constexpr unsigned char kOurProtocol = RTPROT_STATIC;
constexpr size_t kReceiveBuffer = 64 << 10;

std::string text(const Prefix& prefix) { return fmt::format("{}/{}", prefix.address.str(), prefix.length); }

constexpr unsigned char kernel_family(Family family) { return family == Family::V6 ? AF_INET6 : AF_INET; }

/// Calls `each(type, data)` for every attribute that lies wholly within the payload.
template <class Each>
void each_attribute(const char* data, size_t size, Each&& each) {
  while (size >= sizeof(rtattr)) {
    rtattr header;
    memcpy(&header, data, sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > size) return;
    each(header.rta_type & NLA_TYPE_MASK,
         std::string_view(data + sizeof header, header.rta_len - sizeof header));
    size_t step = std::min<size_t>(RTA_ALIGN(header.rta_len), size);
    data += step;
    size -= step;
  }
}

std::uint32_t number(std::string_view data) {
  std::uint32_t value = 0;
  if (data.size() >= sizeof value) memcpy(&value, data.data(), sizeof value);
  return value;
}
std::string name(std::string_view data) { return std::string(data.substr(0, data.find('\0'))); }

template <class Header>
const char* after(const char* payload) {
  return payload + NLMSG_ALIGN(sizeof(Header));
}

Link read_link(const char* payload, size_t size) {
  ifinfomsg info;
  memcpy(&info, payload, sizeof info);
  Link link{.index = info.ifi_index, .up = (info.ifi_flags & IFF_UP) != 0};
  each_attribute(after<ifinfomsg>(payload), size - sizeof info, [&](int type, std::string_view data) {
    if (type == IFLA_IFNAME) link.name = name(data);
    if (type == IFLA_IFALIAS) link.alias = name(data);
    if (type == IFLA_MTU) link.mtu = static_cast<int>(number(data));
  });
  return link;
}

}  // namespace

/// A message being written: header, fixed part, attributes.
class Netlink::Request {
 public:
  template <class Fixed>
  Request(int type, int flags, const Fixed& fixed) {
    nlmsghdr header{};
    header.nlmsg_type = static_cast<std::uint16_t>(type);
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    append(&header, sizeof header);
    append(&fixed, sizeof fixed);
  }

  void add(int type, const void* data, size_t size) {
    rtattr header{.rta_len = static_cast<unsigned short>(RTA_LENGTH(size)),
                  .rta_type = static_cast<unsigned short>(type)};
    append(&header, sizeof header);
    append(data, size);
  }
  void add(int type, const std::string& value) { add(type, value.c_str(), value.size() + 1); }
  void add_number(int type, std::uint32_t value) { add(type, &value, sizeof value); }
  void add_address(int type, const Address& address) {
    std::string bytes = address.bytes();
    add(type, bytes.data(), bytes.size());
  }

  /// Runs `fill` with everything it adds inside attribute `type`.
  template <class Fill>
  void nest(int type, Fill&& fill) {
    size_t start = bytes_.size();
    add(type, nullptr, 0);
    fill();
    std::uint16_t length = static_cast<std::uint16_t>(bytes_.size() - start);
    memcpy(bytes_.data() + start, &length, sizeof length);
  }

  void append(const void* data, size_t size) {
    if (size > 0) bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }

  /// The finished message.
  const std::string& finish(std::uint32_t sequence) {
    nlmsghdr header;
    memcpy(&header, bytes_.data(), sizeof header);
    header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    header.nlmsg_seq = sequence;
    memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
  }

 private:
  std::string bytes_;
};

Result<std::unique_ptr<Netlink>> Netlink::open(const UniqueFd& network) {
  return in_network(network, []() -> Result<std::unique_ptr<Netlink>> {
    UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket) return errno_error(errno, "netlink socket");
    // Answers must not repeat the request, and dumps keep to what was asked for.
    int one = 1;
    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
    return std::unique_ptr<Netlink>(new Netlink(std::move(socket)));
  });
}

Status Netlink::send(Request& request) {
  const std::string& bytes = request.finish(++sequence_);
  sockaddr_nl kernel{.nl_family = AF_NETLINK};
  ssize_t sent = retry_eintr([&] {
    return ::sendto(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
                    sizeof kernel);
  });
  if (sent < 0) return errno_error(errno, "netlink send");
  return ok();
}

template <class Each>
Status Netlink::dump(Request& request, Each&& each) {
  TRY(send(request));
  std::string buffer(kReceiveBuffer, '\0');
  for (;;) {
    ssize_t size = retry_eintr([&] { return ::recv(socket_.get(), buffer.data(), buffer.size(), 0); });
    if (size < 0) return errno_error(errno, "netlink receive");
    for (size_t at = 0; at + sizeof(nlmsghdr) <= static_cast<size_t>(size);) {
      nlmsghdr header;
      memcpy(&header, buffer.data() + at, sizeof header);
      if (header.nlmsg_len < sizeof header || at + header.nlmsg_len > static_cast<size_t>(size)) break;
      const char* payload = buffer.data() + at + NLMSG_HDRLEN;
      at += NLMSG_ALIGN(header.nlmsg_len);
      if (header.nlmsg_seq != sequence_) continue;  // the rest of a dump that failed earlier
      if (header.nlmsg_type == NLMSG_DONE) return ok();
      if (header.nlmsg_type == NLMSG_ERROR) {
        int failure = -static_cast<int>(number({payload, sizeof(int)}));
        if (failure == 0) return ok();
        return errno_error(failure, "netlink");
      }
      each(payload, header.nlmsg_len - NLMSG_HDRLEN);
      if ((header.nlmsg_flags & NLM_F_MULTI) == 0) return ok();
    }
  }
}

Status Netlink::change(Request& request, const std::string& doing) {
  Status done = dump(request, [](const char*, size_t) {});
  if (done.ok()) return done;
  int failure = done.error().sys_errno();
  if (failure == EEXIST) return error(Code::AlreadyExists, "{}: it exists", doing);
  return errno_error(failure, "{}", doing);
}

Result<std::vector<Link>> Netlink::links() {
  Request request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{.ifi_family = AF_UNSPEC});
  std::vector<Link> found;
  TRY(dump(request, [&](const char* payload, size_t size) {
    if (size >= sizeof(ifinfomsg)) found.push_back(read_link(payload, size));
  }));
  return found;
}

Result<Link> Netlink::link(const std::string& name) {
  Request request(RTM_GETLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC});
  request.add(IFLA_IFNAME, name);
  Link found;
  Status done = dump(request, [&](const char* payload, size_t size) {
    if (size >= sizeof(ifinfomsg)) found = read_link(payload, size);
  });
  if (!done.ok() && done.error().sys_errno() == ENODEV) return error(Code::NotFound, "no link '{}'", name);
  TRY(done);
  return found;
}

Status Netlink::add_veth(const VethSpec& spec) {
  ifinfomsg up{.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}, as_made{};
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, up);
  request.add(IFLA_IFNAME, spec.name);
  request.add_number(IFLA_MTU, static_cast<std::uint32_t>(spec.mtu));
  request.nest(IFLA_LINKINFO, [&] {
    request.add(IFLA_INFO_KIND, std::string("veth"));
    request.nest(IFLA_INFO_DATA, [&] {
      request.nest(VETH_INFO_PEER, [&] {
        request.append(&as_made, sizeof as_made);  // the kernel cannot bring it up before its partner stands
        request.add(IFLA_IFNAME, spec.peer_name);
        request.add_number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.peer_network.get()));
        request.add_number(IFLA_MTU, static_cast<std::uint32_t>(spec.mtu));
      });
    });
  });
  TRY(change(request, fmt::format("create link '{}'", spec.name)));
  if (spec.alias.empty()) return ok();
  Request alias(RTM_SETLINK, NLM_F_ACK, ifinfomsg{.ifi_family = AF_UNSPEC});
  alias.add(IFLA_IFNAME, spec.name);
  alias.add(IFLA_IFALIAS, spec.alias);
  return change(alias, fmt::format("describe link '{}'", spec.name));
}

Status Netlink::set_up(int link) {
  Request request(
      RTM_NEWLINK, NLM_F_ACK,
      ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link, .ifi_flags = IFF_UP, .ifi_change = IFF_UP});
  return change(request, fmt::format("set link {} up", link));
}

Status Netlink::remove_link(const std::string& name) {
  Request request(RTM_DELLINK, NLM_F_ACK, ifinfomsg{.ifi_family = AF_UNSPEC});
  request.add(IFLA_IFNAME, name);
  Status done = change(request, fmt::format("remove link '{}'", name));
  if (!done.ok() && done.error().sys_errno() == ENODEV) return ok();
  return done;
}

Result<std::vector<LinkAddress>> Netlink::addresses() {
  Request request(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{.ifa_family = AF_UNSPEC});
  std::vector<LinkAddress> found;
  TRY(dump(request, [&](const char* payload, size_t size) {
    if (size < sizeof(ifaddrmsg)) return;
    ifaddrmsg info;
    memcpy(&info, payload, sizeof info);
    LinkAddress entry{.link = static_cast<int>(info.ifa_index), .prefix = {.length = info.ifa_prefixlen}};
    each_attribute(after<ifaddrmsg>(payload), size - sizeof info, [&](int type, std::string_view data) {
      // IPv6 has the first of them only on links between two.
      bool ours = type == IFA_LOCAL || (type == IFA_ADDRESS && info.ifa_family == AF_INET6);
      if (ours) entry.prefix.address = Address::from_bytes(data);
    });
    if (info.ifa_family == AF_INET || info.ifa_family == AF_INET6) found.push_back(entry);
  }));
  return found;
}

Status Netlink::address_request(const LinkAddress& entry, bool add) {
  ifaddrmsg info{.ifa_family = kernel_family(entry.prefix.address.family),
                 .ifa_prefixlen = static_cast<unsigned char>(entry.prefix.length),
                 .ifa_flags = entry.prefix.address.is_v6() ? static_cast<unsigned char>(IFA_F_NODAD) : static_cast<unsigned char>(0),
                 .ifa_index = static_cast<unsigned>(entry.link)};
  Request request(add ? RTM_NEWADDR : RTM_DELADDR, NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0), info);
  request.add_address(IFA_LOCAL, entry.prefix.address);
  request.add_address(IFA_ADDRESS, entry.prefix.address);
  return change(request, fmt::format("{} address {}", add ? "add" : "remove", text(entry.prefix)));
}

Status Netlink::add_address(const LinkAddress& entry) {
  Status done = address_request(entry, true);
  if (!done.ok() && done.error().code() == Code::AlreadyExists) return ok();
  return done;
}

Status Netlink::remove_address(const LinkAddress& entry) {
  Status done = address_request(entry, false);
  if (!done.ok() && done.error().sys_errno() == EADDRNOTAVAIL) return ok();
  return done;
}

Result<std::vector<Route>> Netlink::routes() {
  std::vector<Route> found;
  TRY(add_routes(Family::V4, found));
  TRY(add_routes(Family::V6, found));
  return found;
}

Status Netlink::add_routes(Family family, std::vector<Route>& found) {
  Request request(RTM_GETROUTE, NLM_F_DUMP, rtmsg{.rtm_family = kernel_family(family)});
  return dump(request, [&](const char* payload, size_t size) {
    if (size < sizeof(rtmsg)) return;
    rtmsg info;
    memcpy(&info, payload, sizeof info);
    // A kernel without IPv6 answers with all it has.
    if (info.rtm_table != RT_TABLE_MAIN || info.rtm_family != kernel_family(family)) return;
    Route route{.destination = {Address::any(family), info.rtm_dst_len}, .unreachable = info.rtm_type == RTN_UNREACHABLE};
    each_attribute(after<rtmsg>(payload), size - sizeof info, [&](int type, std::string_view data) {
      if (type == RTA_DST) route.destination.address = Address::from_bytes(data);
      if (type == RTA_OIF) route.link = static_cast<int>(number(data));
      if (type == RTA_GATEWAY) route.gateway = Address::from_bytes(data);
      if (type == RTA_PREFSRC) route.source = Address::from_bytes(data);
      if (type == RTA_PRIORITY) route.metric = number(data);
    });
    found.push_back(route);
  });
}

Status Netlink::route_request(const Route& route, bool add) {
  bool direct = !route.gateway && !route.unreachable;
  rtmsg info{.rtm_family = kernel_family(route.destination.address.family),
             .rtm_dst_len = static_cast<unsigned char>(route.destination.length),
             .rtm_table = RT_TABLE_MAIN,
             .rtm_protocol = kOurProtocol,
             .rtm_scope = static_cast<unsigned char>(direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE),
             .rtm_type = static_cast<unsigned char>(route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST),
             .rtm_flags = route.gateway ? static_cast<unsigned>(RTNH_F_ONLINK) : 0U};
  int flags = NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
  Request request(add ? RTM_NEWROUTE : RTM_DELROUTE, flags, info);
  if (route.destination.length > 0) request.add_address(RTA_DST, route.destination.address);
  if (route.link != 0) request.add_number(RTA_OIF, static_cast<std::uint32_t>(route.link));
  if (route.gateway) request.add_address(RTA_GATEWAY, *route.gateway);
  if (route.source) request.add_address(RTA_PREFSRC, *route.source);
  if (route.metric != 0) request.add_number(RTA_PRIORITY, route.metric);
  return change(request, fmt::format("{} route {}", add ? "add" : "remove", text(route.destination)));
}

Status Netlink::replace_route(const Route& route) { return route_request(route, true); }

Status Netlink::remove_route(const Route& route) {
  Status done = route_request(route, false);
  if (!done.ok() && done.error().sys_errno() == ESRCH) return ok();
  return done;
}

}  // namespace skiff::sys
