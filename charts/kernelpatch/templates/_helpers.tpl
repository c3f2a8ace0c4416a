{{/*
Names are fixed: the kinds are cluster-scoped, so a cluster has one kernelpatch, and Helm refuses a second release by these names.
*/}}
{{- define "kernelpatch.operator" -}}kernelpatch-operator{{- end }}
{{- define "kernelpatch.agent" -}}kernelpatch-agent{{- end }}

{{/* What Services, the PodDisruptionBudget and the Deployment select the operator's pods by. */}}
{{- define "kernelpatch.operatorSelector" -}}
app.kubernetes.io/name: kernelpatch
app.kubernetes.io/component: operator
{{- end }}

{{/* The labels of everything in this chart, without the component. */}}
{{- define "kernelpatch.labels" -}}
app.kubernetes.io/name: kernelpatch
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kernelpatch.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
