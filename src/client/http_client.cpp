#include "client/http_client.hpp"

#include <httplib.h>
#include <openssl/pem.h>

namespace skiff::client {

namespace {

struct BioFree { void operator()(BIO* bio) const { BIO_free(bio); } };
struct X509Free { void operator()(X509* certificate) const { X509_free(certificate); } };
struct KeyFree { void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); } };

std::unique_ptr<BIO, BioFree> reader(const std::string& pem) {
  return std::unique_ptr<BIO, BioFree>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}
std::unique_ptr<X509, X509Free> certificate(const std::string& pem) {
  return std::unique_ptr<X509, X509Free>(PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr));
}

}  // namespace

struct HttpClient::Connection {
  std::unique_ptr<X509, X509Free> identity;
  std::unique_ptr<EVP_PKEY, KeyFree> key;
  std::unique_ptr<httplib::SSLClient> http;  // last: uses the two above
};

HttpClient::HttpClient(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::create(const KubeconfigEntry& entry, Duration timeout) {
  std::string host = entry.server.substr(entry.server.find("//") + 2);
  size_t colon = host.rfind(':');
  int port = colon == std::string::npos ? 443 : std::atoi(host.c_str() + colon + 1);
  auto connection = std::make_unique<Connection>();
  connection->identity = certificate(entry.certificate);
  connection->key.reset(PEM_read_bio_PrivateKey(reader(entry.key).get(), nullptr, nullptr, nullptr));
  std::unique_ptr<X509, X509Free> authority = certificate(entry.authority);
  if (!connection->identity || !connection->key || !authority)
    return error(Code::Invalid, "kubeconfig entry '{}': its certificates cannot be read", entry.name);
  X509_STORE* trusted = X509_STORE_new();
  X509_STORE_add_cert(trusted, authority.get());
  connection->http = std::make_unique<httplib::SSLClient>(host.substr(0, colon), port, connection->identity.get(),
                                                          connection->key.get());
  connection->http->set_ca_cert_store(trusted);  // takes ownership
  connection->http->enable_server_certificate_verification(true);
  connection->http->set_keep_alive(true);
  connection->http->set_tcp_nodelay(true);  // head and body are two writes; Nagle would hold the second for 40 ms
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  connection->http->set_connection_timeout(seconds);
  connection->http->set_read_timeout(seconds);
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(connection)));
}

namespace {

Result<HttpAnswer> answer_of(const httplib::Result& result, const std::string& what) {
  if (!result) return error(Code::Unavailable, "{}: {}", what, httplib::to_string(result.error()));
  return HttpAnswer{result->status, result->body};
}

}  // namespace

Result<HttpAnswer> HttpClient::get(const std::string& path) {
  return answer_of(connection_->http->Get(path), "GET " + path);
}

Result<HttpAnswer> HttpClient::post(const std::string& path, const std::string& json) {
  return answer_of(connection_->http->Post(path, json, "application/json"), "POST " + path);
}

Result<HttpAnswer> HttpClient::put(const std::string& path, const std::string& json) {
  return answer_of(connection_->http->Put(path, json, "application/json"), "PUT " + path);
}

Status HttpClient::stream(const std::string& path, const std::function<bool(std::string_view)>& take) {
  bool left = false;
  httplib::Result result = connection_->http->Get(path, [&](const char* data, size_t size) {
    left = !take({data, size});
    return !left;
  });
  if (left) return Error(Code::Canceled, "the reader has left");
  TRY(answer_of(result, "GET " + path));
  return ok();
}

}  // namespace skiff::client
