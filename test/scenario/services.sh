#!/usr/bin/env bash
# Services and names on a cluster of two nodes: from pods, across nodes, from the host.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2
check "nodes" "$(k get nodes -o name | tr '\n' ' ')" "node/skiff node/skiff-2 "
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k scale --replicas=4 deployment/hitcounter >/dev/null
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail rollout
check "both nodes are used" "$(k get pods -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)" 2

k apply -f - >/dev/null <<'Y' || fail apply
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: hitcounter}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {ports: [{port: 80, targetPort: 8080}]}
Y
first=$(k get pods -l app=hitcounter -o 'jsonpath={.items[0].status.podIP}')
k apply -f - >/dev/null <<Y || fail "endpoints"
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
subsets: [{addresses: [{ip: $first}], ports: [{port: 8080}]}]
Y
for pod in $(k get pods -l app=hitcounter -o 'jsonpath={.items[*].metadata.name}'); do
  through() { k exec "$pod" -- hitcounter get "$1" | grep -q Hello; }
  eventually 5 "$pod reaches the service by name" through http://hitcounter-service:8080/
  eventually 5 "$pod reaches the service by its full name" through http://hitcounter-service.default.svc.cluster.local:8080/
  eventually 5 "$pod reaches hand-made endpoints" through http://manual/
done
pod=$(k get pods -l app=hitcounter -o 'jsonpath={.items[0].metadata.name}')
check "a headless name has every address" "$(k exec "$pod" -- hitcounter lookup headless | grep -c '10\.244\.')" 4
ip=$(k get service hitcounter-service -o 'jsonpath={.spec.clusterIP}')
contains "ClusterIP from the host" "$(fetch "http://$ip:8080/")" Hello
contains "pod IP from the host" "$(fetch "http://$first:8080/")" Hello
contains "endpoints" "$(k get endpoints hitcounter-service 2>/dev/null)" ":8080"
check "slices" "$(k get endpointslices -l kubernetes.io/service-name=hitcounter-service -o 'jsonpath={.items[*].endpoints[*].conditions.ready}')" "true true true true"

k scale --replicas=0 deployment/hitcounter >/dev/null
refused() { ! curl -sS --max-time 2 "http://$ip:8080/" >/dev/null 2>&1; }
eventually 20 "a service without endpoints refuses" refused
k delete service hitcounter-service >/dev/null
"$SKIFF" delete >/dev/null 2>&1 || fail delete
finish
