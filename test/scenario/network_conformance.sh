#!/usr/bin/env bash
# The behaviours that Kubernetes' conformance suite asks of sig-network, by their numbers in test/conformance/network.md:
# those that no other scenario shows.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2
server() { # NAME LABEL NODE [MORE POD SPEC]
  cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $2}}
spec:
  nodeName: $3
  terminationGracePeriodSeconds: 0
  ${4:-}
  containers: [{name: web, image: "hitcounter:1.0", ports: [{name: http, containerPort: 8080}]}]
---
Y
}
{ server a web skiff; server b web skiff-2; server host tool skiff "hostNetwork: true"
  server named named skiff "hostname: dns-querier
  subdomain: sub"; } | k apply -f - >/dev/null
k apply -f - >/dev/null <<'Y' || fail services
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: sub}
spec: {clusterIP: None, selector: {app: named}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: typed}
spec: {type: ExternalName, externalName: foo.example.com}
Y
k wait --for=condition=Ready pods --all --timeout=20s >/dev/null || fail pods
run() { k exec "$1" -- hitcounter "${@:2}" 2>/dev/null; }
gets() { run "$1" get "$2" | grep -q "Hello from ${3:-}"; }
finds() { run "$1" lookup "$2" | grep -qF "$3"; }
ip() { k get pod "$1" -o 'jsonpath={.status.podIP}'; }
field() { k get "$1" "$2" -o "jsonpath={$3}"; }
node() { k get node "$1" -o 'jsonpath={.status.addresses[0].address}'; }

# 1, 2, 42: the API's own Service.
check "1 Endpoints and slices of the API" "$(k get endpoints kubernetes -o 'jsonpath={.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port}' 2>/dev/null)" \
  "$(k get endpointslice kubernetes -o 'jsonpath={.endpoints[0].addresses[0]}:{.ports[0].port}')"
contains "42 Services of all namespaces" "$(k get services -A --no-headers)" "kubernetes"
# 3 to 10: names.
contains "3 a pod's own names" "$(run named cat /etc/hosts)" "dns-querier.sub.default.svc.cluster.local"
for name in kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local; do
  eventually 3 "8 $name" finds a "$name" "$(field service kubernetes .spec.clusterIP)"
done
for name in web web.default web.default.svc; do eventually 3 "7, 9 $name" finds a "$name" "$(field service web .spec.clusterIP)"; done
in_pod() { # POD COMMAND...: in its network, with the host's programs
  local pid found
  for pid in $(pgrep -f hitcounter); do [ "$(nsenter -t "$pid" -u hostname 2>/dev/null)" = "$1" ] && found=$pid; done
  shift
  nsenter -t "${found:-0}" -n "$@"
}
check "7, 9 SRV of a port" "$(in_pod a dig +short +time=2 @10.96.0.10 _http._tcp.web.default.svc.cluster.local SRV)" "0 100 80 web.default.svc.cluster.local."
for name in sub.default dns-querier.sub dns-querier.sub.default.svc.cluster.local; do eventually 3 "5, 6 $name" finds a "$name" "$(ip named)"; done
k apply -f - >/dev/null <<'Y' || fail dnsConfig
apiVersion: v1
kind: Pod
metadata: {name: configured}
spec:
  terminationGracePeriodSeconds: 0
  dnsPolicy: None
  dnsConfig: {nameservers: [1.1.1.1], searches: [resolv.conf.local]}
  containers: [{name: web, image: "hitcounter:1.0"}]
Y
k wait --for=condition=Ready pod/configured --timeout=10s >/dev/null
check "10 dnsConfig" "$(run configured cat /etc/resolv.conf | sort | tr '\n' ' ')" "nameserver 1.1.1.1 search resolv.conf.local "
cname() { # the target of a CNAME, asked of DNS from the host
  python3 - "$1" <<'P'
import socket, struct, sys
q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split(".")) + b"\0\0\5\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.sendto(q, ("10.96.0.10", 53)); a = s.recv(4096)
at, out = len(q), []
at += 2 if a[at] & 0xc0 else a.index(b"\0", at) - at + 1
at += 10
while a[at] and not a[at] & 0xc0:
    out.append(a[at + 1:at + 1 + a[at]].decode()); at += 1 + a[at]
print(".".join(out))
P
}
named_by() { cname typed.default.svc.cluster.local | grep -q "$1"; }
eventually 3 "4 an ExternalName is a CNAME" named_by foo
k patch service typed -p '{"spec":{"externalName":"bar.example.com"}}' >/dev/null
eventually 3 "4 and follows a change" named_by bar
# 34, 35, 33, 36: types change.
k patch service typed -p '{"spec":{"type":"ClusterIP","externalName":null,"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080}]}}' >/dev/null || fail "34 patch"
eventually 5 "4, 34 ExternalName to ClusterIP" gets a http://typed/
k patch service typed -p '{"spec":{"type":"ExternalName","externalName":"foo.example.com","clusterIP":null,"clusterIPs":null}}' >/dev/null || fail "33 patch"
eventually 3 "33 ClusterIP to ExternalName" named_by foo
check "33 the cluster IP is gone" "$(field service typed .spec.clusterIP)" ""
k patch service typed -p '{"spec":{"type":"NodePort","externalName":null,"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080}]}}' >/dev/null || fail "35 patch"
port=$(node_port typed)
for way in http://typed/ "http://$(field service typed .spec.clusterIP)/" "http://$(node skiff):$port/" "http://$(node skiff-2):$port/"; do
  for from in a b host; do
    case "$from$way" in host*typed*) continue ;; esac # names are the host's there
    eventually 5 "35, 37 $from to $way" gets $from "$way"
  done
done
k patch service typed -p '{"spec":{"type":"ExternalName","externalName":"foo.example.com","clusterIP":null,"clusterIPs":null}}' >/dev/null || fail "36 patch"
eventually 3 "36 NodePort to ExternalName" named_by foo
check "36 the node port is gone" "$(node_port typed)" ""

# 11 to 14, 16 to 19, 45, 47: endpoints.
check "12, 19 a Service of nobody" "$(k get endpointslices -l kubernetes.io/service-name=empty -o 'jsonpath={.items[*].endpoints}') $(k get endpoints empty -o 'jsonpath={.subsets}' 2>/dev/null)" " "
k delete service empty >/dev/null
none() { [ -z "$(k get endpointslices -l "kubernetes.io/service-name=$1" -o name)$(k get endpoints "$1" --ignore-not-found -o name 2>/dev/null)" ]; }
eventually 5 "12, 19 and goes with it" none empty
addresses() { k get endpointslices -l "kubernetes.io/service-name=$1" -o 'jsonpath={.items[*].endpoints[*].addresses[0]}' | tr ' ' '\n' | sort | tr '\n' ' '; }
follows() { [ "$(addresses web)" = "$(for p in "$@"; do ip "$p"; echo; done | sort | tr '\n' ' ')" ]; }
eventually 5 "11, 18, 45 endpoints follow pods" follows a b
k delete pod b >/dev/null; eventually 5 "45 one went" follows a
server b web skiff-2 | k apply -f - >/dev/null; k wait --for=condition=Ready pod/b --timeout=10s >/dev/null; eventually 5 "45 and came back" follows a b
k apply -f - >/dev/null 2>&1 <<Y || fail "manual slices"
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {ports: [{name: one, port: 80}, {name: two, port: 81}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-1, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
endpoints: [{addresses: [$(ip a)]}]
ports: [{name: one, port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-2, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
endpoints: [{addresses: [$(ip b)]}]
ports: [{name: two, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: mirrored}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: mirrored, labels: {custom: "yes"}}
subsets: [{addresses: [{ip: $(ip a)}], ports: [{port: 8080}]}]
Y
eventually 5 "13, 14 the first slice serves" gets b http://manual:80/ a
eventually 5 "13, 14 and the second" gets a http://manual:81/ b
eventually 5 "16 Endpoints are mirrored" gets b http://mirrored/ a
k patch endpoints mirrored -p "{\"subsets\":[{\"addresses\":[{\"ip\":\"$(ip b)\"}],\"ports\":[{\"port\":8080}]}]}" >/dev/null 2>&1
eventually 5 "16, 17 with their changes" gets a http://mirrored/ b
k delete endpoints -l custom=yes >/dev/null 2>&1
eventually 5 "16, 17 and their end" none mirrored

# 47: two ports whose pods come and go apart.
k apply -f - >/dev/null <<'Y' || fail "47 apply"
apiVersion: v1
kind: Service
metadata: {name: multi}
spec: {selector: {app: multi}, ports: [{name: p1, port: 80, targetPort: portname1}, {name: p2, port: 81, targetPort: portname2}]}
Y
for i in 1 2; do server "m$i" multi skiff-2 | sed "s/name: http/name: portname$i/"; done | k apply -f - >/dev/null
k wait --for=condition=Ready pod/m1 pod/m2 --timeout=10s >/dev/null || fail "47 pods"
for i in 1 2; do eventually 5 "47 port $i has its pod" gets a "http://multi:$((79 + i))/" "m$i"; done
k delete pod m1 >/dev/null
alone() { ! timeout 2 "$KUBECTL" exec a -- hitcounter get http://multi:80/ >/dev/null 2>&1 && gets a http://multi:81/ m2; }
eventually 5 "47 and loses it alone" alone

# 23, 25: between pods and from a node, both ways across nodes.
for from in a b host; do for to in a b; do gets $from "http://$(ip $to):8080/" $to || fail "23, 25 $from to $to"; done; done
# 38, 39, 43, 44: affinity, switched.
k patch service web -p '{"spec":{"type":"NodePort"}}' >/dev/null
spread() { for _ in $(seq 16); do fetch "$1/hostname"; done | sort -u | wc -l; }
is_spread() { [ "$(spread "$1")" = "$2" ]; }
for at in "http://$(field service web .spec.clusterIP)" "http://$(node skiff):$(node_port web)"; do
  k patch service web -p '{"spec":{"sessionAffinity":"ClientIP"}}' >/dev/null
  eventually 5 "43, 44 one client, one pod at $at" is_spread "$at" 1
  k patch service web -p '{"spec":{"sessionAffinity":"None"}}' >/dev/null
  eventually 5 "38, 39 and not any more" is_spread "$at" 2
done
# 24, 26: UDP between pods, and from a node.
for pod in a b; do
  in_pod $pod python3 -c '
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 8080))
while True:
    data, client = server.recvfrom(64)
    server.sendto(sys.argv[1].encode() + b" " + client[0].encode(), client)' $pod &
done
udp() { # POD ADDRESS PORT
  in_pod "$1" python3 -c '
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((sys.argv[1], int(sys.argv[2])))
client.send(b"?")
print(client.recv(64).decode())' "$2" "$3" 2>/dev/null
}
says() { [ "$(udp "$2" "$3" "$4")" = "$1" ]; }
eventually 5 "24 to another node" says "b $(ip a)" a "$(ip b)" 8080
eventually 5 "24 to itself" says "a $(ip a)" a "$(ip a)" 8080
eventually 5 "26 from a node" says "b $(node skiff)" skiff "$(ip b)" 8080
# 46: one number, two protocols.
k apply -f - >/dev/null <<'Y' || fail "46 apply"
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {selector: {app: web}, ports: [{name: t, protocol: TCP, port: 80, targetPort: 8080}, {name: u, protocol: UDP, port: 80, targetPort: 8080}]}
Y
eventually 5 "46 TCP" gets a http://both/
answers_udp() { udp skiff "$(field service both .spec.clusterIP)" 80 | grep -q '^[ab] '; }
eventually 5 "46 UDP" answers_udp
k patch service both --type=json -p '[{"op":"replace","path":"/spec/ports","value":[{"name":"u","protocol":"UDP","port":80,"targetPort":8080}]}]' >/dev/null
stops() { ! timeout 2 "$KUBECTL" exec a -- hitcounter get http://both/ >/dev/null 2>&1; }
eventually 5 "46 TCP stops" stops
eventually 5 "46 UDP goes on" answers_udp
# 40, 41: status and collections.
k patch service both --subresource=status -p '{"status":{"conditions":[{"type":"Tested","status":"True","reason":"r","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}' >/dev/null || fail "40 patch"
check "40 status" "$(field service both '.status.conditions[0].type')" Tested
k label service both manual group=x >/dev/null; k delete services -l group=x >/dev/null
check "41 a collection goes" "$(k get services both manual web --ignore-not-found -o name | tr '\n' ' ')" "service/web "
# 20: one hostPort, told apart by address and protocol.
host_port() {
  cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  nodeSelector: {kubernetes.io/hostname: skiff}
  containers: [{name: web, image: "hitcounter:1.0", ports: [{containerPort: 8080, hostPort: 54323, hostIP: $2, protocol: $3}]}]
---
Y
}
{ host_port p1 "$(node skiff)" TCP; host_port p2 10.243.0.1 TCP; host_port p3 "$(node skiff)" UDP; host_port p4 "$(node skiff)" TCP; } | k apply -f - >/dev/null
k wait --for=condition=Ready pod/p1 pod/p2 pod/p3 --timeout=15s >/dev/null || fail "20 three of them fit"
eventually 5 "20 the port leads to its pod" gets b "http://$(node skiff):54323/" p1
check "20 the fourth waits" "$(field pod p4 .status.phase)" Pending
# 27 to 29: proxied by the API, with every method, with and without a path, by name and number of the port.
config() { k config view --raw --minify -o "jsonpath={$1}"; }
for part in client-certificate client-key certificate-authority; do
  case $part in certificate-authority) at=.clusters[0].cluster ;; *) at=.users[0].user ;; esac
  config "$at.$part-data" | base64 -d >"$TMPDIR/$part"
done
api() { curl -s --max-time 5 --cert "$TMPDIR/client-certificate" --key "$TMPDIR/client-key" --cacert "$TMPDIR/certificate-authority" "$@"; }
server_url=$(config .clusters[0].cluster.server)
for target in pods/a:8080 pods/http:a:8080 pods/a services/web:http services/web:80 services/http:web:http; do
  check "29 $target" "$(api "$server_url/api/v1/namespaces/default/${target}/proxy/version")" 1.0
done
for method in GET HEAD POST PUT PATCH DELETE OPTIONS; do
  head=""; [ "$method" = HEAD ] && head=--head
  for path in "" version; do
    for target in pods/a:8080 services/web:http; do
      check "27, 28 $method $target/$path" "$(api $head -X "$method" -o /dev/null -w '%{http_code}' "$server_url/api/v1/namespaces/default/$target/proxy/$path")" 200
    done
  done
done
# 15, 21, 22, 31, 32: every verb of every kind.
verbs() { # RESOURCE, its object from stdin
  local file="$TMPDIR/object"; cat >"$file"
  contains "$1 is discovered" "$(k api-resources -o name)" "$1"
  k create -f "$file" >/dev/null && k get -f "$file" -o name >/dev/null && k get "$1" -A --no-headers >/dev/null || fail "$1: create, get, list"
  # Not a pipe: that would wait for the watch's end.
  grep -q -m1 ADDED < <(timeout 3 "$KUBECTL" get "$1" -A -w --output-watch-events 2>/dev/null) || fail "$1: watch"
  k patch -f "$file" --type=merge -p '{"metadata":{"annotations":{"patched":"yes"}}}' >/dev/null || fail "$1: patch"
  k get -f "$file" -o json | sed 's/"patched": "yes"/"patched": "no"/' | k replace -f - >/dev/null || fail "$1: update"
  check "$1: both are there" "$(k get -f "$file" -o 'jsonpath={.metadata.annotations.patched}')" no
  k delete -f "$file" >/dev/null || fail "$1: delete"
  k create -f "$file" >/dev/null && k delete "$1" -l special=yes >/dev/null || fail "$1: deletecollection"
  check "$1: gone" "$(k get -f "$file" --ignore-not-found -o name)" ""
}
verbs endpointslices.discovery.k8s.io <<<'{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"v","labels":{"special":"yes"}},"addressType":"IPv4","endpoints":[],"ports":[]}'
verbs ingresses.networking.k8s.io <<<'{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"v","labels":{"special":"yes"}},"spec":{"defaultBackend":{"service":{"name":"web","port":{"number":80}}}}}'
verbs ingressclasses.networking.k8s.io <<<'{"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{"name":"v","labels":{"special":"yes"}},"spec":{"controller":"example.com/c"}}'
verbs ipaddresses.networking.k8s.io <<<'{"apiVersion":"networking.k8s.io/v1","kind":"IPAddress","metadata":{"name":"192.168.1.9","labels":{"special":"yes"}},"spec":{"parentRef":{"group":"","resource":"services","namespace":"default","name":"web"}}}'
verbs servicecidrs.networking.k8s.io <<<'{"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{"name":"v","labels":{"special":"yes"}},"spec":{"cidrs":["10.111.0.0/24"]}}'
# 30: how long a new Service's endpoints take.
begin=$(date +%s%N)
for i in $(seq 20); do printf 'apiVersion: v1\nkind: Service\nmetadata: {name: late-%s, labels: {late: "yes"}}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n' "$i"; done | k apply -f - >/dev/null
all_there() { [ "$(k get endpointslices -l late=yes -o 'jsonpath={.items[*].endpoints[0].addresses[0]}' | wc -w)" = 20 ]; }
eventually 10 "30 twenty Services have endpoints" all_there
say "30: 20 Services with their endpoints in $((($(date +%s%N) - begin) / 1000000)) ms"
"$SKIFF" delete >/dev/null 2>&1 || fail delete
finish
