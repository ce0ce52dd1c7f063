#!/usr/bin/env bash
# Cluster DNS: another cluster domain and its alias, the host's name, kube-dns as clients find it, domains of their own
# resolvers, Services that come and go.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --cluster-domain corp.example
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k scale --replicas=1 deployment/hitcounter >/dev/null
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail rollout
pod=$(k get pods -l app=hitcounter -o 'jsonpath={.items[0].metadata.name}')
lookup() { k exec "$pod" -- hitcounter lookup "$1" 2>/dev/null; }
finds() { lookup "$1" | grep -qF "$2"; }
ip=$(k get service hitcounter-service -o 'jsonpath={.spec.clusterIP}')
for name in hitcounter-service hitcounter-service.default hitcounter-service.default.svc hitcounter-service.default.svc.corp.example \
  hitcounter-service.default.svc.cluster.internal; do
  eventually 3 "$name" finds "$name" "$ip"
done
contains "search paths" "$(k exec "$pod" -- hitcounter cat /etc/resolv.conf)" "search default.svc.corp.example svc.corp.example corp.example"
finds hitcounter-service.default.svc.cluster.local "$ip" && fail "the default domain is answered though there is another"

# The machine itself, by name, from a pod.
contains "the host's name" "$(lookup host.skiff.internal)" 10.243.0.1
python3 -c 'import http.server; http.server.test(HandlerClass=http.server.SimpleHTTPRequestHandler, port=8999, bind="0.0.0.0")' >/dev/null 2>&1 &
from_host() { k exec "$pod" -- hitcounter get http://host.skiff.internal:8999/ | grep -qi listing; }
eventually 5 "a program of the host" from_host

# Clients that look for kube-dns find it, and it answers there.
check "kube-dns has endpoints" "$(k get endpointslices -n kube-system -l kubernetes.io/service-name=kube-dns -o 'jsonpath={.items[0].endpoints[0].addresses[0]} {.items[0].ports[*].port}')" "10.243.0.2 53 53"
ask() { # SERVER[:PORT] NAME: the first address of an answer
  python3 - "$@" <<'P'
import socket, struct, sys
server, name = sys.argv[1], sys.argv[2]
query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0\0\1\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.sendto(query, (server, 53))
print(".".join(map(str, s.recv(4096)[-4:])))
P
}
check "asked at its endpoint" "$(ask 10.243.0.2 hitcounter-service.default.svc.corp.example)" "$ip"
check "asked from the host" "$(ask "$(k get service -n kube-system kube-dns -o 'jsonpath={.spec.clusterIP}')" hitcounter-service.default.svc.corp.example)" "$ip"

# A domain of its own resolver, which says 192.0.2.77 to everything.
python3 - <<'P' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 5399))
while True:
    q, who = s.recvfrom(512)
    end = q.index(b"\0", 12) + 5
    s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + bytes([192, 0, 2, 77]), who)
P
k create configmap -n kube-system kube-dns --from-literal='stubDomains={"acme.test":["127.0.0.1:5399"]}' >/dev/null || fail stub
eventually 3 "a name of the stub zone" finds db.acme.test 192.0.2.77
k patch configmap -n kube-system kube-dns -p '{"data":{"stubDomains":"nonsense"}}' >/dev/null
told() { k get events -n kube-system -o 'jsonpath={.items[*].message}' | grep -q "stubDomains"; }
eventually 3 "nonsense is an event" told
finds db.acme.test 192.0.2.77 || fail "and what was goes on"

k delete service hitcounter-service >/dev/null
gone() { ! finds hitcounter-service "$ip"; }
eventually 3 "a Service that went has no name" gone
"$SKIFF" delete >/dev/null 2>&1 || fail delete
kill %1 %2 2>/dev/null
finish
