#include "net/dns_message.hpp"

#include <algorithm>
#include <optional>

namespace skiff::net {
namespace {

constexpr size_t kHeader = 12;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kResponse = 0x8000, kAuthoritative = 0x0400, kTruncated = 0x0200,
                        kRecursionDesired = 0x0100, kRecursionAvailable = 0x0080, kOpcode = 0x7800;
constexpr std::uint32_t kMaxTtl = 3600;

/// Reads a packet from left to right; past the end everything is zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view packet, size_t at = 0) : packet_(packet), at_(at) {}

  bool ok() const { return ok_; }
  size_t at() const { return at_; }
  std::uint8_t u8() {
    if (at_ >= packet_.size()) ok_ = false;
    return ok_ ? static_cast<std::uint8_t>(packet_[at_++]) : std::uint8_t{0};
  }
  std::uint16_t u16() {
    int high = u8();
    return static_cast<std::uint16_t>(high << 8 | u8());
  }
  std::uint32_t u32() {
    std::uint32_t high = u16();
    return high << 16 | u16();
  }
  void skip(size_t count) {
    if (count > packet_.size() - std::min(at_, packet_.size()))
      ok_ = false;
    else
      at_ += count;
  }

  /// A name, following pointers. Each pointer must lead further back than the last, so this ends.
  std::string name() {
    std::string text;
    size_t length = 0, back = at_;
    std::optional<size_t> resume;
    for (;;) {
      std::uint8_t size = u8();
      if (!ok_ || size == 0) break;
      if ((size & 0xC0) == 0xC0) {
        size_t target = static_cast<size_t>(size & 0x3F) << 8 | u8();
        if (!resume) resume = at_;
        if (!ok_ || target >= back || target < kHeader) return fail();
        back = at_ = target;
        continue;
      }
      length += size + 1U;
      if ((size & 0xC0) != 0 || length > 254) return fail();
      if (!text.empty()) text += '.';
      for (int i = 0; i < size; ++i) append(text, static_cast<char>(u8()));
    }
    if (resume) at_ = *resume;
    return ok_ ? text : "";
  }

 private:
  std::string fail() {
    ok_ = false;
    return "";
  }
  static void append(std::string& text, char c) {
    if (c == '.' || c == '\\')
      text += c == '.' ? "\\046" : "\\092";
    else
      text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }

  std::string_view packet_;
  size_t at_;
  bool ok_ = true;
};

struct Header {
  std::uint16_t id, flags, questions, answers, authority, additional;
};

Header read_header(Reader& reader) {
  Header header{};
  for (std::uint16_t* field :
       {&header.id, &header.flags, &header.questions, &header.answers, &header.authority, &header.additional})
    *field = reader.u16();
  return header;
}

struct RecordHead {
  std::string name;
  DnsType type;
  std::uint16_t record_class;
  size_t ttl_at;
  std::uint32_t ttl;
  std::uint16_t size;
};

RecordHead read_record_head(Reader& reader) {
  RecordHead head;
  head.name = reader.name();
  head.type = DnsType{reader.u16()};
  head.record_class = reader.u16();
  head.ttl_at = reader.at();
  head.ttl = reader.u32();
  head.size = reader.u16();
  return head;
}

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void u16(std::uint16_t value) {
    out_ += static_cast<char>(value >> 8);
    out_ += static_cast<char>(value & 255);
  }
  void u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    u16(static_cast<std::uint16_t>(value & 0xFFFF));
  }
  /// Remembers that `name`, which outlives this object, stands at `at`.
  void know(std::string_view name, size_t at) {
    if (at < 0x4000) known_.emplace_back(name, at);
  }
  void forget_from(size_t at) {
    std::erase_if(known_, [&](const auto& entry) { return entry.second >= at; });
  }

  /// Writes `name`, its tail as a pointer to where that stands already (SRV targets go without: RFC 2782).
  void name(std::string_view name, bool compress = true) {
    while (!name.empty()) {
      auto seen = std::find_if(known_.begin(), known_.end(), [&](const auto& entry) { return entry.first == name; });
      if (compress && seen != known_.end()) return u16(static_cast<std::uint16_t>(0xC000 | seen->second));
      if (known_.size() < kMostKnown) know(name, out_.size());
      std::string_view label = name.substr(0, name.find('.'));
      out_ += static_cast<char>(std::min<size_t>(label.size(), 63));
      out_ += label.substr(0, 63);
      name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    out_ += '\0';
  }

 private:
  static constexpr size_t kMostKnown = 64;  // names that come later stand in full where no tail of theirs is among these

  std::string& out_;
  std::vector<std::pair<std::string_view, size_t>> known_;
};

void write_data(Writer& writer, std::string& out, const DnsRecord& record) {
  if (auto* address = std::get_if<Address>(&record.data)) {
    out += address->bytes();
    return;
  }
  if (auto* target = std::get_if<DnsTarget>(&record.data)) return writer.name(target->name);
  if (auto* text = std::get_if<DnsText>(&record.data)) {
    out += static_cast<char>(std::min<size_t>(text->text.size(), 255));
    out += text->text.substr(0, 255);
    return;
  }
  if (auto* service = std::get_if<DnsService>(&record.data)) {
    for (std::uint16_t value : {service->priority, service->weight, service->port}) writer.u16(value);
    return writer.name(service->target, false);
  }
  if (auto* raw = std::get_if<DnsRaw>(&record.data)) {
    out += raw->bytes;
    return;
  }
  const DnsAuthority& soa = std::get<DnsAuthority>(record.data);
  writer.name(soa.server);
  writer.name(soa.mailbox);
  for (std::uint32_t value : {soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum}) writer.u32(value);
}

void write_record(Writer& writer, std::string& out, const DnsRecord& record) {
  writer.name(record.name);
  writer.u16(static_cast<std::uint16_t>(record.type));
  writer.u16(kClassIn);
  writer.u32(record.ttl);
  size_t size_at = out.size();
  writer.u16(0);
  write_data(writer, out, record);
  size_t size = out.size() - size_at - 2;
  out[size_at] = static_cast<char>(size >> 8);
  out[size_at + 1] = static_cast<char>(size & 255);
}

void set_u16(std::string& out, size_t at, std::uint16_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value & 255);
}

/// Writes what fits of one section; the number written.
std::uint16_t write_section(Writer& writer, std::string& out, const std::vector<DnsRecord>& records,
                            size_t limit) {
  std::uint16_t count = 0;
  for (const DnsRecord& record : records) {
    size_t start = out.size();
    write_record(writer, out, record);
    if (out.size() > limit) {
      out.resize(start);
      writer.forget_from(start);
      break;
    }
    ++count;
  }
  return count;
}

}  // namespace

Result<DnsQuery> parse_query(std::string_view packet) {
  Error broken = error(Code::BadRequest, "not a DNS query");
  Reader reader(packet);
  Header header = read_header(reader);
  if (!reader.ok() || (header.flags & (kResponse | kOpcode)) != 0 || header.questions != 1) return broken;
  DnsQuery query{.id = header.id, .recursion_desired = (header.flags & kRecursionDesired) != 0};
  query.name = reader.name();
  query.type = DnsType{reader.u16()};
  std::uint16_t question_class = reader.u16();
  if (!reader.ok() || question_class != kClassIn) return broken;
  query.question = packet.substr(kHeader, reader.at() - kHeader);
  for (int i = header.answers + header.authority + header.additional; i > 0; --i) {
    RecordHead head = read_record_head(reader);
    reader.skip(head.size);
    if (!reader.ok()) return broken;
    if (head.type != DnsType::Opt) continue;
    query.edns = true;
    query.payload_size = std::max<std::uint16_t>(head.record_class, 512);  // the class field holds the size
  }
  return query;
}

std::string refusal(std::string_view packet) {
  Reader reader(packet);
  Header header = read_header(reader);
  if (!reader.ok() || (header.flags & kResponse) != 0) return "";
  bool other_opcode = (header.flags & kOpcode) != 0;
  DnsCode code = other_opcode ? DnsCode::NotImplemented : DnsCode::FormatError;
  std::string out(packet.substr(0, 2));
  out.resize(kHeader, '\0');
  std::uint16_t kept = header.flags & (kOpcode | kRecursionDesired);
  set_u16(out, 2, static_cast<std::uint16_t>(kResponse | kept | static_cast<std::uint16_t>(code)));
  return out;
}

std::string encode_answer(const DnsQuery& query, const DnsAnswer& answer, size_t limit) {
  std::string out(kHeader, '\0');
  out += query.question;
  Writer writer(out);
  // Every tail of the question's name can be pointed to.
  size_t at = kHeader;
  if (query.name.find('\\') == std::string::npos)
    for (std::string_view rest = query.name; !rest.empty();) {
      writer.know(rest, at);
      size_t step = std::min(rest.find('.'), rest.size()) + 1;
      at += step;
      rest.remove_prefix(std::min(step, rest.size()));
    }
  constexpr size_t kOptSize = 11;
  size_t room = limit - (query.edns ? kOptSize : 0);
  std::uint16_t answers = write_section(writer, out, answer.answers, room);
  bool whole = answers == answer.answers.size();
  std::uint16_t authority = whole ? write_section(writer, out, answer.authority, room) : std::uint16_t{0};
  whole = whole && authority == answer.authority.size();
  std::uint16_t additional = whole ? write_section(writer, out, answer.additional, room) : std::uint16_t{0};
  if (query.edns) {
    out += '\0';
    writer.u16(static_cast<std::uint16_t>(DnsType::Opt));
    writer.u16(4096);
    writer.u32(0);
    writer.u16(0);
    ++additional;
  }
  std::uint16_t flags = kResponse | kRecursionAvailable | static_cast<std::uint16_t>(answer.code);
  if (query.recursion_desired) flags |= kRecursionDesired;
  if (answer.authoritative) flags |= kAuthoritative;
  if (!whole) flags |= kTruncated;
  const std::uint16_t header[] = {query.id, flags, 1, answers, authority, additional};
  for (size_t i = 0; i < std::size(header); ++i) set_u16(out, i * 2, header[i]);
  return out;
}

Result<DnsResponseFacts> examine_response(const DnsQuery& query, std::string_view packet) {
  Error broken = error(Code::Invalid, "broken DNS answer");
  Reader reader(packet);
  Header header = read_header(reader);
  if (!reader.ok() || (header.flags & kResponse) == 0 || header.id != query.id || header.questions != 1)
    return broken;
  if (reader.name() != query.name || DnsType{reader.u16()} != query.type || reader.u16() != kClassIn)
    return broken;
  DnsResponseFacts facts{.code = DnsCode{static_cast<std::uint8_t>(header.flags & 15)},
                         .truncated = (header.flags & kTruncated) != 0,
                         .ttl = kMaxTtl};
  int records = header.answers + header.authority + header.additional;
  bool negative = header.answers == 0, has_authority = false;
  for (int i = 0; i < records; ++i) {
    RecordHead head = read_record_head(reader);
    Reader data = reader;
    reader.skip(head.size);
    if (!reader.ok()) return broken;
    if (head.type == DnsType::Opt) continue;  // its TTL field holds flags
    facts.ttl_offsets.push_back(head.ttl_at);
    facts.ttl = std::min(facts.ttl, head.ttl);
    if (head.type != DnsType::Soa) continue;
    has_authority = true;
    (void)data.name();
    (void)data.name();
    data.skip(16);
    facts.ttl = std::min(facts.ttl, data.u32());  // RFC 2308: how long "there is none" holds
  }
  if (negative && !has_authority) facts.ttl = 0;
  return facts;
}

std::vector<DnsRecord> read_answers(std::string_view packet) {
  Reader reader(packet);
  Header header = read_header(reader);
  for (int i = 0; i < header.questions; ++i) {
    (void)reader.name();
    reader.skip(4);
  }
  std::vector<DnsRecord> records;
  for (int i = 0; i < header.answers; ++i) {
    RecordHead head = read_record_head(reader);
    Reader data = reader;
    reader.skip(head.size);
    if (!reader.ok()) break;
    DnsRecord record{.name = head.name, .type = head.type, .ttl = head.ttl};
    if (head.type == DnsType::A && head.size == 4)
      record.data = Address::from_bytes(packet.substr(data.at(), 4));
    else if (head.type == DnsType::Aaaa && head.size == 16)
      record.data = Address::from_bytes(packet.substr(data.at(), 16));
    else if (head.type == DnsType::Cname)
      record.data = DnsTarget{data.name()};
    else
      continue;
    records.push_back(std::move(record));
  }
  return records;
}

std::string encode_query(std::uint16_t id, const std::string& name, DnsType type) {
  std::string out;
  Writer writer(out);
  for (std::uint16_t field :
       {id, kRecursionDesired, std::uint16_t{1}, std::uint16_t{0}, std::uint16_t{0}, std::uint16_t{0}})
    writer.u16(field);
  writer.name(name, false);
  writer.u16(static_cast<std::uint16_t>(type));
  writer.u16(kClassIn);
  return out;
}

}  // namespace skiff::net
