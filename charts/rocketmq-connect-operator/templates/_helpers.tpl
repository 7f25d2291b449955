{{- define "operator.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{/* The name label is fixed: the workers' NetworkPolicies let in pods of the release's namespace that have it. */}}
{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: rocketmq-connect-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: rocketmq-connect
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "operator.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Labels as a flag has them: key=value, separated by commas. */}}
{{- define "operator.labelList" -}}
{{- $list := list }}
{{- range $key, $value := . }}
{{- $list = append $list (printf "%s=%s" $key $value) }}
{{- end }}
{{- join "," $list }}
{{- end }}

{{/* What the operator may do in a namespace that it watches. Each rule says why; SECURITY.md says what follows from them. */}}
{{- define "operator.rules" -}}
# What is to be made and moved: read by the cache.
- apiGroups: [connect.rocketmq.io]
  resources: [connectclusters, connectors]
  verbs: [get, list, watch]
# The finalizer of a Connector, which holds it until the workers have released it.
- apiGroups: [connect.rocketmq.io]
  resources: [connectors]
  verbs: [patch]
# What the workers report.
- apiGroups: [connect.rocketmq.io]
  resources: [connectclusters/status, connectors/status]
  verbs: [patch]
# To be the owner of the objects below that blocks a foreground deletion: an admission plugin asks for this right.
- apiGroups: [connect.rocketmq.io]
  resources: [connectclusters/finalizers]
  verbs: [update]
# connect.conf, the certificates, the Services and the ServiceAccount of the workers: made and kept as rendered. get is for one
# that something else made under the same name, which the cache does not hold, and for the certificates as they are now.
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# The workers.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# One worker at a time when nodes are drained.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# Who may call the workers.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
# The tokens and the private keys of the workers' REST APIs, made once and read by name, to call the workers and to renew their
# certificates, which are no Secrets; the authority that cert-manager writes beside a certificate; and whether the Secrets that a
# ConnectCluster names, of its credentials and for its connectors, are there: by their metadata. Never listed, watched, changed or deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
# cert-manager's certificates of clusters that name an issuer (spec.api.tls.issuerRef).
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, create, patch]
# Which workers are ready, and the addresses at which those that are not are asked why: read by the cache.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# What happened, for kubectl describe.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
