#!/usr/bin/env bash
# Custom resources with kubectl of two ages: definition, versions, columns, status, scale, defaults, errors, deletion.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

definition() {
  cat <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        description: A line of a crontab.
        type: object
        properties:
          spec:
            description: What is wanted.
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$', description: When it runs.}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
          status:
            type: object
            properties:
              replicas: {type: integer}
              labelSelector: {type: string}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas,
        labelSelectorPath: .status.labelSelector}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
  - name: v1beta1
    served: true
    storage: false
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
YAML
}

# crontab NAME SPEC
crontab() {
  printf 'apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: %s}\nspec: {cronSpec: "%s"}\n' "$1" "$2"
}

field() { k get crontab one -o "jsonpath=$1"; }
path=/apis/stable.example.com/v1/namespaces/default/crontabs/one

for KUBECTL in $(kubectls); do
  say "== $(k version --client -o json | jq -r .clientVersion.gitVersion)"
  definition | k apply -f - >/dev/null || fail "apply the definition"
  k wait --for=condition=Established --timeout=10s crd/crontabs.stable.example.com >/dev/null || fail "not established"
  crontab one '* * * * */5' | k apply -f - >/dev/null || fail "apply one"
  check "columns" "$(k get ct | head -n 1 | tr -s ' ')" "NAME SPEC REPLICAS READY AGE"
  contains "cells" "$(k get ct one | tr -s ' ')" "one * * * * */5 1 "
  contains "wide" "$(k get crontabs.v1.stable.example.com one -o wide)" busybox
  contains "category" "$(k get all)" crontab.stable.example.com/one
  check "other version" "$(k get crontabs.v1beta1.stable.example.com one -o 'jsonpath={.apiVersion}')" \
    stable.example.com/v1beta1
  contains "pattern" "$(crontab two never | k create -f - 2>&1)" \
    'spec.cronSpec: Invalid value: "never": spec.cronSpec in body should match'
  contains "unknown field" "$(crontab two '* * * * *' | sed 's/}$/, colour: red}/' | k create -f - 2>&1)" colour
  crontab one '0 * * * *' | k apply -f - >/dev/null || fail "apply again"
  check "default and generation" "$(field '{.spec.image}/{.metadata.generation}')" busybox/2
  contains "explain" "$(k explain crontab.spec.cronSpec)" "When it runs."
  k patch ct one --type=merge -p '{"spec":{"replicas":2}}' >/dev/null || fail "merge patch"
  k patch ct one --type=json -p '[{"op":"replace","path":"/spec/replicas","value":3}]' >/dev/null || fail "JSON patch"
  contains "strategic" "$(k patch ct one -p '{}' --type=strategic 2>&1)" "the body of the request was in an unknown format"
  k scale ct one --replicas=4 >/dev/null || fail scale
  check "scaled" "$(field '{.spec.replicas}')" 4
  contains "scale too far" "$(k scale ct one --replicas=40 2>&1)" "should be less than or equal to 10"
  contains "scale subresource" "$(k get --raw $path/scale)" '"spec":{"replicas":4}'
  k get ct one -o json | jq '.status = {conditions: [{type: "Ready", status: "True"}]} | .spec.replicas = 9' |
    k replace --raw $path/status -f - >/dev/null || fail "replace the status"
  k wait --for=condition=Ready --timeout=10s ct/one >/dev/null || fail "not Ready"
  check "status alone changed" "$(field '{.spec.replicas}/{.status.conditions[0].status}/{.metadata.generation}')" \
    4/True/5
  k annotate ct one note=x >/dev/null || fail annotate
  k label ct one app=x >/dev/null || fail label
  check "selector" "$(k get ct -l app=x -o name)" crontab.stable.example.com/one

  k patch ct one --type=merge -p '{"metadata":{"finalizers":["example.com/hold"]}}' >/dev/null || fail finalizer
  k delete crd crontabs.stable.example.com --wait=false >/dev/null || fail "delete the definition"
  contains "no more objects" "$(crontab late '* * * * *' | k create -f - 2>&1)" \
    "not allowed while custom resource definition is terminating"
  k patch ct one --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null || fail "let one go"
  k wait --for=delete --timeout=10s crd/crontabs.stable.example.com >/dev/null 2>&1
  contains "gone" "$(k get crd crontabs.stable.example.com 2>&1)" NotFound
  case "$(k get --raw /apis)" in *stable.example.com*) fail "the group is still there" ;; esac
done
finish
