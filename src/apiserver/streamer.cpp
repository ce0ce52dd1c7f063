#include "apiserver/streamer.hpp"

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <deque>
#include <thread>
#include <unordered_map>
#include <vector>

#include "apiserver/http.hpp"
#include "base/event_loop.hpp"
#include "base/log.hpp"

namespace skiff::apiserver {

namespace {
constexpr size_t kGather = 32U << 10;    // chunks are joined up to this size before they are encrypted
constexpr size_t kMaxEarly = 64U << 10;  // of what a client may send during an answer
constexpr Duration kLastWords = 30s;     // for a client that does not read on to take the end of its answer
}  // namespace

// The queue (under mutex_) belongs to everyone, all the rest to the loop's thread.
class Streamer::Stream final : public StreamSink, public std::enable_shared_from_this<Streamer::Stream> {
 public:
  Stream(std::shared_ptr<Core> core, std::unique_ptr<Connection> client, StreamOptions options, Ended end)
      : limit(options.limit),
        tick(std::move(options.tick)),
        interval(options.interval),
        connection(std::move(client)),
        ended(std::move(end)),
        core_(std::move(core)),
        head_(std::move(options.head)),
        late_head_(options.late_head) {}

  using StreamSink::write;
  bool write(std::initializer_list<Chunk> pieces) override;
  void begin(const StreamReply& reply) override;
  void answer(const Reply& reply) override;
  void close() override;
  void on_closed(std::function<void()> callback) override;
  bool wait_below(size_t bytes, std::stop_token stop) override;

  // Loop thread: moves queued chunks into `out`, framed. False when there is nothing to send for now.
  bool gather();
  bool overflowed();
  bool finished();  // the last chunk has been gathered
  bool ending();    // or has yet to be
  // Loop thread: nothing more is accepted; the callbacks to run.
  std::vector<std::function<void()>> take_callbacks();

  std::string out;
  size_t sent = 0;
  std::string early;
  std::uint32_t watched = 0;
  bool end_bounded = false;
  std::optional<Duration> limit;
  std::optional<EventLoop::TimerId> limit_timer;
  std::function<void(StreamSink&)> tick;
  std::optional<Duration> interval;
  std::optional<EventLoop::TimerId> tick_timer;
  std::unique_ptr<Connection> connection;
  Ended ended;

 private:
  enum class State { Open, Ending, Ended, Overflowed, Over };
  std::shared_ptr<Core> core_;
  Mutex mutex_;
  CondVar drained_;
  State state_ GUARDED_BY(mutex_) = State::Open;
  std::string head_ GUARDED_BY(mutex_);  // empty once it is in `out`
  bool late_head_ GUARDED_BY(mutex_);
  bool replaced_ GUARDED_BY(mutex_) = false;  // head_ is a whole answer
  std::deque<Chunk> queue_ GUARDED_BY(mutex_);
  size_t queued_ GUARDED_BY(mutex_) = 0;
  bool awaited_ GUARDED_BY(mutex_) =
      true;  // in Core::ready; true at first: attach() looks at the queue itself
  std::vector<std::function<void()>> callbacks_ GUARDED_BY(mutex_);
};

struct Streamer::Core {
  Core(std::unique_ptr<EventLoop> made, size_t bytes) : buffer_bytes(bytes), loop(std::move(made)) {}

  void enqueue(std::shared_ptr<Stream> stream);
  void serve_ready();
  void attach(const std::shared_ptr<Stream>& stream);
  void on_event(const std::shared_ptr<Stream>& stream, std::uint32_t events);
  bool receive(Stream& stream);
  void schedule_tick(const std::shared_ptr<Stream>& stream);
  void flush(const std::shared_ptr<Stream>& stream);
  bool watch(const std::shared_ptr<Stream>& stream, std::uint32_t events);
  void bound_the_end(const std::shared_ptr<Stream>& stream);
  void finish(const std::shared_ptr<Stream>& stream, bool clean);
  void end_all(Duration patience);
  void stop_when_empty();

  const size_t buffer_bytes;
  std::atomic<size_t> count{0};
  std::unique_ptr<EventLoop> loop;
  std::unordered_map<Stream*, std::shared_ptr<Stream>> streams;  // loop thread
  bool stopping = false;                                         // loop thread
  Mutex mutex;
  std::vector<std::shared_ptr<Stream>> ready GUARDED_BY(mutex);  // have something to send
  std::jthread thread;
};

bool Streamer::Stream::write(std::initializer_list<Chunk> pieces) {
  size_t size = 0;
  for (const Chunk& piece : pieces) size += piece->size();
  bool needed = false;
  bool open = true;
  {
    MutexLock lock(mutex_);
    if (state_ != State::Open) return false;
    if (size == 0) return true;
    if (queued_ + size > core_->buffer_bytes) {
      state_ = State::Overflowed;
      queue_.clear();
      open = false;
    } else {
      queued_ += size;
      queue_.insert(queue_.end(), pieces.begin(), pieces.end());
    }
    // An overflow is always reported: the stream may be waiting for a client that never reads again.
    needed = !std::exchange(awaited_, true) || !open;
  }
  if (needed) core_->enqueue(shared_from_this());
  return open;
}

void Streamer::Stream::begin(const StreamReply& reply) {
  MutexLock lock(mutex_);
  if (state_ == State::Open && !head_.empty() && queue_.empty()) head_ = stream_head(reply);
}

void Streamer::Stream::answer(const Reply& reply) {
  {
    MutexLock lock(mutex_);
    if (state_ != State::Open || head_.empty() || !queue_.empty()) return;
    head_ = reply_head(reply, true);
    if (reply.body) head_.append(*reply.body);
    replaced_ = true;
  }
  close();
}

void Streamer::Stream::close() {
  bool needed = false;
  {
    MutexLock lock(mutex_);
    if (state_ != State::Open) return;
    state_ = State::Ending;
    needed = !std::exchange(awaited_, true);
  }
  if (needed) core_->enqueue(shared_from_this());
}

void Streamer::Stream::on_closed(std::function<void()> callback) {
  {
    MutexLock lock(mutex_);
    if (state_ != State::Over) {
      callbacks_.push_back(std::move(callback));
      return;
    }
  }
  callback();
}

bool Streamer::Stream::wait_below(size_t bytes, std::stop_token stop) {
  MutexLock lock(mutex_);
  drained_.wait(mutex_, stop, [&] { return state_ != State::Open || queued_ < bytes; });
  return state_ == State::Open && !stop.stop_requested();
}

bool Streamer::Stream::gather() {
  if (sent < out.size()) return true;
  out.clear();
  sent = 0;
  MutexLock lock(mutex_);
  awaited_ = false;
  if (!late_head_ || !queue_.empty() || state_ != State::Open) out = std::exchange(head_, {});
  size_t count = 0;
  size_t size = 0;
  while (count < queue_.size() && size < kGather) size += queue_[count++]->size();
  if (size > 0) open_chunk(out, size);
  for (size_t i = 0; i < count; ++i) {
    out.append(*queue_.front());
    queue_.pop_front();
  }
  if (size > 0) close_chunk(out);
  queued_ -= size;
  if (queue_.empty() && state_ == State::Ending) {
    if (!replaced_) out.append(kLastChunk);
    state_ = State::Ended;
  }
  drained_.notify_all();
  // A finished burst should not hold its buffer while the stream idles.
  if (out.empty()) out.shrink_to_fit();
  return !out.empty();
}

bool Streamer::Stream::overflowed() {
  MutexLock lock(mutex_);
  return state_ == State::Overflowed;
}

bool Streamer::Stream::finished() {
  MutexLock lock(mutex_);
  return state_ == State::Ended;
}

bool Streamer::Stream::ending() {
  MutexLock lock(mutex_);
  return state_ != State::Open;
}

std::vector<std::function<void()>> Streamer::Stream::take_callbacks() {
  MutexLock lock(mutex_);
  state_ = State::Over;
  queue_.clear();
  drained_.notify_all();
  return std::exchange(callbacks_, {});
}

void Streamer::Core::enqueue(std::shared_ptr<Stream> stream) {
  bool first = false;
  {
    MutexLock lock(mutex);
    first = ready.empty();
    ready.push_back(std::move(stream));
  }
  // One wake-up for however many streams an event fans out to.
  if (first) loop->post([this] { serve_ready(); });
}

void Streamer::Core::serve_ready() {
  std::vector<std::shared_ptr<Stream>> batch;
  {
    MutexLock lock(mutex);
    batch.swap(ready);
  }
  for (const std::shared_ptr<Stream>& stream : batch)
    if (streams.contains(stream.get())) flush(stream);
}

void Streamer::Core::attach(const std::shared_ptr<Stream>& stream) {
  streams.emplace(stream.get(), stream);
  if (stopping) stream->close();
  if (!watch(stream, EPOLLIN | EPOLLRDHUP)) return finish(stream, false);
  if (stream->limit) {
    std::weak_ptr<Stream> weak = stream;
    stream->limit_timer = loop->after(*stream->limit, [weak] {
      auto expired = weak.lock();
      if (!expired) return;
      if (expired->tick) expired->tick(*expired);
      expired->close();
    });
  }
  if (stream->interval) schedule_tick(stream);
  flush(stream);
}

void Streamer::Core::schedule_tick(const std::shared_ptr<Stream>& stream) {
  std::weak_ptr<Stream> weak = stream;
  stream->tick_timer = loop->after(*stream->interval, [this, weak] {
    auto live = weak.lock();
    if (!live || !streams.contains(live.get())) return;
    live->tick(*live);
    schedule_tick(live);
  });
}

bool Streamer::Core::watch(const std::shared_ptr<Stream>& stream, std::uint32_t events) {
  if (stream->watched == events) return true;
  std::weak_ptr<Stream> weak = stream;
  Status watched = loop->watch(stream->connection->fd(), events, [this, weak](std::uint32_t happened) {
    if (auto live = weak.lock()) on_event(live, happened);
  });
  if (!watched.ok()) {
    log::warning("apiserver", "stream of {}: {}", stream->connection->remote_address(),
                 watched.error().message());
    return false;
  }
  stream->watched = events;
  return true;
}

void Streamer::Core::on_event(const std::shared_ptr<Stream>& stream, std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return finish(stream, false);
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0 && !receive(*stream)) return finish(stream, false);
  flush(stream);
}

// False once the peer has closed. What it sends meanwhile is kept for the next request.
bool Streamer::Core::receive(Stream& stream) {
  std::array<char, 4096> buffer{};
  while (stream.early.size() <= kMaxEarly) {
    Connection::Transfer got = stream.connection->read(buffer.data(), buffer.size());
    if (got.progress == Connection::Progress::Closed) return false;
    if (got.progress != Connection::Progress::Done) return true;
    stream.early.append(buffer.data(), got.bytes);
  }
  return false;
}

void Streamer::Core::flush(const std::shared_ptr<Stream>& stream) {
  if (stream->overflowed()) {
    log::info("apiserver", "closing a stream: {} does not keep up", stream->connection->remote_address());
    return finish(stream, false);
  }
  while (stream->gather()) {
    Connection::Transfer put = stream->connection->write(std::string_view(stream->out).substr(stream->sent));
    if (put.progress == Connection::Progress::Closed) return finish(stream, false);
    if (put.progress == Connection::Progress::Done) {
      stream->sent += put.bytes;
      continue;
    }
    if (!watch(stream, EPOLLIN | EPOLLRDHUP | EPOLLOUT)) return finish(stream, false);
    return bound_the_end(stream);
  }
  if (stream->finished()) return finish(stream, true);
  if (!watch(stream, EPOLLIN | EPOLLRDHUP)) finish(stream, false);
}

// A stream that was closed while its client does not read must not stay for ever.
void Streamer::Core::bound_the_end(const std::shared_ptr<Stream>& stream) {
  if (!stream->ending() || stream->end_bounded) return;
  stream->end_bounded = true;
  std::weak_ptr<Stream> weak = stream;
  loop->after(kLastWords, [this, weak] {
    if (auto stuck = weak.lock()) finish(stuck, false);
  });
}

void Streamer::Core::finish(const std::shared_ptr<Stream>& kept, bool clean) {
  std::shared_ptr<Stream> stream = kept;
  if (streams.erase(stream.get()) == 0) return;
  if (stream->limit_timer) loop->cancel(*stream->limit_timer);
  if (stream->tick_timer) loop->cancel(*stream->tick_timer);
  stream->tick = nullptr;
  loop->unwatch(stream->connection->fd());
  for (const std::function<void()>& callback : stream->take_callbacks()) callback();
  std::unique_ptr<Connection> connection = std::move(stream->connection);
  if (!clean) connection.reset();
  Ended ended = std::exchange(stream->ended, nullptr);
  ended(std::move(connection), std::move(stream->early));
  --count;
  if (stopping) stop_when_empty();
}

void Streamer::Core::end_all(Duration patience) {
  stopping = true;
  std::vector<std::shared_ptr<Stream>> all;
  for (const auto& [key, stream] : streams) all.push_back(stream);
  for (const std::shared_ptr<Stream>& stream : all) {
    stream->close();
    flush(stream);
  }
  loop->after(patience, [this] { thread.request_stop(); });
  stop_when_empty();
}

void Streamer::Core::stop_when_empty() {
  if (streams.empty()) thread.request_stop();
}

Streamer::Streamer(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Result<std::unique_ptr<Streamer>> Streamer::create(size_t buffer_bytes) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  auto core = std::make_shared<Core>(std::move(loop), buffer_bytes);
  core->thread = std::jthread([raw = core.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "api-streamer");
    raw->loop->run(std::move(stop));
  });
  return std::unique_ptr<Streamer>(new Streamer(std::move(core)));
}

Streamer::~Streamer() { stop(Duration::zero()); }

std::shared_ptr<StreamSink> Streamer::open(std::unique_ptr<Connection> connection, StreamOptions options,
                                           Ended ended) {
  auto stream = std::make_shared<Stream>(core_, std::move(connection), std::move(options), std::move(ended));
  ++core_->count;
  core_->loop->post([core = core_.get(), stream] { core->attach(stream); });
  return stream;
}

void Streamer::stop(Duration patience) {
  if (!core_->thread.joinable()) return;
  core_->loop->post([core = core_.get(), patience] { core->end_all(patience); });
  core_->thread.join();
  std::vector<std::shared_ptr<Stream>> left;
  for (const auto& [key, stream] : core_->streams) left.push_back(stream);
  for (const std::shared_ptr<Stream>& stream : left) core_->finish(stream, false);
  MutexLock lock(core_->mutex);
  core_->ready.clear();
}

void Streamer::after(Duration delay, std::function<void()> task) {
  core_->loop->post([core = core_.get(), delay, task = std::move(task)]() mutable {
    core->loop->after(delay, std::move(task));
  });
}

size_t Streamer::open_streams() const { return core_->count; }

}  // namespace skiff::apiserver
