#pragma once
// Links, addresses and routes of one network namespace (rtnetlink). The socket belongs to the namespace it
// was opened in and works from any thread, one call at a time. IPv4 and IPv6 alike.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "sys/address.hpp"

namespace skiff::sys {

struct Prefix {
  Address address;
  int length = 32;

  static Prefix single(Address address) { return {address, bits_of(address.family)}; }
  static Prefix everything(Family family) { return {Address::any(family), 0}; }
};

struct Link {
  int index = 0;
  std::string name;
  std::string alias;  // any text its maker attached
  bool up = false;
  int mtu = 0;
};

struct LinkAddress {
  int link = 0;
  Prefix prefix;
};

struct Route {
  Prefix destination;
  int link = 0;  // 0: none (unreachable routes)
  std::optional<Address> gateway{};  // taken to be on the link, whatever its addresses are
  std::optional<Address> source{};   // the address that local connections come from
  std::uint32_t metric = 0;
  bool unreachable = false;
};

struct VethSpec {
  std::string name;
  std::string alias;
  std::string peer_name;
  const UniqueFd& peer_network;  // where the other end appears
  int mtu = 1500;
};

class Netlink {
 public:
  static Result<std::unique_ptr<Netlink>> open(const UniqueFd& network);

  Result<std::vector<Link>> links();
  /// NotFound: no such link.
  Result<Link> link(const std::string& name);
  /// This end is up, the other is not. AlreadyExists: a link has that name on either side.
  Status add_veth(const VethSpec& spec);
  Status set_up(int link);
  Status remove_link(const std::string& name);  // a missing link is fine

  Result<std::vector<LinkAddress>> addresses();
  /// An existing one is fine. Nobody is asked whether he has it too: ours are our own.
  Status add_address(const LinkAddress& address);
  Status remove_address(const LinkAddress& address);  // a missing one is fine

  /// Of the main table, both families.
  Result<std::vector<Route>> routes();
  Status replace_route(const Route& route);
  Status remove_route(const Route& route);  // a missing one is fine

 private:
  class Request;
  explicit Netlink(UniqueFd socket) : socket_(std::move(socket)) {}
  Status send(Request& request);
  /// Sends and waits for the acknowledgement.
  Status change(Request& request, const std::string& doing);
  /// Sends a dump request and calls `each` with every message's payload.
  template <class Each>
  Status dump(Request& request, Each&& each);
  Status add_routes(Family family, std::vector<Route>& found);
  Status route_request(const Route& route, bool add);
  Status address_request(const LinkAddress& address, bool add);

  UniqueFd socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace skiff::sys
