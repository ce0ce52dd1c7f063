#!/usr/bin/env bash
# Ingress: hosts, paths, TLS, annotations, old versions, from the host and from pods; and no request lost while pods
# are replaced, through the ingress, a NodePort and from inside.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2
curl -s --max-time 1 http://127.0.0.1/ >/dev/null && fail "the port is open without an Ingress"
check "the default class" "$(k get ingressclass skiff -o 'jsonpath={.spec.controller} {.metadata.annotations.ingressclass\.kubernetes\.io/is-default-class}')" \
  "skiff.io/ingress-controller true"

app() { # NAME IMAGE
  cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: 2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: $2
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [/hitcounter, sleep, "2"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {type: NodePort, selector: {app: $1}, ports: [{name: web, port: 80, targetPort: http}]}
---
Y
}
{ app one hitcounter:1.0; app two hitcounter:2.0; } | k apply -f - >/dev/null || fail "apps"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=first -addext subjectAltName=DNS:tls.example.com \
  -keyout "$TMPDIR/key" -out "$TMPDIR/first" 2>/dev/null
k create secret tls site --cert="$TMPDIR/first" --key="$TMPDIR/key" >/dev/null || fail "secret"
k apply -f - >/dev/null 2>"$TMPDIR/warnings" <<'Y' || fail "ingresses: $(cat "$TMPDIR/warnings")"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: paths}
spec:
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}
      - {path: /version, pathType: Exact, backend: {service: {name: two, port: {name: web}}}}
  - host: "*.wild.example.com"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: rewritten
  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /$2, nginx.ingress.kubernetes.io/proxy-body-size: 1k}
spec:
  ingressClassName: nginx
  rules:
  - host: api.example.com
    http: {paths: [{path: "/v2(/|$)(.*)", pathType: ImplementationSpecific, backend: {service: {name: two, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure}
spec:
  ingressClassName: skiff
  tls: [{hosts: [tls.example.com], secretName: site}]
  rules:
  - host: tls.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: foreign}
spec:
  ingressClassName: somebody-else
  rules:
  - host: foreign.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: bucket}
spec:
  rules:
  - host: bucket.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: b}}}]}
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
spec:
  backend: {serviceName: two, servicePort: 80}
  rules:
  - host: old.example.com
    http: {paths: [{path: /version, backend: {serviceName: one, servicePort: 80}}]}
Y
for name in one two; do k rollout status deployment/$name --timeout=20s >/dev/null || fail "rollout $name"; done

address() { k get ingress paths -o 'jsonpath={.status.loadBalancer.ingress[0].ip}'; }
has_address() { [ -n "$(address)" ]; }
eventually 2 "status has the address" has_address
answers() { [ "$(fetch -H "Host: $2" "http://$1$3")" = "$4" ]; }
code() { curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$@"; }
for at in 127.0.0.1 "$(address)"; do
  eventually 5 "a host's path ($at)" answers "$at" shop.example.com /version 2.0
  contains "the rest of the host ($at)" "$(fetch -H 'Host: shop.example.com' "http://$at/")" "Hello from one-"
done
check "a wildcard" "$(fetch -H 'Host: a.wild.example.com' http://127.0.0.1/version)" 2.0
check "a wildcard is one label" "$(fetch -H 'Host: b.a.wild.example.com' http://127.0.0.1/hostname | cut -c1-3)" two
check "a rewritten path" "$(fetch -H 'Host: api.example.com' http://127.0.0.1/v2/version)" 2.0
check "what no path takes goes to the default backend" "$(fetch -H 'Host: api.example.com' http://127.0.0.1/version)" 2.0
check "a body that is too large" "$(head -c 2000 /dev/zero | code -H 'Host: api.example.com' --data-binary @- http://127.0.0.1/v2/version)" 413
check "an old Ingress' path" "$(fetch -H 'Host: old.example.com' http://127.0.0.1/version)" 1.0
check "an old Ingress' default" "$(fetch -H 'Host: nobody.example.com' http://127.0.0.1/version)" 2.0
check "classes of others" "$(k get ingress foreign -o 'jsonpath={.status.loadBalancer}')" "{}"
check "backends that are no Services" "$(code -H 'Host: bucket.example.com' http://127.0.0.1/)" 503
contains "and why" "$(k describe ingress bucket)" "only Services can be backends"
contains "kubectl shows hosts and address" "$(k get ingress paths --no-headers)" "shop.example.com,*.wild.example.com"
pod=$(k get pods -l app=one -o 'jsonpath={.items[0].metadata.name}')
contains "from a pod" "$(k exec "$pod" -- hitcounter get "http://$(address)/version")" 2.0
contains "the client is named to the server" "$(k logs -l app=one --tail=100)" "GET / 200 10.24"

# TLS: the Secret's certificate, changed while connections come; redirects; a certificate of our own for others.
secure() { fetch --cacert "$1" --resolve tls.example.com:443:127.0.0.1 https://tls.example.com/version; }
check "TLS" "$(secure "$TMPDIR/first")" 1.0
check "plain goes to TLS" "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: tls.example.com' 'http://127.0.0.1/a?b=c')" \
  "308 https://tls.example.com/a?b=c"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=second -addext subjectAltName=DNS:tls.example.com \
  -keyout "$TMPDIR/key" -out "$TMPDIR/second" 2>/dev/null
k create secret tls site --cert="$TMPDIR/second" --key="$TMPDIR/key" --dry-run=client -o yaml | k apply -f - >/dev/null 2>&1
renewed() { secure "$TMPDIR/second" 2>/dev/null | grep -q 1.0; }
eventually 5 "the new certificate" renewed
contains "others get our own" "$(curl -sv -k --max-time 5 --resolve shop.example.com:443:127.0.0.1 https://shop.example.com/ 2>&1)" "skiff ingress"
k delete secret site >/dev/null
told() { k get events --field-selector reason=CertificateUnavailable -o 'jsonpath={.items[*].message}' | grep -q "Secret default/site does not exist"; }
eventually 5 "a Secret that went is an event" told

# HTTP/2: to clients by TLS and by its preface, to servers that say so; a request of each that goes through itself.
version() { curl -sk --max-time 5 -o /dev/null -w '%{http_version} %{http_code}' "$@"; }
check "HTTP/2 over TLS" "$(version --http2 --resolve shop.example.com:443:127.0.0.1 https://shop.example.com/version)" "2 200"
check "HTTP/1 where the client wants no other" "$(version --http1.1 --resolve shop.example.com:443:127.0.0.1 https://shop.example.com/version)" "1.1 200"
check "HTTP/2 without TLS" "$(version --http2-prior-knowledge -H 'Host: shop.example.com' http://127.0.0.1/version)" "2 200"
check "what it says" "$(fetch --http2-prior-knowledge -H 'Host: shop.example.com' http://127.0.0.1/version)" 2.0
check "a body" "$(head -c 300000 /dev/zero | version --http2-prior-knowledge -H 'Host: api.example.com' --data-binary @- http://127.0.0.1/v2/version)" "2 413"
at=$(address)
k apply -f - >/dev/null <<Y || fail "h2c backends"
apiVersion: v1
kind: Service
metadata: {name: h2c}
spec: {ports: [{name: http, port: 80, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: h2c-1, labels: {kubernetes.io/service-name: h2c}}
addressType: IPv4
ports: [{name: http, port: 80, appProtocol: kubernetes.io/h2c}]
endpoints: [{addresses: ["$at"]}]
---
apiVersion: v1
kind: Service
metadata: {name: grpc}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: grpc-1, labels: {kubernetes.io/service-name: grpc}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: ["$at"]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: h2c, annotations: {nginx.ingress.kubernetes.io/upstream-vhost: shop.example.com}}
spec: {rules: [{host: h2c.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: h2c, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: grpc, annotations: {nginx.ingress.kubernetes.io/upstream-vhost: shop.example.com, nginx.ingress.kubernetes.io/backend-protocol: GRPC}}
spec: {rules: [{host: grpc.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: grpc, port: {number: 80}}}}]}}]}
Y
for host in h2c grpc; do
  eventually 5 "a server of HTTP/2 ($host)" answers 127.0.0.1 $host.example.com /version 2.0
  check "from a client of HTTP/2 ($host)" "$(version --http2-prior-knowledge -H "Host: $host.example.com" http://127.0.0.1/version)" "2 200"
done

# A Service that is a name for something elsewhere.
k create service externalname outside --external-name=one.default.svc.cluster.local >/dev/null
k create ingress outside --rule="outside.example.com/*=outside:80" >/dev/null
eventually 5 "a backend by name" answers 127.0.0.1 outside.example.com /version 1.0

# Pods are replaced while requests come: three ways in, none of them may fail.
port=$(node_port one)
inside=$(k get pods -l app=two -o 'jsonpath={.items[0].metadata.name}')
load() {
  local failed=0 all=0
  until [ -e "$TMPDIR/stop" ]; do all=$((all + 1)); "$@" >/dev/null 2>&1 || failed=$((failed + 1)); done
  echo "$failed failed $([ "$all" -gt 1 ] && echo of several)" >"$TMPDIR/load.$1"
}
via_ingress() { curl -sf --max-time 5 -H 'Host: shop.example.com' http://127.0.0.1/hostname; }
via_port() { curl -sf --max-time 5 "http://127.0.0.1:$port/hostname"; }
via_service() { k exec "$inside" -- hitcounter get http://one/hostname; }
k scale deployment/one --replicas=10 >/dev/null
k rollout status deployment/one --timeout=30s >/dev/null || fail "ten replicas"
for way in via_ingress via_port via_service; do load "$way" & done
k rollout restart deployment/one >/dev/null
k rollout status deployment/one --timeout=40s >/dev/null || fail "rolling update"
settled() { [ "$(k get pods -l app=one --no-headers | wc -l)" = 10 ]; }
eventually 20 "old pods are gone" settled
: >"$TMPDIR/stop"; wait
for way in via_ingress via_port via_service; do check "requests $way" "$(cat "$TMPDIR/load.$way")" "0 failed of several"; done

# A flood of SYNs that nobody follows up holds nobody up.
python3 "$PROJECT/test/support/syn_flood.py" 80 1 >"$TMPDIR/flood" &
flood=$!
while kill -0 "$flood" 2>/dev/null; do via_ingress >/dev/null || fail "a request during a flood of SYNs"; done
wait "$flood"
[ "$(cat "$TMPDIR/flood")" -gt 1000 ] || fail "no flood: $(cat "$TMPDIR/flood")"

k delete ingress --all >/dev/null
closed() { ! curl -s --max-time 1 http://127.0.0.1/ >/dev/null; }
eventually 5 "the port closes with the last Ingress" closed
"$SKIFF" delete >/dev/null 2>&1 || fail delete
finish
