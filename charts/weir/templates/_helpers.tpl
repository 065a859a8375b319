{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "weir.fullname" -}}
{{- if contains "weir" .Release.Name -}}{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-weir" .Release.Name | trunc 53 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{/* Whose pods they are: (list . COMPONENT), where the agent has none. */}}
{{- define "weir.selector" -}}
app.kubernetes.io/name: {{ if index . 1 }}weir-{{ index . 1 }}{{ else }}weir{{ end }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{- define "weir.labels" -}}
{{ include "weir.selector" (list . "") }}
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

{{/* As what pods run: in the node's network, on any node that takes them. */}}
{{- define "weir.host" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{ end -}}
hostNetwork: true
# Variables that are named after Services look like the agent's own.
enableServiceLinks: false
# Cluster DNS needs this network: ask as the node does.
dnsPolicy: Default
priorityClassName: {{ .Values.priorityClassName }}
# Nothing is detached when an agent ends, so there is nothing to wait for.
terminationGracePeriodSeconds: 5
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where agents run: on every Linux node that values choose. */}}
{{- define "weir.placement" -}}
{{ include "weir.host" . }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .Values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where one pod runs that has to run: where agents did, as the image is there, but on any other Linux node if there is none. */}}
{{- define "weir.placementOfOne" -}}
{{ include "weir.host" . }}
nodeSelector:
  kubernetes.io/os: linux
{{- $terms := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "nodeSelectorTerms" list .Values.affinity -}}
{{- $chosen := list -}}
{{- range $key, $value := .Values.nodeSelector -}}
{{- $chosen = append $chosen (dict "key" $key "operator" "In" "values" (list $value)) -}}
{{- end -}}
{{- if $chosen -}}
{{- $terms = append $terms (dict "matchExpressions" $chosen) -}}
{{- end -}}
{{- if $terms }}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    {{- range $terms }}
    - weight: 100
      preference:
        {{- toYaml . | nindent 8 }}
    {{- end }}
{{- end }}
{{- end -}}

{{/*
What an agent needs, in MiB. Tables are its own memory, in bytes an entry: those made whole at the start (new connections of
both families, slots, backends, Services) count towards what is requested; connections of both families and names of
Services take theirs as they come. Tables of policy: 24 MiB made whole, as much again while one agent takes over from another, and
what addresses and rows take as they come.
*/}}
{{- define "weir.requestMiB" -}}
{{- $c := .Values.capacity -}}
{{- $tables := add (mul $c.newConnections 400) (mul $c.slots 32) (mul $c.backends 40) (mul $c.services 128) -}}
{{- add 152 (div $tables 1048576) -}}
{{- end -}}
{{- define "weir.limitMiB" -}}
{{- $c := .Values.capacity -}}
{{- $tables := add (mul $c.connections 900) (mul $c.services 256) (mul $c.pods 2048) -}}
{{- add 288 (include "weir.requestMiB" . | int) (div $tables 1048576) -}}
{{- end -}}

{{/* Requests and limits of a container: memory by the capacities, unless given. */}}
{{- define "weir.resources" -}}
{{- $requests := dict "memory" (printf "%sMi" (include "weir.requestMiB" .)) -}}
{{- $limits := dict "memory" (printf "%sMi" (include "weir.limitMiB" .)) -}}
requests:
  {{- toYaml (merge (deepCopy .Values.resources.requests) $requests) | nindent 2 }}
limits:
  {{- toYaml (merge (deepCopy .Values.resources.limits) $limits) | nindent 2 }}
{{- end -}}

{{/* A part of uninstalling, at its turn: the argument is its weight. */}}
{{- define "weir.hook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
# What failed stays to be read.
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* A container that cleans its node: (list . FLAG). */}}
{{- define "weir.cleanup" -}}
{{- $values := (index . 0).Values -}}
image: {{ include "weir.image" (index . 0) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
command: [/usr/bin/weir]
args:
- cleanup
{{- if eq $values.uninstall "empty" }}
- --only-empty
{{- end }}
- {{ index . 1 }}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- include "weir.resources" (index . 0) | nindent 2 }}
# It sets kernel settings back, and removes what other containers made.
securityContext:
  readOnlyRootFilesystem: true
  privileged: true
volumeMounts:
- name: run
  mountPath: /run
- name: bpffs
  mountPath: /sys/fs/bpf
- name: cni-bin
  mountPath: /opt/cni/bin
- name: cni-conf
  mountPath: /etc/cni/net.d
{{- end -}}

{{/* What a container may do: (list . PRIVILEGED). */}}
{{- define "weir.security" -}}
readOnlyRootFilesystem: true
{{- if index . 1 }}
privileged: true
{{- else }}
allowPrivilegeEscalation: false
appArmorProfile:
  type: Unconfined
seccompProfile:
  type: Unconfined
seLinuxOptions:
  type: spc_t
capabilities:
  drop: [ALL]
  # BPF, PERFMON: load programs; NET_ADMIN: devices and routes; SYS_ADMIN, SYS_PTRACE: enter pods' namespaces;
  # SETPCAP: give up the rest.
  add: [BPF, NET_ADMIN, PERFMON, SETPCAP, SYS_ADMIN, SYS_PTRACE]
{{- end }}
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
{{- if and $metrics.prometheusRule.enabled (not $metrics.serviceMonitor.enabled) -}}
{{- fail "metrics.prometheusRule.enabled has no metrics to judge by: set metrics.serviceMonitor.enabled too" -}}
{{- end -}}
{{- if and .Values.host.cgroupRoot (not (hasPrefix "/sys/fs/cgroup" .Values.host.cgroupRoot)) -}}
{{- fail "host.cgroupRoot is a path as the agent sees it: at or below /sys/fs/cgroup" -}}
{{- end -}}
{{- end -}}
