#include "net/http_proxy.hpp"

#include "net/http2_connection.hpp"

#include <list>

#include "world.hpp"

namespace skiff::net {
namespace {

/// Reads until `end` is in it, the other side is done, or nothing comes for three seconds.
std::string read_until(int fd, const std::string& end) {
  std::string got;
  char buffer[65536];
  while (end.empty() || got.find(end) == std::string::npos) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return got + "<nothing more>";
    ssize_t size = ::recv(fd, buffer, sizeof buffer, 0);
    if (size <= 0) return got;
    got.append(buffer, static_cast<size_t>(size));
  }
  return got;
}

/// A server behind the proxy: answers by path, every connection on a thread of its own.
class Server {
 public:
  Server(const UniqueFd& network, std::uint16_t port)
      : listener_(checked(sys::in_network(network,
                                          [&] {
                                            return open_listener(Protocol::Tcp, {ip("127.0.0.1"), port});
                                          }))),
        wake_(checked(sys::make_pipe())),
        thread_([this] { run(); }) {}
  ~Server() { wake_.write.reset(); }
  int connections() const { return connections_; }

 private:
  void run() {
    for (;;) {
      pollfd waiting[] = {{listener_.get(), POLLIN, 0}, {wake_.read.get(), POLLIN, 0}};
      ::poll(waiting, 2, -1);
      if (waiting[1].revents != 0) return;
      UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      ++connections_;
      threads_.emplace_back([this, socket = std::move(client)] { serve(socket.get()); });
    }
  }
  void wait_for_pair() {
    int seen = ++pair_;
    for (pair_.notify_all(); seen < 2; seen = pair_) pair_.wait(seen);
  }
  static void say(int fd, const std::string& text) {
    (void)::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  }
  void serve(int fd) {
    bool paired = false;
    for (std::string in;;) {
      while (in.find("\r\n\r\n") == std::string::npos) {
        std::string more = read_until(fd, "\r\n\r\n");
        if (more.empty() || more.ends_with("<nothing more>")) return;
        in += more;
      }
      auto parsed = parse_request_head(in);
      if (!parsed.head) return say(fd, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
      // A connection of a pair has one answer in it.
      if (paired) return;
      paired = parsed.head->target == "/pair";
      if (paired) wait_for_pair();
      std::string head = in.substr(0, parsed.used);
      in.erase(0, parsed.used);
      size_t size = parsed.head->body.length;
      std::string body;
      if (parsed.head->body.kind == HttpFraming::Kind::Chunked) {
        while (in.find("0\r\n\r\n") == std::string::npos) in += read_until(fd, "0\r\n\r\n");
        body.swap(in);
      } else {
        for (char buffer[65536]; in.size() < size;) {
          ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
          if (got <= 0) return;
          in.append(buffer, static_cast<size_t>(got));
        }
        body = in.substr(0, size);
        in.erase(0, size);
      }
      if (!answer(fd, parsed.head->target, head, body)) return;
    }
  }
  static bool answer(int fd, const std::string& target, const std::string& head, const std::string& body) {
    if (target == "/trailers")
      return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 7\r\n"
                     "Content-Length: 9\r\n\r\n"), true;
    if (target == "/chunked")
      return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), true;
    if (target == "/close") return say(fd, "HTTP/1.0 200 OK\r\n\r\nuntil the end"), false;
    if (target == "/cut") return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), false;
    if (target == "/nonsense") return say(fd, "220 smtp\r\n\r\n"), false;
    if (target == "/silent") return false;
    if (target == "/size") {
      std::string text = std::to_string(body.size());
      return say(fd, fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", text.size(), text)), true;
    }
    if (target == "/upgrade") {
      say(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n");
      std::string word = read_until(fd, "\n");
      for (char& c : word) c = static_cast<char>(::toupper(c));
      return say(fd, word), false;
    }
    std::string echo = head + body;
    return say(fd, fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", echo.size(), echo)), true;
  }

  UniqueFd listener_;
  sys::Pipe wake_;
  std::atomic<int> connections_{0}, pair_{0};
  std::list<std::jthread> threads_;
  std::jthread thread_;
};

/// Everything leads to the given servers; but for what the path says.
class Routes final : public HttpRoutes {
 public:
  explicit Routes(std::vector<Endpoint> servers) : backends_(backends(std::move(servers), false)) {}
  static std::shared_ptr<const HttpBackends> backends(std::vector<Endpoint> servers, bool http2) {
    auto made = std::make_shared<HttpBackends>();
    made->endpoints = std::move(servers);
    made->http2 = http2;
    return made;
  }
  HttpDecision decide(const HttpQuestion& question) const override {
    if (question.path == "/none") return HttpAnswer{};
    HttpForward forward;
    // What comes by "front" goes through the proxy once more, over HTTP/2.
    forward.backends = question.listener == "front" ? backends({{ip("127.0.0.1"), 80}}, true) : backends_;
    if (question.path == "/mirrored") forward.mirrors = {backends({{ip("127.0.0.1"), 8081}}, false)};
    forward.max_body = question.path == "/small" ? 10 : 0;
    forward.answer_timeout = 10s;
    return forward;
  }
  std::shared_ptr<const TlsCertificate> certificate(const std::string&, const std::string&) const override {
    return nullptr;
  }

 private:
  std::shared_ptr<const HttpBackends> backends_;
};

struct Proxied {
  UniqueFd network = new_network();
  Server server{network, 8080};
  SeededRandom random{7};
  std::unique_ptr<HttpProxy> proxy;

  explicit Proxied(std::vector<std::uint16_t> ports = {8080}, const HttpLimits& limits = {})
      : proxy(checked(HttpProxy::start(duplicate(network), random, limits))) {
    checked(proxy->add_network("here", network));
    std::vector<Endpoint> servers;
    for (std::uint16_t port : ports) servers.push_back({ip("127.0.0.1"), port});
    proxy->set_routes(std::make_shared<Routes>(servers));
    REQUIRE(proxy->set_listeners({{"here", {ip("127.0.0.1"), 80}, false, "test"}}).empty());
  }
  UniqueFd connect() {
    return checked(dial_in(network, {ip("127.0.0.1"), 80}, std::chrono::steady_clock::now() + 3s));
  }
  std::string ask(const std::string& bytes, const std::string& end = "") {
    UniqueFd socket = connect();
    send(socket, bytes);
    return read_until(socket.get(), end);
  }
  static void send(const UniqueFd& socket, std::string_view bytes) {
    while (!bytes.empty()) {
      pollfd waiting{socket.get(), POLLOUT, 0};
      if (::poll(&waiting, 1, 3000) <= 0) return;
      ssize_t size = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size < 0) return;
      bytes.remove_prefix(static_cast<size_t>(size));
    }
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
const std::string kClose = "Host: example.com\r\nConnection: close\r\n";

TEST_CASE("requests are passed on with who asked, and nothing of the client's connection") {
  if (skip_without_root()) return;
  Proxied proxied;
  std::string got =
      proxied.ask("GET /x?y=z HTTP/1.1\r\n" + kClose +
                  "X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 6.6.6.6\r\nKeep-Alive: 5\r\nX-Own: kept\r\n"
                  "Connection: x-secret\r\nX-Secret: dropped\r\n\r\n");
  CHECK(got.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(has(got, "GET /x?y=z HTTP/1.1\r\nHost: example.com\r\n"));
  for (const char* part :
       {"X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: 127.0.0.1\r\n", "X-Forwarded-Host: example.com\r\n",
        "X-Forwarded-Proto: http\r\n", "X-Forwarded-Port: 80\r\n", "X-Own: kept\r\n",
        "X-Original-Forwarded-For: 1.2.3.4\r\n", "X-Request-ID: "})
    CHECK(has(got, part));
  for (const char* part : {"6.6.6.6", "Keep-Alive", "dropped"}) CHECK_FALSE(has(got, part));
}

TEST_CASE("one connection, many requests, and one connection behind") {
  if (skip_without_root()) return;
  Proxied proxied;
  UniqueFd socket = proxied.connect();
  for (int i = 0; i < 5; ++i) {
    Proxied::send(socket, "GET /size HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(read_until(socket.get(), "\r\n\r\n0").starts_with("HTTP/1.1 200 OK"));
  }
  // All at once as well.
  Proxied::send(socket,
                "GET /size HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n"
                "GET /size HTTP/1.1\r\n" +
                    kClose + "\r\n");
  std::string got = read_until(socket.get(), "");
  CHECK(has(got, "404 Not Found"));
  CHECK(got.ends_with("\r\n\r\n0"));
  CHECK(proxied.server.connections() == 1);
}

TEST_CASE("bodies both ways") {
  if (skip_without_root()) return;
  Proxied proxied;
  CHECK(has(proxied.ask("GET /chunked HTTP/1.1\r\n" + kClose + "\r\n"), "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  CHECK(proxied.ask("GET /chunked HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nhello"));
  CHECK(has(proxied.ask("GET /close HTTP/1.1\r\n" + kClose + "\r\n"), "d\r\nuntil the end\r\n0\r\n\r\n"));
  CHECK(proxied.ask("HEAD /x HTTP/1.1\r\n" + kClose + "\r\n").ends_with("\r\n\r\n"));
  std::string chunked = proxied.ask("POST /x HTTP/1.1\r\n" + kClose +
                                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  CHECK(has(chunked, "Transfer-Encoding: chunked\r\n"));
  CHECK(has(chunked, "3\r\nabc\r\n0\r\n\r\n"));
  std::string continued = proxied.ask("POST /size HTTP/1.1\r\n" + kClose +
                                      "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
  CHECK(continued.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"));
  std::string large(20 << 20, 'x');
  CHECK(proxied
            .ask(fmt::format("PUT /size HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}", kClose, large.size(),
                             large))
            .ends_with("\r\n\r\n20971520"));
}

TEST_CASE("a request is tried at another server when the first cannot be reached") {
  if (skip_without_root()) return;
  Proxied proxied({1, 8080, 2});
  for (int i = 0; i < 9; ++i) {
    CHECK(has(proxied.ask("GET /size HTTP/1.1\r\n" + kClose + "\r\n"), "200 OK"));
    CHECK(has(proxied.ask("POST /size HTTP/1.1\r\n" + kClose + "Content-Length: 1\r\n\r\nx"), "200 OK"));
  }
}

TEST_CASE("connections that turn out to be gone fail no request") {
  if (skip_without_root()) return;
  Proxied proxied;
  // Two at once, so that two connections wait afterwards; the server closes both when they are used again.
  UniqueFd one = proxied.connect(), two = proxied.connect();
  for (const UniqueFd* socket : {&one, &two})
    Proxied::send(*socket, "GET /pair HTTP/1.1\r\n" + kClose + "\r\n");
  for (const UniqueFd* socket : {&one, &two}) CHECK(has(read_until(socket->get(), ""), "200 OK"));
  CHECK(proxied.server.connections() == 2);
  CHECK(has(proxied.ask("GET /size HTTP/1.1\r\n" + kClose + "\r\n"), "200 OK"));
}

TEST_CASE("what goes wrong has its status") {
  if (skip_without_root()) return;
  auto status = [](Proxied& proxied, const std::string& bytes) { return proxied.ask(bytes).substr(0, 12); };
  {
    Proxied none(std::vector<std::uint16_t>{}), dead({1});
    CHECK(status(none, "GET / HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 503");
    CHECK(status(dead, "GET / HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 502");
  }
  Proxied proxied;
  CHECK(status(proxied, "GET /none HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 404");
  CHECK(status(proxied, "GET /nonsense HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 502");
  CHECK(status(proxied, "GET /silent HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 502");
  CHECK(status(proxied, "POST /small HTTP/1.1\r\n" + kClose + "Content-Length: 11\r\n\r\n") ==
        "HTTP/1.1 413");
  CHECK(status(proxied, "POST /small HTTP/1.1\r\n" + kClose +
                            "Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n") ==
        "HTTP/1.1 413");
  CHECK(status(proxied, "POST /x HTTP/1.1\r\n" + kClose + "Transfer-Encoding: chunked\r\n\r\nzz\r\n") ==
        "HTTP/1.1 400");
  CHECK(status(proxied, "GET /.. HTTP/1.1\r\n" + kClose + "\r\n") == "HTTP/1.1 400");
  // Half an answer is never passed off as a whole one.
  std::string cut = proxied.ask("GET /cut HTTP/1.1\r\n" + kClose + "\r\n");
  CHECK((has(cut, "Content-Length: 100") && cut.ends_with("half")));
}

TEST_CASE("smuggled requests reach nobody") {
  if (skip_without_root()) return;
  Proxied proxied;
  for (const char* headers :
       {"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "Content-Length: 0\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 6\r\n", "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n"}) {
    std::string got = proxied.ask(fmt::format(
        "POST /x HTTP/1.1\r\nHost: a\r\n{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", headers));
    CHECK((got.starts_with("HTTP/1.1 400") || got.starts_with("HTTP/1.1 501")));
    CHECK(has(got, "Connection: close"));
    CHECK_FALSE(has(got, "smuggled"));
  }
  CHECK(proxied.server.connections() == 0);
}

TEST_CASE("another protocol takes over where both sides agree") {
  if (skip_without_root()) return;
  Proxied proxied;
  UniqueFd socket = proxied.connect();
  Proxied::send(socket, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
  std::string head = read_until(socket.get(), "\r\n\r\n");
  CHECK(has(head, "101 Switching Protocols"));
  CHECK(has(head, "Upgrade: shout"));
  Proxied::send(socket, "hello\n");
  CHECK(read_until(socket.get(), "") == "HELLO\n");
}

TEST_CASE("a taken port is said, a closed one refuses") {
  if (skip_without_root()) return;
  Proxied proxied;
  UniqueFd taken = checked(sys::in_network(proxied.network, [&] {
    return open_listener(Protocol::Tcp, {ip("127.0.0.1"), 81});
  }));
  auto failures = proxied.proxy->set_listeners({{"here", {ip("127.0.0.1"), 81}, false, "test"}});
  REQUIRE(failures.size() == 1);
  CHECK(failures[0].error.sys_errno() == EADDRINUSE);
  CHECK(ask(proxied.network, {ip("127.0.0.1"), 80}).ends_with("Connection refused"));
}

TEST_CASE("what comes after a body is passed to who asked for it, but for what frames messages") {
  if (skip_without_root()) return;
  Proxied proxied;
  CHECK(proxied.ask("GET /trailers HTTP/1.1\r\nTE: trailers\r\n" + kClose + "\r\n")
            .ends_with("\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 7\r\n\r\n"));
  CHECK(proxied.ask("GET /trailers HTTP/1.1\r\n" + kClose + "\r\n").ends_with("5\r\nhello\r\n0\r\n\r\n"));
}

TEST_CASE("HTTP/2 to clients and to servers") {
  if (skip_without_root()) return;
  Proxied proxied;
  const Endpoint front{ip("127.0.0.1"), 81};
  REQUIRE(proxied.proxy->set_listeners({{"here", {ip("127.0.0.1"), 80}, false, "test"}, {"here", front, false, "front"}}).empty());
  auto ask_front = [&](const std::string& bytes) {
    UniqueFd socket = checked(dial_in(proxied.network, front, std::chrono::steady_clock::now() + 3s));
    std::jthread writer([&] { Proxied::send(socket, bytes); });
    return read_until(socket.get(), "");
  };
  std::string got = ask_front("GET /x?y=z HTTP/1.1\r\n" + kClose + "X-Own: kept\r\nCookie: a=1\r\n\r\n");
  CHECK(got.starts_with("HTTP/1.1 200 "));
  for (const char* part : {"GET /x?y=z HTTP/1.1\r\n", "Host: example.com\r\n", "x-own: kept\r\n", "cookie: a=1\r\n"}) {
    INFO(got);
    CHECK(has(got, part));
  }
  CHECK(has(ask_front("GET /chunked HTTP/1.1\r\n" + kClose + "\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
  CHECK(ask_front("GET /trailers HTTP/1.1\r\nTE: trailers\r\n" + kClose + "\r\n")
            .ends_with("5\r\nhello\r\n0\r\ngrpc-status: 7\r\n\r\n"));
  CHECK(ask_front("HEAD /x HTTP/1.1\r\n" + kClose + "\r\n").ends_with("\r\n\r\n"));
  CHECK(has(ask_front("GET /none HTTP/1.1\r\n" + kClose + "\r\n"), "404 Not Found"));
  CHECK(has(ask_front("POST /x HTTP/1.1\r\n" + kClose + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"));
  // More than any window, both ways.
  std::string large(5 << 20, 'x');
  CHECK(ask_front(fmt::format("PUT /size HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}", kClose, large.size(), large))
            .ends_with("\r\n\r\n5242880"));
  std::string echoed = ask_front(fmt::format("PUT /echo HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}", kClose, large.size(), large));
  CHECK(echoed.size() > large.size());
  CHECK((echoed.ends_with(large)));
  // Half an answer is never passed off as a whole one, nor is none.
  std::string cut = ask_front("GET /cut HTTP/1.1\r\n" + kClose + "\r\n");
  CHECK_FALSE(has(cut, "0\r\n\r\n"));
  CHECK(has(ask_front("GET /nonsense HTTP/1.1\r\n" + kClose + "\r\n"), "502"));
}

TEST_CASE("a mirror gets every byte, and its answer goes nowhere") {
  if (skip_without_root()) return;
  Proxied proxied;
  const std::string kBody = "POST /mirrored HTTP/1.1\r\n" + kClose + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  // Nobody is there: the client does not notice.
  CHECK(has(proxied.ask(kBody), "abc"));
  UniqueFd listener = checked(sys::in_network(proxied.network, [] { return open_listener(Protocol::Tcp, {ip("127.0.0.1"), 8081}); }));
  CHECK(proxied.ask(kBody).starts_with("HTTP/1.1 200 OK"));
  pollfd waiting{listener.get(), POLLIN, 0};
  REQUIRE(::poll(&waiting, 1, 3000) == 1);
  UniqueFd mirror(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::string copy = read_until(mirror.get(), "0\r\n\r\n");
  CHECK(copy.starts_with("POST /mirrored HTTP/1.1\r\n"));
  CHECK(copy.ends_with("3\r\nabc\r\n0\r\n\r\n"));
}

TEST_CASE("a head that comes byte by byte is not waited for") {
  if (skip_without_root()) return;
  Proxied proxied({8080}, {.head_patience = 100ms});
  UniqueFd slow = proxied.connect();
  Proxied::send(slow, "GET / HTTP/1.1\r\nHost:");
  CHECK(read_until(slow.get(), "").starts_with("HTTP/1.1 408"));
  std::string endless = "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(kMaxHttpHead, 'x');
  CHECK(proxied.ask(endless).starts_with("HTTP/1.1 431"));
  // A client of HTTP/2 that opens no stream, and one that never says the rest of its preface.
  UniqueFd half = proxied.connect();
  Proxied::send(half, kHttp2Preface.substr(0, 10));
  CHECK(has(read_until(half.get(), ""), "408"));
}

TEST_CASE("there are never more clients than are allowed: idle ones make room") {
  if (skip_without_root()) return;
  Proxied proxied({8080}, {.connections = 4});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(proxied.connect());
    Proxied::send(clients.back(), "GET /size HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(has(read_until(clients.back().get(), "\r\n\r\n0"), "200 OK"));
  }
  int open = 0;
  for (const UniqueFd& client : clients) {
    char byte;
    open += ::recv(client.get(), &byte, 1, MSG_DONTWAIT) < 0 ? 1 : 0;
  }
  CHECK(open == 4);
}

TEST_CASE("frames that are not HTTP/2 end the connection, requests in it are checked as all are") {
  if (skip_without_root()) return;
  Proxied proxied;
  UniqueFd socket = proxied.connect();
  Proxied::send(socket, std::string(kHttp2Preface) + "this is no frame of HTTP/2 at all, however long it may be");
  std::string goodbye = read_until(socket.get(), "");
  CHECK_FALSE(has(goodbye, "<nothing more>"));
  CHECK(proxied.server.connections() == 0);
}

}  // namespace
}  // namespace skiff::net
