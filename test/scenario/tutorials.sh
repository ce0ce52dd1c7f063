#!/usr/bin/env bash
# Every manifest of ../shared/tutorials as it stands (2016's among them), where that folder is: what is created becomes
# what the tutorials say. Images that no registry serves here are stand-ins under the same names.
source "$(dirname "$0")/../support/scenario.sh"
for TUTORIALS in "${TUTORIALS:-}" "$PROJECT/../shared/tutorials" "$PROJECT/../../shared/tutorials"; do [ -f "$TUTORIALS/walkthrough.md" ] && break; done
[ -f "$TUTORIALS/walkthrough.md" ] || { say "skipped: no folder with the tutorials (set TUTORIALS)"; exit 0; }
start_cluster --nodes 5

image() { (cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o "$TMPDIR/$1" -p "$2" -c "$3" "$1" >/dev/null && "$SKIFF" image load "$TMPDIR/$1/image.docker.tar" >/dev/null) || fail "image $1"; }
web='hostname >/www/index.html; trap "exit 0" TERM; httpd -f -p $P -h /www & wait $!'
image bitnami/apache:latest 80 "mkdir -p /usr/local/bin; printf '#!/bin/sh\necho asked to \$2 >/proc/1/fd/1; sleep 2' >/usr/local/bin/apachectl; chmod +x /usr/local/bin/apachectl; P=80; $web"
image jonbaier/node-express-info:latest 80 "mkdir /www/status /usr/bin/health; echo fine >/www/status/index.html; printf '#!/bin/sh\nexit 0' >/usr/bin/health/checkHttpService.sh; chmod +x /usr/bin/health/checkHttpService.sh; P=80; $web"
image kuard-amd64:blue 8080 "echo ok >/www/healthy; echo ok >/www/ready; P=8080; $web"
image redis:latest 6379 'trap "exit 0" TERM; sleep 100000 & wait $!'
image pet-demo:v1 5000 "P=5000; $web"
image shop:v1 5000 "for i in shopcarts catalog orders recommendations; do echo \$i >/www/\$i; done; P=5000; $web"

count_ready() { [ "$(k get pods -l "$1" -o json | jq '[.items[] | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length')" = "$2" ]; }
# What the ingresses need, which the tutorials make by hand.
k create deployment demo --image=pet-demo:v1 >/dev/null && k expose deployment demo --port=5005 --target-port=5000 >/dev/null || fail demo
k create deployment shop --image=shop:v1 >/dev/null
for one in shopcart catalog order recommendation; do k expose deployment shop --name="$one-service" --port=5000 >/dev/null || fail "$one-service"; done
for file in "$TUTORIALS"/*.yaml; do k apply -f "$file" >/dev/null || fail "apply $(basename "$file")"; done
contains "applied again, nothing changes" "$(k apply -f "$TUTORIALS/hitcounter.yaml")" "deployment.apps/hitcounter unchanged"

say "-- hitcounter, secrets, redis-emptydir"
k rollout status deployment/hitcounter --timeout=30s >/dev/null || fail hitcounter
eventually 5 "the hit counter answers" fetch -f "http://127.0.0.1:$(node_port hitcounter-service)/"
k rollout status deployment/pet-demo --timeout=30s >/dev/null || fail pet-demo
check "a secret as a variable" "$(k exec deployment/pet-demo -- sh -c 'echo $DATABASE_URI')" "postgres://admin:s3cr3t@postgres:5432/postgres"
k wait --for=condition=Ready pod/redis --timeout=30s >/dev/null || fail redis
k exec redis -- touch /data/redis/dump || fail "redis cannot write"

say "-- apache-hook"
eventually 30 "three apaches, whose hook asked for a page" count_ready name=apache-hook 3
pod=$(k get pods -l name=apache-hook -o name | head -n 1)
k logs -f "$pod" >"$TMPDIR/apache.log" 2>/dev/null &
following=$!
k delete "$pod" >/dev/null || fail "delete an apache"
wait "$following"
contains "preStop ran before the end" "$(cat "$TMPDIR/apache.log")" "asked to graceful-stop"
eventually 30 "three apaches again" count_ready name=apache-hook 3

say "-- node-js: a replica set of 2016, constraints, probes"
eventually 30 "the ReplicaSet of extensions/v1beta1" count_ready name=node-js-rs,version=v1 3
check "it is an apps/v1 one" "$(k get rs node-js-rs -o 'jsonpath={.apiVersion} {.status.readyReplicas}')" "apps/v1 3"
eventually 30 "three constrained ones" count_ready name=node-js-constraints 3
pod=$(k get pods -l name=node-js-constraints -o 'jsonpath={.items[0].metadata.name}')
check "their limits are requests, too" "$(k get pod "$pod" -o 'jsonpath={.spec.containers[0].resources.requests.cpu} {.status.qosClass}')" "1500m Guaranteed"
eventually 30 "a tcp probe" count_ready name=node-js-tcp 1
eventually 30 "an exec probe" count_ready name=node-js-exec 1

say "-- external-services"
check "an ExternalName" "$(k get service external-database -o 'jsonpath={.spec.type} {.spec.externalName}')" "ExternalName database.company.com"
check "an address by hand" "$(k get endpointslices -l kubernetes.io/service-name=external-ip-database -o 'jsonpath={.items[*].endpoints[*].addresses[*]}')" 192.168.0.1
check "the same name in two namespaces" "$(k get services -A --field-selector metadata.name=my-database -o name | wc -l)" 2

say "-- ingresses of 2016"
check "they are networking.k8s.io ones" "$(k get ingress basic-ingress -o 'jsonpath={.apiVersion} {.spec.defaultBackend.service.name}')" "networking.k8s.io/v1 demo"
door() { k get ingress ecommerce -o 'jsonpath={.status.loadBalancer.ingress[0].ip}'; }
opens() { [ -n "$(door)" ]; }
eventually 10 "they have an address" opens
serves() { fetch -H "Host: ecommerce.containers.mybluemix.net" "http://$(door)/$1" | grep -qx "$1"; }
for path in shopcarts catalog orders recommendations; do eventually 10 "/$path" serves "$path"; done
by_default() { fetch "http://$(door)/" | grep -q "^demo-"; }
eventually 10 "everything else is the demo's" by_default

say "-- what waits half a minute before it is ready"
k wait --for=condition=Ready pod/kuard --timeout=60s >/dev/null || fail "kuard, though nothing mounts the volume without a server"
k exec kuard -- touch /data/file || fail "kuard's directory"
eventually 60 "node-js" count_ready name=node-js 3
check "its balancer" "$(k get service node-js -o 'jsonpath={.spec.type}')" LoadBalancer
address=$(k get service node-js -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')
eventually 10 "answers" fetch -f "http://$address/status/"
finish
