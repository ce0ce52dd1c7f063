#!/usr/bin/env bash
# LoadBalancers, external addresses, source ranges, affinity: from the host and from pods, on two nodes.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k apply -f - >/dev/null <<'Y' || fail apply
apiVersion: v1
kind: Service
metadata: {name: first}
spec: {type: LoadBalancer, selector: {app: hitcounter}, ports: [{name: web, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: second}
spec: {type: LoadBalancer, selector: {app: hitcounter}, ports: [{name: web, port: 80, targetPort: 8080}], externalIPs: [192.0.2.9], sessionAffinity: ClientIP}
---
apiVersion: v1
kind: Service
metadata: {name: foreign}
spec: {type: LoadBalancer, loadBalancerClass: example.com/other, selector: {app: hitcounter}, ports: [{port: 81, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: guarded}
spec: {type: LoadBalancer, loadBalancerSourceRanges: [192.0.2.0/24], selector: {app: hitcounter}, ports: [{port: 82, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: kept}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: hitcounter}, ports: [{port: 83, targetPort: 8080}]}
Y
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail rollout
address() { k get service "$1" -o 'jsonpath={.status.loadBalancer.ingress[0].ip}'; }
has_address() { [ -n "$(address "$1")" ]; }
for name in first second guarded kept; do eventually 2 "$name has an address" has_address "$name"; done
check "each has an address of its own" "$(for n in first second guarded kept; do address $n; echo; done | sort -u | wc -l)" 4
contains "kubectl shows it" "$(k get service first --no-headers)" "$(address first)"
check "a class of others is left alone" "$(k get service foreign --no-headers | awk '{print $4}')" "<pending>"
contains "what was done is an event" "$(k describe service first)" "Ensured load balancer"

hello() { fetch "$1" | grep -q Hello; }
eventually 5 "first from the host" hello "http://$(address first)/"
eventually 5 "second, on the same port" hello "http://$(address second)/"
eventually 5 "the older one on the host's loopback" hello http://127.0.0.1/
contains "the other is told why not" "$(k get events --field-selector reason=LoadBalancerPortUnavailable -o 'jsonpath={.items[*].message}')" \
  "Port 80 does not answer on 127.0.0.1 of the host: Service default/"
check "skiff service --url" "$("$SKIFF" service first --url)" "http://$(address first):80"
contains "skiff service of a NodePort" "$("$SKIFF" service hitcounter-service)" "http://127.0.0.1:$(node_port hitcounter-service)"
"$SKIFF" service nothing >/dev/null 2>&1 && fail "skiff service of nothing succeeds"

for pod in $(k get pods -l app=hitcounter -o 'jsonpath={.items[*].metadata.name}'); do
  within() { k exec "$pod" -- hitcounter get "$1" | grep -q Hello; }
  eventually 5 "$pod reaches a balancer" within "http://$(address second)/"
  eventually 5 "$pod reaches an external address" within http://192.0.2.9/
  eventually 5 "$pod reaches one that keeps to nodes" within "http://$(address kept):83/"
done
check "affinity" "$(for _ in 1 2 3 4 5 6 7 8; do fetch "http://$(address second)/hostname"; done | sort -u | wc -l)" 1
[ "$(for _ in $(seq 30); do fetch "http://$(address first)/hostname"; done | sort -u | wc -l)" -gt 1 ] || fail "one pod gets all"
curl -s --max-time 1 "http://$(address guarded):82/" >/dev/null && fail "the host is not among the sources"
curl -s --max-time 1 http://127.0.0.1:82/ >/dev/null && fail "loopback is not among the sources"
k patch service guarded -p '{"spec":{"loadBalancerSourceRanges":["10.0.0.0/8","127.0.0.0/8"]}}' >/dev/null
eventually 5 "guarded lets the host in now" hello "http://$(address guarded):82/"
eventually 5 "and its loopback" hello http://127.0.0.1:82/

# A balancer that keeps the source follows its pods to their node.
k scale --replicas=1 deployment/hitcounter >/dev/null
one_left() { [ "$(k get pods -l app=hitcounter --no-headers | wc -l)" = 1 ]; }
eventually 20 "one pod is left" one_left
node=$(k get pods -l app=hitcounter -o 'jsonpath={.items[0].spec.nodeName}')
eventually 5 "kept answers from $node" hello "http://$(address kept):83/"
health=$(k get service kept -o 'jsonpath={.spec.healthCheckNodePort}')
for name in skiff skiff-2; do
  ip=$(k get node "$name" -o 'jsonpath={.status.addresses[0].address}')
  want=503; [ "$name" = "$node" ] && want=200
  healthy() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://$ip:$health/")" = "$want" ]; }
  eventually 5 "health of $name is $want" healthy
done
contains "health says what it counts" "$(fetch "http://$(k get node "$node" -o 'jsonpath={.status.addresses[0].address}'):$health/")" '"localEndpoints": 1'

# Types change in place.
gone=$(address first)
k patch service first -p '{"spec":{"type":"ClusterIP"}}' >/dev/null
check "the status goes with the type" "$(address first)" ""
refused() { ! curl -sS --max-time 1 "http://$gone/" >/dev/null 2>&1; }
eventually 5 "and so does the address" refused
k patch service first -p '{"spec":{"type":"NodePort"}}' >/dev/null
port=$(node_port first)
eventually 5 "a NodePort now" hello "http://127.0.0.1:$port/"
k patch service first -p '{"spec":{"type":"ExternalName","externalName":"example.org","clusterIP":null,"clusterIPs":null}}' >/dev/null || fail "to ExternalName"
closed() { ! curl -sS --max-time 1 "http://127.0.0.1:$port/" >/dev/null 2>&1; }
eventually 5 "and nothing after that" closed
eventually 5 "the port went to the one that waited" hello http://127.0.0.1/
"$SKIFF" delete >/dev/null 2>&1 || fail delete
check "nothing is left on the host" "$(ip -o link | grep -c ': sk'; ip route | grep -c .)" "0
0"
finish
