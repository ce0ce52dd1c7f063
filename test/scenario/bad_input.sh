#!/usr/bin/env bash
# Refusals: each with the status and words that Kubernetes gives, and nothing half-written.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
config=$SKIFF_HOME/clusters/skiff/kubeconfig
for part in certificate-authority-data client-certificate-data client-key-data; do
  sed -n "s/.*$part: //p" "$config" | base64 -d >"$TMPDIR/$part"
done
server=$(sed -n 's/.*server: //p' "$config")
api() { # METHOD PATH [BODY-FILE]
  curl -sS --max-time 10 --cacert "$TMPDIR/certificate-authority-data" --cert "$TMPDIR/client-certificate-data" \
    --key "$TMPDIR/client-key-data" -X "$1" -H 'Content-Type: application/json' ${3:+--data-binary @"$3"} "$server$2"
}
post() { printf '%s' "$2" >"$TMPDIR/body"; api POST "$1" "$TMPDIR/body"; }
maps=/api/v1/namespaces/default/configmaps

anonymous() { curl -sS --max-time 5 --cacert "$TMPDIR/certificate-authority-data" -o "${2:-/dev/null}" -w '%{http_code}' "$server$1"; }
check "anonymous" "$(anonymous /api/v1/pods)" 403
for path in /healthz /livez /readyz /version; do check "anonymous $path" "$(anonymous $path)" 200; done
check "a bad token" "$(curl -sS --cacert "$TMPDIR/certificate-authority-data" -H 'Authorization: Bearer nonsense' -o /dev/null -w '%{http_code}' "$server/api/v1/pods")" 401

contains "malformed JSON" "$(post $maps '{"metadata":')" '"reason":"BadRequest"'
contains "a wrong type" "$(post $maps '{"metadata":{"name":5}}')" 'cannot unmarshal number into Go struct field'
contains "an unknown field" "$(post "$maps?fieldValidation=Strict" '{"metadata":{"name":"a"},"dat":{}}')" 'unknown field \"dat\"'
contains "a duplicate field" "$(post "$maps?fieldValidation=Strict" '{"metadata":{"name":"a"},"data":{"a":"1"},"data":{"b":"2"}}')" 'duplicate field \"data\"'
contains "a long name" "$(post $maps "{\"metadata\":{\"name\":\"$(printf 'a%.0s' $(seq 254))\"}}")" 'must be no more than 253 bytes'
contains "a bad name" "$(post $maps '{"metadata":{"name":"A_b"}}')" 'a lowercase RFC 1123 subdomain must consist of'
contains "no name" "$(post $maps '{"metadata":{}}')" 'name or generateName is required'
contains "another kind" "$(post $maps '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}')" 'cannot be handled as a ConfigMap'
printf '{"data":{"a":%s' "$(printf '[%.0s' $(seq 20000))" >"$TMPDIR/deep"
contains "a nesting bomb" "$(api POST $maps "$TMPDIR/deep")" '"reason":"BadRequest"'
head -c 4000000 /dev/zero | tr '\0' x >"$TMPDIR/huge"
contains "a huge body" "$(api POST $maps "$TMPDIR/huge")" 'RequestEntityTooLarge'
contains "a missing object" "$(api GET $maps/none)" 'configmaps \"none\" not found'
contains "a missing resource" "$(api GET /api/v1/namespaces/default/nonsense)" 'the server could not find the requested resource'
contains "a missing namespace" "$(post /api/v1/namespaces/nowhere/configmaps '{"metadata":{"name":"a"}}')" 'namespaces \"nowhere\" not found'
contains "an invalid pod" "$(post /api/v1/namespaces/default/pods '{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}')" 'spec.containers[0].image: Required value'
contains "a bad selector" "$(api GET "$maps?labelSelector=a%20b%20c")" 'unable to parse requirement'
contains "a bad field selector" "$(api GET "$maps?fieldSelector=spec.x=1")" 'field label not supported: spec.x'
contains "too new a revision" "$(api GET "$maps?resourceVersion=99999999&resourceVersionMatch=NotOlderThan")" 'Too large resource version'
check "nothing was written" "$(k get configmaps -o name)" "configmap/kube-root-ca.crt"
contains "malformed YAML" "$(printf 'a: [' | k apply -f - 2>&1)" "error"

# Hostile archives leave no image behind.
mkdir -p "$TMPDIR/tar" && cd "$TMPDIR/tar"
before=$("$SKIFF" image ls)
head -c 5000 /dev/urandom >random.tar
"$SKIFF" image load random.tar >/dev/null 2>&1 && fail "random bytes were loaded"
python3 - <<'P'
import io, json, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    info = tarfile.TarInfo("../../escape"); info.size = 4
    tar.addfile(info, io.BytesIO(b"evil"))
layer = layer.getvalue()
import hashlib
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
with tarfile.open("escape.tar", "w") as tar:
    for name, data in (("layer.tar", layer), ("config.json", config),
                       ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["evil:1"], "Layers": ["layer.tar"]}]).encode())):
        info = tarfile.TarInfo(name); info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
P
"$SKIFF" image load escape.tar >/dev/null 2>&1 && fail "an escaping layer was loaded"
head -c 2000 escape.tar >cut.tar
"$SKIFF" image load cut.tar >/dev/null 2>&1 && fail "a truncated archive was loaded"
check "images are as before" "$("$SKIFF" image ls)" "$before"
finish
