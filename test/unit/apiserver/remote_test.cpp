#include "apiserver/remote.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "apiserver/connection.hpp"
#include "sys/files.hpp"
#include "unit/apiserver/spdy_client.hpp"
#include "unit/apiserver/test_server.hpp"
#include "unit/apiserver/websocket_client.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using test::client_frame;
using test::SpdyClient;

namespace {

struct SocketPair {
  SocketPair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) std::abort();
    ours = UniqueFd(fds[0]);
    theirs = UniqueFd(fds[1]);
    timeval limit{10, 0};
    ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  UniqueFd ours, theirs;
};

Request upgrade_request(const std::string& to, const std::string& protocols) {
  Request request;
  request.method = "GET";
  request.headers.emplace("Connection", "Upgrade");
  request.headers.emplace("Upgrade", to);
  if (to == "websocket") {
    request.headers.emplace("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.headers.emplace("Sec-WebSocket-Version", "13");
    if (!protocols.empty()) request.headers.emplace("Sec-WebSocket-Protocol", protocols);
  } else {
    request.headers.emplace("X-Stream-Protocol-Version", protocols);
  }
  return request;
}

/// Runs an upgrade on a thread of its own and plays its client.
class Session {
 public:
  explicit Session(Response response, std::string early = "")
      : reply_(std::get<UpgradeReply>(std::move(response))) {
    thread_ = std::jthread([this, early](std::stop_token stop) {
      auto connection = Connection::plain(std::move(pair_.theirs), "");
      reply_.run(*connection, early, stop);
    });
  }
  void send(std::string_view data) { REQUIRE(sys::write_all(pair_.ours, data, "session").ok()); }
  bool read_more() {
    char buffer[4096];
    ssize_t got = ::recv(pair_.ours.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    bytes.append(buffer, static_cast<size_t>(got));
    return true;
  }
  test::ServerFrame frame() {
    while (true) {
      if (auto frame = test::take_server_frame(bytes)) return *frame;
      if (!read_more()) return {};
    }
  }
  test::SpdyFrame spdy_frame() {
    while (true) {
      if (auto frame = test::take_spdy_frame(bytes)) return *frame;
      if (!read_more()) return {};
    }
  }
  void hang_up() { pair_.ours.reset(); }
  std::string bytes;

 private:
  UpgradeReply reply_;
  SocketPair pair_;
  std::jthread thread_;
};

/// A "process" that copies its stdin to stdout in upper case, says "oops" on stderr, and exits with `code`.
StartProcess shouting(int code) {
  return [code](std::stop_token) -> Result<RemoteProcess> {
    RemoteProcess process;
    TRY_ASSIGN(sys::Pipe in, sys::make_pipe());
    TRY_ASSIGN(sys::Pipe out, sys::make_pipe());
    TRY_ASSIGN(sys::Pipe err, sys::make_pipe());
    process.input = std::move(in.write);
    process.output = std::move(out.read);
    process.error = std::move(err.read);
    auto body = [in = std::move(in.read), out = std::move(out.write), err = std::move(err.write)]() mutable {
      while (true) {
        std::string got = sys::read_some(in, 4096, "stdin").value();
        if (got.empty()) break;
        for (char& c : got) c = static_cast<char>(std::toupper(c));
        if (!sys::write_all(out, got, "stdout").ok()) return;
      }
      test::must(sys::write_all(err, "oops", "stderr").ok());
      out.reset();
      err.reset();
    };
    auto thread = std::make_shared<std::jthread>(std::move(body));
    process.wait = [thread, code](std::stop_token) -> Result<int> {
      thread->join();
      return code;
    };
    return process;
  };
}

constexpr RemoteOptions kAll{.input = true, .output = true, .error = true, .terminal = false};
const char* const kFailure =
    R"({"details":{"causes":[{"message":"3","reason":"ExitCode"}]},)"
    R"("message":"command terminated with non-zero exit code: error executing command [sh], exit code 3",)"
    R"("metadata":{},"reason":"NonZeroExitCode","status":"Failure"})";
const char* const kSuccess = R"({"metadata":{},"status":"Success"})";

}  // namespace

TEST_CASE("upgrades are agreed on as Kubernetes does") {
  struct Row {
    std::string to, offered, want;
  };
  auto row = GENERATE(values<Row>({
      {"websocket", "v5.channel.k8s.io, v4.channel.k8s.io", "v5.channel.k8s.io"},
      {"websocket", "v9.channel.k8s.io,v4.base64.channel.k8s.io", "v4.base64.channel.k8s.io"},
      {"websocket", "", ""},
      {"SPDY/3.1", "v4.channel.k8s.io,v3.channel.k8s.io", "v4.channel.k8s.io"},
      {"SPDY/3.1", "channel.k8s.io", "channel.k8s.io"},
  }));
  Response response = remote_command(upgrade_request(row.to, row.offered), kAll, "[sh]", shouting(0));
  REQUIRE(std::holds_alternative<UpgradeReply>(response));
  const Headers& headers = std::get<UpgradeReply>(response).headers;
  CHECK(headers.find("Upgrade")->second == row.to);
  auto chosen = headers.find(row.to == "websocket" ? "Sec-WebSocket-Protocol" : "X-Stream-Protocol-Version");
  CHECK((chosen == headers.end() ? "" : chosen->second) == row.want);
}

TEST_CASE("requests that cannot be upgraded are told why") {
  Request plain;
  CHECK(std::get<Reply>(remote_command(plain, kAll, "", shouting(0))).status == 400);
  CHECK(std::get<Reply>(remote_command(upgrade_request("h2c", ""), kAll, "", shouting(0))).status == 400);
  CHECK(std::get<Reply>(remote_command(upgrade_request("websocket", "x"), kAll, "", shouting(0))).status ==
        403);
  CHECK(std::get<Reply>(remote_command(upgrade_request("SPDY/3.1", "x"), kAll, "", shouting(0))).status ==
        403);
  CHECK(std::get<Reply>(port_forward(upgrade_request("websocket", "v4.channel.k8s.io"), "", {})).status ==
        403);
}

TEST_CASE("WebSocket exec carries stdin, stdout, stderr and the exit code") {
  Session session(
      remote_command(upgrade_request("websocket", "v5.channel.k8s.io"), kAll, "[sh]", shouting(3)),
      client_frame(0x82, std::string("\0he", 3)));
  CHECK(session.frame().payload == std::string("\1", 1));  // "the connection stands"
  session.send(client_frame(0x82, std::string("\0llo", 4)));
  session.send(client_frame(0x82, "\xff" + std::string(1, '\0')));  // end of stdin
  std::string out, err, status;
  for (test::ServerFrame frame = session.frame(); frame.first == 0x82; frame = session.frame()) {
    std::string& channel = frame.payload[0] == 1 ? out : frame.payload[0] == 2 ? err : status;
    channel += frame.payload.substr(1);
  }
  CHECK(out == "HELLO");
  CHECK(err == "oops");
  CHECK(status == kFailure);
}

TEST_CASE("base64 channels say the same in text") {
  StartProcess start = [](std::stop_token) -> Result<RemoteProcess> {
    TRY_ASSIGN(sys::Pipe out, sys::make_pipe());
    TRY(sys::write_all(out.write, "hi", "stdout"));
    RemoteProcess process;
    process.output = std::move(out.read);
    return process;
  };
  Session session(
      remote_command(upgrade_request("websocket", "base64.channel.k8s.io"), {.output = true}, "", start));
  CHECK(session.frame().payload == "1");
  test::ServerFrame frame = session.frame();
  CHECK(frame.first == 0x81);
  CHECK(frame.payload == "1aGk=");
  CHECK(session.frame().first == 0x88);  // the old protocol has no word for success
}

TEST_CASE("SPDY exec carries stdin, stdout, stderr and the exit code") {
  int code = GENERATE(0, 3);
  SpdyClient client;
  Session session(
      remote_command(upgrade_request("SPDY/3.1", "v4.channel.k8s.io"), kAll, "[sh]", shouting(code)));
  session.send(client.open(1, {{"streamtype", "error"}}));
  session.send(client.open(3, {{"streamtype", "stdin"}}));
  CHECK(session.spdy_frame().type == 2);
  session.send(client.open(5, {{"streamtype", "stdout"}}));
  session.send(client.open(7, {{"streamtype", "stderr"}}));
  session.send(client.data(3, "hello") + client.data(3, "", true));
  std::map<std::uint32_t, std::string> got;
  std::set<std::uint32_t> ended;
  while (ended.size() < 4) {
    test::SpdyFrame frame = session.spdy_frame();
    if (frame.control) continue;
    if (frame.stream == 0 && frame.body.empty()) break;
    got[frame.stream] += frame.body;
    if (frame.flags == 1) ended.insert(frame.stream);
  }
  CHECK(got[5] == "HELLO");
  CHECK(got[7] == "oops");
  CHECK(got[1] == (code == 0 ? kSuccess : kFailure));
  CHECK(ended == std::set<std::uint32_t>{1, 3, 5, 7});
}

TEST_CASE("large output reaches a slow reader whole") {
  constexpr size_t kSize = 8 << 20;
  auto writer = std::make_shared<std::jthread>();
  StartProcess start = [writer](std::stop_token) -> Result<RemoteProcess> {
    TRY_ASSIGN(sys::Pipe out, sys::make_pipe());
    *writer = std::jthread([end = std::move(out.write)] {
      std::string block(1 << 16, 'x');
      for (size_t sent = 0; sent < kSize; sent += block.size())
        if (!sys::write_all(end, block, "stdout").ok()) return;
    });
    RemoteProcess process;
    process.output = std::move(out.read);
    return process;
  };
  Session session(
      remote_command(upgrade_request("websocket", "v4.channel.k8s.io"), {.output = true}, "", start));
  size_t total = 0;
  std::string status;
  for (test::ServerFrame frame = session.frame(); frame.first == 0x82; frame = session.frame()) {
    if (frame.payload[0] == 1) total += frame.payload.size() - 1;
    if (frame.payload[0] == 3) status = frame.payload.substr(1);
  }
  CHECK(total == kSize);
  CHECK(status == kSuccess);
}

TEST_CASE("a process that cannot start is reported on the status channel") {
  StartProcess start = [](std::stop_token) -> Result<RemoteProcess> {
    return error(Code::NotFound, "exec: \"nosuch\": executable file not found in $PATH");
  };
  Session session(remote_command(upgrade_request("websocket", "v4.channel.k8s.io"), kAll, "[nosuch]", start));
  session.frame();
  std::string status = session.frame().payload;
  CHECK(status[0] == 3);
  CHECK(status.find("executable file not found in $PATH") != std::string::npos);
  CHECK(status.find(R"("reason":"InternalError")") != std::string::npos);
}

TEST_CASE("the process loses its streams when the client hangs up") {
  auto input = std::make_shared<UniqueFd>();
  auto output = std::make_shared<UniqueFd>();
  std::promise<void> started;
  StartProcess start = [input, output, &started](std::stop_token) -> Result<RemoteProcess> {
    TRY_ASSIGN(sys::Pipe in, sys::make_pipe());
    TRY_ASSIGN(sys::Pipe out, sys::make_pipe());
    *input = std::move(in.read);
    *output = std::move(out.write);
    RemoteProcess process;
    process.input = std::move(in.write);
    process.output = std::move(out.read);
    started.set_value();
    return process;
  };
  Session session(remote_command(upgrade_request("websocket", "v4.channel.k8s.io"), kAll, "[sh]", start));
  session.send(client_frame(0x82, std::string("\0x", 2)));
  started.get_future().wait();
  CHECK(sys::read_some(*input, 10, "stdin").value() == "x");
  session.hang_up();
  CHECK(sys::read_some(*input, 10, "stdin").value().empty());
  // Its next write would fail with EPIPE: the read end is closed.
  pollfd broken{output->get(), POLLOUT, 0};
  REQUIRE(::poll(&broken, 1, 10'000) == 1);
  CHECK((broken.revents & POLLERR) != 0);
}

TEST_CASE("terminal sizes are read from whole documents only") {
  std::string text = R"({"Width":80,"Height":24}{"Width":100,"Hei)";
  std::optional<TerminalSize> size = parse_resize(text);
  REQUIRE(size.has_value());
  CHECK(size->columns == 80);
  CHECK(size->rows == 24);
  CHECK(text == R"({"Width":100,"Hei)");
  text += R"(ght":99999999}garbage}{"Width":-1}[])";
  size = parse_resize(text);
  REQUIRE(size.has_value());
  CHECK(size->columns == 0);
}

TEST_CASE("port-forward joins stream pairs with connections, plain and in a WebSocket tunnel") {
  bool tunnel = GENERATE(false, true);
  UniqueFd listening = test::listening_socket();
  std::uint16_t open_port = test::port_of(listening);
  std::jthread service([&listening] {
    UniqueFd peer(::accept(listening.get(), nullptr, nullptr));
    std::string all;
    for (std::string got = sys::read_some(peer, 100, "peer").value(); !got.empty();
         got = sys::read_some(peer, 100, "peer").value())
      all += got;
    test::must(sys::write_all(peer, "got " + all, "peer").ok());
  });
  DialPort dial = [](std::uint16_t port) -> Result<UniqueFd> {
    if (port == 1) return error(Code::Unavailable, "connect: connection refused");
    return test::connect_to(port);
  };
  Request request = tunnel ? upgrade_request("websocket", "SPDY/3.1+portforward.k8s.io")
                           : upgrade_request("SPDY/3.1", "portforward.k8s.io");
  SpdyClient client;
  Session session(port_forward(request, "default/web", dial));
  auto wrap = [tunnel](const std::string& bytes) { return tunnel ? client_frame(0x82, bytes) : bytes; };
  auto open_pair = [&](std::uint32_t id, std::uint16_t port, const std::string& request_id) {
    std::string number = std::to_string(port);
    session.send(
        wrap(client.open(id, {{"streamtype", "error"}, {"port", number}, {"requestid", request_id}})));
    session.send(wrap(client.data(id, "", true)));
    session.send(
        wrap(client.open(id + 2, {{"streamtype", "data"}, {"port", number}, {"requestid", request_id}})));
  };
  open_pair(1, open_port, "0");
  open_pair(5, 1, "1");
  session.send(wrap(client.data(3, "hello") + client.data(3, "", true)));
  std::map<std::uint32_t, std::string> got;
  std::set<std::uint32_t> ended;
  std::string inner;
  while (ended.size() < 4) {
    std::optional<test::SpdyFrame> frame;
    if (!tunnel) {
      frame = session.spdy_frame();
      if (!frame->control && frame->stream == 0) break;
    } else {
      while (!(frame = test::take_spdy_frame(inner))) {
        test::ServerFrame outer = session.frame();
        REQUIRE(outer.first == 0x82);
        inner += outer.payload;
      }
    }
    if (frame->control) continue;
    got[frame->stream] += frame->body;
    if (frame->flags == 1) ended.insert(frame->stream);
  }
  CHECK(got[3] == "got hello");
  CHECK(got[1].empty());
  CHECK(got[5] == "error forwarding port 1 to pod default/web: connect: connection refused");
  CHECK(ended == std::set<std::uint32_t>{1, 3, 5, 7});
}
