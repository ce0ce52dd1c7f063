#!/usr/bin/env bash
# A Deployment that grows under load (kubectl autoscale) and says why.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
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
contains "targets" "$(k get hpa web --no-headers)" "Deployment/web"
finish
