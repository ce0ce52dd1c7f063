#!/usr/bin/env bash
# Programs in other languages, with the client libraries that people use: the basics, and an operator of its own kind.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load"; done
clients=$PROJECT/test/clients

# Two instances of an operator: one leads and does its work; when it is killed, the other takes over.
operator() {
  k create namespace shop >/dev/null
  k config set-context --current --namespace=shop >/dev/null
  local instances=() identity
  for identity in one two; do
    /usr/bin/python3 "$clients/operator.py" "$identity" shop >"$TMPDIR/operator-$identity" 2>&1 &
    instances+=($!)
    eventually 10 "an operator leads" grep -q LEADING "$TMPDIR/operator-one"
  done
  check "who leads" "$(k get lease operator -o 'jsonpath={.spec.holderIdentity}')" one
  contains "its kind is known" "$(k api-resources --api-group=example.org --no-headers)" "Cafe"
  k apply -f - >/dev/null <<'Y' || fail "apply a Cafe"
apiVersion: example.org/v1
kind: Cafe
metadata: {name: corner}
spec: {owner: ada, tables: 2}
Y
  eventually 20 "two tables" replicas_ready corner 2
  status() { [ "$(k get cafe corner -o 'jsonpath={.status.tables} {.status.observedGeneration} {.metadata.generation}')" = "$1" ]; }
  eventually 10 "the status" status "2 1 1"
  check "the columns" "$(k get cf | tr -s ' ')" "$(printf 'NAME TABLES OPEN\ncorner 2 True')"
  check "the owner" "$(k get deployment corner -o 'jsonpath={.metadata.ownerReferences[0].kind} {.metadata.ownerReferences[0].controller}')" "Cafe true"
  contains "too many tables" "$(k patch cafe corner --type=merge -p '{"spec":{"tables":11}}' 2>&1)" \
    "spec.tables in body should be less than or equal to 10"
  check "the status is not the user's" "$(k patch cafe corner --type=merge -p '{"status":{"tables":9}}')" \
    "cafe.example.org/corner patched (no change)"

  { kill -9 "${instances[0]}"; wait "${instances[0]}"; } 2>/dev/null
  k scale cafe corner --replicas=1 >/dev/null
  eventually 20 "the other leads" grep -q LEADING "$TMPDIR/operator-two"
  eventually 20 "one table, by the new leader" status "1 2 2"
  check "one transition" "$(k get lease operator -o 'jsonpath={.spec.holderIdentity} {.spec.leaseTransitions}')" "two 1"

  k delete cafe corner --timeout=20s >/dev/null || fail "the finalizer holds the Cafe"
  check "the books" "$(k get configmap books-corner -o name)" configmap/books-corner
  eventually 20 "the owned go too" sh -c "! $KUBECTL get deployment corner"
  k create -f - >/dev/null <<<'{"apiVersion":"example.org/v1","kind":"Cafe","metadata":{"name":"last"},"spec":{"owner":"bob"}}'
  eventually 10 "the finalizer" sh -c "$KUBECTL get cafe last -o json | grep -q example.org/books"
  { kill -9 "${instances[1]}"; wait "${instances[1]}"; } 2>/dev/null
  # Its objects go with their kind; the finalizer's owner is dead, so somebody takes it off.
  k delete crd cafes.example.org --wait=false >/dev/null || fail "delete the kind"
  eventually 10 "the kind terminates" sh -c "$KUBECTL get crd cafes.example.org -o json | grep -q InstanceDeletionInProgress"
  k patch cafe last --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null
  eventually 20 "the kind is gone" sh -c "! $KUBECTL get crd cafes.example.org"
  contains "nothing serves it" "$(k get --raw /apis/example.org/v1 2>&1)" "could not find the requested resource"
}

# Debian's python3-kubernetes belongs to Debian's own python3.
if ! /usr/bin/python3 -c 'import kubernetes' 2>/dev/null; then
  say "SKIPPED Python: python3-kubernetes is not installed"
else
  timeout 60 /usr/bin/python3 "$clients/basics.py" || fail "basics.py"
  operator
fi

# scripts/node-client-for-tests has put it there where npm and a registry are at hand.
if [ ! -d "$PROJECT/build/node-client/node_modules/@kubernetes/client-node" ]; then
  say "SKIPPED Node: scripts/node-client-for-tests has not installed @kubernetes/client-node"
else
  timeout 60 node "$clients/basics.mjs" "$PROJECT/build/node-client" || fail "basics.mjs"
fi
finish
