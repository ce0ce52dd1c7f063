#include "net/http_body.hpp"

#include <algorithm>
#include <charconv>

namespace skiff::net {
namespace {

constexpr size_t kMaxSizeLine = 1024;  // extensions of a chunk are dropped
constexpr size_t kMaxTrailer = 16 << 10;
constexpr std::uint64_t kMaxChunk = std::uint64_t{1} << 48;

}  // namespace

void HttpBodyReader::take(std::string& in, std::string& out) {
  std::string_view left = in;
  while (state_ != State::Done && state_ != State::Broken && step(left, out)) {
  }
  in.erase(0, in.size() - left.size());
}

void HttpBodyReader::end() {
  if (state_ != State::Done)
    state_ = framing_.kind == HttpFraming::Kind::UntilClose ? State::Done : State::Broken;
}

bool HttpBodyReader::step(std::string_view& in, std::string& out) {
  switch (state_) {
    case State::Data:
      if (framing_.kind == HttpFraming::Kind::Chunked) return take_data(in, out, State::ChunkEnd);
      if (framing_.kind == HttpFraming::Kind::UntilClose) left_ = in.size();
      return take_data(in, out, framing_.kind == HttpFraming::Kind::Length ? State::Done : State::Data);
    case State::ChunkSize:
      return take_chunk_size(in);
    case State::ChunkEnd:
      if (in.size() < 2) return false;
      state_ = in.starts_with("\r\n") ? State::ChunkSize : State::Broken;
      in.remove_prefix(2);
      return true;
    case State::Trailer: {
      size_t end = in.find("\r\n");
      if (trailer_.size() + std::min(end, in.size()) > kMaxTrailer) state_ = State::Broken;
      if (end == std::string_view::npos) return false;
      if (state_ != State::Broken) trailer_.append(in.substr(0, end + 2));
      if (end == 0 && state_ != State::Broken) state_ = State::Done;
      in.remove_prefix(end + 2);
      return true;
    }
    case State::Done:
    case State::Broken:
      return false;
  }
  return false;
}

bool HttpBodyReader::take_data(std::string_view& in, std::string& out, State after) {
  auto size = static_cast<size_t>(std::min<std::uint64_t>(left_, in.size()));
  out.append(in.substr(0, size));
  in.remove_prefix(size);
  left_ -= size;
  size_ += size;
  if (left_ == 0 && (after != State::Data)) {
    state_ = after;
    return true;
  }
  return false;
}

bool HttpBodyReader::take_chunk_size(std::string_view& in) {
  size_t end = in.find('\n');
  if (end == std::string_view::npos) {
    if (in.size() > kMaxSizeLine) state_ = State::Broken;
    return false;
  }
  std::string_view line = in.substr(0, end);
  in.remove_prefix(end + 1);
  std::uint64_t size = 0;
  auto [stop, failure] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  // After the size comes the line's end, or an extension; "0x10" and "+5" have neither.
  std::string_view rest(stop, static_cast<size_t>(line.data() + line.size() - stop));
  bool ends = rest == "\r" || (rest.ends_with('\r') && (rest.front() == ';' || rest.front() == ' ') &&
                               rest.find('\r') == rest.size() - 1);
  if (failure != std::errc() || stop == line.data() || line.front() == '-' || !ends ||
      line.size() > kMaxSizeLine || size > kMaxChunk) {
    state_ = State::Broken;
    return false;
  }
  left_ = size;
  state_ = size == 0 ? State::Trailer : State::Data;
  return true;
}

std::string last_chunk(const HttpHeaders& trailers) {
  std::string out = "0\r\n";
  append_headers(out, trailers);
  return out + "\r\n";
}

void append_chunk(std::string& out, std::string_view data) {
  if (data.empty()) return;
  out += fmt::format("{:x}\r\n", data.size());
  out.append(data).append("\r\n");
}

}  // namespace skiff::net
