#include "apiserver/listener.hpp"

#include <httplib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <latch>
#include <thread>

#include "unit/apiserver/temporary_directory.hpp"
#include "unit/apiserver/test_server.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using test::TestServer;
using test::TlsClient;

namespace {

Reply text(std::string body, int status = 200) {
  return {status, "text/plain", {}, std::make_shared<std::string>(std::move(body))};
}

Response echo(const Request& request) {
  if (request.path == "/large") return text(std::string(5'000'000, 'x'));
  std::string who = request.peer.identity ? request.peer.identity->user : "nobody";
  if (request.peer.identity)
    for (const std::string& group : request.peer.identity->groups) who += "," + group;
  return text(request.method + " " + request.path + " " + who + " " + request.peer.rejection + request.body);
}

size_t threads_of_this_process() {
  auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

const std::string kGet = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

/// Hands out every sink it makes.
struct Streams {
  Handler handler() {
    return [this](const Request& request) -> Response {
      if (request.path != "/watch") return echo(request);
      StreamReply reply;
      reply.start = [this](std::shared_ptr<StreamSink> sink, std::stop_token) {
        std::lock_guard lock(mutex);
        sinks.push_back(std::move(sink));
        changed.notify_all();
      };
      if (request.parameter("limit") == "1") reply.limit = 10ms;
      return reply;
    };
  }
  std::vector<std::shared_ptr<StreamSink>> wait_for(size_t count) {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 10s, [&] { return sinks.size() >= count; }));
    return sinks;
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<StreamSink>> sinks;
};

const std::string kWatch = "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n";
Chunk chunk(std::string bytes) { return std::make_shared<std::string>(std::move(bytes)); }

}  // namespace

TEST_CASE("an ordinary HTTPS client is served and its authority checked") {
  TestServer server(echo);
  test::TemporaryDirectory directory;
  REQUIRE(sys::replace_file(directory.path() + "/ca.crt", server.authority.certificate).ok());
  httplib::SSLClient client("127.0.0.1", server.port);
  client.set_ca_cert_path((directory.path() + "/ca.crt").c_str());
  client.enable_server_certificate_verification(true);
  client.set_keep_alive(true);
  for (int i = 0; i < 3; ++i) {
    auto answer = client.Post("/a/b", "!body", "text/plain");
    REQUIRE(answer);
    CHECK(answer->body == "POST /a/b nobody !body");
  }
  CHECK(server.listener->stats().connections == 1);
  auto large = client.Get("/large");
  REQUIRE(large);
  CHECK(large->body.size() == 5'000'000);
  auto head = client.Head("/large");
  REQUIRE(head);
  CHECK(head->get_header_value("Content-Length") == "5000000");
  CHECK(client.Get("/after")->body == "GET /after nobody ");
}

TEST_CASE("client certificates become identities, bad ones a reason") {
  TestServer server(echo);
  TestServer other(echo);
  CertificatePair good = server.client_certificate("alice", {"dev", "ops"});
  CertificatePair foreign = other.client_certificate("mallory", {"system:masters"});
  CertificatePair expired =
      issue_client(server.authority, "bob", {}, {SystemClock().wall_now() - 48h, 1h}).value();
  struct Row {
    const char* name;
    const CertificatePair* certificate;
    const char* body;
  };
  auto row = GENERATE_REF(values<Row>({
      {"none", nullptr, "GET /x nobody "},
      {"good", &good, "GET /x alice,dev,ops "},
      {"foreign", &foreign, "GET /x nobody x509: "},
      {"expired", &expired, "GET /x nobody x509: certificate has expired"},
  }));
  DYNAMIC_SECTION(row.name) {
    TlsClient client(server.port, row.certificate);
    REQUIRE(client.send(kGet));
    CHECK(client.read_until(row.body).find(row.body) != std::string::npos);
  }
}

TEST_CASE("TLS 1.2 and 1.3 are spoken, HTTP/2 is not offered") {
  TestServer server(echo);
  int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  UniqueFd fd = test::connect_to(server.port);
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>("\x02h2\x08http/1.1"), 12);
  SslPtr ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd.get());
  REQUIRE(SSL_connect(ssl.get()) == 1);
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl.get(), &protocol, &size);
  CHECK(std::string(reinterpret_cast<const char*>(protocol), size) == "http/1.1");
}

TEST_CASE("pipelined requests are answered in order") {
  TestServer server(echo);
  TlsClient client(server.port);
  REQUIRE(client.send(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n!"
      "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  CHECK(client.at_end());
  size_t first = client.received.find("GET /1"), second = client.received.find("POST /2 nobody !"),
         third = client.received.find("GET /3");
  CHECK(first < second);
  CHECK(second < third);
  CHECK(third != std::string::npos);
}

TEST_CASE("a body over the limit is refused before it is sent, and while it is sent") {
  TestServer server(echo);
  bool send_it = GENERATE(false, true);
  TlsClient client(server.port);
  REQUIRE(client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n"));
  if (send_it) CHECK(client.send(std::string(4'000'000, 'x')));
  CHECK(client.read_until("limit is 3145728").find("HTTP/1.1 413 ") == 0);
}

TEST_CASE("slow and silent clients are closed, each by its own limit") {
  ListenerSettings settings;
  settings.handshake_timeout = 50ms;
  settings.request_timeout = 50ms;
  settings.idle_timeout = 50ms;
  TestServer server(echo, settings);
  SECTION("no handshake") {
    UniqueFd fd = test::connect_to(server.port);
    char byte = 0;
    CHECK(::recv(fd.get(), &byte, 1, 0) == 0);
  }
  SECTION("idle after the handshake") {
    TlsClient client(server.port);
    CHECK(client.at_end());
  }
  SECTION("half a request") {
    TlsClient client(server.port);
    REQUIRE(client.send("GET /x HTT"));
    CHECK(client.at_end());
  }
  SECTION("half a body") {
    TlsClient client(server.port);
    REQUIRE(client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"));
    CHECK(client.at_end());
  }
  CHECK(server.listener->stats().workers <= 3);
}

TEST_CASE("connections above the limit are dropped, those below go on") {
  ListenerSettings settings;
  settings.max_connections = 2;
  TestServer server(echo, settings);
  TlsClient one(server.port), two(server.port), three(server.port);
  CHECK(one.connected());
  CHECK(two.connected());
  CHECK_FALSE(three.connected());
  REQUIRE(two.send(kGet));
  CHECK(two.read_until("nobody").find("GET /x") != std::string::npos);
}

TEST_CASE("workers grow with the requests that run at once, up to the limit") {
  std::latch entered(8);
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  ListenerSettings settings;
  settings.max_workers = 8;
  TestServer server(
      [&](const Request&) -> Response {
        entered.count_down();
        released.wait();
        return text("done");
      },
      settings);
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<TlsClient>(server.port));
    REQUIRE(clients.back()->send(kGet));
  }
  entered.wait();  // hangs, and the test times out, if fewer than eight run at once
  CHECK(server.listener->stats().workers == 8);
  release.set_value();
  for (auto& client : clients) CHECK(client->read_until("done").find("200 OK") != std::string::npos);
}

TEST_CASE("five hundred idle streams cost no thread, and short requests pass them by") {
  constexpr size_t kCount = 500;
  Streams streams;
  ListenerSettings settings;
  settings.max_workers = 4;
  size_t threads = threads_of_this_process();
  TestServer server(streams.handler(), settings);
  std::vector<std::unique_ptr<TlsClient>> clients;
  while (clients.size() < kCount) {
    clients.push_back(std::make_unique<TlsClient>(server.port));
    REQUIRE(clients.back()->send(kWatch));
  }
  std::vector<std::shared_ptr<StreamSink>> sinks = streams.wait_for(kCount);
  CHECK(threads_of_this_process() <= threads + settings.max_workers + 1);
  CHECK(server.listener->stats().streams == kCount);
  TlsClient short_one(server.port);
  REQUIRE(short_one.send(kGet));
  CHECK(short_one.read_until("nobody").find("GET /x") != std::string::npos);
  Chunk event = chunk("{\"type\":\"ADDED\"}\n");  // one event, shared by all
  for (const auto& sink : sinks) REQUIRE(sink->write(event));
  for (const auto& client : clients)
    CHECK(client->read_until("ADDED\"}\n\r\n").find("\r\n\r\n11\r\n{\"type\"") != std::string::npos);
}

TEST_CASE("a stream that ends cleanly gives its connection back") {
  Streams streams;
  TestServer server(streams.handler());
  TlsClient client(server.port);
  bool pipelined = GENERATE(false, true);
  REQUIRE(client.send(pipelined ? kWatch + kGet : kWatch));
  std::shared_ptr<StreamSink> sink = streams.wait_for(1)[0];
  CHECK(sink->write({chunk("on"), chunk("e")}));
  client.read_until("3\r\none\r\n");
  CHECK(sink->write(chunk("two")));
  sink->close();
  CHECK_FALSE(sink->write(chunk("three")));
  if (!pipelined) {
    CHECK(client.read_until("0\r\n\r\n").find("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") != std::string::npos);
    REQUIRE(client.send(kGet));
  }
  CHECK(client.read_until("GET /x nobody").find("three") == std::string::npos);
  CHECK(client.received.find("GET /x nobody") != std::string::npos);
}

TEST_CASE("a stream with a limit ends by itself") {
  Streams streams;
  TestServer server(streams.handler());
  TlsClient client(server.port);
  REQUIRE(client.send("GET /watch?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  CHECK(client.read_until("0\r\n\r\n").ends_with("\r\n\r\n0\r\n\r\n"));
}

TEST_CASE("the producer learns at once that its client has gone") {
  Streams streams;
  TestServer server(streams.handler());
  auto client = std::make_unique<TlsClient>(server.port);
  REQUIRE(client->send(kWatch));
  std::shared_ptr<StreamSink> sink = streams.wait_for(1)[0];
  std::promise<void> gone;
  sink->on_closed([&gone] { gone.set_value(); });
  client.reset();
  REQUIRE(gone.get_future().wait_for(10s) == std::future_status::ready);
  CHECK_FALSE(sink->write(chunk("late")));
  bool told = false;
  sink->on_closed([&told] { told = true; });
  CHECK(told);
}

TEST_CASE("a client that does not read is cut off at the buffer's limit, the others are not") {
  ListenerSettings settings;
  settings.stream_buffer_bytes = 1 << 20;
  Streams streams;
  TestServer server(streams.handler(), settings);
  TlsClient slow(server.port);
  REQUIRE(slow.send(kWatch));
  std::shared_ptr<StreamSink> stuck = streams.wait_for(1)[0];
  TlsClient quick(server.port);
  REQUIRE(quick.send(kWatch));
  std::shared_ptr<StreamSink> lively = streams.wait_for(2)[1];
  std::promise<void> gone;
  stuck->on_closed([&gone] { gone.set_value(); });
  Chunk block = chunk(std::string(1 << 16, 'x'));
  int writes = 0;
  while (stuck->write(block)) REQUIRE(++writes < 10'000);
  CHECK(gone.get_future().wait_for(10s) == std::future_status::ready);
  REQUIRE(lively->write(chunk("still here")));
  CHECK(quick.read_until("still here").find("still here") != std::string::npos);
}

TEST_CASE("a producer on a thread of its own can wait for its client") {
  constexpr size_t kTotal = 8 << 20;
  TestServer server([](const Request&) -> Response {
    StreamReply reply;
    reply.own_thread = true;
    reply.start = [](std::shared_ptr<StreamSink> sink, std::stop_token stop) {
      Chunk block = chunk(std::string(1 << 16, 'x'));
      for (size_t sent = 0; sent < kTotal; sent += block->size())
        if (!sink->wait_below(1 << 17, stop) || !sink->write(block)) return;
      sink->close();
    };
    return reply;
  });
  TlsClient client(server.port);
  REQUIRE(client.send(kWatch));
  const std::string& all = client.read_until("0\r\n\r\n");
  CHECK(static_cast<size_t>(std::ranges::count(all, 'x')) == kTotal);
}

TEST_CASE("until its first bytes a reply with a late head can become another answer") {
  bool fails = GENERATE(false, true);
  TestServer server([fails](const Request& request) -> Response {
    if (request.path != "/watch") return echo(request);
    StreamReply reply;
    reply.own_thread = true;
    reply.late_head = true;
    reply.start = [fails](std::shared_ptr<StreamSink> sink, std::stop_token) {
      if (!fails) sink->write(chunk("line"));
      sink->answer(text("no such log", 404));  // too late once something was written
      sink->close();
    };
    return reply;
  });
  TlsClient client(server.port);
  REQUIRE(client.send(kWatch + kGet));
  const std::string& all = client.read_until("GET /x nobody");
  CHECK(all.starts_with(fails ? "HTTP/1.1 404 Not Found\r\n" : "HTTP/1.1 200 OK\r\n"));
  CHECK(all.find(fails ? "\r\n\r\nno such logHTTP/1.1 200" : "4\r\nline\r\n0\r\n\r\nHTTP/1.1 200") !=
        std::string::npos);
}

TEST_CASE("an upgraded connection belongs to its session") {
  TestServer server([](const Request&) -> Response {
    UpgradeReply reply;
    reply.headers.emplace("Upgrade", "echo");
    reply.run = [](Connection& connection, std::string early, std::stop_token) {
      connection.write("<" + early + ">");
    };
    return reply;
  });
  TlsClient client(server.port);
  REQUIRE(client.send(kGet + "early"));
  CHECK(client.at_end());
  CHECK(client.received.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n"));
  CHECK(client.received.ends_with("\r\n\r\n<early>"));
}

TEST_CASE("stopping ends streams cleanly and joins every thread") {
  size_t before = threads_of_this_process();
  Streams streams;
  std::atomic<bool> session_stopped = false;
  auto server = std::make_unique<TestServer>([&](const Request& request) -> Response {
    if (request.path != "/session") return streams.handler()(request);
    UpgradeReply reply;
    reply.run = [&](Connection&, std::string, std::stop_token stop) {
      std::mutex mutex;
      std::condition_variable_any stopped;
      std::unique_lock lock(mutex);
      session_stopped = !stopped.wait_for(lock, stop, 10s, [] { return false; }) && stop.stop_requested();
    };
    return reply;
  });
  TlsClient watcher(server->port), session(server->port), idle(server->port);
  REQUIRE(watcher.send(kWatch));
  streams.wait_for(1)[0]->write(chunk("last words"));
  REQUIRE(session.send("GET /session HTTP/1.1\r\nHost: h\r\n\r\n"));
  session.read_until("101");
  server->listener->stop();
  CHECK(watcher.at_end());
  CHECK(watcher.received.ends_with("last words\r\n0\r\n\r\n"));
  CHECK(session_stopped);
  server->listener.reset();
  CHECK(idle.at_end());
  server.reset();
  CHECK(threads_of_this_process() == before);
}

TEST_CASE("a socket can be taken back while its connections live on") {
  TestServer server(echo);
  TlsClient client(server.port);
  REQUIRE(client.connected());
  server.listener->unlisten(server.socket_id);
  CHECK_FALSE(test::connect_to(server.port));
  REQUIRE(client.send(kGet));
  CHECK(client.read_until("nobody").find("GET /x") != std::string::npos);
}
