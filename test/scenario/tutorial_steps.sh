#!/usr/bin/env bash
# What the readers of tutorials type, step by step, and what they must see; on one node, then on five.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --node-grace 5 --eviction-after 1
step() { say "-- $*"; }

# demo answers on 5005 with its version and the name of its host.
image() { "$PROJECT/scripts/make-test-images" -o "$TMPDIR/$1" -p 5005 -c "$2" "$1" >/dev/null && "$SKIFF" image load "$TMPDIR/$1/image.docker.tar" >/dev/null || fail "image $1"; }
serve='echo "$V from $(hostname)" >/www/index.html; echo serving; trap "exit 0" TERM; httpd -f -p 5005 -h /www & wait $!'
(cd "$TMPDIR" && image demo:v1 "V=v1; $serve" && image demo:v2 "V=v2; $serve")
ready_pods() { k get pods -l "$1" -o json | jq '[.items[] | select(.metadata.deletionTimestamp | not) | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length'; }
are_ready() { [ "$(ready_pods "$1")" = "$2" ]; }
page() { fetch "http://127.0.0.1:$1/"; }
page_has() { page "$1" | grep -q "$2"; }
pod_of() { k get pods -l "$1" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}'; }

step "1 a cluster"
contains "get nodes" "$(k get nodes)" " Ready "
contains "cluster-info" "$(k cluster-info)" "is running at"
contains "version" "$(k version 2>/dev/null)" "v1.36"

step "2 deploy"
k create deployment demo --image=demo:v1 >/dev/null || fail "create deployment"
k run single --image=demo:v1 --port=5005 >/dev/null || fail "run"
k rollout status deployment/demo --timeout=20s >/dev/null || fail rollout
contains "get deployments" "$(k get deployments)" "1/1 "
k wait --for=condition=Ready pod/single --timeout=20s >/dev/null
contains "get pods -o wide" "$(k get pods -o wide)" " Running "
contains "describe pods" "$(k describe pods)" "Container image \"demo:v1\" already present on machine"
k proxy --port=8001 >/dev/null 2>&1 &
proxy=$!
eventually 5 "kubectl proxy" fetch -f http://127.0.0.1:8001/version
contains "the API by curl" "$(fetch http://127.0.0.1:8001/api/v1/namespaces/default/pods/single/proxy/)" "v1 from single"
kill "$proxy"

k run visitor --image=hitcounter:1.0 >/dev/null && k wait --for=condition=Ready pod/visitor --timeout=20s >/dev/null || fail "run visitor"
from_inside() { k exec visitor -- hitcounter get "$1"; }

step "3 explore"
check "logs" "$(k logs single)" serving
contains "exec env" "$(k exec single -- env)" "HOSTNAME=single"
contains "exec -ti sh" "$(printf 'echo $((6*7)) from inside; exit\n' | script -qec "$KUBECTL exec -ti single -- sh" /dev/null)" "42 from inside"

step "4 expose"
k expose deployment demo --port=5005 --target-port=5005 --type=NodePort >/dev/null || fail expose
port=$(node_port demo)
contains "get service" "$(k get service demo)" "5005:$port/TCP"
eventually 5 "the page on the node port" page_has "$port" "v1 from demo-"
check "pods by label" "$(k get pods -l app=demo -o name | wc -l)" 1
k label pod single version=v1 >/dev/null || fail label
check "the label selects" "$(k get pods -l version=v1 -o name)" pod/single
check "services by label" "$(k get services -l app=demo -o name)" service/demo
k expose pod single --name=balanced --type=LoadBalancer --port=5005 >/dev/null || fail "LoadBalancer"
k create service externalname elsewhere --external-name=database.company.com >/dev/null || fail ExternalName
contains "an ExternalName" "$(k get service elsewhere)" "database.company.com"
address=$(k get pod single -o 'jsonpath={.status.podIP}')
k apply -f - >/dev/null 2>&1 <<YAML || fail "a service without selector"
---
{apiVersion: v1, kind: Service, metadata: {name: by-hand}, spec: {ports: [{port: 80, targetPort: 5005}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: by-hand}, subsets: [{addresses: [{ip: $address}], ports: [{port: 5005}]}]}
YAML
eventually 5 "hand-made endpoints" from_inside http://by-hand/
k delete service demo >/dev/null || fail "delete service"
eventually 5 "the port is closed" sh -c "! curl -sS --max-time 2 http://127.0.0.1:$port/"
contains "the pod from inside" "$(from_inside "http://$(k get pod "$(pod_of app=demo)" -o 'jsonpath={.status.podIP}'):5005/")" "v1 from demo-"

step "1b five nodes"
"$SKIFF" node add --count 4 >/dev/null || fail "node add"
five() { [ "$(k get nodes --no-headers | grep -c ' Ready ')" = 5 ]; }
eventually 15 "five nodes are Ready" five

step "5 scale"
k expose deployment demo --port=5005 --type=NodePort >/dev/null || fail "expose again"
port=$(node_port demo)
k scale --replicas=10 deployment/demo >/dev/null || fail scale
eventually 20 "ten" are_ready app=demo 10
hosts() { for _ in $(seq 60); do page "$port"; done | sort -u | wc -l; }
all_ten() { [ "$(hosts)" = 10 ]; }
eventually 10 "each request another pod" all_ten
check "spread over the nodes" "$(k get pods -l app=demo -o json | jq '[.items[].spec.nodeName] | unique | length')" 5
k scale --replicas=0 deployment/demo >/dev/null
eventually 20 "none" sh -c "[ -z \"\$($KUBECTL get pods -l app=demo -o name)\" ]"
k scale --replicas=2 deployment/demo >/dev/null
eventually 20 "two" are_ready app=demo 2

step "13 autoscale, under load from here on"
k create deployment busy --image=demo:v1 >/dev/null && k set resources deployment busy --requests=cpu=5m >/dev/null || fail busy
k rollout status deployment/busy --timeout=20s >/dev/null || fail "rollout of busy"
k autoscale deployment/busy --min=2 --max=10 --cpu-percent=50 >/dev/null 2>&1 || fail autoscale
k expose deployment busy --port=5005 --type=NodePort >/dev/null
busy=$(node_port busy)
( while [ ! -e "$HOME/calm" ]; do for _ in $(seq 20); do echo "url=http://127.0.0.1:$busy/"; done | curl -s --max-time 5 -K - >/dev/null; done ) &
load=$!

step "6 update"
k set image deployment/demo demo=demo:v2 >/dev/null || fail "set image"
k rollout status deployment/demo --timeout=30s >/dev/null || fail "rollout of v2"
eventually 5 "v2 answers" page_has "$port" v2
k set image deployment/demo demo=demo:v3 >/dev/null
bad() { k get pods -l app=demo --no-headers | grep -qE "ErrImagePull|ImagePullBackOff"; }
eventually 15 "a bad image shows" bad
page_has "$port" v2 || fail "the old pods answer meanwhile"
k rollout undo deployment/demo >/dev/null || fail undo
k rollout status deployment/demo --timeout=30s >/dev/null || fail "undo: rollout"
contains "history" "$(k rollout history deployment/demo)" "REVISION"
k patch deployment demo -p '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":"50%"}}}}' >/dev/null
contains "numbers and percentages" "$(k describe deployment demo)" "50% max unavailable, 1 max surge"

step "7 self-healing"
k exec single -- sh -c 'kill 1' >/dev/null 2>&1
restarted() { [ "$(k get pod single -o 'jsonpath={.status.containerStatuses[0].restartCount}')" = 1 ]; }
eventually 10 "a killed container returns" restarted
k delete pod "$(pod_of app=demo)" --grace-period=1 >/dev/null
eventually 20 "a deleted pod is replaced" are_ready app=demo 2
lost=$(k get pods -l app=demo -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | grep -v '^skiff$' | head -n 1)
"$SKIFF" node stop "$lost" >/dev/null || fail "node stop $lost"
elsewhere() { [ "$(k get pods -l app=demo -o json | jq "[.items[] | select(.spec.nodeName != \"$lost\") | select(any(.status.conditions[]?; .type == \"Ready\" and .status == \"True\"))] | length")" = 2 ]; }
eventually 25 "the pods of a lost node appear elsewhere" elsewhere
"$SKIFF" node start "$lost" >/dev/null || fail "node start $lost"
k run giant --image=demo:v1 --overrides='{"spec":{"containers":[{"name":"giant","image":"demo:v1","resources":{"requests":{"cpu":"1000"}}}]}}' >/dev/null
why_not() { k describe pod giant | grep -q "Insufficient cpu"; }
eventually 10 "a pod that does not fit says why" why_not

step "8 configuration"
mkdir "$TMPDIR/settings" && echo blue >"$TMPDIR/settings/color" && printf admin >"$TMPDIR/username.txt"
k create configmap literal --from-literal=size=10 >/dev/null && k create configmap directory --from-file="$TMPDIR/settings" >/dev/null || fail configmaps
(cd "$TMPDIR" && k create secret generic access --from-file=./username.txt --from-literal=password=s3cret >/dev/null) || fail secret
contains "client dry-run" "$(k create secret generic more --from-literal=a=b --dry-run=client -o yaml)" "a: Yg=="
k apply -f - >/dev/null <<'YAML' || fail "a configured pod"
apiVersion: v1
kind: Pod
metadata: {name: configured}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: demo:v1
    env: [{name: SIZE, valueFrom: {configMapKeyRef: {name: literal, key: size}}}]
    envFrom: [{secretRef: {name: access}}]
    volumeMounts: [{name: files, mountPath: /settings}, {name: keys, mountPath: /keys}]
  volumes: [{name: files, configMap: {name: directory}}, {name: keys, secret: {secretName: access}}]
YAML
k wait --for=condition=Ready pod/configured --timeout=20s >/dev/null || fail configured
check "as variables" "$(k exec configured -- sh -c 'echo $SIZE $password')" "10 s3cret"
check "as files" "$(k exec configured -- cat /settings/color /keys/username.txt)" "blue
admin"
echo red >"$TMPDIR/settings/color"
k create configmap directory --from-file="$TMPDIR/settings" --dry-run=client -o yaml | k apply -f - >/dev/null 2>&1 || fail "change the configmap"
is_red() { [ "$(k exec configured -- cat /settings/color)" = red ]; }

step "9 storage, 14 two containers"
k apply -f - >/dev/null <<'YAML' || fail "storage"
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: web, image: "demo:v1", volumeMounts: [{name: shared, mountPath: /shared}, {name: host, mountPath: /host}, {name: shm, mountPath: /dev/shm}]}
  - {name: side, image: "demo:v1", command: [sh, -c, "echo news >/shared/file; echo in memory >/dev/shm/note; sleep 1000"], volumeMounts: [{name: shared, mountPath: /shared}, {name: shm, mountPath: /dev/shm}]}
  volumes: [{name: shared, emptyDir: {}}, {name: shm, emptyDir: {medium: Memory}}, {name: host, hostPath: {path: /var/lib/tutorial, type: DirectoryOrCreate}}]
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: by-hand}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadOnlyMany], storageClassName: manual, hostPath: {path: /var/lib/by-hand}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: static}, spec: {storageClassName: manual, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: dynamic}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: Never
  containers: [{name: c, image: "demo:v1", command: [sh, -c, "echo kept >/data/file"], volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: dynamic}}]
YAML
k wait --for=condition=Ready pod/pair --timeout=20s >/dev/null || fail pair
check "a shared volume" "$(k exec pair -c web -- cat /shared/file)" news
check "shared memory" "$(k exec pair -c web -- cat /dev/shm/note)" "in memory"
contains "over localhost" "$(k exec pair -c side -- wget -qO- http://localhost:5005/)" "v1 from pair"
contains "a shared process namespace" "$(k exec pair -c web -- ps)" "sleep 1000"
k exec pair -c web -- sh -c 'echo here >/host/note' || fail "hostPath"
bound() { [ "$(k get pvc static -o 'jsonpath={.status.phase}')" = Bound ]; }
eventually 10 "a static claim" bound
ended() { [ "$(k get pod writer -o 'jsonpath={.status.phase}')" = Succeeded ]; }
eventually 20 "the writer has written" ended
k delete pod writer >/dev/null
k run reader --image=demo:v1 --restart=Never --overrides='{"spec":{"containers":[{"name":"reader","image":"demo:v1","command":["cat","/data/file"],"volumeMounts":[{"name":"data","mountPath":"/data"}]}],"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"dynamic"}}]}}' >/dev/null
read_it() { [ "$(k logs reader)" = kept ]; }
eventually 20 "a claim outlives its pod" read_it

step "10 ingress"
k expose pod single --name=one --port=80 --target-port=5005 >/dev/null && k expose deployment demo --name=two --port=80 --target-port=5005 >/dev/null || fail "expose for the ingress"
k create ingress entry --default-backend=one:80 --rule='shop.example/cart*=two:80' --rule='blog.example/*=one:80' >/dev/null || fail "create ingress"
door() { [ -n "$(k get ingress entry -o 'jsonpath={.status.loadBalancer.ingress[0]}')" ]; }
eventually 10 "the ingress has an address" door
through() { fetch -o /dev/null -w '%{http_code} ' -H "Host: $1" "http://$(k get ingress entry -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')$2"; }
routes() { fetch -H "Host: $1" "http://$(k get ingress entry -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')$2" | grep -q "$3"; }
eventually 10 "a host of its own" routes blog.example / "from single"
eventually 10 "the default backend" routes nobody.example / "from single"
check "a path that two does not have" "$(through shop.example /cart)" "404 "

step "11 health"
k apply -f - >/dev/null <<'YAML' || fail health
apiVersion: v1
kind: Pod
metadata: {name: checked, labels: {app: checked}}
spec:
  terminationGracePeriodSeconds: 3
  containers:
  - name: c
    image: demo:v1
    readinessProbe: {httpGet: {path: /, port: 5005}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {exec: {command: [test, "!", -e, /tmp/sick]}, periodSeconds: 1, failureThreshold: 1}
    startupProbe: {tcpSocket: {port: 5005}, periodSeconds: 1}
    lifecycle: {postStart: {exec: {command: [touch, /tmp/started]}}, preStop: {exec: {command: [sh, -c, "echo stopping >/proc/1/fd/1"]}}}
YAML
k expose pod checked --port=5005 >/dev/null
k wait --for=condition=Ready pod/checked --timeout=20s >/dev/null || fail "checked"
k exec checked -- test -e /tmp/started || fail postStart
members() { k get endpointslices -l kubernetes.io/service-name=checked -o json | jq '[.items[].endpoints[]? | select(.conditions.ready)] | length'; }
has_members() { [ "$(members)" = "$1" ]; }
eventually 10 "in the service" has_members 1
k exec checked -- mv /www/index.html /www/away
eventually 10 "a failing readiness leaves it" has_members 0
k exec checked -- touch /tmp/sick
sick() { [ "$(k get pod checked -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
eventually 15 "a failing liveness restarts" sick
eventually 15 "and back in the service" has_members 1

step "12 namespaces, selectors, rights, names"
k create namespace test >/dev/null
k -n test run my-database --image=demo:v1 --labels=tier=db,env=test >/dev/null && k -n test expose pod my-database --port=80 --target-port=5005 >/dev/null || fail "my-database"
k -n test annotate pod my-database note=hello >/dev/null
selects() { check "selector $1" "$(k -n test get pods -l "$1" -o name | wc -l)" "$2"; }
selects tier=db 1; selects tier!=db 0; selects 'env in (test,prod)' 1; selects 'env notin (prod)' 1; selects env 1; selects '!env' 0
k -n test create role reader --verb=get,list --resource=pods >/dev/null && k -n test create rolebinding jane --role=reader --user=jane >/dev/null || fail rbac
check "jane in test" "$(k auth can-i list pods -n test --as jane)" yes
check "jane elsewhere" "$(k auth can-i list pods --as jane)" no
eventually 20 "a name across namespaces" from_inside http://my-database.test.svc.cluster.local/

step "15 jobs and sets"
k create job once --image=demo:v1 -- echo done >/dev/null && k create cronjob nightly --image=demo:v1 --schedule='0 2 * * *' -- echo night >/dev/null || fail jobs
k create job by-hand --from=cronjob/nightly >/dev/null || fail "job from cronjob"
k wait --for=condition=complete job/once job/by-hand --timeout=20s >/dev/null || fail "the jobs complete"
k apply -f - >/dev/null <<'YAML' || fail sets
---
{apiVersion: v1, kind: Service, metadata: {name: named}, spec: {clusterIP: None, selector: {app: named}, ports: [{port: 5005}]}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: named}, spec: {serviceName: named, replicas: 2, selector: {matchLabels: {app: named}}, template: {metadata: {labels: {app: named}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "demo:v1"}]}}}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: everywhere}, spec: {selector: {matchLabels: {app: everywhere}}, template: {metadata: {labels: {app: everywhere}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "demo:v1"}]}}}}
YAML
k rollout status statefulset/named --timeout=30s >/dev/null || fail "stateful set"
k rollout status daemonset/everywhere --timeout=30s >/dev/null || fail "daemon set"
check "a daemon on each of five" "$(k get daemonset everywhere -o 'jsonpath={.status.numberReady}')" 5
eventually 10 "stable names" from_inside http://named-1.named.default.svc.cluster.local:5005/

step "what took its time"
eventually 90 "a changed value appears in files" is_red
grew() { [ "$(k get deployment busy -o 'jsonpath={.spec.replicas}')" -gt 2 ]; }
eventually 60 "it grows under load" grew
: >"$HOME/calm"
wait "$load"
finish
