#include "api/protobuf.hpp"

#include <catch2/catch.hpp>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/json.hpp"

using namespace skiff;
using namespace skiff::api;

namespace {

// Writes messages by hand, independently of the decoder.
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  return out + static_cast<char>(value);
}
std::string text(int number, const std::string& bytes) { return varint(number << 3 | 2) + varint(bytes.size()) + bytes; }
std::string num(int number, std::uint64_t value) { return varint(number << 3) + varint(value); }
std::string envelope(const std::string& api_version, const std::string& kind, const std::string& raw) {
  return std::string("k8s\0", 4) + text(1, text(1, api_version) + text(2, kind)) + text(2, raw);
}

}  // namespace

TEST_CASE("a pod comes out of protobuf as it would out of JSON") {
  std::string metadata = text(1, "p") + text(11, text(1, "app") + text(2, "web")) + text(8, num(1, 1767225600));
  std::string port = num(3, 8080) + text(4, "TCP");
  std::string env = text(1, "K") + text(3, text(3, text(1, text(1, "cm")) + text(2, "key")));
  std::string limits = text(1, text(1, "cpu") + text(2, text(1, "500m")));
  std::string probe = text(1, text(2, text(1, "/ok") + text(2, num(1, 1) + text(3, "http")))) + num(3, 2);
  std::string container = text(1, "c") + text(2, "x:1") + text(3, "a") + text(3, "b") + text(6, port) + text(7, env) +
                          text(8, limits) + text(10, probe);
  std::string volume = text(1, "v") + text(2, text(19, text(1, text(1, "cm"))));
  std::string spec = text(1, volume) + text(2, container) + num(4, 15) + num(11, 1);
  std::string bytes = envelope("v1", "Pod", text(1, metadata) + text(2, spec));
  Result<std::string> json = json_from_protobuf(bytes, type_of<Pod>());
  REQUIRE(json.ok());
  Pod pod = from_json<Pod>(json.value()).value();
  CHECK(pod.metadata.labels.at("app") == "web");
  CHECK(pod.metadata.creationTimestamp.text() == "2026-01-01T00:00:00Z");
  CHECK(pod.spec.containers[0].command == std::vector<std::string>{"a", "b"});
  CHECK(pod.spec.containers[0].ports[0].containerPort == 8080);
  CHECK(pod.spec.containers[0].env[0].valueFrom->configMapKeyRef->name == "cm");
  CHECK(pod.spec.containers[0].env[0].valueFrom->configMapKeyRef->key == "key");
  CHECK(pod.spec.containers[0].resources.limits.at("cpu").text() == "500m");
  CHECK(pod.spec.containers[0].livenessProbe->httpGet->port.text == "http");
  CHECK(pod.spec.containers[0].livenessProbe->timeoutSeconds == 2);
  CHECK(pod.spec.volumes[0].configMap->name == "cm");
  CHECK(pod.spec.terminationGracePeriodSeconds == 15);
  CHECK(pod.spec.hostNetwork);
}

TEST_CASE("hostile protobuf is refused") {
  CHECK_FALSE(json_from_protobuf("nonsense", type_of<Pod>()).ok());
  CHECK_FALSE(json_from_protobuf(envelope("v1", "Pod", "\x0a\xff\xff\xff\xff\x0f"), type_of<Pod>()).ok());
  CHECK_FALSE(json_from_protobuf(envelope("v1", "Pod", "\x07"), type_of<Pod>()).ok());
  std::string whole = envelope("v1", "Pod", text(1, text(1, "p")));
  for (size_t cut = 4; cut < whole.size(); ++cut) {
    Result<std::string> json = json_from_protobuf(whole.substr(0, cut), type_of<Pod>());
    CHECK((json.ok() || json.error().code() == Code::BadRequest));
  }
}

TEST_CASE("numbers and maps") {
  std::string map = envelope("v1", "ConfigMap", text(1, text(1, "m")) + text(2, text(1, "k") + text(2, "v")) +
                                                    text(3, text(1, "b") + text(2, std::string("\0\1", 2))) + num(4, 1));
  ConfigMap config = from_json<ConfigMap>(json_from_protobuf(map, type_of<ConfigMap>()).value()).value();
  CHECK(config.data.at("k") == "v");
  CHECK(config.binaryData.at("b").data == std::string("\0\1", 2));
  CHECK(config.immutable == true);
}
