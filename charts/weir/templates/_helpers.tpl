{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "weir.fullname" -}}
{{- if contains "weir" .Release.Name -}}{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-weir" .Release.Name | trunc 53 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "weir.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ .Values.serviceAccount.name | default (include "weir.fullname" .) }}
{{- else -}}{{ required "serviceAccount.create is false, so serviceAccount.name must name one that is there" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "weir.image" -}}
{{- if .Values.image.digest -}}{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}{{- end -}}
{{- end -}}

{{/* An address and a port as one word. */}}
{{- define "weir.metricsAddress" -}}
{{- if contains ":" .Values.metrics.address -}}{{ printf "[%s]:%d" .Values.metrics.address (int .Values.metrics.port) }}
{{- else -}}{{ printf "%s:%d" .Values.metrics.address (int .Values.metrics.port) }}{{- end -}}
{{- end -}}

{{/* A probe of the agent's listener, from the node: (list . PATH). */}}
{{- define "weir.probe" -}}
{{- $values := (index . 0).Values -}}
httpGet:
  host: {{ if contains ":" $values.metrics.address }}"::1"{{ else }}127.0.0.1{{ end }}
  port: {{ int $values.metrics.port }}
  path: {{ index . 1 }}
timeoutSeconds: 5
{{- end -}}

{{/* What a schema cannot say: values that contradict each other. */}}
{{- define "weir.validate" -}}
{{- $metrics := .Values.metrics -}}
{{- if and $metrics.serviceMonitor.enabled (has $metrics.address (list "127.0.0.1" "::1")) -}}
{{- fail (printf "metrics.serviceMonitor.enabled needs a metrics.address that Prometheus reaches, not %s: set it to 0.0.0.0 or \"::\"" $metrics.address) -}}
{{- end -}}
{{- if and .Values.host.cgroupRoot (not (hasPrefix "/sys/fs/cgroup" .Values.host.cgroupRoot)) -}}
{{- fail "host.cgroupRoot is a path as the agent sees it: at or below /sys/fs/cgroup" -}}
{{- end -}}
{{- end -}}
