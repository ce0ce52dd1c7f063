#!/usr/bin/env bash
# sig-apps, sig-scheduling: the verbs, /status and /scale of every kind over HTTP, and behaviours that unit tests do not show
# with real pods. The tables are test/conformance/apps.md and scheduling.md.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
k proxy --port=8001 >/dev/null 2>&1 &
proxy=$!
A=http://127.0.0.1:8001
eventually 5 "kubectl proxy" fetch -f $A/version

# ask METHOD PATH STATUS [TYPE BODY]: the answer is in $TMPDIR/answer.
ask() {
  local got type=${4:-application/json}
  got=$(curl -sS --max-time 10 -X "$1" -H "Content-Type: $type" ${5:+--data "$5"} -o "$TMPDIR/answer" -w '%{http_code}' "$A$2")
  [ "$got" = "$3" ] || fail "$1 $2: HTTP $got, want $3: $(head -c 300 "$TMPDIR/answer")"
}
field() { jq -r "$1" "$TMPDIR/answer"; }
MERGE=application/merge-patch+json

# verbs GROUP/VERSION PLURAL JSON [status] [scale]: all eight verbs of a namespaced kind, and its subresources.
verbs() {
  local base=/apis/$1/namespaces/default/$2 all=/apis/$1/$2 object=$3 one event
  [ "$1" = v1 ] && base=/api/v1/namespaces/default/$2 all=/api/v1/$2
  shift 3
  one=$base/probe
  ask POST "$base" 201 application/json "$object"
  ask GET "$one" 200
  check "$base: name" "$(field .metadata.name)" probe
  ask GET "$base?labelSelector=probe%3Dyes" 200
  check "$base: list by label" "$(field '.items | length')" 1
  ask GET "$all?labelSelector=probe%3Dyes" 200
  check "$all: list over namespaces" "$(field '.items | length')" 1
  read -r event < <(curl -sSN --max-time 5 "$A$base?watch=1&timeoutSeconds=1&labelSelector=probe%3Dyes" 2>/dev/null)
  contains "$base: watch" "$event" '"type":"ADDED"'
  ask PATCH "$one" 200 $MERGE '{"metadata":{"annotations":{"patched":"yes"}}}'
  check "$base: patch" "$(field .metadata.annotations.patched)" yes
  ask GET "$one" 200
  ask PUT "$one" 200 application/json "$(jq -c 'del(.metadata.resourceVersion) | .metadata.annotations.updated = "yes"' "$TMPDIR/answer")"
  check "$base: update" "$(field .metadata.annotations.updated)" yes
  for sub in "$@"; do
    case $sub in
      status)
        ask GET "$one/status" 200
        ask PATCH "$one/status" 200 $MERGE '{"metadata":{"annotations":{"status":"patched"}},"status":{"conditions":[{"type":"Probed","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","reason":"E2E","message":"set"}]}}'
        ask GET "$one/status" 200
        ask PUT "$one/status" 200 application/json "$(jq -c 'del(.metadata.resourceVersion) | .metadata.annotations.status = "updated"' "$TMPDIR/answer")" ;;
      scale)
        ask GET "$one/scale" 200
        ask PUT "$one/scale" 200 application/json "$(jq -c 'del(.metadata.resourceVersion) | .spec.replicas = 0' "$TMPDIR/answer")"
        ask PATCH "$one/scale" 200 $MERGE '{"spec":{"replicas":0}}'
        check "$one: scale" "$(field '.kind + " " + (.spec.replicas // 0 | tostring)')" "Scale 0" ;;
    esac
  done
  ask DELETE "$one" 200 application/json '{"propagationPolicy":"Background"}'
  eventually 10 "$one is gone" sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' $A$one) = 404 ]"
  ask POST "$base" 201 application/json "$object"
  ask POST "$base" 201 application/json "$(jq -c '.metadata.name = "second"' <<<"$object")"
  ask DELETE "$base?labelSelector=probe%3Dyes" 200
  eventually 10 "$base: deletecollection" sh -c "[ \$(curl -s '$A$base?labelSelector=probe%3Dyes' | jq '.items | length') = 0 ]"
}
pods='"selector":{"matchLabels":{"app":"probe"}},"template":{"metadata":{"labels":{"app":"probe"}},"spec":{"containers":[{"name":"c","image":"hitcounter:1.0"}]}}'
meta='"metadata":{"name":"probe","labels":{"probe":"yes"}}'
job='"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"hitcounter:1.0"}]}}'
say "-- verbs"
verbs apps/v1 deployments "{$meta,\"spec\":{\"replicas\":0,$pods}}" status scale
verbs apps/v1 replicasets "{$meta,\"spec\":{\"replicas\":0,$pods}}" status scale
verbs apps/v1 statefulsets "{$meta,\"spec\":{\"replicas\":0,\"serviceName\":\"s\",$pods}}" status scale
verbs apps/v1 daemonsets "{$meta,\"spec\":{${pods/\"spec\":\{/\"spec\":\{\"nodeSelector\":\{\"no\":\"where\"\},}}}" status
verbs v1 replicationcontrollers "{$meta,\"spec\":{\"replicas\":0,\"selector\":{\"app\":\"probe\"},\"template\":{\"metadata\":{\"labels\":{\"app\":\"probe\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"hitcounter:1.0\"}]}}}}" status scale
verbs batch/v1 jobs "{$meta,\"spec\":{\"suspend\":true,$job}}" status
verbs batch/v1 cronjobs "{$meta,\"spec\":{\"schedule\":\"0 3 1 1 *\",\"jobTemplate\":{\"spec\":{$job}}}}"
verbs policy/v1 poddisruptionbudgets "{$meta,\"spec\":{\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"app\":\"none\"}}}}" status
verbs apps/v1 controllerrevisions "{$meta,\"revision\":3,\"data\":{\"spec\":{}}}"
verbs v1 limitranges "{$meta,\"spec\":{\"limits\":[{\"type\":\"Container\",\"default\":{\"cpu\":\"2\"}}]}}"
ask POST /apis/batch/v1/namespaces/default/cronjobs 201 application/json "{$meta,\"spec\":{\"schedule\":\"0 3 1 1 *\",\"jobTemplate\":{\"spec\":{$job}}}}"
ask PATCH /apis/batch/v1/namespaces/default/cronjobs/probe/status 200 $MERGE '{"status":{"lastScheduleTime":"2026-01-01T00:00:00Z"}}'
check "a CronJob's status" "$(field .status.lastScheduleTime)" 2026-01-01T00:00:00Z
k delete cronjob probe >/dev/null

say "-- priority classes"
ask POST /apis/scheduling.k8s.io/v1/priorityclasses 201 application/json '{"metadata":{"name":"p1"},"value":1}'
ask PATCH /apis/scheduling.k8s.io/v1/priorityclasses/p1 200 $MERGE '{"description":"changed"}'
ask PATCH /apis/scheduling.k8s.io/v1/priorityclasses/p1 422 $MERGE '{"value":2}'
contains "why" "$(field .message)" "may not be changed in an update"

say "-- daemon set: labels decide, revisions, a rollback restarts nothing that need not"
k apply -f - >/dev/null <<'YAML' || fail "daemon set"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {nodeSelector: {color: blue}, terminationGracePeriodSeconds: 0, containers: [{name: c, image: "hitcounter:1.0"}]}
YAML
counts() { [ "$(k get daemonset agent -o 'jsonpath={.status.desiredNumberScheduled} {.status.numberReady}')" = "$1" ]; }
eventually 10 "nowhere yet" counts "0 0"
k label node skiff color=blue >/dev/null
eventually 20 "on the blue node" counts "1 1"
uid=$(k get pods -l app=agent -o 'jsonpath={.items[0].metadata.uid}')
k set image daemonset/agent c=no-such:image >/dev/null
eventually 10 "a second revision" sh -c "[ \$($KUBECTL get controllerrevisions -l app=agent -o name | wc -l) = 2 ]"
k rollout undo daemonset/agent >/dev/null || fail undo
k rollout status daemonset/agent --timeout=30s >/dev/null || fail "rolled back"
check "the last revision" "$(k get controllerrevisions -l app=agent -o json | jq '[.items[].revision] | max')" 3
uid=$(k get pods -l app=agent -o 'jsonpath={.items[0].metadata.uid}')
k patch daemonset agent -p '{"metadata":{"labels":{"x":"y"}}}' >/dev/null
k patch pod "$(k get pods -l app=agent -o 'jsonpath={.items[0].metadata.name}')" --subresource=status -p '{"status":{"phase":"Failed"}}' >/dev/null 2>&1 || fail "fail the pod"
replaced() { [ "$(k get pods -l app=agent -o 'jsonpath={.items[*].metadata.uid}')" != "$uid" ] && counts "1 1"; }
eventually 20 "a failed daemon pod is replaced" replaced
k label node skiff color=green --overwrite >/dev/null
eventually 20 "not on a green one" counts "0 0"

say "-- stateful set: bursts, failed pods, partitions"
k apply -f - >/dev/null <<'YAML' || fail "stateful set"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  updateStrategy: {rollingUpdate: {partition: 2}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: "hitcounter:1.0", readinessProbe: {exec: {command: [/bin/hitcounter, cat, /tmp/ready]}, periodSeconds: 1}}
YAML
eventually 20 "both at once, though none is ready" sh -c "[ \$($KUBECTL get pods -l app=db --field-selector=status.phase=Running -o name | wc -l) = 2 ]"
k scale statefulset db --replicas=3 >/dev/null
eventually 20 "a third, though the others are not ready" sh -c "[ \$($KUBECTL get pods -l app=db --field-selector=status.phase=Running -o name | wc -l) = 3 ]"
for i in 0 1 2; do k exec "db-$i" -- hitcounter write /tmp/ready yes || fail "make db-$i ready"; done
k set image statefulset/db c=hitcounter:2.0 >/dev/null
images() { k get pods -l app=db -o 'jsonpath={range .items[*]}{.metadata.name}={.spec.containers[0].image} {end}'; }
partitioned() { [ "$(images)" = "db-0=hitcounter:1.0 db-1=hitcounter:1.0 db-2=hitcounter:2.0 " ]; }
eventually 20 "only those above the partition" partitioned
k delete pod db-0 >/dev/null
eventually 20 "a deleted one below it keeps the old template" partitioned
uid=$(k get pod db-1 -o 'jsonpath={.metadata.uid}')
k patch pod db-1 --subresource=status -p '{"status":{"phase":"Failed"}}' >/dev/null || fail "fail db-1"
again() { [ "$(k get pod db-1 -o 'jsonpath={.metadata.uid}')" != "$uid" ]; }
eventually 20 "a failed pod is made anew" again

say "-- a replication controller over its quota"
k create quota two --hard=pods=4 >/dev/null
k apply -f - >/dev/null <<'YAML' || fail rc
apiVersion: v1
kind: ReplicationController
metadata: {name: rc}
spec: {replicas: 3, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "hitcounter:1.0"}]}}}
YAML
failing() { [ "$(k get rc rc -o 'jsonpath={.status.conditions[?(@.type=="ReplicaFailure")].status}')" = "$1" ]; }
eventually 20 "ReplicaFailure" failing True
k scale rc rc --replicas=1 >/dev/null
eventually 20 "and no more" failing ""
kill "$proxy"
finish
