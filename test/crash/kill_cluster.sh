#!/usr/bin/env bash
# Kills skiff with SIGKILL at random moments of rollouts, node stops and drains, starts it again, and checks that all ends
# as wished. By hand, inside the sandbox: scripts/sandbox test/crash/kill_cluster.sh [RUNS] [SEED]
source "$(dirname "$0")/../support/scenario.sh"
RUNS=${1:-20}
RANDOM=${2:-1}
START=(--nodes 3 --node-grace 4 --eviction-after 1)
start_cluster "${START[@]}"
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k scale --replicas=5 deployment/hitcounter >/dev/null
k rollout status deployment/hitcounter --timeout=30s >/dev/null || fail "first rollout"

pause() { read -r -t "0.$(printf '%03d' $((RANDOM % 900)))" _ <> <(:) || true; }
as_wished() {
  local status
  status=$(k get deployment hitcounter -o 'jsonpath={.spec.replicas} {.status.replicas} {.status.updatedReplicas} {.status.availableReplicas} {.metadata.generation} {.status.observedGeneration}' 2>/dev/null) || return 1
  set -- $status
  [ "$#" = 6 ] && [ "$1" = "$2" ] && [ "$1" = "$3" ] && [ "$1" = "$4" ] && [ "$5" = "$6" ] &&
    [ "$(k get pods -l app=hitcounter -o json | jq '[.items[] | select(.metadata.deletionTimestamp | not)] | length')" = "$1" ]
}
down=""
for run in $(seq "$RUNS"); do
  case $((RANDOM % 5)) in
    0) k set image deployment/hitcounter "hitcounter=hitcounter:$((RANDOM % 2 + 1)).0" >/dev/null 2>&1 ;;
    1) k scale --replicas=$((RANDOM % 6 + 2)) deployment/hitcounter >/dev/null 2>&1 ;;
    2) if [ -n "$down" ]; then "$SKIFF" node start "$down" >/dev/null 2>&1 && down=""; else "$SKIFF" node stop skiff-3 >/dev/null 2>&1 && down=skiff-3; fi ;;
    3) (k drain skiff-2 --ignore-daemonsets --timeout=5s >/dev/null 2>&1; k uncordon skiff-2 >/dev/null 2>&1) & ;;
    4) k rollout undo deployment/hitcounter >/dev/null 2>&1 ;;
  esac
  pause
  pid=$(cat "$SKIFF_HOME/clusters/skiff/lock")
  kill -9 "$pid"
  eventually 10 "run $run: the process is gone" flock -n "$SKIFF_HOME/clusters/skiff/lock" true
  timeout 60 "$SKIFF" start "${START[@]}" >/dev/null 2>&1 || { fail "run $run: start after kill"; finish; }
  wait
  k uncordon skiff-2 >/dev/null 2>&1
  eventually 60 "run $run: everything is as wished" as_wished || break
done
say "$RUNS runs"
finish
