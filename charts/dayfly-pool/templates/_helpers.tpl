{{- define "dayfly-pool.name" -}}
{{- .Values.nameOverride | default "dayfly-pool" | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* `dayfly-pool` for a release of that name, else with the release's name before it. */}}
{{- define "dayfly-pool.fullname" -}}
{{- $name := include "dayfly-pool.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if eq .Release.Name $name -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dayfly-pool.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dayfly-pool.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dayfly-pool.labels" -}}
{{ include "dayfly-pool.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: pool-service
app.kubernetes.io/part-of: dayfly
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dayfly-pool.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $name := .Values.image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $registry) .Values.image.repository -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What the process itself speaks: a proxy may speak another to the world. */}}
{{- define "dayfly-pool.scheme" -}}
{{- if .Values.tls.secretName -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{- define "dayfly-pool.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl -}}
{{- else -}}
{{- printf "%s://%s.%s.svc.cluster.local:%d/default" (include "dayfly-pool.scheme" .) (include "dayfly-pool.fullname" .) .Release.Namespace (int .Values.service.port) -}}
{{- end -}}
{{- end -}}

{{/* Several replicas share everything: the database, the keys that seal what is in it, and the volume. */}}
{{- define "dayfly-pool.checkReplicas" -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- if not .Values.postgresql.existingSecret -}}
{{- fail "replicaCount above 1 needs postgresql.existingSecret: an SQLite database is a file of one process" -}}
{{- end -}}
{{- if not .Values.keys.existingSecret -}}
{{- fail "replicaCount above 1 needs keys.existingSecret: tokens of one replica must count at the others" -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- fail "replicaCount above 1 needs persistence.enabled: the replicas share repositories and artifacts" -}}
{{- end -}}
{{- if and (not .Values.persistence.existingClaim) (ne .Values.persistence.accessMode "ReadWriteMany") -}}
{{- fail "replicaCount above 1 needs persistence.accessMode ReadWriteMany: the replicas share repositories and artifacts" -}}
{{- end -}}
{{- end -}}
{{- end -}}
