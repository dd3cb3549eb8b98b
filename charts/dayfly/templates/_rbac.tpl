{{/* What the operator does in a namespace that has AgentPools. No Secret verb: sealed keys are elsewhere, and the
operator must not be a way to read what others keep there. */}}
{{- define "dayfly.poolRules" -}}
- apiGroups: [dayfly.dev]
  resources: [agentpools]
  verbs: [list, watch, patch]
- apiGroups: [dayfly.dev]
  resources: [agentpools/status]
  verbs: [patch]
- apiGroups: [dayfly.dev]
  resources: [agentpools/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{- define "dayfly.subject" -}}
- kind: ServiceAccount
  name: {{ include "dayfly.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
