#include "image/registry_client.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/backoff.hpp"
#include "base/encoding.hpp"
#include "image/digest.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr int kRedirects = 5;
constexpr int kBlobAttempts = 6;
constexpr char kManifestTypes[] =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

bool is_redirect(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }
bool is_passing(int status) { return status == 408 || status == 429 || status >= 500; }

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// `key="value"` of a challenge.
std::string parameter(std::string_view challenge, std::string_view key) {
  std::string start = std::string(key) + "=\"";
  size_t at = challenge.find(start);
  if (at == challenge.npos) return "";
  at += start.size();
  return std::string(challenge.substr(at, challenge.find('"', at) - at));
}

std::string status_text(int status) {
  switch (status) {
    case 401: return "401 Unauthorized";
    case 403: return "403 Forbidden";
    case 404: return "404 Not Found";
    case 429: return "429 Too Many Requests";
    case 500: return "500 Internal Server Error";
    case 502: return "502 Bad Gateway";
    case 503: return "503 Service Unavailable";
    default: return std::to_string(status);
  }
}

}  // namespace

RegistryClient::RegistryClient(const Endpoint& endpoint, std::string repository, const RegistryConfig& config,
                               std::vector<Credentials> credentials, Clock& clock)
    : endpoint_(endpoint), repository_(std::move(repository)), config_(config), credentials_(std::move(credentials)),
      clock_(clock), http_(endpoint, config) {}

RegistryClient::~RegistryClient() = default;

std::optional<RegistryClient::Challenge> RegistryClient::challenge_of(const RegistryAnswer& answer) {
  std::string header = answer.header("www-authenticate");
  if (header.starts_with("Basic") || header.starts_with("basic")) return Challenge{.basic = true};
  if (!header.starts_with("Bearer") && !header.starts_with("bearer")) return std::nullopt;
  return Challenge{false, parameter(header, "realm"), parameter(header, "service"), parameter(header, "scope")};
}

Result<std::string> RegistryClient::token(const Challenge& challenge, const Credentials* credentials,
                                          const std::stop_token& stop) {
  size_t path_at = challenge.realm.find('/', challenge.realm.find("://") + 3);
  TRY_ASSIGN(Endpoint realm, parse_endpoint(challenge.realm.substr(0, path_at)));
  if (endpoint_.tls && !realm.tls && credentials)  // a password does not leave in the clear
    return error(Code::Forbidden, "failed to authorize: the token realm \"{}\" is not HTTPS", challenge.realm);
  std::string path = path_at == std::string::npos ? "/" : challenge.realm.substr(path_at);
  std::string scope = challenge.scope.empty() ? fmt::format("repository:{}:pull", repository_) : challenge.scope;
  path += fmt::format("{}scope={}", path.find('?') == std::string::npos ? "?" : "&", escaped(scope));
  if (!challenge.service.empty()) path += "&service=" + escaped(challenge.service);
  std::map<std::string, std::string> headers;
  if (credentials && !credentials->username.empty())
    headers["Authorization"] = "Basic " + base64_encode(credentials->username + ":" + credentials->password);
  const char* kind = credentials ? "oauth token" : "anonymous token";
  Result<RegistryAnswer> answer = RegistryHttp(realm, config_).get(path, headers, nullptr, stop);
  if (!answer.ok()) return std::move(answer).error().in(fmt::format("failed to fetch {}: Get \"{}\"", kind, realm.url()));
  if (answer.value().status != 200)
    return error(answer.value().status < 500 ? Code::Forbidden : Code::Unavailable,
                 "failed to authorize: failed to fetch {}: unexpected status: {}", kind, status_text(answer.value().status));
  nlohmann::json json = nlohmann::json::parse(answer.value().body, nullptr, false);
  for (const char* key : {"token", "access_token"})
    if (json.is_object() && json.contains(key) && json[key].is_string()) return json[key].get<std::string>();
  return error(Code::Forbidden, "failed to authorize: failed to fetch {}: no token in the answer", kind);
}

Status RegistryClient::authorize(const Challenge& challenge, const Credentials* credentials, const std::stop_token& stop) {
  if (credentials && !credentials->registry_token.empty()) {
    authorization_ = "Bearer " + credentials->registry_token;
  } else if (challenge.basic) {
    if (!credentials) return error(Code::Forbidden, "no basic auth credentials");
    authorization_ = "Basic " + base64_encode(credentials->username + ":" + credentials->password);
  } else {
    TRY_ASSIGN(std::string fresh, token(challenge, credentials, stop));
    authorization_ = "Bearer " + fresh;
  }
  used_ = credentials ? std::optional(*credentials) : std::nullopt;
  return ok();
}

// An answer of 401 is a question: it is answered with each of the credentials, or as nobody when there are none.
Result<RegistryAnswer> RegistryClient::get(const std::string& path, std::map<std::string, std::string> headers,
                                           const BodySink* sink, const std::stop_token& stop) {
  size_t tries = std::max<size_t>(credentials_.size(), 1);
  std::optional<Error> refused;
  for (size_t attempt = 0; attempt <= tries; ++attempt) {
    if (!authorization_.empty()) headers["Authorization"] = authorization_;
    TRY_ASSIGN(RegistryAnswer answer, http_.get(path, headers, sink, stop));
    if (is_redirect(answer.status)) return follow(std::move(answer), path, headers, sink, stop);
    bool denied = answer.status == 401 || (answer.status == 403 && next_credentials_ < credentials_.size());
    std::optional<Challenge> challenge = denied ? challenge_of(answer) : std::nullopt;
    if (!challenge || attempt == tries) {
      if (answer.status == 401 || answer.status == 403) break;
      return answer;
    }
    const Credentials* credentials = credentials_.empty() ? nullptr : &credentials_[next_credentials_++ % credentials_.size()];
    if (Status allowed = authorize(*challenge, credentials, stop); !allowed.ok()) refused = allowed.error();
    if (refused && refused->code() == Code::Unavailable) return *refused;
  }
  return error(Code::Forbidden,
               "pull access denied, repository does not exist or may require authorization: {}",
               refused ? refused->message() : "authorization failed: no basic auth credentials");
}

// Blobs often lie elsewhere; what we are here is nobody's business there.
Result<RegistryAnswer> RegistryClient::follow(RegistryAnswer answer, const std::string& path,
                                              const std::map<std::string, std::string>& headers, const BodySink* sink,
                                              const std::stop_token& stop) {
  Endpoint at = endpoint_;
  std::string where = path;
  for (int hop = 0; hop < kRedirects && is_redirect(answer.status); ++hop) {
    std::string location = answer.header("location");
    if (location.starts_with("/")) {
      where = location;
    } else {
      size_t slash = location.find('/', location.find("://") == location.npos ? 0 : location.find("://") + 3);
      TRY_ASSIGN(at, parse_endpoint(location.substr(0, slash)));
      where = slash == location.npos ? "/" : location.substr(slash);
    }
    std::map<std::string, std::string> sent = headers;
    if (at.host != endpoint_.host || at.port != endpoint_.port) sent.erase("Authorization");
    TRY_ASSIGN(answer, RegistryHttp(at, config_).get(where, sent, sink, stop));
  }
  return answer;
}

Result<FetchedManifest> RegistryClient::manifest(const std::string& reference, const std::stop_token& stop) {
  std::string path = fmt::format("/v2/{}/manifests/{}", repository_, reference);
  Result<RegistryAnswer> answer = get(path, {{"Accept", kManifestTypes}}, nullptr, stop);
  if (!answer.ok() && answer.error().code() == Code::Unavailable)
    return std::move(answer).error().in(fmt::format("failed to do request: Head \"{}{}\"", endpoint_.url(), path));
  TRY(answer);
  if (answer.value().status == 404) return error(Code::NotFound, "not found");
  if (answer.value().status != 200)
    return error(is_passing(answer.value().status) ? Code::Unavailable : Code::Invalid,
                 "unexpected status from GET request to {}{}: {}", endpoint_.url(), path, status_text(answer.value().status));
  FetchedManifest out{std::move(answer.value().body), ""};
  out.digest = digest_of(out.text);
  if (is_digest(reference) && reference != out.digest)
    return error(Code::Invalid, "failed to verify digest: the manifest has {}, not {}", out.digest, reference);
  return out;
}

// The bytes of a blob as they come, over several transfers.
class RegistryClient::BlobWriter {
 public:
  BlobWriter(const UniqueFd& file, const std::string& path) : file_(file), path_(path) {}

  std::uint64_t received() const { return received_; }
  const Status& failure() const { return failure_; }
  std::string digest() { return hash_->digest(); }

  BodySink sink() {
    return {[this](const RegistryAnswer& head) { return begin(head.status); },
            [this](std::string_view part) { return take(part); }};
  }

 private:
  bool begin(int status) {
    if (status == 206) return true;
    if (status != 200) return false;
    if (received_ == 0) return true;
    // It does not resume: from the start again.
    received_ = 0;
    hash_ = std::make_unique<Sha256>();
    if (::ftruncate(file_.get(), 0) != 0 || ::lseek(file_.get(), 0, SEEK_SET) != 0)
      failure_ = errno_error(errno, "ftruncate '{}'", path_);
    return true;
  }
  bool take(std::string_view part) {
    if (failure_.ok()) failure_ = sys::write_all(file_, part, path_);
    if (!failure_.ok()) return false;
    hash_->add(part);
    received_ += part.size();
    return true;
  }

  const UniqueFd& file_;
  const std::string& path_;
  std::unique_ptr<Sha256> hash_ = std::make_unique<Sha256>();
  std::uint64_t received_ = 0;
  Status failure_ = ok();
};

Status RegistryClient::blob(const std::string& digest, const UniqueFd& file, const std::string& path,
                            const std::stop_token& stop) {
  const std::string url = fmt::format("/v2/{}/blobs/{}", repository_, digest);
  BlobWriter writer(file, path);
  BodySink sink = writer.sink();
  Backoff pause(200ms, 5s);
  for (int attempt = 1;; ++attempt) {
    std::map<std::string, std::string> headers;
    if (writer.received() > 0) headers["Range"] = fmt::format("bytes={}-", writer.received());
    Result<RegistryAnswer> answer = get(url, headers, &sink, stop);
    TRY(writer.failure());
    if (answer.ok() && (answer.value().status == 200 || answer.value().status == 206)) break;
    if (answer.ok() && answer.value().status == 404) return error(Code::NotFound, "blob {}: not found", digest);
    bool again = answer.ok() ? is_passing(answer.value().status) : answer.error().code() == Code::Unavailable;
    if (!again || attempt == kBlobAttempts) {
      if (!answer.ok()) return std::move(answer).error().in(fmt::format("blob {}", digest));
      return error(Code::Unavailable, "blob {}: unexpected status: {}", digest, status_text(answer.value().status));
    }
    if (!clock_.wait_for(stop, pause.next())) return error(Code::Canceled, "context canceled");
  }
  if (std::string is = writer.digest(); is != digest)
    return error(Code::Invalid, "failed to verify digest: the blob has {}, not {}", is, digest);
  return ok();
}

}  // namespace skiff::image
