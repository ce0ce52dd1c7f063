# What every scenario sources: a private cluster, kubectl, and checks that say what was wrong.
# A scenario runs inside scripts/sandbox, with SKIFF (the binary) and KUBECTL (one or more kubectls, ':'-separated) set.

set -u
export PATH="$PATH:/usr/sbin:/sbin"
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SKIFF=${SKIFF:-$PROJECT/build/skiff}
FAILED=0

# The kubectls to try: Debian's 1.20 and the one on PATH, each once.
kubectls() {
  local seen=""
  for candidate in "$PROJECT/build/kubectl-debian" "$(command -v kubectl || true)"; do
    [ -x "$candidate" ] || continue
    local version
    version=$("$candidate" version --client -o json 2>/dev/null | jq -r .clientVersion.gitVersion)
    case " $seen " in *" $version "*) ;; *) seen="$seen $version"; echo "$candidate" ;; esac
  done
}
KUBECTL=${KUBECTL:-$(kubectls | tail -n 1)}
k() { "$KUBECTL" "$@"; }

say() { printf '%s\n' "$*"; }
fail() {
  FAILED=1
  say "FAILED: $*"
}
finish() {
  if [ "$FAILED" != 0 ]; then
    say "--- state"; k get all,events -A 2>&1 | tail -n 60
    say "--- log"; tail -n 30 "$SKIFF_HOME"/clusters/*/skiff.log 2>/dev/null
  fi
  exit "$FAILED"
}

# check WHAT GOT WANT
check() { [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"; }
# contains WHAT TEXT PART
contains() { case "$2" in *"$3"*) ;; *) fail "$1: '$3' is not in: $2" ;; esac; }

# eventually SECONDS WHAT COMMAND...: polls until COMMAND succeeds.
eventually() {
  local deadline=$(($(date +%s%N) + $1 * 1000000000)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$(date +%s%N)" -gt "$deadline" ]; then
      fail "not within the time given: $what"
      return 1
    fi
    read -r -t 0.02 _ <> <(:) || true
  done
}

start_cluster() {
  timeout 60 "$SKIFF" start "$@" || { fail "skiff start $*"; finish; }
}

# replicas_ready DEPLOYMENT COUNT
replicas_ready() { [ "$(k get deployment "$1" -o 'jsonpath={.status.readyReplicas}')" = "$2" ]; }
node_port() { k get service "$1" -o 'jsonpath={.spec.ports[0].nodePort}'; }
fetch() { curl -sS --max-time 5 "$@"; }
