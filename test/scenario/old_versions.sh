#!/usr/bin/env bash
# Manifests of every age: versions that Kubernetes has removed are taken as they were, and read back in any version.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

for KUBECTL in $(kubectls); do
  k create namespace old >/dev/null
  out=$(k -n old apply -f - 2>&1 <<'Y'
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: demo}]}
---
apiVersion: extensions/v1beta1
kind: ReplicaSet
metadata: {name: set}
spec: {replicas: 0, template: {metadata: {labels: {app: set}}, spec: {containers: [{name: c, image: demo}]}}}
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: front}
spec:
  rules: [{host: a.example, http: {paths: [{path: /x, backend: {serviceName: web, servicePort: 80}}]}}]
---
apiVersion: apps/v1beta1
kind: StatefulSet
metadata: {name: db}
spec: {replicas: 0, serviceName: db, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: demo}]}}}
---
apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 0 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: demo}]}}}}
---
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: scaler}
spec: {maxReplicas: 3, targetCPUUtilizationPercentage: 50, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: budget}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1beta1
kind: PodSecurityPolicy
metadata: {name: open}
spec: {privileged: true}
Y
)
  contains "a Warning names today's version" "$out" \
    "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment"
  contains "a policy without a successor" "$out" "podsecuritypolicy.policy/open"
  jp() { k -n old get "$1" -o jsonpath="$2" 2>/dev/null; }
  check "selector from the template" "$(jp deployment/web '{.spec.selector.matchLabels.app}')" web
  check "defaults of the time" "$(jp deployment/web '{.spec.strategy.rollingUpdate.maxSurge} {.spec.revisionHistoryLimit}')" "1 2147483647"
  check "today's shape" "$(jp ingress.v1.networking.k8s.io/front '{.spec.rules[0].http.paths[0].backend.service.port.number} {.spec.rules[0].http.paths[0].pathType}')" "80 ImplementationSpecific"
  check "the old shape" "$(jp ingress.v1beta1.extensions/front '{.spec.rules[0].http.paths[0].backend.serviceName}')" web
  check "a replica set" "$(jp rs/set '{.spec.selector.matchLabels.app}')" set
  check "OnDelete as it was" "$(jp sts/db '{.spec.updateStrategy.type}')" OnDelete
  check "v2 of an autoscaler" "$(jp horizontalpodautoscalers.v2.autoscaling/scaler '{.spec.metrics[0].resource.target.averageUtilization}')" 50
  k -n old patch horizontalpodautoscalers.v1.autoscaling scaler -p '{"spec":{"targetCPUUtilizationPercentage":70}}' >/dev/null 2>&1
  check "patched in v1, read in v2" "$(jp horizontalpodautoscalers.v2.autoscaling/scaler '{.spec.metrics[0].resource.target.averageUtilization}')" 70
  k -n old scale deployments.v1beta1.extensions/web --replicas=1 >/dev/null 2>&1
  check "scaled in the old version" "$(jp deployment.v1.apps/web '{.spec.replicas}')" 1
  contains "listed in the old version" "$(k -n old get cronjobs.v1beta1.batch 2>/dev/null)" nightly
  check "events are one store" "$(k -n old get events.v1.events.k8s.io -o name 2>/dev/null | wc -l)" "$(k -n old get events -o name | wc -l)"
  k -n old delete ingresses.v1beta1.extensions front >/dev/null 2>&1
  check "gone in every version" "$(k -n old get ingress -o name)" ""
  k delete podsecuritypolicy open >/dev/null 2>&1
  k delete namespace old >/dev/null
done
finish
