#include "cluster/control_socket.hpp"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/encoding.hpp"
#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

constexpr char kName[] = "control.sock";
constexpr size_t kLongestRequest = 64 * 1024;

// By descriptor: a socket's address has room for 108 bytes, a directory's path may be longer.
Result<UniqueFd> enter(const std::string& directory, sockaddr_un& address) {
  TRY_ASSIGN(UniqueFd opened, sys::open(directory, O_PATH | O_DIRECTORY));
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/{}", opened.get(), kName);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return opened;
}

Result<UniqueFd> unix_socket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "socket");
  return socket;
}

std::string join(const Words& words, char separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(1, separator)) + word;
  return text;
}

// Everything until the other end says no more.
Result<std::string> read_all(const UniqueFd& connection) {
  std::string text;
  for (;;) {
    TRY_ASSIGN(std::string part, sys::read_some(connection, 4096, "control socket"));
    if (part.empty()) return text;
    text += part;
    if (text.size() > kLongestRequest) return Error(Code::TooLarge, "the request is too long");
  }
}

std::string answer_text(const Result<Words>& answer) {
  if (answer.ok()) {
    std::string text;
    for (const std::string& line : answer.value()) text += "text " + line + "\n";
    return text + "done\n";
  }
  std::string message = answer.error().message();
  for (char& c : message) c = c == '\n' ? ' ' : c;
  return "error " + message + "\n";
}

}  // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::start(const Paths& paths, Handler handler) {
  sockaddr_un address{};
  TRY_ASSIGN(UniqueFd directory, enter(paths.root(), address));
  TRY(sys::remove_file(paths.root() + "/" + kName));  // of a process that was killed
  TRY_ASSIGN(UniqueFd socket, unix_socket());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(socket.get(), 16) < 0)
    return errno_error(errno, "listen on {}/{}", paths.root(), kName);
  std::unique_ptr<ControlSocket> control(new ControlSocket(std::move(socket), std::move(handler)));
  control->thread_ = std::jthread([raw = control.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "control");
    raw->run(std::move(stop));
  });
  return control;
}

void ControlSocket::stop() {
  thread_.request_stop();
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);  // wakes accept
  if (thread_.joinable()) thread_.join();
}

void ControlSocket::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    UniqueFd connection(sys::retry_eintr([&] { return ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC); }));
    if (connection) serve(connection);
    else if (!stop.stop_requested() && errno != ECONNABORTED) return log::error("control", "accept: errno {}", errno);
  }
}

void ControlSocket::serve(const UniqueFd& connection) {
  // Somebody who says nothing must not keep others waiting.
  timeval patience{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  Result<std::string> request = read_all(connection);
  if (!request.ok()) return;
  Status sent = sys::write_all(connection, answer_text(handler_(split(request.value(), '\t'))), "control socket");
  if (!sent.ok()) log::debug("control", "{}", sent.error().message());  // whoever asked has left
}

Result<Words> ask_cluster(const ClusterConfig& config, const Words& request) {
  Paths paths(config);
  if (running_process(paths) == 0) return error(Code::NotFound, "cluster '{}' is not running", config.name);
  sockaddr_un address{};
  TRY_ASSIGN(UniqueFd directory, enter(paths.root(), address));
  TRY_ASSIGN(UniqueFd socket, unix_socket());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return errno_error(errno, "connect to cluster '{}'", config.name);
  TRY(sys::write_all(socket, join(request, '\t'), "control socket"));
  ::shutdown(socket.get(), SHUT_WR);
  TRY_ASSIGN(std::string answer, read_all(socket));
  Words lines;
  for (const std::string& line : split(answer, '\n')) {
    if (line.starts_with("text ")) lines.push_back(line.substr(5));
    if (line.starts_with("error ")) return Error(Code::Invalid, line.substr(6));
    if (line == "done") return lines;
  }
  return error(Code::Unavailable, "the process of cluster '{}' ended while it worked", config.name);
}

}  // namespace skiff::cluster
