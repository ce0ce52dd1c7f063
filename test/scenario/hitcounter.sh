#!/usr/bin/env bash
# The tutorials' first application, from `apply` to `rollout undo`, with every kubectl there is.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

hostnames() {
  for _ in $(seq 40); do fetch "http://127.0.0.1:$1/" | sed -n 's/^Hello from \([^, ]*\).*/\1/p'; done | sort -u | wc -l
}
all_answer() { [ "$(hostnames "$1")" = "$2" ]; }

for KUBECTL in $(kubectls); do
  say "== $(k version --client -o json | jq -r .clientVersion.gitVersion)"
  check "a node is Ready" "$(k get nodes --no-headers | awk '{print $2}')" Ready
  contains "wide pods of an empty cluster" "$(k get pods -o wide 2>&1)" "No resources found"

  k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null || fail apply
  k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail "rollout status"
  port=$(node_port hitcounter-service)
  eventually 10 "three hosts answer on the NodePort" all_answer "$port" 3
  contains "apply again" "$(k apply -f "$PROJECT/examples/hitcounter.yaml")" "deployment.apps/hitcounter unchanged"

  k scale --replicas=10 deployment/hitcounter >/dev/null || fail scale
  eventually 20 "ten replicas" replicas_ready hitcounter 10
  k scale --replicas=2 deployment/hitcounter >/dev/null
  eventually 20 "two replicas" replicas_ready hitcounter 2

  k set image deployment/hitcounter hitcounter=hitcounter:2.0 >/dev/null || fail "set image"
  k rollout status deployment/hitcounter --timeout=30s >/dev/null || fail "rollout of 2.0"
  eventually 10 "version 2.0 answers" sh -c "curl -sS --max-time 2 http://127.0.0.1:$port/ | grep -q 'version 2.0'"
  contains "history" "$(k rollout history deployment/hitcounter)" "REVISION"
  k rollout undo deployment/hitcounter >/dev/null || fail "rollout undo"
  k rollout status deployment/hitcounter --timeout=30s >/dev/null || fail "rollout back"
  check "image after undo" "$(k get deployment hitcounter -o 'jsonpath={.spec.template.spec.containers[0].image}')" hitcounter:1.0

  pod=$(k get pods -l app=hitcounter --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}')
  check "exec" "$(k exec "$pod" -- hitcounter echo hello)" hello
  k exec "$pod" -- hitcounter exit 7 >/dev/null 2>&1
  check "exit status of exec" "$?" 7
  contains "logs" "$(k logs "$pod")" "8080"
  contains "describe" "$(k describe pod "$pod")" "Successfully assigned default/$pod to skiff"
  k delete pod "$pod" --grace-period=1 >/dev/null || fail "delete pod"
  eventually 20 "a deleted pod is replaced" replicas_ready hitcounter 2
  k delete -f "$PROJECT/examples/hitcounter.yaml" >/dev/null || fail "delete"
  eventually 30 "all pods are gone" sh -c "[ -z \"\$($KUBECTL get pods -o name)\" ]"
  fetch "http://127.0.0.1:$port/" >/dev/null 2>&1 && fail "the NodePort still answers"
done
finish
