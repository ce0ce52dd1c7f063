#!/usr/bin/env bash
# NetworkPolicies hold for packets of any node, from a pod's first one, and let probes and DNS through.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2
k create namespace other >/dev/null; k label namespace other team=blue >/dev/null
server() { # NAMESPACE NAME NODE LABEL
  cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {app: $4}}
spec:
  nodeName: $3
  terminationGracePeriodSeconds: 0
  containers:
  - {name: web, image: "hitcounter:1.0", ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}}
---
Y
}
{ server default web skiff web; server default near skiff client; server default far skiff-2 client; server other blue skiff-2 client; } | k apply -f - >/dev/null
k expose pod web --port=80 --target-port=http >/dev/null
k wait --for=condition=Ready pods --all -A --timeout=20s >/dev/null || fail "pods"
web=$(k get pod web -o 'jsonpath={.status.podIP}')
reach() { timeout 2 "$KUBECTL" exec -n "$1" "$2" -- hitcounter get "$3" 2>/dev/null | grep -q Hello; }
blocked() { ! timeout 1 "$KUBECTL" exec -n "$1" "$2" -- hitcounter get "$3" 2>/dev/null | grep -q Hello; }
for who in "default near" "default far" "other blue"; do eventually 5 "$who before" reach $who "http://$web:8080/"; done

k apply -f - >/dev/null <<'Y' || fail deny
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
Y
for who in "default near" "default far" "other blue"; do eventually 5 "$who is denied" blocked $who "http://$web:8080/"; done
fetch "http://$web:8080/" | grep -q Hello || fail "the host is let in"
check "probes are let in" "$(k get pod web -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True

k apply -f - >/dev/null <<'Y' || fail allow
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: client}}}]
    ports: [{port: http, protocol: TCP}]
Y
eventually 5 "blue by the Service's name" reach other blue http://web.default/
blocked default far "http://$web:8080/" || fail "far is let in"
# A new pod of the same labels in that namespace may from its first packet on; one that may not, may never.
{ server other first skiff client; } | k apply -f - >/dev/null
k run -n other tries --image=hitcounter:1.0 --restart=Never --labels=app=stranger --command -- /hitcounter get "http://$web:8080/" >/dev/null
k wait -n other --for=condition=Ready pod/first --timeout=10s >/dev/null || fail "first"
reach other first "http://$web:8080/" || fail "first is not let in"
ended() { k get pod -n other tries -o 'jsonpath={.status.phase}' | grep -q Failed; }
eventually 10 "a stranger's first packet is dropped" ended

# Egress: nothing but DNS.
k delete networkpolicy --all >/dev/null
k apply -f - >/dev/null <<'Y' || fail egress
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}
Y
eventually 5 "nothing goes out" blocked default near "http://$web:8080/"
resolves() { timeout 2 "$KUBECTL" exec "$1" -- hitcounter lookup web.default.svc.cluster.local 2>/dev/null | grep -q 10.96; }
resolves near && fail "DNS is asked in spite of the policy"
k apply -f - >/dev/null <<'Y' || fail dns
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dns}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
    ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
Y
eventually 5 "DNS may be asked" resolves near
blocked default near "http://$web:8080/" || fail "more than DNS goes out"
k delete networkpolicy --all >/dev/null
eventually 5 "open again" reach default near "http://$web:8080/"
"$SKIFF" delete >/dev/null 2>&1 || fail delete
finish
