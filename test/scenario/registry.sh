#!/usr/bin/env bash
# Images from a real registry (Debian's docker-registry): with TLS and passwords, filled by skopeo; what the kubelet says
# of names that do not exist, of missing credentials, and of an image that changes behind its tag.
. "$(dirname "$0")/../support/scenario.sh"

for program in docker-registry skopeo htpasswd openssl; do
  command -v "$program" >/dev/null || { say "FAILED: $program is missing (scripts/install-dependencies)"; exit 1; }
done
dir=$TMPDIR/registry
mkdir -p "$dir/data" "$dir/plain"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
htpasswd -Bbn alice wonderland >"$dir/htpasswd"

# registry PORT DIRECTORY [tls]: listens on loopback until the sandbox ends.
registry() {
  local extra=""
  [ "${3:-}" = tls ] && extra="
  tls: {certificate: $dir/cert.pem, key: $dir/key.pem}
auth: {htpasswd: {realm: test, path: $dir/htpasswd}}"
  cat >"$dir/$1.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $2}, delete: {enabled: true}}
http:
  addr: 127.0.0.1:$1$extra
CONFIG
  docker-registry serve "$dir/$1.yml" >"$dir/$1.log" 2>&1 &
}
registry 5001 "$dir/plain"
registry 5002 "$dir/data" tls
cat >"$SKIFF_HOME/registries.yaml" <<CONFIG
mirrors:
  docker.io: {endpoint: ["http://127.0.0.1:5001"]}
configs:
  localhost:5002:
    tls: {ca_file: $dir/cert.pem}
CONFIG

"$PROJECT/scripts/make-test-images" -o "$dir/one" box:1 >/dev/null || fail "make an image"
"$PROJECT/scripts/make-test-images" -o "$dir/two" -w other box:1 >/dev/null || fail "make another image"
archive=$dir/one/image.docker.tar
push() { skopeo copy -q --dest-tls-verify=false ${3:+--dest-creds "$3"} "docker-archive:$1" "docker://$2"; }
eventually 10 "registries listen" curl -sf http://127.0.0.1:5001/v2/
push "$archive" 127.0.0.1:5001/library/box:1 || fail "push to the plain registry"
push "$archive" 127.0.0.1:5002/team/secret:1 alice:wonderland || fail "push to the registry with passwords"
push "$archive" 127.0.0.1:5002/team/secret:2 alice:wonderland || fail "push to the registry with passwords"

# By hand first.
"$SKIFF" image pull localhost:5001/library/box:1 >"$dir/out" 2>&1 || fail "pull: $(cat "$dir/out")"
contains "pulled" "$(cat "$dir/out")" "Pulled: localhost:5001/library/box:1"
contains "again" "$("$SKIFF" image pull localhost:5001/library/box:1 2>&1)" "Up to date"
contains "unknown tag" "$("$SKIFF" image pull localhost:5001/library/box:nope 2>&1)" "localhost:5001/library/box:nope: not found"
contains "no password" "$("$SKIFF" image pull localhost:5002/team/secret:1 2>&1)" "pull access denied"
"$SKIFF" image tag localhost:5001/library/box:1 mine:2 && contains "tagged" "$("$SKIFF" image ls)" "mine"
"$SKIFF" image rm mine:2 localhost:5001/library/box:1 >/dev/null || fail "rm"

# An image that buildah made: from the registry, and from its archives.
built() { STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot buildah --root "$dir/graph" --runroot "$dir/run" "$@"; }
if command -v buildah >/dev/null; then
  container=$(built from scratch) && mount=$(built mount "$container") && mkdir -p "$mount/bin" &&
    cp /bin/busybox "$mount/bin/busybox" && ln -s busybox "$mount/bin/sleep" && echo made >"$mount/made" &&
    built config --cmd "sleep 1000" --label by=buildah "$container" >/dev/null && built commit -q "$container" built:1 >/dev/null &&
    built push -q --tls-verify=false built:1 docker://127.0.0.1:5001/library/built:1 &&
    built push -q built:1 "oci:$dir/built:built" && built push -q built:1 "docker-archive:$dir/built.tar:loaded:1" || fail "buildah"
  "$SKIFF" image load "$dir/built" "$dir/built.tar" >/dev/null || fail "load what buildah made"
  contains "loaded" "$("$SKIFF" image ls)" loaded
else
  say "skipped: no buildah"
fi

start_cluster >/dev/null
pod() { # NAME IMAGE [EXTRA]
  k apply -f - >/dev/null <<POD
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  ${3:-}
  containers:
  - {name: c, image: "$2", command: [sleep, "1000"]}
POD
}
reason() { k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}'; }
has_reason() { [ "$(reason "$1")" = "$2" ]; }
running() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = Running ]; }
events() { k get events --field-selector "involvedObject.name=$1" -o 'jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}'; }

pod mirrored box:1                      # docker.io/library/box by way of the mirror
pod missing localhost:5001/library/box:nope
pod denied localhost:5002/team/secret:2
k create secret docker-registry regcred --docker-server=localhost:5002 --docker-username=alice --docker-password=wonderland >/dev/null
pod allowed localhost:5002/team/secret:1 'imagePullSecrets: [{name: regcred}]'
eventually 20 "the mirrored image runs" running mirrored
if command -v buildah >/dev/null; then
  pod built built:1
  eventually 20 "the image that buildah made runs" running built
  check "its file" "$(k exec built -- busybox cat /made)" made
fi
eventually 20 "the private image runs" running allowed
contains "events of a pull" "$(events mirrored)" 'Pulling: Pulling image "box:1"'
contains "events of a pull" "$(events mirrored)" 'Pulled: Successfully pulled image "box:1" in '
eventually 10 "a missing tag waits" has_reason missing ImagePullBackOff
contains "events of a missing tag" "$(events missing)" 'Failed: Failed to pull image "localhost:5001/library/box:nope": failed to pull and unpack image "localhost:5001/library/box:nope": failed to resolve reference'
contains "events of a missing tag" "$(events missing)" 'Failed: Error: ErrImagePull'
eventually 10 "a missing password waits" has_reason denied ImagePullBackOff
contains "events of a missing password" "$(events denied)" 'pull access denied, repository does not exist or may require authorization'
check "an image id" "$(k get pod mirrored -o 'jsonpath={.status.containerStatuses[0].imageID}' | grep -c sha256:)" 1

# What alice pulled is not for pods without her password: the registry is asked again and says no.
pod thief localhost:5002/team/secret:1
k run never --image=localhost:5002/team/secret:1 --image-pull-policy=Never --restart=Never --command -- sleep 1000 >/dev/null
k create secret docker-registry other --docker-server=localhost:5002 --docker-username=alice --docker-password=wonderland >/dev/null
pod friend localhost:5002/team/secret:1 'imagePullSecrets: [{name: other}]'
eventually 10 "the same password in another secret runs" running friend
contains "events of a friend" "$(events friend)" 'already present on machine and can be accessed by the pod'
eventually 10 "a pod without the password waits" has_reason thief ImagePullBackOff
contains "events of a thief" "$(events thief)" 'pull access denied'
eventually 10 "a pod without the password never pulls" has_reason never ErrImageNeverPull

# A second pod finds the image; Always asks the registry again and sees what changed behind the tag.
pod second box:1
eventually 10 "the present image runs" running second
contains "present" "$(events second)" 'already present on machine'
push "$dir/two/image.docker.tar" 127.0.0.1:5001/library/box:1 || fail "push another image under the same tag"
k run always --image=box:1 --image-pull-policy=Always --restart=Never --command -- sleep 1000 >/dev/null
eventually 20 "the changed image runs" running always
[ "$(k get pod always -o 'jsonpath={.status.containerStatuses[0].imageID}')" != "$(k get pod second -o 'jsonpath={.status.containerStatuses[0].imageID}')" ] ||
  fail "Always took the old image"

# What a pod uses stays when its name goes; what was saved is read by others.
"$SKIFF" image save box:1 -o "$dir/saved.tar" || fail "save"
check "a saved image" "$(skopeo inspect "docker-archive:$dir/saved.tar" | jq -r '.Os, (.Layers | length > 0)' | tr '\n' ' ')" "linux true "
skopeo copy -q "docker-archive:$dir/saved.tar" "oci:$dir/oci:box" || fail "skopeo reads no saved image"
out=$("$SKIFF" image rm localhost:5002/team/secret:1) || fail "rm of an image in use"
case "$out" in *Deleted*) fail "an image in use was deleted: $out" ;; esac
case "$("$SKIFF" image prune)" in *Deleted*) fail "prune deleted an image in use" ;; esac
k delete pod allowed friend mirrored second --now --wait >/dev/null
pruned() { "$SKIFF" image prune | grep -q Deleted; }
eventually 10 "an image goes with its last pod" pruned
finish
