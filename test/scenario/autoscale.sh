#!/usr/bin/env bash
# Deployments that grow: under load (kubectl autoscale), and by the numbers of a metrics server behind the API.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

# What an adapter of a monitoring system serves: the length of a queue, and hits of every pod that is asked about.
host=$(ip -o -4 addr show scope global | awk '{sub("/.*", "", $4); print $4; exit}')
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=metrics -keyout "$TMPDIR/key.pem" -out "$TMPDIR/cert.pem" 2>/dev/null
cat >"$TMPDIR/server.py" <<'PY'
import http.server, json, ssl, sys
host, directory = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        path = self.path.partition("?")[0].strip("/").split("/")
        version = "/".join(path[1:3])
        document = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []}
        if path[-1] == "queue":
            document = {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {},
                        "items": [{"metricName": "queue", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "90"}]}
        elif path[-1] == "load":
            document = {"kind": "MetricValueList", "apiVersion": version, "metadata": {}, "items": [
                {"describedObject": {"kind": "Service", "name": path[-2]}, "metric": {"name": "load"},
                 "timestamp": "2026-01-01T00:00:00Z", "value": "2500m"}]}
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
server = http.server.ThreadingHTTPServer((host, 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
PY
python3 "$TMPDIR/server.py" "$host" "$TMPDIR" 2>"$TMPDIR/server.log" &
service_of() {
  cat <<YAML
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: $2.$1}
spec: {group: $1, version: $2, groupPriorityMinimum: 100, versionPriority: 10, insecureSkipTLSVerify: true, service: {namespace: default, name: metrics}}
---
YAML
}
scaler_of() {
  cat <<YAML
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: $1}
spec: {minReplicas: 1, maxReplicas: 8, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: $1}, metrics: [$2]}
---
YAML
}
k apply -f - >/dev/null <<YAML || fail "the metrics server"
apiVersion: v1
kind: Service
metadata: {name: metrics}
spec: {ports: [{name: https, port: 443, targetPort: 8443}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: metrics}
subsets: [{addresses: [{ip: $host}], ports: [{name: https, port: 8443}]}]
---
$(service_of custom.metrics.k8s.io v1beta2)
$(service_of external.metrics.k8s.io v1beta1)
YAML
available() { [ "$(k get apiservice -o json | jq '[.items[] | select(.metadata.name | contains(".metrics.k8s.io")) | select(.spec.service.name == "metrics") | .status.conditions[]? | select(.type == "Available" and .status == "True")] | length')" = 2 ]; }
eventually 20 "both APIs are available" available
k create deployment worker --image hitcounter:1.0 >/dev/null
k create deployment front --image hitcounter:1.0 >/dev/null
scaler_of worker '{type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: "30"}}}' >"$TMPDIR/scalers.yaml"
scaler_of front '{type: Object, object: {metric: {name: load}, describedObject: {apiVersion: v1, kind: Service, name: front}, target: {type: Value, value: "1"}}}' >>"$TMPDIR/scalers.yaml"
k rollout status deployment/front --timeout=20s >/dev/null && k rollout status deployment/worker --timeout=20s >/dev/null || fail "rollouts"
k apply -f "$TMPDIR/scalers.yaml" >/dev/null || fail "the autoscalers"

k create deployment web --image hitcounter:1.0 --replicas 1 --port 8080 >/dev/null
k set resources deployment web --requests cpu=5m >/dev/null
k rollout status deployment/web --timeout=20s >/dev/null || fail "rollout"
k expose deployment web --type NodePort --port 8080 >/dev/null
k autoscale deployment web --min=1 --max=4 --cpu-percent=50 >/dev/null 2>&1 || fail autoscale
port=$(node_port web)
eventually 5 "the page answers" fetch "http://127.0.0.1:$port/"
( while [ ! -e "$HOME/done" ]; do for _ in $(seq 50); do echo "url=http://127.0.0.1:$port/"; done | curl -s --max-time 5 -K - >/dev/null; done ) &
load=$!
scaled() { [ "$(k get deployment web -o 'jsonpath={.spec.replicas}')" -gt 1 ]; }
eventually 70 "it grows under load" scaled
: >"$HOME/done"
wait "$load"
contains "the reason" "$(k get events -o 'jsonpath={.items[?(@.reason=="SuccessfulRescale")].message}')" \
  "reason: cpu resource utilization (percentage of request) above target"
contains "conditions" "$(k describe hpa web)" "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)"
said() { k get events -o json | jq -e --arg of "$1" --arg text "$2" 'any(.items[]; .involvedObject.name == $of and .message == $text)'; }
eventually 20 "a queue of 90 for 30 each" said worker "New size: 3; reason: external metric queue(nil) above target"
eventually 20 "a load of 2.5 for 1" said front "New size: 3; reason: Service metric load above target"
contains "targets" "$(k get hpa web --no-headers)" "Deployment/web"
finish
