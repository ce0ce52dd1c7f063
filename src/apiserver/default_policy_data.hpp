#pragma once
// The bootstrap policy as text: a line with a name begins a role, indented lines are its rules:
//   VERBS GROUPS RESOURCES [=NAMES]     or     VERBS PATHS (they begin with '/' or are a lone '*')
// Lists are separated by commas. `core` is the group "", `read`, `write` and `all` stand for verbs, `events` for the
// rule with which events are recorded. Behind a role's name: `+LABEL` of rbac.authorization.k8s.io/aggregate-to-LABEL,
// `<LABEL` to be aggregated from it, `@NAMESPACE` for a Role.

namespace skiff::apiserver {

extern const char* const kRolesText;
/// The same of the controllers; each role is bound to the service account of its name in kube-system.
extern const char* const kControllerRolesText;
/// "NAME[@NAMESPACE] ROLE SUBJECTS": user:x, group:x, account:x (of kube-system).
extern const char* const kBindingsText;

}  // namespace skiff::apiserver
