#!/usr/bin/env bash
# Behaviours of sig-node and sig-storage that no other scenario plays (test/conformance/node.md and storage.md say which).
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
node=$(k get nodes -o 'jsonpath={.items[0].metadata.name}')
cpus=$(k get node "$node" -o 'jsonpath={.status.allocatable.cpu}')

k create configmap conf --from-literal=data-1=value-1 --from-literal=data-2=value-2 >/dev/null
k create secret generic sec --from-literal=data-1=secret-1 >/dev/null
k patch configmap conf -p '{"binaryData":{"bin":"YmluYXJ5"}}' >/dev/null
k create namespace other >/dev/null
k create secret generic sec -n other --from-literal=data-1=of-another-namespace >/dev/null
# Everything that a pod only has to print, at once.
k apply -f - >/dev/null <<Y || fail "apply"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: env, labels: {a: b}, annotations: {note: one}}
  spec:
    restartPolicy: Never
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sh, -c]
      args: ['tr "\0" "\n" < /proc/1/environ | grep ^T_ | sort; id -u; id -g; grep NoNewPrivs /proc/self/status | tr -d "\t"; cat /proc/sys/kernel/shm_rmid_forced', "\$(T_ARG)"]
      securityContext: {runAsUser: 1001, runAsGroup: 2002, allowPrivilegeEscalation: false}
      resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 1250m, memory: 64Mi}}
      envFrom: [{configMapRef: {name: conf}, prefix: T_P.}, {secretRef: {name: sec}, prefix: T_S-}, {configMapRef: {name: absent, optional: true}}]
      env:
      - {name: T_ARG, value: arg}
      - {name: T_KEY, valueFrom: {configMapKeyRef: {name: conf, key: data-1}}}
      - {name: T_SECRET, valueFrom: {secretKeyRef: {name: sec, key: data-1}}}
      - {name: T_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
      - {name: T_NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
      - {name: T_LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a']"}}}
      - {name: T_NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
      - {name: T_CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
      - {name: T_CPUM, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
      - {name: T_MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
      - {name: T_EXP, value: "\$(T_KEY)-\$\$(T_KEY)-\$(NONE)"}
    securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: "1"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: modes}
  spec:
    restartPolicy: Never
    securityContext: {runAsUser: 1000, fsGroup: 1001}
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sh, -c, 'stat -c %a /disk /mem; stat -f -c %T /mem; touch /disk/f && echo wrote; stat -L -c "%a %g" /sec/data-1 /conf/path/to /all/sec; cat /conf/path/to /sub /all/name /all/conf /all/limit; echo; cat /all/cpu']
      resources: {limits: {memory: 64Mi}}
      volumeMounts:
      - {name: disk, mountPath: /disk}
      - {name: mem, mountPath: /mem}
      - {name: sec, mountPath: /sec}
      - {name: conf, mountPath: /conf}
      - {name: conf, mountPath: /sub, subPath: path/to}
      - {name: all, mountPath: /all}
    volumes:
    - {name: disk, emptyDir: {}}
    - {name: mem, emptyDir: {medium: Memory}}
    - {name: sec, secret: {secretName: sec, defaultMode: 0440}}
    - {name: conf, configMap: {name: conf, items: [{key: data-2, path: path/to, mode: 0400}]}}
    - name: all
      projected:
        sources:
        - {configMap: {name: conf, items: [{key: data-1, path: conf}]}}
        - {secret: {name: sec, items: [{key: data-1, path: sec, mode: 0400}]}}
        - {configMap: {name: absent, optional: true}}
        - downwardAPI:
            items:
            - {path: name, fieldRef: {fieldPath: metadata.name}}
            - {path: limit, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}
            - {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu}}
- apiVersion: v1
  kind: Pod
  metadata: {name: matrix, labels: {l: "1"}}
  spec:
    restartPolicy: Never
    securityContext: {runAsUser: 1000}
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sh, -c, 'cd /v; stat -L -c "%a %n" conf/data-1 conf/bin two/there proj/data-1 proj/sec proj/cpu sec/data-1 down/lim; cat conf/data-1 conf/bin two/there proj/sec sec/data-1 down/lim down/mem down/req down/memreq; echo; cat /sub-down /sub-proj /sub-sec /etc/passwd; echo; umask 0; for d in disk mem; do for m in 0644 0666 0777; do echo x > \$d/\$m; chmod \$m \$d/\$m; stat -c "%a %u %n" \$d/\$m; done; done']
      resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 1250m, memory: 64Mi}}
      volumeMounts:
      - {name: conf, mountPath: /v/conf}
      - {name: two, mountPath: /v/two}
      - {name: proj, mountPath: /v/proj}
      - {name: sec, mountPath: /v/sec}
      - {name: down, mountPath: /v/down}
      - {name: disk, mountPath: /v/disk}
      - {name: mem, mountPath: /v/mem}
      - {name: down, mountPath: /sub-down, subPath: name}
      - {name: proj, mountPath: /sub-proj, subPath: data-1}
      - {name: sec, mountPath: /sub-sec, subPath: data-1}
      - {name: conf, mountPath: /etc/passwd, subPath: data-2}
    volumes:
    - {name: conf, configMap: {name: conf}}
    - {name: two, configMap: {name: conf, items: [{key: data-1, path: there}]}}
    - {name: proj, projected: {sources: [{configMap: {name: conf}}, {secret: {name: sec, items: [{key: data-1, path: sec}]}}, {downwardAPI: {items: [{path: cpu, resourceFieldRef: {containerName: c, resource: requests.cpu, divisor: 1m}}]}}]}}
    - {name: sec, secret: {secretName: sec}}
    - {name: down, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}, {path: lim, resourceFieldRef: {containerName: c, resource: limits.cpu}}, {path: mem, resourceFieldRef: {containerName: c, resource: limits.memory}}, {path: req, resourceFieldRef: {containerName: c, resource: requests.cpu}}, {path: memreq, resourceFieldRef: {containerName: c, resource: requests.memory}}]}}
    - {name: disk, emptyDir: {}}
    - {name: mem, emptyDir: {medium: Memory}}
- apiVersion: v1
  kind: Pod
  metadata: {name: strict}
  spec:
    restartPolicy: Never
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sh, -c, 'cd /v; stat -L -c "%a %n" conf/data-1 proj/data-1 proj/sec sec/data-1 down/name item/conf item/sec item/name; for d in disk mem; do for m in 0644 0666 0777; do echo x > \$d/\$m; chmod \$m \$d/\$m; stat -c "%a %u %n" \$d/\$m; done; done']
      volumeMounts: [{name: conf, mountPath: /v/conf}, {name: proj, mountPath: /v/proj}, {name: sec, mountPath: /v/sec}, {name: down, mountPath: /v/down}, {name: item, mountPath: /v/item}, {name: disk, mountPath: /v/disk}, {name: mem, mountPath: /v/mem}]
    volumes:
    - {name: conf, configMap: {name: conf, defaultMode: 0400}}
    - {name: proj, projected: {defaultMode: 0400, sources: [{configMap: {name: conf}}, {secret: {name: sec, items: [{key: data-1, path: sec}]}}]}}
    - {name: sec, secret: {secretName: sec, defaultMode: 0400}}
    - {name: down, downwardAPI: {defaultMode: 0400, items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
    - {name: item, projected: {sources: [{configMap: {name: conf, items: [{key: data-1, path: conf, mode: 0400}]}}, {secret: {name: sec, items: [{key: data-1, path: sec, mode: 0400}]}}, {downwardAPI: {items: [{path: name, mode: 0400, fieldRef: {fieldPath: metadata.name}}]}}]}}
    - {name: disk, emptyDir: {}}
    - {name: mem, emptyDir: {medium: Memory}}
- apiVersion: v1
  kind: Pod
  metadata: {name: hostnet}
  spec:
    restartPolicy: Never
    hostNetwork: true
    containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "head -n 1 /etc/hosts; ip link set lo down 2>/dev/null || echo the network stays"], securityContext: {privileged: false}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: messages}
  spec:
    restartPolicy: Never
    initContainers:
    - {name: one, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo 1 > /w/o"], volumeMounts: [{name: w, mountPath: /w}]}
    - {name: two, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo 2 >> /w/o"], volumeMounts: [{name: w, mountPath: /w}]}
    containers:
    - {name: file, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo -n DONE > /dev/here; cat /w/o"], terminationMessagePath: /dev/here, securityContext: {runAsUser: 1000}, volumeMounts: [{name: w, mountPath: /w}]}
    - {name: log, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo -n DONE; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
    - {name: quiet, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo DONE"], terminationMessagePolicy: FallbackToLogsOnError}
    volumes: [{name: w, emptyDir: {}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: initfails}
  spec:
    restartPolicy: Never
    initContainers: [{name: i, image: "busybox:test", imagePullPolicy: Never, command: ["false"]}]
    containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"]}]
- apiVersion: v1
  kind: Pod
  metadata: {name: initloops}
  spec:
    initContainers: [{name: i, image: "busybox:test", imagePullPolicy: Never, command: ["false"]}]
    containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"]}]
- apiVersion: v1
  kind: Pod
  metadata: {name: hosts}
  spec:
    hostAliases: [{ip: 123.45.67.89, hostnames: [foo, bar]}]
    terminationGracePeriodSeconds: 0
    containers:
    - {name: managed, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"]}
    - {name: own, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: e, mountPath: /etc/hosts}]}
    volumes: [{name: e, hostPath: {path: /etc/hosts, type: File}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: live, labels: {stage: one}, annotations: {builder: bar}}
  spec:
    terminationGracePeriodSeconds: 5
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sh, -c, 'mkdir -p /www/hook; httpd -f -v -p 8080 -h /www 2>&1']
      lifecycle: {postStart: {exec: {command: [sh, -c, "echo started > /tmp/started"]}}, preStop: {httpGet: {path: /bye, port: 8080}}}
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
      livenessProbe: {exec: {command: [test, -d, /www]}, periodSeconds: 1}
      volumeMounts: [{name: info, mountPath: /info}, {name: opt, mountPath: /opt}, {name: osec, mountPath: /osec}]
    volumes:
    - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: notes, fieldRef: {fieldPath: metadata.annotations}}]}}
    - {name: opt, projected: {sources: [{configMap: {name: later, optional: true}}]}}
    - {name: osec, secret: {secretName: later, optional: true}}
- apiVersion: v1
  kind: Pod
  metadata: {name: expr, annotations: {mysubpath: ""}}
  spec:
    terminationGracePeriodSeconds: 0
    containers:
    - name: c
      image: busybox:test
      imagePullPolicy: Never
      command: [sleep, "1000"]
      env: [{name: P, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['mysubpath']"}}}]
      volumeMounts: [{name: w, mountPath: /w, subPathExpr: "\$(P)"}]
    volumes: [{name: w, emptyDir: {}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: sidecar}
  spec:
    restartPolicy: Never
    terminationGracePeriodSeconds: 5
    initContainers:
    - {name: side, image: "busybox:test", imagePullPolicy: Never, restartPolicy: Always, command: [sh, -c, "trap 'echo side ends >> /w/o; exit 0' TERM; echo side up > /w/o; while true; do sleep 0.05; done"], startupProbe: {exec: {command: [test, -f, /w/o]}, periodSeconds: 1}, volumeMounts: [{name: w, mountPath: /w}]}
    containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo main after \$(cat /w/o)"], volumeMounts: [{name: w, mountPath: /w}]}]
    volumes: [{name: w, emptyDir: {}}]
Y
phase() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ]; }
for name in env modes sidecar matrix strict hostnet; do eventually 20 "$name succeeds" phase "$name" Succeeded; done
eventually 20 "messages ends" phase messages Failed
eventually 20 "a failed init container fails the pod" phase initfails Failed

check "environment" "$(k logs env)" "T_ARG=arg
T_CPU=2
T_CPUM=250
T_EXP=value-1-\$(T_KEY)-\$(NONE)
T_KEY=value-1
T_LABEL=b
T_MEM=64
T_NAME=env
T_NODE=$node
T_NS=default
T_P.data-1=value-1
T_P.data-2=value-2
T_S-data-1=secret-1
T_SECRET=secret-1
1001
2002
NoNewPrivs:1
1"
check "volumes and modes" "$(k logs modes)" "2777
2777
tmpfs
wrote
440 1001
440 1001
440 1001
value-2value-2modesvalue-164
$cpus"
check "volumes of all sorts, as a user" "$(k logs matrix)" "644 conf/data-1
644 conf/bin
644 two/there
644 proj/data-1
644 proj/sec
644 proj/cpu
644 sec/data-1
644 down/lim
value-1binaryvalue-1secret-1secret-1267108864133554432
matrixvalue-1secret-1value-2
644 1000 disk/0644
666 1000 disk/0666
777 1000 disk/0777
644 1000 mem/0644
666 1000 mem/0666
777 1000 mem/0777"
check "modes of all sorts, as root" "$(k logs strict)" "400 conf/data-1
400 proj/data-1
400 proj/sec
400 sec/data-1
400 down/name
400 item/conf
400 item/sec
400 item/name
644 0 disk/0644
666 0 disk/0666
777 0 disk/0777
644 0 mem/0644
666 0 mem/0666
777 0 mem/0777"
check "the hosts file of the host's network" "$(k logs hostnet)" "# Kubernetes-managed hosts file (host network).
the network stays"
message() { k get pod messages -o "jsonpath={.status.containerStatuses[?(@.name==\"$1\")].state.terminated.message}"; }
check "message of a file" "$(message file)" DONE
check "message of the log" "$(message log)" DONE
check "no message of a success" "$(message quiet)" ""
check "init containers in order" "$(k logs messages -c file | tr '\n' ' ')" "1 2 "
check "the app of a failed init never runs" "$(k get pod initfails -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}')" PodInitializing
init_retried() { [ "$(k get pod initloops -o 'jsonpath={.status.initContainerStatuses[0].restartCount} {.status.phase}')" != "0 Pending" ] && phase initloops Pending; }
eventually 20 "a failing init container is retried" init_retried
contains "sidecar first" "$(k logs sidecar -c c)" "main after side up"
check "sidecar's end" "$(k get pod sidecar -o 'jsonpath={.status.initContainerStatuses[0].state.terminated.exitCode}')" 0

k wait --for=condition=Ready pod/hosts pod/live --timeout=20s >/dev/null || fail "hosts or live is not Ready"
contains "hostAliases" "$(k exec hosts -c managed -- cat /etc/hosts)" "123.45.67.89	foo	bar"
contains "managed hosts" "$(k exec hosts -c managed -- cat /etc/hosts)" "# Kubernetes-managed hosts file."
case "$(k exec hosts -c own -- cat /etc/hosts)" in *Kubernetes-managed*) fail "a mounted /etc/hosts is managed" ;; esac
check "postStart" "$(k exec live -- cat /tmp/started)" started
contains "labels as a file" "$(k exec live -- cat /info/labels)" 'stage="one"'
k label pod live stage=two --overwrite >/dev/null
k annotate pod live builder=foo --overwrite >/dev/null
shows() { k exec live -- cat "$1" 2>/dev/null | grep -q "$2"; }
eventually 10 "changed labels reach the file" shows /info/labels 'stage="two"'
eventually 10 "changed annotations reach the file" shows /info/notes 'builder="foo"'
k create configmap later --from-literal=key=one >/dev/null
k create secret generic later --from-literal=key=one >/dev/null
eventually 10 "an optional map appears" shows /opt/key one
eventually 10 "an optional secret appears" shows /osec/key one
k patch configmap later -p '{"data":{"key":"two"}}' >/dev/null
eventually 10 "and changes" shows /opt/key two
k delete configmap later >/dev/null
gone() { ! k exec live -- test -e /opt/key; }
eventually 10 "and goes" gone
generation() { k get pod live -o 'jsonpath={.metadata.generation} {.status.observedGeneration}'; }
[ "$(generation)" = "1 1" ] || fail "generation: $(generation)"
k patch pod live -p '{"spec":{"activeDeadlineSeconds":100}}' >/dev/null
observed() { [ "$(generation)" = "2 2" ]; }
eventually 10 "observedGeneration follows" observed

waiting() { k get pod expr -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}'; }
held() { [ "$(waiting)" = CreateContainerConfigError ]; }
eventually 10 "an empty sub path expression holds the container" held
k annotate pod expr mysubpath=here --overwrite >/dev/null
k wait --for=condition=Ready pod/expr --timeout=20s >/dev/null || fail "expr does not recover"
k patch pod expr -p '{"spec":{"activeDeadlineSeconds":1}}' >/dev/null
eventually 15 "a deadline set later" phase expr Failed
k logs live -f >"$TMPDIR/live" 2>&1 &
k delete pod live >/dev/null
wait
contains "preStop by HTTP" "$(cat "$TMPDIR/live")" "response:404"

# RuntimeClass: overhead from the class, and refusals.
k apply -f - >/dev/null <<'Y' || fail "runtime class"
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: heavy}
handler: runc
overhead: {podFixed: {cpu: 10m, memory: 1Mi}}
Y
k run heavy --image=busybox:test --image-pull-policy=Never --restart=Never --overrides='{"spec":{"runtimeClassName":"heavy"}}' -- true >/dev/null
check "overhead" "$(k get pod heavy -o 'jsonpath={.spec.overhead.cpu}')" 10m
eventually 10 "it runs" phase heavy Succeeded
k delete runtimeclass heavy >/dev/null
contains "a deleted class" "$(k run late --image=busybox:test --overrides='{"spec":{"runtimeClassName":"heavy"}}' 2>&1)" 'pod rejected: RuntimeClass "heavy" not found'
contains "a missing class" "$(k run none --image=busybox:test --overrides='{"spec":{"runtimeClassName":"none"}}' 2>&1)" 'pod rejected: RuntimeClass "none" not found'
finish
