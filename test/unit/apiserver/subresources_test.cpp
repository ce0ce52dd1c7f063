// What a pod's node answers through the API: logs, exec, port-forward, proxy.

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "apiserver/html_links.hpp"
#include "sys/files.hpp"
#include "unit/apiserver/test_api.hpp"
#include "unit/apiserver/test_server.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;
using test::CollectingSink;
using test::TestApi;

namespace {

const std::string kPod = "/api/v1/namespaces/default/pods/p";

/// A kubelet whose logs and connections a test decides.
struct FakeNode final : client::NodeAccess {
  Status logs(const client::ObjectKey&, const client::LogOptions& options,
              const std::function<bool(std::string_view)>& write, std::stop_token stop) override {
    seen = options;
    if (!fail.empty()) return Error(Code::BadRequest, fail);
    if (!write("one\n")) return ok();
    if (!options.follow) return ok();
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait(lock, stop, [] { return false; });
    return Error(Code::Canceled, "stopped");
  }
  Result<std::unique_ptr<client::ExecSession>> exec(const client::ObjectKey&,
                                                    const client::ExecOptions&) override {
    return Error(Code::Internal, "not in this test");
  }
  Result<std::unique_ptr<client::ExecSession>> attach(const client::ObjectKey&,
                                                      const client::ExecOptions&) override {
    return Error(Code::Internal, "not in this test");
  }
  Result<UniqueFd> dial_pod(const client::ObjectKey&, std::uint16_t port) override {
    dialled = port;
    if (served == 0) return Error(Code::Unavailable, "connection refused");
    return test::connect_to(served);
  }
  Result<UniqueFd> dial(const std::string&, std::uint16_t port) override { return dial_pod({}, port); }

  std::string fail;
  client::LogOptions seen;
  std::uint16_t dialled = 0;
  std::uint16_t served = 0;
};

struct PodApi : TestApi {
  std::shared_ptr<FakeNode> node = std::make_shared<FakeNode>();

  explicit PodApi(
      const std::string& containers = R"([{"name":"c","image":"x","ports":[{"containerPort":8080}]}])",
      bool bound = true) {
    nodes = [this](const std::string& name) { return name == "n" ? node : nullptr; };
    std::string pod = R"({"metadata":{"name":"p"},"spec":{"containers":)" + containers + "}}";
    REQUIRE(call("POST", "/api/v1/namespaces/default/pods", pod).status == 201);
    if (!bound) return;
    REQUIRE(
        call("POST", kPod + "/binding", R"({"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})")
            .status == 201);
    Request running =
        request("PATCH", kPod + "/status", R"({"status":{"phase":"Running","podIP":"10.0.0.9"}})");
    running.headers.erase("Content-Type");
    running.headers.emplace("Content-Type", "application/merge-patch+json");
    REQUIRE(call(running).status == 200);
  }
  std::string message(const std::string& target) { return json::parse(*call("GET", target).body)["message"]; }
};

/// Runs a reply that wants a thread of its own.
struct OnThread {
  explicit OnThread(Response response) {
    reply = std::get<StreamReply>(std::move(response));
    thread = std::jthread([this](std::stop_token stop) { reply.start(sink, stop); });
  }
  StreamReply reply;
  std::shared_ptr<CollectingSink> sink = std::make_shared<CollectingSink>();
  std::jthread thread;
};

}  // namespace

TEST_CASE("a log is asked of the pod's node with the client's options") {
  PodApi test;
  OnThread log(test.api.handle(TestApi::request(
      "GET", kPod + "/log?tailLines=5&previous=true&timestamps=1&sinceSeconds=60&limitBytes=100")));
  CHECK(log.reply.own_thread);
  CHECK(log.reply.content_type == "text/plain");
  CHECK(log.sink->wait_for("one\n") == "one\n");
  log.thread.join();
  CHECK(log.sink->closed());
  CHECK(test.node->seen.container == "c");
  CHECK(test.node->seen.tail_lines == 5);
  CHECK(test.node->seen.since_seconds == 60);
  CHECK(test.node->seen.limit_bytes == 100);
  CHECK(test.node->seen.previous);
  CHECK(test.node->seen.timestamps);
  CHECK_FALSE(test.node->seen.follow);
}

TEST_CASE("following ends when the reader leaves, however silent the log") {
  PodApi test;
  OnThread log(test.api.handle(TestApi::request("GET", kPod + "/log?follow=true")));
  log.sink->wait_for("one\n");
  log.sink->close();
  log.thread.join();  // hangs if following goes on
}

TEST_CASE("what the kubelet says instead of a log reaches the client as a Status") {
  PodApi test;
  test.node->fail = "previous terminated container \"c\" in pod \"p\" not found";
  OnThread log(test.api.handle(TestApi::request("GET", kPod + "/log?previous=true")));
  log.thread.join();
  json status = json::parse(log.sink->wait_for("}"));
  CHECK(status["code"] == 400);
  CHECK(status["message"] == test.node->fail);
}

TEST_CASE("requests for the streams of a pod are checked before they reach its node") {
  PodApi one;
  CHECK(one.message(kPod + "/log?container=x") == "container x is not valid for pod p");
  CHECK(one.message(kPod + "/log?tailLines=-1") ==
        "PodLogOptions \"\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0");
  CHECK(one.message(kPod + "/exec?stdout=true") == "you must specify at least 1 command for the container");
  CHECK(one.message(kPod + "/exec?command=sh") == "you must specify at least 1 of stdin, stdout, stderr");
  CHECK(one.call("GET", kPod + "/exec?command=sh&stdout=true").status == 400);  // no upgrade asked for
  CHECK(one.message("/api/v1/namespaces/default/pods/q/log") == "pods \"q\" not found");
  PodApi two(R"([{"name":"a","image":"x"},{"name":"b","image":"x"}])");
  CHECK(two.message(kPod + "/log") == "a container name must be specified for pod p, choose one of: [a b]");
  PodApi unbound(R"([{"name":"a","image":"x"}])", false);
  CHECK(unbound.message(kPod + "/log") == "pod p does not have a host assigned");
}

TEST_CASE("a proxied request reaches the pod and its answer comes back") {
  struct Row {
    const char *name, *answer, *want;
    int status;
  };
  auto row = GENERATE(values<Row>({
      {"plain", "HTTP/1.1 201 Created\r\nX-Pod: yes\r\nConnection: close\r\n\r\nhello", "hello", 201},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", 200},
      {"not http", "garbage\r\n\r\n", "error trying to reach service: malformed HTTP response", 503},
      {"silent", "", "error trying to reach service: EOF", 503},
      {"page", "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 27\r\n\r\n<a href=\"/x\">x</a><br><!--b",
       "<a href=\"/api/v1/namespaces/default/pods/p/proxy/x\">x</a><br><!--b", 200},
  }));
  DYNAMIC_SECTION(row.name) {
    PodApi test;
    UniqueFd listening = test::listening_socket();
    test.node->served = test::port_of(listening);
    std::string asked;
    std::jthread pod([&] {
      UniqueFd peer(::accept(listening.get(), nullptr, nullptr));
      while (asked.find("\r\n\r\n") == asked.npos) asked += sys::read_some(peer, 4096, "peer").value();
      test::must(sys::write_all(peer, row.answer, "peer").ok());
    });
    Request request = TestApi::request("GET", kPod + "/proxy/a/b?c=d");
    request.headers.emplace("X-Mine", "1");
    request.headers.emplace("Accept-Encoding", "gzip");
    request.headers.emplace("Host", "localhost:8001");
    OnThread proxied(test.api.handle(request));
    proxied.thread.join();
    pod.join();
    CHECK(proxied.sink->wait_for(row.want).find(row.want) != std::string::npos);
    CHECK(test.node->dialled == 8080);
    CHECK(asked.starts_with("GET /a/b?c=d HTTP/1.1\r\nHost: localhost:8001\r\nConnection: close\r\n"));
    CHECK(asked.find("X-Forwarded-Uri: /api/v1/namespaces/default/pods/p/proxy/a/b\r\n") != std::string::npos);
    CHECK(asked.find("Accept-Encoding") == std::string::npos);
    CHECK(asked.find("X-Mine: 1\r\n") != std::string::npos);
    CHECK(asked.find("secret") == std::string::npos);  // who asked is not the pod's business
  }
}

TEST_CASE("a proxied directory without its slash is redirected, other verbs are not") {
  PodApi test;
  Reply reply = test.call("GET", kPod + "/proxy?a=b");
  CHECK(reply.status == 301);
  CHECK(reply.headers.find("Location")->second == kPod + "/proxy/?a=b");
  for (const char* verb : {"OPTIONS", "POST", "DELETE", "PUT", "PATCH"})
    CHECK(std::holds_alternative<StreamReply>(test.api.handle(TestApi::request(verb, kPod + "/proxy"))));
  CHECK(test.call("OPTIONS", kPod + "/log").status == 405);
  CHECK(test.message("/api/v1/namespaces/default/pods/ftp:p:80/proxy/") == "invalid pod request \"ftp:p:80\"");
  CHECK(test.message("/api/v1/namespaces/default/services/https::80/proxy/") ==
        "invalid service request \"https::80\"");
}

TEST_CASE("links of proxied pages lead back through the proxy") {
  struct Row {
    const char *url, *want;
  };
  auto row = GENERATE(values<Row>({
      {"/x/y?z=/", "/p/proxy/x/y?z=/"},
      {"x/y", "x/y"},
      {"", ""},
      {"#top", "#top"},
      {"/p/proxy/x", "/p/proxy/x"},
      {"http://10.0.0.9:80/x", "/p/proxy/x"},
      {"http://me:8001/x", "http://me:8001/p/proxy/x"},
      {"//other/x", "//other/x"},
      {"https://example.com/x", "https://example.com/x"},
      {"mailto:a@b", "mailto:a@b"},
      {"http://10.0.0.9:80", "http://10.0.0.9:80"},
  }));
  CHECK(through_proxy(row.url, {"/p/proxy", "10.0.0.9:80", "me:8001"}) == row.want);
}

TEST_CASE("only attributes that are links are rewritten, however the page is cut") {
  struct Row {
    const char *page, *want;
  };
  auto row = GENERATE(values<Row>({
      {"<a href=/x>1</a>", "<a href=P/x>1</a>"},
      {"<A class='k' HREF = '/x'>", "<A class='k' HREF = 'P/x'>"},
      {"<img src=\"/a>b\" alt='/c'/>", "<img src=\"P/a>b\" alt='/c'/>"},
      {"<div href=/x>", "<div href=/x>"},
      {"<!-- <a href=/x> --><a href=/y>", "<!-- <a href=/x> --><a href=P/y>"},
      {"<script src=/s>if(a<b)'<a href=/x>'</script><a href=/y>", "<script src=P/s>if(a<b)'<a href=/x>'</script><a href=P/y>"},
      {"<style>a<b</STYLE ><a href=/y>", "<style>a<b</STYLE ><a href=P/y>"},
      {"a < b <", "a < b <"},
      {"<a href>", "<a href>"},
      {"<form action='/go' method=post>", "<form action='P/go' method=post>"},
  }));
  auto rewrite = [](std::string_view url) { return "P" + std::string(url); };
  std::string_view page = row.page;
  for (size_t cut = 0; cut <= page.size(); ++cut) {
    HtmlLinks links(rewrite);
    std::string out = links.feed(page.substr(0, cut));
    out += links.feed(page.substr(cut));
    CHECK(out + links.finish() == row.want);
  }
}

TEST_CASE("a proxy to what does not serve says so") {
  PodApi test;
  OnThread proxied(test.api.handle(TestApi::request("GET", kPod + "/proxy/")));
  proxied.thread.join();
  CHECK(json::parse(proxied.sink->wait_for("}"))["code"] == 503);
  CHECK(test.message("/api/v1/namespaces/default/services/s/proxy/") == "services \"s\" not found");
  CHECK(test.message("/api/v1/namespaces/default/pods/p:nope/proxy/") == "pod p has no port \"nope\"");
}
