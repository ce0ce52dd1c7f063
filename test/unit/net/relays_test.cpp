#include "net/relays.hpp"

#include <errno.h>

#include "world.hpp"

namespace skiff::net {
namespace {

/// Sends back what it gets, over one connection after another, and closes when the client has.
class EchoServer {
 public:
  EchoServer(const UniqueFd& network, std::uint16_t port)
      : listener_(checked(sys::in_network(network,
                                          [&] {
                                            return open_listener(Protocol::Tcp, {Address::any(Family::V4), port});
                                          }))),
        wake_(checked(sys::make_pipe())),
        thread_([this] { run(); }) {}
  ~EchoServer() { wake_.write.reset(); }

 private:
  void run() {
    for (;;) {
      pollfd waiting[] = {{listener_.get(), POLLIN, 0}, {wake_.read.get(), POLLIN, 0}};
      ::poll(waiting, 2, -1);
      if (waiting[1].revents != 0) return;
      UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::string all;
      for (;;) {
        Result<std::string> some = sys::read_some(client, 1 << 16, "client");
        if (!some.ok() || some.value().empty()) break;
        all += some.value();
      }
      (void)sys::write_all(client, all,
                           "client");  // only after the client's end: half-closing must pass the relay
    }
  }

  UniqueFd listener_;
  sys::Pipe wake_;
  std::jthread thread_;
};

std::string echo_through(const UniqueFd& network, Endpoint at, const std::string& data) {
  UniqueFd socket = checked(dial_in(network, at, std::chrono::steady_clock::now() + 3s));
  size_t sent = 0;
  while (sent < data.size()) {
    pollfd waiting{socket.get(), POLLOUT, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return "stuck";
    ssize_t size = ::send(socket.get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (size < 0) return errno_error(errno, "send").message();
    sent += static_cast<size_t>(size);
  }
  ::shutdown(socket.get(), SHUT_WR);
  std::string answer;
  for (;;) {
    pollfd waiting{socket.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return "stuck";
    Result<std::string> some = sys::read_some(socket, 1 << 16, "server");
    if (!some.ok()) return some.error().message();
    if (some.value().empty()) return answer;
    answer += some.value();
  }
}

struct RelayWorld {
  UniqueFd host = new_network(), node = new_network();
  std::unique_ptr<Relays> relays = checked(Relays::start(duplicate(host), duplicate(node)));
  static constexpr std::uint16_t kPort = 30080;
  Endpoint listen{ip("127.0.0.1"), kPort}, target{ip("127.0.0.1"), 80};

  RelaySpec tcp() const { return {Protocol::Tcp, listen, target}; }
};

TEST_CASE("a port of the host leads into the node") {
  if (skip_without_root()) return;
  RelayWorld world;
  NamedServer server(world.node, "node", 80);
  CHECK(world.relays->set({world.tcp()}).empty());
  CHECK(world.relays->set({world.tcp()}).empty());
  CHECK(ask(world.host, world.listen) == "node 127.0.0.1");
  CHECK(ask(world.node, world.listen).ends_with("Connection refused"));
  CHECK(world.relays->set({}).empty());
  CHECK(ask(world.host, world.listen).ends_with("Connection refused"));
}

TEST_CASE("large transfers and half-closed connections pass whole") {
  if (skip_without_root()) return;
  RelayWorld world;
  EchoServer server(world.node, 80);
  CHECK(world.relays->set({world.tcp()}).empty());
  std::string data(5 << 20, 'x');
  for (size_t i = 0; i < data.size(); i += 4096) data[i] = static_cast<char>(i >> 12);
  CHECK((echo_through(world.host, world.listen, data) == data));
  CHECK(echo_through(world.host, world.listen, "") == "");
}

TEST_CASE("a refusal in the node reaches the client as a reset") {
  if (skip_without_root()) return;
  RelayWorld world;
  CHECK(world.relays->set({world.tcp()}).empty());
  CHECK(ask(world.host, world.listen).find("reset") != std::string::npos);
}

TEST_CASE("a taken port is reported and tried again") {
  if (skip_without_root()) return;
  RelayWorld world;
  NamedServer server(world.node, "node", 80);
  RelaySpec second{Protocol::Tcp, {ip("127.0.0.1"), 30081}, world.target};
  {
    NamedServer squatter(world.host, "squatter", RelayWorld::kPort);
    std::vector<RelayFailure> failures = world.relays->set({world.tcp(), second});
    REQUIRE(failures.size() == 1);
    CHECK(failures[0].relay == world.tcp());
    CHECK(failures[0].error.sys_errno() == EADDRINUSE);
    CHECK(ask(world.host, second.listen) == "node 127.0.0.1");
    CHECK(ask(world.host, world.listen) == "squatter 127.0.0.1");
  }
  CHECK(world.relays->set({world.tcp(), second}).empty());
  CHECK(ask(world.host, world.listen) == "node 127.0.0.1");
}

TEST_CASE("UDP is relayed both ways") {
  if (skip_without_root()) return;
  RelayWorld world;
  NamedServer server(world.node, "node", 53, Protocol::Udp);
  RelaySpec udp{Protocol::Udp, world.listen, {ip("127.0.0.1"), 53}};
  CHECK(world.relays->set({udp, world.tcp()}).empty());
  for (int i = 0; i < 3; ++i) CHECK(ask_udp(world.host, world.listen) == "node 127.0.0.1");
}

TEST_CASE("many connections at once, by one thread") {
  if (skip_without_root()) return;
  RelayWorld world;
  UniqueFd listener =
      checked(sys::in_network(world.node, [&] { return open_listener(Protocol::Tcp, world.target); }));
  CHECK(world.relays->set({world.tcp()}).empty());
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 200; ++i)
    clients.push_back(checked(dial_in(world.host, world.listen, std::chrono::steady_clock::now() + 3s)));
  int accepted = 0;
  for (; accepted < 200; ++accepted) {
    pollfd waiting{listener.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) break;
    UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  CHECK(accepted == 200);
}

TEST_CASE("ports stay open while the node behind them changes") {
  if (skip_without_root()) return;
  RelayWorld world;
  UniqueFd other = new_network();
  NamedServer server(world.node, "node", 80), second(other, "other", 80), third(other, "third", 81);
  NamedServer udp_first(world.node, "node", 53, Protocol::Udp), udp_second(other, "other", 53, Protocol::Udp);
  RelaySpec udp{Protocol::Udp, world.listen, {ip("127.0.0.1"), 53}};
  CHECK(world.relays->set({world.tcp(), udp}).empty());
  CHECK(ask(world.host, world.listen) == "node 127.0.0.1");
  CHECK(ask_udp(world.host, world.listen) == "node 127.0.0.1");
  // A connection that stands goes on; the next one comes out elsewhere, and so does the next packet of UDP.
  UniqueFd listener = checked(sys::in_network(world.node, [] { return open_listener(Protocol::Tcp, {ip("127.0.0.1"), 82}); }));
  RelaySpec kept{Protocol::Tcp, {ip("127.0.0.1"), 30082}, {ip("127.0.0.1"), 82}};
  CHECK(world.relays->set({world.tcp(), udp, kept}).empty());
  UniqueFd standing = checked(dial_in(world.host, kept.listen, std::chrono::steady_clock::now() + 3s));
  pollfd made{listener.get(), POLLIN, 0};
  REQUIRE(::poll(&made, 1, 3000) == 1);
  UniqueFd inside(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  UniqueFd client = checked(sys::in_network(world.host, [] { return open_socket(Protocol::Udp, Family::V4); }));
  checked(connect_socket(client, world.listen));
  auto say = [&] {
    checked(sys::write_all(client, "?", "relay"));
    pollfd waiting{client.get(), POLLIN, 0};
    return ::poll(&waiting, 1, 3000) <= 0 ? "no answer" : checked(sys::read_some(client, 4096, "relay"));
  };
  CHECK(say() == "node 127.0.0.1");
  checked(world.relays->move_to(duplicate(other)));
  CHECK(ask(world.host, world.listen) == "other 127.0.0.1");
  CHECK(say() == "other 127.0.0.1");
  checked(sys::write_all(standing, "still here", "relay"));
  CHECK(checked(sys::read_some(inside, 4096, "relay")) == "still here");
  // Another target needs no other listener: whoever connects meanwhile is not refused.
  RelaySpec moved = world.tcp();
  moved.target.port = 81;
  CHECK(world.relays->set({moved, udp, kept}).empty());
  CHECK(ask(world.host, world.listen) == "third 127.0.0.1");
}

TEST_CASE("a relay may change families") {
  if (skip_without_root()) return;
  RelayWorld world;
  NamedServer server(world.node, "node", 80, Protocol::Tcp, Family::V6);
  RelaySpec from_v4{Protocol::Tcp, world.listen, {ip("::1"), 80}}, from_v6{Protocol::Tcp, {ip("::1"), 30080}, {ip("::1"), 80}};
  CHECK(world.relays->set({from_v4, from_v6}).empty());
  CHECK(ask(world.host, world.listen) == "node ::1");
  CHECK(ask(world.host, from_v6.listen) == "node ::1");
}

}  // namespace
}  // namespace skiff::net
