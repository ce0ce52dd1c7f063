#include "apiserver/wire.hpp"

#include <sys/eventfd.h>

#include <array>

namespace skiff::apiserver {

namespace {
constexpr size_t kReadSize = 16U << 10;

int milliseconds(std::optional<Duration> timeout) {
  if (!timeout) return -1;
  return static_cast<int>(
      std::clamp<long long>(std::chrono::ceil<std::chrono::milliseconds>(*timeout).count(), 0, 1 << 30));
}
}  // namespace

Wire::Wire(Connection& connection, std::string early, UniqueFd wake, std::stop_token stop)
    : connection_(connection),
      early_(std::move(early)),
      wake_(std::move(wake)),
      stop_(stop),
      on_stop_(std::move(stop), [fd = wake_.get()] {
        std::uint64_t one = 1;
        [[maybe_unused]] ssize_t written = ::write(fd, &one, sizeof one);
      }) {}

Result<std::unique_ptr<Wire>> Wire::create(Connection& connection, std::string early, std::stop_token stop) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error(errno, "eventfd");
  return std::unique_ptr<Wire>(new Wire(connection, std::move(early), std::move(wake), std::move(stop)));
}

// False: the connection is gone.
bool Wire::write_some(std::string& output) {
  size_t sent = 0;
  Connection::Transfer put;
  while (sent < output.size() && put.progress == Connection::Progress::Done) {
    put = connection_.write(std::string_view(output).substr(sent));
    if (put.progress == Connection::Progress::Done) sent += put.bytes;
  }
  output.erase(0, sent);
  return put.progress != Connection::Progress::Closed;
}

void Wire::read_some(Round& round) {
  if (!early_.empty()) round.received = std::exchange(early_, {});
  std::array<char, kReadSize> buffer;
  while (round.received.size() < kSessionBuffer) {
    Connection::Transfer got = connection_.read(buffer.data(), buffer.size());
    round.closed = got.progress == Connection::Progress::Closed;
    if (got.progress != Connection::Progress::Done) return;
    round.received.append(buffer.data(), got.bytes);
  }
}

Wire::Round Wire::wait(std::vector<pollfd>& others, std::string& output, bool reading,
                       std::optional<Duration> timeout) {
  Round round;
  size_t before = output.size();
  if (!write_some(output)) {
    round.closed = true;
    return round;
  }
  // TLS may hold data that poll does not see, so reading comes before waiting.
  if (reading) read_some(round);
  bool ready = round.closed || !round.received.empty();
  // With less to write the caller may want to wait for more than it did: it is asked again before we block.
  bool progress = output.size() < before;
  short interest = 0;
  if (reading) interest |= POLLIN;
  if (!output.empty()) interest |= POLLOUT;
  size_t count = others.size();
  others.push_back({wake_.get(), POLLIN, 0});
  others.push_back({connection_.fd(), interest, 0});
  ::poll(others.data(), others.size(), ready || progress ? 0 : milliseconds(timeout));
  others.resize(count);
  if (reading && !ready) read_some(round);
  round.stopped = stop_.stop_requested();
  return round;
}

void Wire::finish(std::string& output, Duration patience) {
  TimePoint deadline = std::chrono::steady_clock::now() + patience;
  std::vector<pollfd> none;
  bool told = false;
  while (std::chrono::steady_clock::now() < deadline) {
    if (output.empty() && !std::exchange(told, true)) connection_.shut_down();
    Round round = wait(none, output, true, deadline - std::chrono::steady_clock::now());
    if (round.closed || round.stopped) return;
  }
}

}  // namespace skiff::apiserver
