#!/usr/bin/env bash
# exec, attach, logs -f, cp and port-forward: by SPDY (kubectl 1.20) and by WebSocket (newer ones).
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load"; done

k apply -f - >/dev/null <<'Y' || fail apply
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:test
    imagePullPolicy: Never
    command: [sh, -c, 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; [ $i -lt 2000 ] || sleep 0.05; done']
  - name: web
    image: busybox:test
    imagePullPolicy: Never
    command: [sh, -c, 'mkdir /www; echo page > /www/index.html; httpd -f -p 8080 -h /www']
Y
k wait --for=condition=Ready pod/talker --timeout=20s >/dev/null || fail "talker is not Ready"

for KUBECTL in $(kubectls); do
  say "== $(k version --client -o json | jq -r .clientVersion.gitVersion)"
  check "exec" "$(k exec talker -c c -- echo hello)" hello
  check "stderr is apart" "$(k exec talker -c c -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
  k exec talker -c c -- sh -c 'exit 42' >/dev/null 2>&1
  check "exit status" "$?" 42
  check "stdin to its end" "$(seq 20000 | k exec -i talker -c c -- wc -l)" 20000
  check "much output" "$(k exec talker -c c -- seq 100000 | tail -n 1)" 100000
  contains "a terminal" "$(script -qec "$KUBECTL exec -it talker -c c -- tty" /dev/null </dev/null)" /dev/pts/
  contains "an unknown program" "$(k exec talker -c c -- /no/such 2>&1)" "no such file"
  contains "an unknown container" "$(k exec talker -c none -- true 2>&1)" "container none is not valid for pod talker"
  check "the first logs" "$(k logs talker -c c | sed -n '1,3p' | tr '\n' ' ')" "line 1 line 2 line 3 "
  check "limit-bytes" "$(k logs talker -c c --limit-bytes=6)" "line 1"
  lines=$(timeout 3 "$KUBECTL" logs -f talker -c c --tail=5 | wc -l)
  [ "$lines" -gt 10 ] || fail "logs -f gave $lines lines"
  contains "timestamps" "$(k logs talker -c c --tail=1 --timestamps)" "T"
  contains "logs of an unknown pod" "$(k logs nobody 2>&1)" 'pods "nobody" not found'
  echo copied >"$TMPDIR/file"
  k cp "$TMPDIR/file" talker:/tmp/file -c c >/dev/null 2>&1
  check "cp there" "$(k exec talker -c c -- cat /tmp/file)" copied

  k port-forward pod/talker 18080:8080 >"$TMPDIR/forward" 2>&1 &
  forward=$!
  eventually 10 "port-forward" sh -c 'curl -sS --max-time 2 http://127.0.0.1:18080/ | grep -q page'
  for _ in 1 2 3; do check "again through it" "$(fetch http://127.0.0.1:18080/)" page; done
  kill $forward
  wait $forward 2>/dev/null
done
finish
