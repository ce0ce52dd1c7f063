#pragma once
// DNS packets (RFC 1035, 2782 SRV, 6891 EDNS0): what a query asks, and answers with compression. Names are
// text in lower case without the last dot; a dot or backslash inside a label is written \046 or \092, so that
// it can never be taken for another name.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "net/address.hpp"

namespace skiff::net {

/// Those this server knows; a question may have any number.
enum class DnsType : std::uint16_t {
  A = 1,
  Ns = 2,
  Cname = 5,
  Soa = 6,
  Ptr = 12,
  Txt = 16,
  Aaaa = 28,
  Srv = 33,
  Opt = 41,
  Any = 255
};
enum class DnsCode : std::uint8_t {
  NoError = 0,
  FormatError = 1,
  ServerFailure = 2,
  NameError = 3,
  NotImplemented = 4,
  Refused = 5
};

struct DnsQuery {
  std::uint16_t id = 0;
  bool recursion_desired = false;
  bool edns = false;
  std::uint16_t payload_size = 512;  // what the client can take over UDP
  std::string name;
  DnsType type{};
  std::string question;  // as it stood in the packet: answers repeat it, letter case included
};

/// BadRequest: no question can be made out; answer with FormatError if there is a header. NotImplemented
/// things (other opcodes and classes) are BadRequest too; see refusal().
Result<DnsQuery> parse_query(std::string_view packet);

/// The answer to a packet that parse_query refused; empty when it deserves none (an answer, or no header).
std::string refusal(std::string_view packet);

struct DnsTarget {  // CNAME, PTR, NS
  std::string name;
};
struct DnsService {  // SRV
  std::uint16_t priority = 0, weight = 0, port = 0;
  std::string target;
};
struct DnsAuthority {  // SOA
  std::string server, mailbox;
  std::uint32_t serial = 0, refresh = 7200, retry = 1800, expire = 86400, minimum = 5;
};
struct DnsText {  // TXT, one string of at most 255 bytes
  std::string text;
};

struct DnsRaw {  // another resolver's record of a type without names inside, as it came
  std::string bytes;
};

struct DnsRecord {
  std::string name;
  DnsType type{};
  std::uint32_t ttl = 5;
  std::variant<Address, DnsTarget, DnsService, DnsAuthority, DnsText, DnsRaw> data;
};

struct DnsAnswer {
  DnsCode code = DnsCode::NoError;
  bool authoritative = true;
  std::vector<DnsRecord> answers, authority, additional;
};

/// At most `limit` bytes: additional records are left out silently, missing others set the truncation bit.
std::string encode_answer(const DnsQuery& query, const DnsAnswer& answer, size_t limit);

/// What a cache must know of an upstream's answer. Invalid: it is broken, or no answer to `query`.
struct DnsResponseFacts {
  DnsCode code{};
  bool truncated = false;
  std::uint32_t ttl = 0;            // seconds it may be kept
  std::vector<size_t> ttl_offsets;  // where each record's TTL stands
};
Result<DnsResponseFacts> examine_response(const DnsQuery& query, std::string_view packet);

/// The answer section's A, AAAA and CNAME records; those that cannot be read are left out.
std::vector<DnsRecord> read_answers(std::string_view packet);

/// A query for `name`, to be sent to a resolver.
std::string encode_query(std::uint16_t id, const std::string& name, DnsType type);

}  // namespace skiff::net
