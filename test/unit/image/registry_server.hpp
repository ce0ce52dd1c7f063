#pragma once
// A registry on loopback that can be told to misbehave, and a proxy that remembers whom it was asked for.

#include <httplib.h>
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/encoding.hpp"
#include "unit/image/support.hpp"

namespace skiff::image::test {

/// A self-signed certificate for registry.test and localhost in `directory`: cert.pem and key.pem.
inline void make_certificate(const std::string& directory) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:registry.test,DNS:localhost,IP:127.0.0.1");
  X509_add_ext(cert, names, -1);
  X509_sign(cert, key, EVP_sha256());
  auto save = [&](const std::string& path, auto write_it) {
    FILE* file = std::fopen(path.c_str(), "w");
    REQUIRE(file != nullptr);
    write_it(file);
    std::fclose(file);
  };
  save(directory + "/cert.pem", [&](FILE* file) { PEM_write_X509(file, cert); });
  save(directory + "/key.pem", [&](FILE* file) { PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_EXTENSION_free(names);
  X509_free(cert);
  EVP_PKEY_free(key);
}

class RegistryServer {
 public:
  explicit RegistryServer(const std::string& certificates = "") {
    if (certificates.empty()) server_ = std::make_unique<httplib::Server>();
    else server_ = std::make_unique<httplib::SSLServer>((certificates + "/cert.pem").c_str(), (certificates + "/key.pem").c_str());
    server_->Get(R"(/v2/(.+)/manifests/(.+))", [this](const auto& in, auto& out) { manifest(in, out); });
    server_->Get(R"(/v2/(.+)/blobs/(.+))", [this](const auto& in, auto& out) { blob(in, out); });
    server_->Get("/token", [this](const auto& in, auto& out) { token(in, out); });
    port = server_->bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    while (!server_->is_running()) ::poll(nullptr, 0, 1);
  }
  ~RegistryServer() {
    server_->stop();
    thread_.join();
  }

  std::string host() const { return fmt::format("localhost:{}", port); }
  /// An image of one layer with a file of `content`; its name.
  std::string add(const std::string& repository, const std::string& tag, const std::string& content) {
    std::string layer = Tar().file("content", content).end();
    auto files = oci_layout("x", {layer}, Compression::None);
    std::lock_guard lock(mutex_);
    for (const auto& [name, bytes] : files)
      if (name.starts_with("blobs/sha256/")) blobs_["sha256:" + name.substr(13)] = bytes;
    layer_ = digest_of(layer);
    // The manifest is what the layout's index names.
    std::string index = files.at("index.json");
    std::string digest = index.substr(index.find("sha256:"), 71);
    manifests_[repository + ":" + tag] = digest;
    return fmt::format("{}/{}:{}", host(), repository, tag);
  }
  const std::string& layer() const { return layer_; }
  /// Each request as "METHOD path[ range][ as WHOM]".
  std::vector<std::string> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  size_t count(const std::string& part) {
    size_t found = 0;
    for (const std::string& request : requests()) found += request.find(part) != std::string::npos;
    return found;
  }

  int port = 0;
  std::map<std::string, std::string> users;  // by name; empty: everybody may read
  std::string realm;                         // bearer tokens come from there; empty: Basic
  std::atomic<size_t> cut_at = 0;            // the next blob of more bytes breaks off there, once
  std::atomic<int> refuse = 0;               // so many blob requests are answered with `refuse_with`
  int refuse_with = 503;
  std::atomic<bool> hold = false;            // manifests are answered only once this is false

 private:
  static std::string whom(const httplib::Request& in) {
    std::string header = in.get_header_value("Authorization");
    if (header.starts_with("Bearer token-of-")) return header.substr(16);
    if (!header.starts_with("Basic ")) return "";
    return base64_decode(header.substr(6)).value_or("");
  }
  void note(const httplib::Request& in) {
    std::string text = in.method + " " + in.target;
    if (in.has_header("Range")) text += " " + in.get_header_value("Range");
    if (std::string who = whom(in); !who.empty()) text += " as " + who;
    std::lock_guard lock(mutex_);
    requests_.push_back(text);
  }
  bool known(const std::string& name_and_password) const {
    size_t colon = name_and_password.find(':');
    auto user = users.find(name_and_password.substr(0, colon));
    return colon != std::string::npos && user != users.end() && user->second == name_and_password.substr(colon + 1);
  }
  bool allowed(const httplib::Request& in, httplib::Response& out) {
    note(in);
    bool bearer = !realm.empty();
    std::string who = whom(in);
    if (users.empty() || (bearer ? users.contains(who) : known(who))) return true;
    out.status = 401;
    out.set_header("WWW-Authenticate", bearer ? fmt::format(R"(Bearer realm="{}",service="test")", realm) : R"(Basic realm="test")");
    return false;
  }
  void token(const httplib::Request& in, httplib::Response& out) {
    note(in);
    std::string who = whom(in);
    if (!known(who)) out.status = 401;
    else out.set_content(fmt::format(R"({{"token":"token-of-{}"}})", who.substr(0, who.find(':'))), "application/json");
  }
  void manifest(const httplib::Request& in, httplib::Response& out) {
    while (hold) ::poll(nullptr, 0, 1);
    if (!allowed(in, out)) return;
    std::lock_guard lock(mutex_);
    std::string reference = in.matches[2];
    auto named = manifests_.find(std::string(in.matches[1]) + ":" + reference);
    auto found = blobs_.find(named == manifests_.end() ? reference : named->second);
    if (found == blobs_.end()) out.status = 404;
    else out.set_content(found->second, "application/vnd.oci.image.manifest.v1+json");
  }
  void blob(const httplib::Request& in, httplib::Response& out) {
    if (!allowed(in, out)) return;
    if (refuse > 0) {
      --refuse;
      out.status = refuse_with;
      return;
    }
    std::lock_guard lock(mutex_);
    auto found = blobs_.find(in.matches[2]);
    if (found == blobs_.end()) return void(out.status = 404);  // else httplib says whether it is a part
    size_t cut = found->second.size() > cut_at ? cut_at.exchange(0) : 0;
    out.set_content_provider(found->second.size(), "application/octet-stream",
                             [bytes = found->second, cut](size_t offset, size_t length, httplib::DataSink& sink) {
                               if (cut != 0 && offset >= cut) return false;
                               sink.write(bytes.data() + offset, cut == 0 ? length : std::min(length, cut - offset));
                               return true;
                             });
  }

  std::unique_ptr<httplib::Server> server_;
  std::mutex mutex_;
  std::map<std::string, std::string> blobs_, manifests_;
  std::vector<std::string> requests_;
  std::string layer_;
  std::thread thread_;
};

/// Takes CONNECT for any name to a port of loopback, one client at a time a thread.
class ConnectProxy {
 public:
  explicit ConnectProxy(int to) : to_(to), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at = address(0);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(listener_, 16) == 0);
    socklen_t size = sizeof at;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~ConnectProxy() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& one : clients_) one.join();
    ::close(listener_);
  }
  std::vector<std::string> asked_for() {
    std::lock_guard lock(mutex_);
    return asked_for_;
  }
  int port = 0;

 private:
  static sockaddr_in address(int port) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  void accept_all() {
    for (int client; (client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
      clients_.emplace_back([this, client] { serve(client); });
  }
  void serve(int client) {
    std::string head;
    for (char c; head.find("\r\n\r\n") == head.npos && ::read(client, &c, 1) == 1;) head += c;
    {
      std::lock_guard lock(mutex_);
      asked_for_.push_back(head.substr(0, head.find(" HTTP/")));
    }
    int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = address(to_);
    if (head.starts_with("CONNECT ") && ::connect(server, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) {
      ::send(client, "HTTP/1.1 200 OK\r\n\r\n", 19, MSG_NOSIGNAL);
      relay(client, server);
    }
    ::close(server);
    ::close(client);
  }
  static void relay(int a, int b) {
    for (pollfd both[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}}; ::poll(both, 2, 10'000) > 0;)
      for (int i = 0; i < 2; ++i) {
        char bytes[16384];
        if (both[i].revents == 0) continue;
        ssize_t n = ::read(both[i].fd, bytes, sizeof bytes);
        if (n <= 0 || ::send(both[1 - i].fd, bytes, static_cast<size_t>(n), MSG_NOSIGNAL) != n) return;
      }
  }

  const int to_;
  const int listener_;
  std::mutex mutex_;
  std::vector<std::string> asked_for_;
  std::vector<std::thread> clients_;
  std::thread acceptor_;
};

}  // namespace skiff::image::test
