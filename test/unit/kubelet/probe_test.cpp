// Probes over TLS and gRPC against servers of the test's own.

#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <thread>

#include "kubelet/grpc_check.hpp"
#include "kubelet/http_check.hpp"
#include "kubelet/probe_stream.hpp"

namespace skiff::kubelet {
namespace {

using namespace std::string_literals;

/// A server that has said everything before it is asked.
class Recording final : public ProbeStream {
 public:
  explicit Recording(std::string answer) : answer_(std::move(answer)) {}
  Status send(std::string_view data, TimePoint) override {
    sent += data;
    return ok();
  }
  Result<std::string> receive(TimePoint) override { return std::exchange(answer_, ""); }
  std::string sent;

 private:
  std::string answer_;
};

std::string frame(char type, char flags, char stream, const std::string& payload) {
  std::string head = "\0\0"s + static_cast<char>(payload.size()) + type + flags + "\0\0\0"s + stream;
  return head + payload;
}

std::string answer_with(const std::string& message, const std::string& status) {
  std::string settings = frame(4, 0, 0, "");
  std::string head = frame(1, 4, 1, "\x88\x0f\x10\x10" "application/grpc");  // :status 200, content-type
  std::string data = message.empty() ? "" : frame(0, 0, 1, "\0\0\0\0"s + static_cast<char>(message.size()) + message);
  std::string trailers = frame(1, 5, 1, "\0\x0b"s + "grpc-status" + static_cast<char>(status.size()) + status);
  return settings + head + data + trailers;
}

TimePoint soon() { return SystemClock().now() + 10s; }

/// Key and certificate that nobody signed but themselves.
struct SelfSigned {
  SelfSigned() {
    key = EVP_EC_gen("P-256");
    certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
  }
  ~SelfSigned() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  EVP_PKEY* key;
  X509* certificate;
};

/// Shakes hands, reads one piece, answers and ends.
void serve_tls(UniqueFd socket, const SelfSigned& self, const std::string& answer) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(context, self.certificate);
  SSL_CTX_use_PrivateKey(context, self.key);
  SSL* session = SSL_new(context);
  SSL_set_fd(session, socket.get());
  char request[1000];
  if (SSL_accept(session) == 1 && SSL_read(session, request, sizeof request) > 0) {
    SSL_write(session, answer.data(), static_cast<int>(answer.size()));
    SSL_shutdown(session);
  }
  SSL_free(session);
  SSL_CTX_free(context);
}

}  // namespace

TEST_CASE("a path that is a whole URL asks for that URL's path") {
  struct Row {
    const char *path, *asked;
  };
  for (const Row& row : {Row{"/healthz", "/healthz"}, Row{"http://my.server.com/register/", "/register/"},
                         Row{"http://my.server.com/a?b=c", "/a?b=c"}, Row{"https://my.server.com", "/"},
                         Row{"/go?to=http://x/y", "/go?to=http://x/y"}})
    CHECK(asked_path(row.path) == row.asked);
}

TEST_CASE("gRPC probes: what the health service says") {
  SECTION("serving") {
    Recording server(answer_with("\x08\x01", "0"));
    Result<HealthAnswer> answer = check_health(server, "10.0.0.1:5000", "db", soon());
    REQUIRE(answer.ok());
    CHECK(answer.value().grpc_status == 0);
    CHECK(answer.value().health == "SERVING");
    CHECK(server.sent.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    CHECK(server.sent.find("\x0a\x02" "db") != std::string::npos);  // HealthCheckRequest{service: "db"}
  }
  SECTION("not serving") {
    Recording server(answer_with("\x08\x02", "0"));
    CHECK(check_health(server, "10.0.0.1:5000", "", soon()).value().health == "NOT_SERVING");
  }
  SECTION("no such service") {
    Recording server(answer_with("", "12"));
    Result<HealthAnswer> answer = check_health(server, "10.0.0.1:5000", "", soon());
    REQUIRE(answer.ok());
    CHECK(answer.value().grpc_status == 12);
    CHECK(answer.value().health.empty());
  }
  SECTION("something else answers") {
    Recording server("HTTP/1.1 400 Bad Request\r\n\r\n");
    CHECK_FALSE(check_health(server, "10.0.0.1:5000", "", soon()).ok());
    Recording closed("");
    CHECK(check_health(closed, "10.0.0.1:5000", "", soon()).error().message() == "connection closed before the answer");
  }
}

TEST_CASE("HTTPS probes take any certificate, and no plain answer") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  UniqueFd ours(ends[0]), theirs(ends[1]);
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  SECTION("a certificate that nobody knows") {
    SelfSigned self;
    std::jthread server([&] { serve_tls(std::move(theirs), self, "HTTP/1.1 200 OK\r\n\r\nfine"); });
    Result<std::unique_ptr<ProbeStream>> stream = tls_stream(std::move(ours), soon());
    INFO((stream.ok() ? "" : stream.error().message()));
    REQUIRE(stream.ok());
    REQUIRE(stream.value()->send("GET / HTTP/1.1\r\n\r\n", soon()).ok());
    CHECK(stream.value()->receive(soon()).value() == "HTTP/1.1 200 OK\r\n\r\nfine");
    CHECK(stream.value()->receive(soon()).value().empty());
  }
  SECTION("no TLS") {
    REQUIRE(::send(theirs.get(), "HTTP/1.1 400 Bad\r\n\r\n", 20, 0) == 20);
    CHECK_FALSE(tls_stream(std::move(ours), soon()).ok());
  }
  SECTION("silence") {
    Result<std::unique_ptr<ProbeStream>> stream = tls_stream(std::move(ours), SystemClock().now() + 20ms);
    CHECK(stream.error().code() == Code::Timeout);
  }
}

}  // namespace skiff::kubelet
