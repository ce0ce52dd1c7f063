#!/usr/bin/env bash
# An API server behind the API server: discovery, requests in the name of their users, watches, availability.
. "$(dirname "$0")/../support/scenario.sh"
start_cluster

host=$(ip -o -4 addr show scope global | awk '{sub("/.*", "", $4); print $4; exit}')
cat >"$TMPDIR/openssl.cnf" <<CNF
[req]
distinguished_name = dn
[dn]
[server]
subjectAltName = DNS:fruits.default.svc
CNF
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=fruits -config "$TMPDIR/openssl.cnf" -extensions server \
  -keyout "$TMPDIR/key.pem" -out "$TMPDIR/cert.pem" 2>/dev/null || fail "make a certificate"
k -n kube-system get configmap extension-apiserver-authentication \
  -o 'jsonpath={.data.requestheader-client-ca-file}' >"$TMPDIR/front-proxy-ca.pem"
contains "whom to believe" "$(k -n kube-system get configmap extension-apiserver-authentication -o 'jsonpath={.data}')" \
  'X-Remote-Extra-'

cat >"$TMPDIR/server.py" <<'PY'
import http.server, json, ssl, sys, time
host, directory = sys.argv[1:]
FRUIT = {"apiVersion": "fruit.example.com/v1", "kind": "Fruit",
         "metadata": {"name": "apple", "creationTimestamp": "2024-01-01T00:00:00Z"}}
RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "fruit.example.com/v1", "resources": [
    {"name": "fruits", "singularName": "fruit", "namespaced": False, "kind": "Fruit", "shortNames": ["fr"],
     "verbs": ["create", "get", "list", "watch"]}]}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def say(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def note(self, body=b""):
        with open(directory + "/requests", "a") as log:
            subject = dict(pair[0] for pair in self.connection.getpeercert()["subject"])
            log.write(json.dumps({"method": self.command, "path": self.path, "body": body.decode(),
                                  "client": subject["commonName"], "headers": self.headers.items()}) + "\n")
    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/apis/fruit.example.com/v1":
            return self.say(200, RESOURCES)
        if path == "/openapi/v3":
            return self.say(200, {"paths": {"apis/fruit.example.com/v1": {
                "serverRelativeURL": "/openapi/v3/apis/fruit.example.com/v1?hash=1"}}})
        if path == "/openapi/v3/apis/fruit.example.com/v1":
            return self.say(200, {"openapi": "3.0.0", "info": {"title": "fruit", "version": "1"}, "paths": {},
                                  "components": {"schemas": {}}})
        self.note()
        if path.endswith("/shell"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.end_headers()
            self.wfile.write(self.rfile.readline().upper())
            self.close_connection = True
            return
        if "watch=" in query:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            line = json.dumps({"type": "ADDED", "object": FRUIT}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(60)
            return
        if path == "/apis/fruit.example.com/v1/fruits":
            return self.say(200, {"kind": "FruitList", "apiVersion": "fruit.example.com/v1",
                                  "metadata": {"resourceVersion": "7"}, "items": [FRUIT]})
        if path.endswith("/fruits/apple"):
            return self.say(200, FRUIT)
        self.say(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
                       "message": "no such fruit"})
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.note(body)
        self.say(201, json.loads(body))
    def log_message(self, *arguments):
        pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
context.load_verify_locations(directory + "/front-proxy-ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer((host, 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.daemon_threads = True
server.serve_forever()
PY
serve() {
  python3 "$TMPDIR/server.py" "$host" "$TMPDIR" 2>"$TMPDIR/server.log" &
  SERVER_PID=$!
}
# condition FIELD: of the APIService's availability.
condition() {
  k get apiservice v1.fruit.example.com -o "jsonpath={.status.conditions[?(@.type==\"Available\")].$1}"
}
is() { [ "$(condition status)" = "$1" ]; }
because() { [ "$(condition reason)" = "$1" ]; }

# What the server serves itself.
contains "local services" "$(k get apiservices | tr -s ' ')" 'v1.apps Local True '
check "their label" "$(k get apiservice v1. -o 'jsonpath={.metadata.labels.kube-aggregator\.kubernetes\.io/automanaged}')" \
  onstart
contains "a name that does not fit" "$(k get apiservice v1.apps -o json | jq '.metadata.name = "x" |
  del(.metadata.resourceVersion)' | k create -f - 2>&1)" 'must be `spec.version+"."+spec.group`: "v1.apps"'

# One that another server serves, which comes bit by bit.
cat <<YAML | k apply -f - >/dev/null || fail "apply the APIService"
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.fruit.example.com}
spec:
  group: fruit.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 10
  caBundle: $(base64 -w0 "$TMPDIR/cert.pem")
  service: {namespace: default, name: fruits}
YAML
eventually 10 "no service" because ServiceNotFound
check "the message" "$(condition message)" 'service/fruits in "default" is not present'
contains "not reached" "$(k get --raw /apis/fruit.example.com/v1/fruits 2>&1)" \
  'the server is currently unable to handle the request'
k create service clusterip fruits --tcp=444:8443 >/dev/null
eventually 10 "wrong port" because ServicePortError
k delete service fruits >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: fruits}
spec: {ports: [{name: https, port: 443, targetPort: 8443}]}
YAML
eventually 10 "no endpoints" because EndpointsNotFound
k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Endpoints
metadata: {name: fruits}
subsets: [{addresses: [{ip: $host}], ports: [{name: https, port: 8443}]}]
YAML
eventually 20 "nothing listens" because FailedDiscoveryCheck
serve
eventually 20 "available" is True
check "why" "$(condition reason): $(condition message)" 'Passed: all checks passed'
contains "shown" "$(k get apiservices v1.fruit.example.com | tr -s ' ')" 'v1.fruit.example.com default/fruits True '

contains "discovery" "$(k api-resources --api-group=fruit.example.com | tr -s ' ')" 'fruits fr fruit.example.com/v1 false Fruit'
contains "aggregated discovery" "$(k get --raw /apis | jq -c '.groups[-1]')" '"groupVersion":"fruit.example.com/v1"'
contains "a group of its own" "$(k get --raw /apis/fruit.example.com)" '"preferredVersion"'
contains "OpenAPI" "$(k get --raw /openapi/v3 | jq -r '.paths["apis/fruit.example.com/v1"].serverRelativeURL')" 'hash=1'
contains "OpenAPI document" "$(k get --raw /openapi/v3/apis/fruit.example.com/v1)" '"title": "fruit"'
check "list" "$(k get fruits -o name)" fruit.fruit.example.com/apple
check "get by its short name" "$(k get fr apple -o name)" fruit.fruit.example.com/apple
contains "its own errors" "$(k get fruits pear 2>&1)" 'no such fruit'
contains "watch" "$(timeout 5 "$KUBECTL" get --raw '/apis/fruit.example.com/v1/fruits?watch=true' 2>&1 | head -n 1)" \
  '"type": "ADDED"'
k create -f - --validate=false >/dev/null <<'YAML' || fail create
apiVersion: fruit.example.com/v1
kind: Fruit
metadata: {name: plum}
YAML
contains "the body" "$(jq -r 'select(.method == "POST").body' "$TMPDIR/requests")" plum

# An upgraded connection is the two servers' no more.
k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$TMPDIR/admin.crt"
k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >"$TMPDIR/admin.key"
SERVER=$(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
contains "upgrade" "$(python3 - "$TMPDIR" "${SERVER##*:}" 2>&1 <<'PY'
import socket, ssl, sys
context = ssl._create_unverified_context()
context.load_cert_chain(sys.argv[1] + "/admin.crt", sys.argv[1] + "/admin.key")
stream = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[2])), 10))
stream.sendall(b"GET /apis/fruit.example.com/v1/fruits/apple/shell HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
               b"Upgrade: echo\r\n\r\n")
answer = stream.recv(4096)
stream.sendall(b"hello\n")
while piece := stream.recv(4096):
    answer += piece
print(answer.decode())
PY
)" "HELLO"

# Who asked: by certificate, and as somebody else.
seen() { tail -n 1 "$TMPDIR/requests" | jq -c "[.headers[] | select(.[0] | test(\"$1\"; \"i\"))]"; }
k get --raw /apis/fruit.example.com/v1/fruits >/dev/null
check "the proxy's certificate" "$(tail -n 1 "$TMPDIR/requests" | jq -r .client)" front-proxy-client
contains "user" "$(seen 'x-remote-user')" '"kubernetes-admin"'
contains "groups" "$(seen 'x-remote-group')" '"system:masters"'
contains "extra" "$(seen 'x-remote-extra')" 'X509SHA256='
contains "forbidden" "$(k --as jane get --raw /apis/fruit.example.com/v1/fruits 2>&1)" \
  'User "jane" cannot list resource "fruits" in API group "fruit.example.com" at the cluster scope'
k create clusterrole eats --verb=get,list --resource=fruits.fruit.example.com >/dev/null
k create clusterrolebinding eats --clusterrole=eats --user=jane >/dev/null
eventually 5 "jane may" k --as jane --as-group cooks get --raw /apis/fruit.example.com/v1/fruits
contains "impersonated" "$(seen 'x-remote-(user|group)')" '["X-Remote-User","jane"],["X-Remote-Group","cooks"]'
check "nothing else of who asks" "$(seen 'impersonate|authorization')" '[]'

# It ends, and comes back.
kill "$SERVER_PID"; wait "$SERVER_PID" 2>/dev/null
k annotate service fruits now=gone >/dev/null
eventually 40 "gone" is False
check "why it is gone" "$(condition reason)" FailedDiscoveryCheck
contains "unavailable" "$(k get --raw /apis/fruit.example.com/v1/fruits 2>&1)" \
  'the server is currently unable to handle the request'
contains "stale" "$(fetch -k --cert "$TMPDIR/admin.crt" --key "$TMPDIR/admin.key" \
  -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' "$SERVER/apis")" '"freshness":"Stale"'
serve
eventually 40 "back" is True

# Custom resources have APIServices of their own.
k apply -f - >/dev/null <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: nuts.nut.example.com}
spec:
  group: nut.example.com
  scope: Cluster
  names: {plural: nuts, singular: nut, kind: Nut}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
YAML
eventually 10 "registered" k get apiservice v1.nut.example.com
check "managed" "$(k get apiservice v1.nut.example.com -o 'jsonpath={.spec.groupPriorityMinimum}/{.spec.versionPriority}')" \
  1000/100
k delete apiservice v1.nut.example.com >/dev/null
eventually 10 "registered again" k get apiservice v1.nut.example.com
k delete crd nuts.nut.example.com >/dev/null
gone() { ! k get apiservice v1.nut.example.com; }
eventually 10 "unregistered" gone
k delete apiservice v1.fruit.example.com >/dev/null
ungrouped() { ! k get --raw /apis/fruit.example.com; }
eventually 10 "the group is gone" ungrouped
kill "$SERVER_PID"
finish
