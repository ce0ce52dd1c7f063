#include "apiserver/backend.hpp"

#include "apiserver/http_answer.hpp"

namespace skiff::apiserver {

namespace {
constexpr size_t kMaxDocument = 16U << 20;
}

Result<std::unique_ptr<Outbound>> BackendCaller::connect(const Backend& backend, Outbound::Deadline deadline) const {
  TRY_ASSIGN(UniqueFd socket, services_.dial(backend.service, backend.port));
  auto connection = std::make_unique<Outbound>(std::move(socket), deadline);
  TlsPeer peer{.name = backend.host(), .authorities = backend.authorities, .verify = backend.verify};
  {
    MutexLock lock(mutex_);
    peer.identity = identity_;
  }
  TRY(connection->handshake(peer));
  return connection;
}

Result<Reply> BackendCaller::get(const Backend& backend, const std::string& path, Duration timeout) const {
  TRY_ASSIGN(std::unique_ptr<Outbound> connection, connect(backend, std::chrono::steady_clock::now() + timeout));
  TRY(connection->send(fmt::format("GET {} HTTP/1.1\r\nHost: {}:{}\r\nAccept: application/json\r\n"
                                   "User-Agent: kube-aggregator\r\nX-Remote-User: system:kube-aggregator\r\n"
                                   "X-Remote-Group: system:masters\r\nConnection: close\r\n\r\n",
                                   path, backend.host(), backend.port)));
  TRY_ASSIGN(std::string answer, connection->receive_all(kMaxDocument));
  return parse_answer(answer);
}

void BackendCaller::set_identity(CertificatePair identity) {
  MutexLock lock(mutex_);
  identity_ = std::move(identity);
}

}  // namespace skiff::apiserver
