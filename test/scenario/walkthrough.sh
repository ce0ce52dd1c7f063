#!/usr/bin/env bash
# examples/README.md from top to bottom, with what its reader would see: five nodes, one of them lost.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 5 --node-grace 5 --eviction-after 1
E=$PROJECT/examples

step() { say "-- $*"; }
# What the reader sees, for the record.
show() { say "\$ kubectl $*"; k "$@" 2>&1; }
state_of() { k get node "$1" --no-headers | awk '{print $2}'; }
is_node() { [ "$(state_of "$1")" = "$2" ]; }
ready_pods() { k get pods -l app=hitcounter -o json | jq '[.items[] | select(.metadata.deletionTimestamp | not) | select(.status.conditions[]? | .type == "Ready" and .status == "True")] | length'; }
has_ready() { [ "$(ready_pods)" = "$1" ]; }
nodes_used() { k get pods -l app=hitcounter --field-selector=status.phase=Running -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l; }
gone_from() { [ -z "$(k get pods -l app=hitcounter --field-selector "spec.nodeName=$1" -o name)" ]; }

step "five nodes"
check "nodes" "$(k get nodes --no-headers | grep -c ' Ready ')" 5
contains "cluster-info" "$(k cluster-info)" "is running at"
show get nodes

step "deploy"
k apply -f "$E/hitcounter.yaml" >/dev/null || fail "apply hitcounter"
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail "rollout"
check "three pods on three nodes" "$(nodes_used)" 3
port=$(node_port hitcounter-service)
eventually 5 "the page answers" fetch "http://127.0.0.1:$port/"
contains "describe" "$(k describe deployment hitcounter)" "3 available"
show get pods -o wide

step "lose a node and heal"
lost=$(k get pods -l app=hitcounter -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | grep -v '^skiff$' | head -n 1)
"$SKIFF" node stop "$lost" >/dev/null || fail "node stop $lost"
eventually 15 "$lost is NotReady" is_node "$lost" NotReady
eventually 15 "three pods are ready again, elsewhere" has_ready 3
eventually 5 "the page still answers" fetch "http://127.0.0.1:$port/"
show get nodes
show get pods -o wide

step "scale to ten"
k scale --replicas=10 deployment/hitcounter >/dev/null
eventually 30 "ten pods" has_ready 10
check "they use the four nodes there are" "$(k get pods -l app=hitcounter -o json | jq '[.items[] | select(.metadata.deletionTimestamp | not) | .spec.nodeName] | unique | length')" 4
show get pods -o wide

step "the node returns"
"$SKIFF" node start "$lost" >/dev/null || fail "node start $lost"
eventually 15 "$lost is Ready" is_node "$lost" Ready

step "update and roll back, while somebody asks all the time"
patience='{"spec":{"template":{"spec":{"containers":[{"name":"hitcounter","lifecycle":{"preStop":{"exec":{"command":["hitcounter","sleep","2"]}}}}]}}}}'
k patch deployment hitcounter -p "$patience" >/dev/null || fail patch
k rollout status deployment/hitcounter --timeout=60s >/dev/null || fail "rollout of patience"
: >"$HOME/failures"
( for _ in $(seq 400); do curl -sS --max-time 3 "http://127.0.0.1:$port/" >/dev/null 2>>"$HOME/failures" || echo failed >>"$HOME/failures"; [ -e "$HOME/done" ] && break; done ) &
asking=$!
k set image deployment/hitcounter hitcounter=hitcounter:2.0 >/dev/null
k rollout status deployment/hitcounter --timeout=60s >/dev/null || fail "rollout of 2.0"
: >"$HOME/done"
wait "$asking"
check "failed requests during the update" "$(cat "$HOME/failures")" ""
eventually 5 "version 2.0 answers" sh -c "curl -sS --max-time 2 http://127.0.0.1:$port/ | grep -q 'version 2.0'"
contains "history" "$(k rollout history deployment/hitcounter)" "3 "
show rollout history deployment/hitcounter
k rollout undo deployment/hitcounter >/dev/null
k rollout status deployment/hitcounter --timeout=40s >/dev/null || fail "undo"
check "image after undo" "$(k get deployment hitcounter -o 'jsonpath={.spec.template.spec.containers[0].image}')" hitcounter:1.0

step "drain under a budget"
k apply -f "$E/budget.yaml" >/dev/null || fail "apply budget"
k drain skiff-2 --ignore-daemonsets --timeout=40s >/dev/null 2>&1 || fail "drain"
check "skiff-2 is empty" "$(k get pods -l app=hitcounter --field-selector spec.nodeName=skiff-2 -o name | wc -l)" 0
show get pods -o wide
k uncordon skiff-2 >/dev/null
k scale --replicas=30 deployment/hitcounter >/dev/null
quota_said() { "$SKIFF" why deployment/hitcounter | grep -q "exceeded quota: room"; }
eventually 10 "why says what the quota says" quota_said
k scale --replicas=2 deployment/hitcounter >/dev/null
eventually 20 "two pods" has_ready 2
eventually 20 "and no others" sh -c "[ \$($KUBECTL get pods -l app=hitcounter -o name | wc -l) = 2 ]"
pod=$(k get pods -l app=hitcounter -o name | head -n 1)
settled() { [ "$(k get pdb hitcounter --no-headers | awk '{print $4}')$(k get pdb hitcounter -o 'jsonpath={.status.currentHealthy}')" = 02 ]; }
eventually 10 "the budget is spent" settled
refusal=$(printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"default"}}' "${pod#pod/}" \
  | k create --raw "/api/v1/namespaces/default/pods/${pod#pod/}/eviction" -f - 2>&1)
contains "an eviction that the budget refuses" "$refusal" "Cannot evict pod as it would violate the pod's disruption budget."

step "configuration"
k apply -f "$E/configuration.yaml" >/dev/null && k wait --for=condition=Ready pod/configured --timeout=20s >/dev/null || fail configuration
contains "variables" "$(k exec configured -- hitcounter env)" "GREETING=Good morning"
check "a file of a Secret" "$(k exec configured -- hitcounter cat /etc/credentials/password)" open-sesame

step "storage"
k apply -f "$E/storage.yaml" >/dev/null || fail storage
k wait --for=condition=complete job/writer --timeout=20s >/dev/null || fail "the writer"
k wait --for=condition=Ready pod/reader --timeout=20s >/dev/null || fail "the reader"
contains "what a pod that is gone wrote" "$(k exec reader -- hitcounter cat /notebook/page)" "written by a pod that is gone"

step "sidecar, health, jobs, sets"
k apply -f "$E/sidecar.yaml" -f "$E/health.yaml" -f "$E/jobs.yaml" -f "$E/sets.yaml" >/dev/null || fail "apply the rest"
k wait --for=condition=Ready pod/pair pod/healthy --timeout=30s >/dev/null || fail "pair and healthy"
contains "a shared directory" "$(k exec pair -c companion -- hitcounter cat /shared/news)" prepared
restarted() { [ "$(k get pod sick -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
eventually 20 "a failing liveness probe restarts" restarted
k wait --for=condition=complete job/indexes --timeout=20s >/dev/null || fail "the indexed job"
contains "an index" "$(k logs -l batch.kubernetes.io/job-completion-index=2)" JOB_COMPLETION_INDEX=2
k rollout status daemonset/agent --timeout=30s >/dev/null || fail "daemon set"
check "a daemon on every node" "$(k get daemonset agent -o 'jsonpath={.status.numberReady}')" 5
k rollout status statefulset/db --timeout=30s >/dev/null || fail "stateful set"
check "a volume each" "$(k get pvc -l app=db -o 'jsonpath={.items[*].status.phase}')" "Bound Bound"
contains "stable names" "$(k exec pair -c web -- hitcounter lookup db-1.db.default.svc.cluster.local)" "10."
finish
