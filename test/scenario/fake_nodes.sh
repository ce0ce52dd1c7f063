#!/usr/bin/env bash
# A thousand pods on simulated nodes beside a real one: scheduling and controllers without containers.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --fake-nodes 100 --zones 3
check "the nodes are there" "$(k get nodes --no-headers | grep -c ' Ready ')" 101
printf -- '---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: many}, spec: {replicas: 1000, selector: {matchLabels: {app: many}}, template: {metadata: {labels: {app: many}}, spec: {nodeSelector: {skiff.dev/simulated: "true"}, containers: [{name: c, image: none}]}}}}\n' \
  | k apply -f - >/dev/null || fail apply
eventually 40 "a thousand pods are Ready" replicas_ready many 1000
busiest=$(k get pods -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | uniq -c | sort -n | tail -n 1 | awk '{print $1}')
[ "$busiest" -le 20 ] || fail "one node has $busiest pods"
k scale deployment many --replicas 5 >/dev/null
eventually 40 "most of them go" sh -c "[ \$($KUBECTL get pods -o name | wc -l) = 5 ]"
contains "node list" "$("$SKIFF" node list)" simulated
finish
