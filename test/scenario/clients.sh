#!/usr/bin/env bash
# Programs in other languages, with the client libraries that people use: the basics, and an operator of its own kind.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load"; done
clients=$PROJECT/test/clients

# Debian's python3-kubernetes belongs to Debian's own python3.
if ! /usr/bin/python3 -c 'import kubernetes' 2>/dev/null; then
  say "SKIPPED Python: python3-kubernetes is not installed"
else
  timeout 60 /usr/bin/python3 "$clients/basics.py" || fail "basics.py"
fi

# scripts/node-client-for-tests has put it there where npm and a registry are at hand.
if [ ! -d "$PROJECT/build/node-client/node_modules/@kubernetes/client-node" ]; then
  say "SKIPPED Node: scripts/node-client-for-tests has not installed @kubernetes/client-node"
else
  timeout 60 node "$clients/basics.mjs" "$PROJECT/build/node-client" || fail "basics.mjs"
fi
finish
