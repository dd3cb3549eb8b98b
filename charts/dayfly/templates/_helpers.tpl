{{- define "dayfly.name" -}}
{{- .Values.nameOverride | default "dayfly-operator" | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* `dayfly-operator` for a release `dayfly` or `dayfly-operator`, else with the release's name before it. */}}
{{- define "dayfly.fullname" -}}
{{- $name := include "dayfly.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if or (eq .Release.Name "dayfly") (eq .Release.Name $name) -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dayfly.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "dayfly.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "dayfly.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dayfly.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dayfly.labels" -}}
{{ include "dayfly.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: dayfly
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Arguments: the root, and an image's values. */}}
{{- define "dayfly.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := $root.Values.global.imageRegistry | default $image.registry -}}
{{- $name := $image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $image.repository -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The Secrets that hold credentials, as a JSON list under `names`. */}}
{{- define "dayfly.credentialSecrets" -}}
{{- $names := .Values.credentialSecrets -}}
{{- range .Values.connections -}}
{{- range $kind, $credential := .spec.credentials -}}
{{- if $credential.secretName -}}{{- $names = append $names $credential.secretName -}}{{- end -}}
{{- end -}}
{{- with .spec.webhook -}}{{- $names = append $names .secretName -}}{{- end -}}
{{- with .spec.proxy -}}{{- with .secretName -}}{{- $names = append $names . -}}{{- end -}}{{- end -}}
{{- end -}}
{{- dict "names" ($names | uniq | sortAlpha) | toJson -}}
{{- end -}}

{{/* Whether objects of our custom resources can be part of the release: Helm refuses kinds that the cluster does
not serve yet, also those that the same release brings. */}}
{{- define "dayfly.canConnect" -}}
{{- if or (not .Values.crds.enabled) (.Capabilities.APIVersions.Has "dayfly.dev/v1alpha1") -}}true{{- end -}}
{{- end -}}
