// What pods and clients of the ingress send: HTTP heads and bodies, DNS packets.

#include <sys/socket.h>

#include <vector>

#include "net/dns_message.hpp"
#include "net/http2_connection.hpp"
#include "net/http_body.hpp"
#include "net/http_rewrite.hpp"
#include "targets.hpp"

namespace skiff::fuzz {
namespace {

/// A request as the ingress reads it, passes it on, and a server behind would read it: both must see the same
/// message, or one could be smuggled in the other.
void ingress_request(std::string_view bytes) {
  net::HttpParsed<net::HttpRequestHead> parsed = net::parse_request_head(bytes);
  require(parsed.used <= bytes.size(), "a head is no longer than what was sent");
  if (!parsed.head) return;
  (void)net::normal_path(parsed.head->target);
  net::HttpForward forward;
  std::string passed = net::forwarded_request(*parsed.head, forward, {}, "id");
  net::HttpParsed<net::HttpRequestHead> again = net::parse_request_head(passed);
  require(passed.size() > 2 * net::kMaxHttpHead / 3 || again.head.has_value(),
          "what is passed on is a request");
  if (!again.head) return;
  require(again.used == passed.size(), "nothing follows the head");
  require(again.head->body.kind == parsed.head->body.kind, "the body ends in the same way");
  require(again.head->body.length == parsed.head->body.length, "the body is as long");
  require(again.head->method == parsed.head->method && again.head->host == parsed.head->host,
          "it asks for the same");
}

void ingress_answer(std::string_view bytes) {
  net::HttpParsed<net::HttpResponseHead> parsed = net::parse_response_head(bytes, false);
  if (!parsed.head) return;
  net::HttpRequestHead request;
  std::string passed = net::forwarded_answer(request, *parsed.head, {}, true);
  require(net::parse_response_head(passed, false).used == passed.size(), "nothing follows the head");
}

/// A chunked body does not care where reads end.
void chunked_body(std::string_view bytes) {
  std::string whole, pieces;
  net::HttpBodyReader at_once({net::HttpFraming::Kind::Chunked, 0}),
      in_pieces({net::HttpFraming::Kind::Chunked, 0});
  std::string in(bytes);
  at_once.take(in, whole);
  std::string held;
  for (char byte : bytes) {
    if (in_pieces.done() || in_pieces.broken()) break;
    held += byte;
    in_pieces.take(held, pieces);
  }
  require(at_once.done() == in_pieces.done(), "an end is an end");
  if (at_once.done()) require(whole == pieces && whole.size() == at_once.size(), "the data is the same");
}

void dns_query(std::string_view bytes) {
  Result<net::DnsQuery> query = net::parse_query(bytes);
  if (!query.ok()) {
    (void)net::refusal(bytes);
    return;
  }
  net::DnsAnswer answer;
  answer.answers.push_back({query.value().name, net::DnsType::A, 5, net::Address::v4(1)});
  std::string packet = net::encode_answer(query.value(), answer, 512);
  require(packet.size() <= 512, "an answer keeps to its limit");
  require(net::examine_response(query.value(), packet).ok(), "an answer answers its question");
  (void)net::read_answers(packet);
}

void dns_response(std::string_view bytes) {
  Result<net::DnsQuery> query = net::parse_query(net::encode_query(1, "example.org", net::DnsType::A));
  require(query.ok(), "our own queries are queries");
  (void)net::examine_response(query.value(), bytes);
  (void)net::read_answers(bytes);
}

/// What a client of HTTP/2 sends: each of its streams is at most one message of HTTP/1 to the rest of the proxy.
void http2(std::string_view bytes) {
  auto loop = EventLoop::create();
  int ends[2];
  require(loop.ok() && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0, "there is a loop and a peer");
  UniqueFd peer(ends[1]);
  std::vector<UniqueFd> streams;
  bool over = false;
  net::Http2Connection connection(*loop.value(), net::plain_channel(UniqueFd(ends[0])),
                                  [&](UniqueFd stream) { streams.push_back(std::move(stream)); }, [&] { over = true; });
  (void)connection.start(bytes);
  for (const UniqueFd& stream : streams) {
    char text[65536];
    ssize_t size = ::recv(stream.get(), text, sizeof text, MSG_DONTWAIT);
    if (size <= 0) continue;
    std::string_view message(text, static_cast<size_t>(size));
    net::HttpParsed<net::HttpRequestHead> head = net::parse_request_head(message);
    require(head.head.has_value() || head.refusal.has_value(), "a stream begins with a whole head");
    if (!head.head) continue;
    std::string rest(message.substr(head.used)), body;
    net::HttpBodyReader reader(head.head->body);
    reader.take(rest, body);
    require(rest.empty(), "nothing follows the message");
    require(!reader.broken(), "its body is framed as its head says");
  }
}

constexpr NamedTarget kTargets[] = {{"ingress_request", ingress_request},
                                    {"ingress_answer", ingress_answer},
                                    {"chunked_body", chunked_body},
                                    {"dns_query", dns_query},
                                    {"dns_response", dns_response},
                                    {"http2", http2}};

}  // namespace

std::span<const NamedTarget> network_targets() { return kTargets; }

}  // namespace skiff::fuzz
