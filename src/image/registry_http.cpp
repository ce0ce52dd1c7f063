#include "image/registry_http.hpp"

#include <httplib.h>

#include "image/documents.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr time_t kConnectSeconds = 10;
constexpr time_t kSilenceSeconds = 60;  // between two pieces of an answer

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

std::string words_of(httplib::Error error, const Endpoint& endpoint) {
  switch (error) {
    case httplib::Error::Connection:
    case httplib::Error::ConnectionTimeout:
      return fmt::format("dial tcp {}:{}: connect: connection refused", endpoint.host, endpoint.port);
    case httplib::Error::SSLConnection: return "tls: the server does not speak TLS";
    case httplib::Error::SSLLoadingCerts: return "tls: the CA file cannot be read";
    case httplib::Error::SSLServerVerification:
      return "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    default: return httplib::to_string(error);
  }
}

}  // namespace

struct RegistryHttp::Connection {
  explicit Connection(const Endpoint& endpoint)
      : http(fmt::format("{}://{}:{}", endpoint.tls ? "https" : "http", endpoint.host, endpoint.port)) {}
  httplib::Client http;
};

RegistryHttp::RegistryHttp(const Endpoint& endpoint, const RegistryConfig& config)
    : endpoint_(endpoint), connection_(std::make_unique<Connection>(endpoint)) {
  httplib::Client& http = connection_->http;
  http.set_keep_alive(true);
  http.set_tcp_nodelay(true);
  http.set_connection_timeout(kConnectSeconds);
  http.set_read_timeout(kSilenceSeconds);
  http.set_decompress(false);  // blobs are taken as they are: their digests say so
  std::string authority_file = fmt::format("/etc/docker/certs.d/{}/ca.crt", endpoint.authority());
  if (sys::exists(authority_file)) http.set_ca_cert_path(authority_file.c_str());
  if (auto host = config.hosts.find(endpoint.authority()); host != config.hosts.end()) {
    if (!host->second.ca_file.empty()) http.set_ca_cert_path(host->second.ca_file.c_str());
    http.enable_server_certificate_verification(!host->second.skip_verify);
  }
  const std::string& proxy = endpoint.tls ? config.https_proxy : config.http_proxy;
  if (proxy.empty() || bypasses_proxy(config, endpoint)) return;
  Result<Endpoint> by = parse_endpoint(proxy.find("://") == proxy.npos ? "http://" + proxy : proxy);
  if (by.ok()) http.set_proxy(by.value().host, by.value().port);
}

RegistryHttp::~RegistryHttp() = default;

Result<RegistryAnswer> RegistryHttp::get(const std::string& path, const std::map<std::string, std::string>& headers,
                                         const BodySink* sink, const std::stop_token& stop) {
  RegistryAnswer answer;
  bool wanted = false, too_long = false;
  httplib::Headers sent(headers.begin(), headers.end());
  httplib::Result result = connection_->http.Get(
      endpoint_.prefix + path, sent,
      [&](const httplib::Response& head) {
        answer.status = head.status;
        for (const auto& [name, value] : head.headers) answer.headers[lower(name)] = value;
        wanted = sink && sink->begin(answer);
        return true;
      },
      [&](const char* data, size_t size) {
        if (stop.stop_requested()) return false;
        if (wanted) return sink->take({data, size});
        too_long = answer.body.size() + size > kDocumentLimit;
        if (!too_long) answer.body.append(data, size);
        return !too_long;
      });
  if (too_long) return error(Code::TooLarge, "the answer is longer than {} bytes", kDocumentLimit);
  if (stop.stop_requested()) return error(Code::Canceled, "context canceled");
  if (!result && answer.status == 0) return error(Code::Unavailable, "{}", words_of(result.error(), endpoint_));
  if (!result) return error(Code::Unavailable, "unexpected EOF");
  return answer;
}

}  // namespace skiff::image
