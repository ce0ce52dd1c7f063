#!/usr/bin/env bash
# Kills skiff with SIGKILL at random moments of rollouts, scalings, node stops and drains (at times while it starts, too),
# starts it again, and checks that all ends as wished and that no pod of the StatefulSet ever ran twice.
# By hand, inside the sandbox: scripts/sandbox test/crash/kill_cluster.sh [RUNS] [SEED]
source "$(dirname "$0")/../support/scenario.sh"
RUNS=${1:-20}
RANDOM=${2:-1}
START=(--nodes 3 --node-grace 4 --eviction-after 1)
# By what runs, not by what the API says.
running() { grep -lzx "HOSTNAME=$1" /proc/[0-9]*/environ 2>/dev/null | wc -l; }
start_cluster "${START[@]}"
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k scale --replicas=5 deployment/hitcounter >/dev/null
k rollout status deployment/hitcounter --timeout=30s >/dev/null || fail "first rollout"
k apply -f - >/dev/null <<'YAML'
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: hitcounter}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: hitcounter}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - {name: db, image: "hitcounter:1.0"}
YAML
k rollout status statefulset/db --timeout=30s >/dev/null || fail "the stateful set"

check "db-0, db-1 as processes" "$(running db-0) $(running db-1)" "1 1"  # or check_twins would see nothing

pause() { read -r -t "0.$(printf '%03d' $((RANDOM % 900)))" _ <> <(:) || true; }
sum_of() { k get "$1" "$2" -o "jsonpath={.spec.replicas} {.status.replicas} {.status.updatedReplicas} {.status.availableReplicas} {.metadata.generation} {.status.observedGeneration}" 2>/dev/null; }
live_pods() { k get pods -l "app=$1" -o json | jq '[.items[] | select(.metadata.deletionTimestamp | not)] | length'; }
is_as_wished() {
  local status
  status=$(sum_of "$1" "$2") || return 1
  set -- $status "$2"
  [ "$#" = 7 ] && [ "$1" = "$2" ] && [ "$1" = "$3" ] && [ "$1" = "$4" ] && [ "$5" = "$6" ] && [ "$(live_pods "$7")" = "$1" ]
}
# A pod of a StatefulSet on a node that is off stays Terminating, and has no twin, until the node is back.
as_wished() { is_as_wished deployment hitcounter && { [ -n "$down" ] || is_as_wished statefulset db; }; }
check_twins() {
  local name
  for name in db-0 db-1; do
    [ "$(running "$name")" -le 1 ] || fail "run $run: $name runs $(running "$name") times"
  done
}
change_something() {
  case $((RANDOM % 7)) in
    0) k set image deployment/hitcounter "hitcounter=hitcounter:$((RANDOM % 2 + 1)).0" ;;
    1) k scale --replicas=$((RANDOM % 6 + 2)) deployment/hitcounter ;;
    2) if [ -n "$down" ]; then "$SKIFF" node start "$down" && down=""; else "$SKIFF" node stop skiff-3 && down=skiff-3; fi ;;
    3) (k drain skiff-2 --ignore-daemonsets --delete-emptydir-data --timeout=5s; k uncordon skiff-2) & draining=$! ;;
    4) k rollout undo deployment/hitcounter ;;
    5) k set image statefulset/db "db=hitcounter:$((RANDOM % 2 + 1)).0" ;;
    6) k delete pod -l app=hitcounter --wait=false ;;
  esac >/dev/null 2>&1
}
kill_it() {
  kill -9 "$(cat "$SKIFF_HOME/clusters/skiff/lock")"
  eventually 20 "run $run: the process is gone" flock -n "$SKIFF_HOME/clusters/skiff/lock" true
}
down=""
draining=""
for run in $(seq "$RUNS"); do
  change_something
  pause
  kill_it
  check_twins
  if [ $((RANDOM % 4)) = 0 ]; then  # once more, on the way up
    "$SKIFF" start "${START[@]}" >/dev/null 2>&1 &
    starting=$!
    pause
    if ! flock -n "$SKIFF_HOME/clusters/skiff/lock" true; then kill_it; fi
    wait "$starting"
    if ! flock -n "$SKIFF_HOME/clusters/skiff/lock" true; then kill_it; fi
  fi
  timeout 90 "$SKIFF" start "${START[@]}" >"$HOME/start.log" 2>&1 || { fail "run $run: start after kill: $(cat "$HOME/start.log")"; finish; }
  [ -z "$draining" ] || wait "$draining"  # by number: a bare wait would wait for the substitutions in pause, too
  draining=""
  k uncordon skiff-2 >/dev/null 2>&1
  eventually 90 "run $run: everything is as wished" as_wished || break
  check_twins
  [ $((run % 20)) != 0 ] || say "$run runs, $(date +%T)"
done
say "$RUNS runs"
finish
