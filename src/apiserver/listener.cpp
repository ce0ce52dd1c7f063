#include "apiserver/listener.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <thread>
#include <unordered_map>
#include <vector>

#include "apiserver/sessions.hpp"
#include "apiserver/streamer.hpp"
#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::uint64_t kWakeId = 0;
constexpr size_t kReadSize = 16U << 10;     // one TLS record
constexpr size_t kMergeBody = 16U << 10;    // up to this size head and body leave in one record
constexpr size_t kLingerBytes = 16U << 20;  // of a refused body that are read and dropped
constexpr Duration kLingerTime = 5s;

TimePoint now() { return std::chrono::steady_clock::now(); }

std::string address_text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* raw = nullptr;
  if (address.ss_family == AF_INET) raw = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  if (address.ss_family == AF_INET6) raw = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (raw == nullptr || ::inet_ntop(address.ss_family, raw, text.data(), text.size()) == nullptr) return {};
  return text.data();
}

void set_option(int fd, int level, int option, int value) {
  // Only tuning: a socket that does not know the option (a Unix one) works without it.
  [[maybe_unused]] int done = ::setsockopt(fd, level, option, &value, sizeof value);
}

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // A peer that vanished without a word is noticed within a minute and a half, also on an idle watch.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

/// Counts an open connection for as long as it lives, in whatever hands.
class Slot {
 public:
  explicit Slot(std::atomic<size_t>& count) : count_(count) { ++count_; }
  ~Slot() { --count_; }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

 private:
  std::atomic<size_t>& count_;
};

/// A connection between and during requests. Whoever took it out of Core::clients has it alone.
struct Client {
  enum class Phase { Handshake, Reading, Writing, Lingering };
  Client(std::shared_ptr<Slot> counted, std::unique_ptr<Connection> accepted, RequestReader fresh)
      : slot(std::move(counted)), connection(std::move(accepted)), reader(std::move(fresh)) {}

  std::shared_ptr<Slot> slot;
  std::unique_ptr<Connection> connection;
  RequestReader reader;
  Phase phase = Phase::Handshake;
  bool request_begun = false;
  TimePoint deadline;
  std::string head;  // being written, then `body`
  Chunk body;
  size_t sent = 0;  // of head and body together
  bool linger = false;
  size_t lingered = 0;
};

}  // namespace

struct Listener::Core {
  Core(ListenerSettings chosen, const TlsAcceptor* acceptor, Handler answer)
      : settings(chosen), tls(acceptor), handler(std::move(answer)), sessions(chosen.max_sessions) {}

  // What a client does next once no more can be done without waiting.
  enum class Wait { Read, Write, Drop, HandedOver };

  Status set_up();
  void start_worker();
  void grow_if_all_busy();
  void work();
  bool accept_from(std::uint64_t id);
  bool accept_one(int socket);
  void adopt(std::unique_ptr<Connection> connection);
  void serve(std::uint64_t id);
  Wait step(std::unique_ptr<Client>& client);
  Wait shake_hands(Client& client);
  std::optional<Wait> read_request(std::unique_ptr<Client>& client);
  std::optional<Wait> write_answer(Client& client);
  Wait linger(Client& client);
  std::optional<Wait> respond(std::unique_ptr<Client>& client);
  void queue_reply(Client& client, const Reply& reply, bool head_only);
  Wait stream(std::unique_ptr<Client> client, StreamReply reply);
  Wait upgrade(std::unique_ptr<Client> client, UpgradeReply reply);
  void park(std::uint64_t id, std::unique_ptr<Client> client, Wait wait);
  void sweep();
  void stop();

  const ListenerSettings settings;
  const TlsAcceptor* tls;
  const Handler handler;
  const HeadParser parser;
  UniqueFd epoll;
  UniqueFd wake;
  std::atomic<size_t> connections{0};
  std::atomic<size_t> waiting{0};  // workers inside epoll_wait
  std::atomic<size_t> worker_count{0};
  std::atomic<bool> stopping{false};
  Mutex mutex;
  std::uint64_t next_id GUARDED_BY(mutex) = kWakeId + 1;
  std::unordered_map<std::uint64_t, std::shared_ptr<UniqueFd>> sockets GUARDED_BY(mutex);
  std::unordered_map<std::uint64_t, std::unique_ptr<Client>> clients GUARDED_BY(mutex);  // those that wait
  TimePoint next_sweep GUARDED_BY(mutex) = TimePoint::max();
  UniqueFd spare GUARDED_BY(mutex);  // given up for a moment when the process runs out of descriptors
  std::unique_ptr<Streamer> streamer;
  Sessions sessions;
  std::vector<std::jthread> workers GUARDED_BY(mutex);
};

Status Listener::Core::set_up() {
  TRY_ASSIGN(streamer, Streamer::create(settings.stream_buffer_bytes));
  epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error(errno, "epoll_create1");
  wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error(errno, "eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeId}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) < 0) return errno_error(errno, "epoll_ctl");
  TRY_ASSIGN(UniqueFd null, sys::open("/dev/null", O_RDONLY));
  MutexLock lock(mutex);
  spare = std::move(null);
  return ok();
}

void Listener::Core::start_worker() {
  MutexLock lock(mutex);
  if (stopping || workers.size() >= settings.max_workers) return;
  ++waiting;  // before it runs, so that a burst of requests does not start one each
  workers.emplace_back([this] {
    ::pthread_setname_np(::pthread_self(), "api-worker");
    work();
  });
  worker_count = workers.size();
}

void Listener::Core::grow_if_all_busy() {
  if (waiting == 0 && worker_count < settings.max_workers) start_worker();
}

void Listener::Core::work() {
  while (!stopping) {
    epoll_event event{};
    // One event at a time: the others are for the other workers.
    int count = ::epoll_wait(epoll.get(), &event, 1, -1);
    if (count <= 0) continue;
    --waiting;
    std::uint64_t id = event.data.u64;
    if (id != kWakeId && !accept_from(id)) serve(id);
    ++waiting;
  }
}

// False: `id` is not a listening socket.
bool Listener::Core::accept_from(std::uint64_t id) {
  std::shared_ptr<UniqueFd> socket;
  {
    MutexLock lock(mutex);
    auto found = sockets.find(id);
    if (found == sockets.end()) return false;
    socket = found->second;
  }
  while (accept_one(socket->get())) {
  }
  return true;
}

bool Listener::Core::accept_one(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  UniqueFd accepted(
      ::accept4(socket, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted) {
    if (errno == EMFILE || errno == ENFILE) {
      // Without this the connection would stay pending and wake a worker for ever.
      MutexLock lock(mutex);
      spare.reset();
      UniqueFd(::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC)).reset();
      spare = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      log::warning("apiserver", "out of file descriptors: a connection was dropped");
      return true;
    }
    return errno == ECONNABORTED || errno == EINTR;
  }
  if (connections >= settings.max_connections) {
    log::warning("apiserver", "{} connections are open: one from {} was dropped", settings.max_connections,
                 address_text(address));
    return true;
  }
  tune(accepted.get());
  if (tls == nullptr) {
    adopt(Connection::plain(std::move(accepted), address_text(address)));
  } else if (auto made = tls->accept(std::move(accepted), address_text(address)); made.ok()) {
    adopt(std::move(made).value());
  } else {
    log::warning("apiserver", "{}", made.error().message());
  }
  return true;
}

void Listener::Core::adopt(std::unique_ptr<Connection> connection) {
  auto client = std::make_unique<Client>(std::make_shared<Slot>(connections), std::move(connection),
                                         RequestReader(parser, settings.http));
  client->deadline = now() + settings.handshake_timeout;
  std::uint64_t id = 0;
  {
    MutexLock lock(mutex);
    id = next_id++;
  }
  epoll_event event{.events = 0, .data = {.u64 = id}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, client->connection->fd(), &event) < 0) return;
  park(id, std::move(client), Wait::Read);
}

// Gives the client back to epoll, which hands it to one worker when `wait` is over.
void Listener::Core::park(std::uint64_t id, std::unique_ptr<Client> client, Wait wait) {
  int fd = client->connection->fd();
  TimePoint deadline = client->deadline;
  std::uint32_t interest = wait == Wait::Read ? std::uint32_t{EPOLLIN | EPOLLRDHUP} : std::uint32_t{EPOLLOUT};
  epoll_event event{.events = interest | EPOLLONESHOT, .data = {.u64 = id}};
  MutexLock lock(mutex);
  if (stopping) return;
  clients.emplace(id, std::move(client));
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event) < 0) {
    clients.erase(id);
    return;
  }
  if (deadline >= next_sweep) return;
  next_sweep = deadline;
  streamer->after(std::max(deadline - now(), Duration::zero()), [this] { sweep(); });
}

// Closes the clients whose time is up. Runs on the streamer's thread when the earliest deadline comes.
void Listener::Core::sweep() {
  std::vector<std::unique_ptr<Client>> expired;  // closed after the lock is released
  MutexLock lock(mutex);
  TimePoint today = now();
  TimePoint earliest = TimePoint::max();
  for (auto entry = clients.begin(); entry != clients.end();) {
    if (entry->second->deadline <= today) {
      expired.push_back(std::move(entry->second));
      entry = clients.erase(entry);
    } else {
      earliest = std::min(earliest, entry->second->deadline);
      ++entry;
    }
  }
  next_sweep = earliest;
  if (earliest != TimePoint::max()) streamer->after(earliest - today, [this] { sweep(); });
}

void Listener::Core::serve(std::uint64_t id) {
  std::unique_ptr<Client> client;
  {
    MutexLock lock(mutex);
    auto found = clients.find(id);
    if (found == clients.end()) return;  // swept meanwhile
    client = std::move(found->second);
    clients.erase(found);
  }
  Wait wait = step(client);
  if (wait == Wait::Read || wait == Wait::Write) park(id, std::move(client), wait);
}

Listener::Core::Wait Listener::Core::step(std::unique_ptr<Client>& client) {
  while (true) {
    std::optional<Wait> wait;
    switch (client->phase) {
      case Client::Phase::Handshake:
        if (Wait shaken = shake_hands(*client); client->phase == Client::Phase::Handshake) wait = shaken;
        break;
      case Client::Phase::Reading:
        wait = read_request(client);
        break;
      case Client::Phase::Writing:
        wait = write_answer(*client);
        break;
      case Client::Phase::Lingering:
        wait = linger(*client);
        break;
    }
    if (wait) return *wait;
  }
}

namespace {
template <class Wait>
Wait wait_for(Connection::Progress progress) {
  if (progress == Connection::Progress::WantRead) return Wait::Read;
  return progress == Connection::Progress::WantWrite ? Wait::Write : Wait::Drop;
}
}  // namespace

Listener::Core::Wait Listener::Core::shake_hands(Client& client) {
  Connection::Progress progress = client.connection->handshake();
  if (progress != Connection::Progress::Done) return wait_for<Wait>(progress);
  client.phase = Client::Phase::Reading;
  client.deadline = now() + settings.idle_timeout;
  return Wait::Read;
}

// Empty: the phase has changed.
std::optional<Listener::Core::Wait> Listener::Core::read_request(std::unique_ptr<Client>& client) {
  std::array<char, kReadSize> buffer;
  while (true) {
    RequestReader::State state = client->reader.advance();
    if (state == RequestReader::State::Complete) return respond(client);
    if (state == RequestReader::State::Refused) {
      queue_reply(*client, client->reader.refusal(), false);
      client->linger = true;
      return std::nullopt;
    }
    // Twenty-five bytes at the start of an answer always fit the socket's buffer.
    if (client->reader.take_expect_continue()) client->connection->write(kContinue);
    if (!client->reader.idle() && !client->request_begun) {
      client->request_begun = true;
      client->deadline = now() + settings.request_timeout;
    }
    Connection::Transfer got = client->connection->read(buffer.data(), buffer.size());
    if (got.progress != Connection::Progress::Done) return wait_for<Wait>(got.progress);
    client->reader.append({buffer.data(), got.bytes});
  }
}

std::optional<Listener::Core::Wait> Listener::Core::respond(std::unique_ptr<Client>& client) {
  Request request = client->reader.take_request();
  request.peer = client->connection->peer();
  request.remote_address = client->connection->remote_address();
  grow_if_all_busy();
  Response response = handler(request);
  if (auto* reply = std::get_if<Reply>(&response)) {
    compress(request, *reply);
    queue_reply(*client, *reply, request.method == "HEAD");
    return std::nullopt;
  }
  if (auto* streamed = std::get_if<StreamReply>(&response))
    return stream(std::move(client), std::move(*streamed));
  return upgrade(std::move(client), std::move(std::get<UpgradeReply>(response)));
}

void Listener::Core::queue_reply(Client& client, const Reply& reply, bool head_only) {
  client.head = reply_head(reply, client.reader.keep_alive() && !stopping);
  client.body = head_only ? nullptr : reply.body;
  if (client.body && client.body->size() <= kMergeBody) {
    client.head.append(*client.body);
    client.body = nullptr;
  }
  client.sent = 0;
  client.phase = Client::Phase::Writing;
  client.deadline = now() + settings.write_timeout;
}

std::optional<Listener::Core::Wait> Listener::Core::write_answer(Client& client) {
  size_t total = client.head.size() + (client.body ? client.body->size() : 0);
  while (client.sent < total) {
    std::string_view rest = client.sent < client.head.size()
                                ? std::string_view(client.head).substr(client.sent)
                                : std::string_view(*client.body).substr(client.sent - client.head.size());
    Connection::Transfer put = client.connection->write(rest);
    if (put.progress != Connection::Progress::Done) return wait_for<Wait>(put.progress);
    client.sent += put.bytes;
    client.deadline = now() + settings.write_timeout;
  }
  client.head = {};
  client.body = nullptr;
  if (client.linger || !client.reader.keep_alive() || stopping) {
    client.connection->shut_down();
    client.phase = Client::Phase::Lingering;
    client.deadline = now() + kLingerTime;
    return std::nullopt;
  }
  client.reader.next();
  client.request_begun = false;
  client.phase = Client::Phase::Reading;
  client.deadline = now() + settings.idle_timeout;
  // A client that waits for each answer has sent nothing yet: the socket need not be asked.
  return client.reader.idle() && !client.connection->pending() ? std::optional(Wait::Read) : std::nullopt;
}

// Reads what the peer still sends: closing at once would reset the connection and could lose it our answer.
Listener::Core::Wait Listener::Core::linger(Client& client) {
  std::array<char, kReadSize> buffer;
  while (client.lingered < kLingerBytes) {
    Connection::Transfer got = client.connection->read(buffer.data(), buffer.size());
    if (got.progress != Connection::Progress::Done) return wait_for<Wait>(got.progress);
    client.lingered += got.bytes;
  }
  return Wait::Drop;
}

Listener::Core::Wait Listener::Core::stream(std::unique_ptr<Client> client, StreamReply reply) {
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, client->connection->fd(), nullptr);
  bool keep_alive = client->reader.keep_alive();
  std::string early = client->reader.take_rest();
  // The rest of the client waits, without its connection, for the stream's end.
  std::shared_ptr<Slot> slot = client->slot;
  auto ended = [this, slot, keep_alive, early](std::unique_ptr<Connection> connection, std::string later) {
    if (!connection || stopping) return;
    if (!keep_alive) return connection->shut_down();
    auto next = std::make_unique<Client>(slot, std::move(connection), RequestReader(parser, settings.http));
    next->reader.append(early + later);
    next->phase = Client::Phase::Reading;
    next->deadline = now() + settings.idle_timeout;
    std::uint64_t id = 0;
    {
      MutexLock lock(mutex);
      id = next_id++;
    }
    epoll_event event{.events = 0, .data = {.u64 = id}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, next->connection->fd(), &event) < 0) return;
    // Ready for writing at once: a worker looks at what was already sent.
    park(id, std::move(next), early.empty() && later.empty() ? Wait::Read : Wait::Write);
  };
  StreamOptions options{stream_head(reply), reply.late_head, reply.limit, std::move(reply.tick),
                        reply.interval};
  std::shared_ptr<StreamSink> sink =
      streamer->open(std::move(client->connection), std::move(options), std::move(ended));
  if (!reply.own_thread) {
    reply.start(std::move(sink), {});
  } else if (!sessions.start([sink, start = std::move(reply.start)](std::stop_token stop) {
               start(sink, std::move(stop));
             })) {
    sink->close();
  }
  return Wait::HandedOver;
}

Listener::Core::Wait Listener::Core::upgrade(std::unique_ptr<Client> client, UpgradeReply reply) {
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, client->connection->fd(), nullptr);
  // std::function wants copies: the client is shared, but only the session has it.
  std::shared_ptr<Client> owned = std::move(client);
  bool started = sessions.start([owned, reply = std::move(reply)](std::stop_token stop) {
    // A few hundred bytes at the start of an answer always fit the socket's buffer.
    if (!reply.late_head) owned->connection->write(upgrade_head(reply));
    reply.run(*owned->connection, owned->reader.take_rest(), std::move(stop));
    owned->connection->shut_down();
  });
  if (!started) log::warning("apiserver", "{} sessions are open: one was refused", settings.max_sessions);
  return Wait::HandedOver;
}

void Listener::Core::stop() {
  if (stopping.exchange(true)) return;
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake.get(), &one, sizeof one);
  std::vector<std::jthread> joining;
  std::unordered_map<std::uint64_t, std::unique_ptr<Client>> closing;
  {
    MutexLock lock(mutex);
    joining.swap(workers);
    sockets.clear();
  }
  joining.clear();  // joins: running requests are answered
  streamer->stop(settings.stop_patience);
  sessions.stop();
  MutexLock lock(mutex);
  closing.swap(clients);
}

Listener::Listener(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Listener::~Listener() { stop(); }

Result<std::unique_ptr<Listener>> Listener::create(ListenerSettings settings, const TlsAcceptor* tls,
                                                   Handler handler) {
  auto core = std::make_unique<Core>(settings, tls, std::move(handler));
  TRY(core->set_up());
  for (size_t i = 0; i < settings.min_workers; ++i) core->start_worker();
  return std::unique_ptr<Listener>(new Listener(std::move(core)));
}

Result<Listener::SocketId> Listener::listen(UniqueFd socket) {
  int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return errno_error(errno, "fcntl listening socket");
  MutexLock lock(core_->mutex);
  SocketId id = core_->next_id++;
  // EXCLUSIVE: a connection wakes one worker, not all.
  epoll_event event{.events = std::uint32_t{EPOLLIN} | EPOLLEXCLUSIVE, .data = {.u64 = id}};
  if (::epoll_ctl(core_->epoll.get(), EPOLL_CTL_ADD, socket.get(), &event) < 0)
    return errno_error(errno, "epoll_ctl listening socket");
  core_->sockets.emplace(id, std::make_shared<UniqueFd>(std::move(socket)));
  return id;
}

void Listener::unlisten(SocketId socket) {
  MutexLock lock(core_->mutex);
  auto found = core_->sockets.find(socket);
  if (found == core_->sockets.end()) return;
  ::epoll_ctl(core_->epoll.get(), EPOLL_CTL_DEL, found->second->get(), nullptr);
  core_->sockets.erase(found);
}

void Listener::stop() { core_->stop(); }

ListenerStats Listener::stats() const {
  return {core_->connections, core_->worker_count, core_->streamer->open_streams(),
          core_->sessions.running()};
}

}  // namespace skiff::apiserver
