#pragma once
// Bodies of HTTP/1 messages as they arrive, and as they are passed on.

#include <string>
#include <string_view>

#include "net/http_head.hpp"

namespace skiff::net {

/// Takes a body's bytes out of a stream. What is passed on is framed anew, so nothing but data crosses.
class HttpBodyReader {
 public:
  explicit HttpBodyReader(HttpFraming framing) : framing_(framing), left_(framing.length) {
    if (framing.kind == HttpFraming::Kind::None) state_ = State::Done;
  }

  /// Removes from `in` what belongs to the body and appends its data to `out`.
  void take(std::string& in, std::string& out);
  /// The stream ended.
  void end();

  bool done() const { return state_ == State::Done; }
  bool broken() const { return state_ == State::Broken; }
  /// What came after a chunked body, once it is done; fields that say how a message is to be read are left out.
  HttpHeaders trailers() const { return trailer_headers(trailer_); }
  /// How much data there was so far.
  std::uint64_t size() const { return size_; }

 private:
  enum class State : std::uint8_t { Data, ChunkSize, ChunkEnd, Trailer, Done, Broken };
  /// False: more bytes are needed.
  bool step(std::string_view& in, std::string& out);
  bool take_data(std::string_view& in, std::string& out, State after);
  bool take_chunk_size(std::string_view& in);

  HttpFraming framing_;
  State state_ = framing_.kind == HttpFraming::Kind::Chunked ? State::ChunkSize : State::Data;
  std::uint64_t left_;  // of the body, or of the chunk
  std::uint64_t size_ = 0;
  std::string trailer_;  // lines as they came
};

/// Appends `data` as one chunk; nothing for no data (which would end the body).
void append_chunk(std::string& out, std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
/// The same with trailers.
std::string last_chunk(const HttpHeaders& trailers);

}  // namespace skiff::net
