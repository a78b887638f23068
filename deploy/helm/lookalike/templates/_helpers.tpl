{{/* The beginning of every object's name. 40 characters leave room for what is appended: the name of a
     StatefulSet and a hash must fit into a label of 63. */}}
{{- define "lookalike.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The StatefulSet of the first copy of all shards; further copies will be r1, r2, ... */}}
{{- define "lookalike.hasherSet" -}}
{{ include "lookalike.fullname" . }}-hasher-r0
{{- end -}}

{{/* What selectors look for. Never add to it: selectors of existing objects cannot be changed.
     Arguments: the root context, the component. */}}
{{- define "lookalike.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Of pods: nothing that changes with the chart alone, which would restart them. */}}
{{- define "lookalike.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "lookalike.selector" . }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end -}}

{{- define "lookalike.labels" -}}
{{- $root := index . 0 -}}
{{ include "lookalike.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* Arguments: the root context, an image's values. */}}
{{- define "lookalike.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Where the shards are, in the order of their numbers. */}}
{{- define "lookalike.hashers" -}}
{{- $set := include "lookalike.hasherSet" . -}}
{{- $targets := list -}}
{{- range $shard := until (int .Values.hasher.shardCount) -}}
{{- $targets = append $targets (printf "%s-%d.%s.svc.%s:7710" $set $shard $.Release.Namespace $.Values.clusterDomain) -}}
{{- end -}}
{{- join "," $targets -}}
{{- end -}}

{{/* A ConfigMap's variables. Arguments: the service, its settings. Helm reads numbers as floating point and
     would write large ones as 2.68435456e+08. */}}
{{- define "lookalike.environment" -}}
{{- $service := index . 0 -}}
{{- $lines := list -}}
{{- range $name, $value := index . 1 -}}
{{- $lines = append $lines (printf "LOOKALIKE_%s_%s: %s" (upper $service) (upper $name) (include "lookalike.text" $value | quote)) -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}

{{- define "lookalike.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* Seconds from SIGTERM to SIGKILL, from a component's values. A service takes at most
       drainWaitSeconds   NOT_SERVING, still answering: load balancers notice
     + stopGraceSeconds   running calls end
     + 1                  those that did not are refused
     + 2                  connections carry the answers
     + saveSeconds        what it keeps is saved (hashers: their indexes)
     and 5 are spare. */}}
{{- define "lookalike.graceSeconds" -}}
{{- add 8 (ceil .drainWaitSeconds) (ceil .stopGraceSeconds) (ceil (default 0 .saveSeconds)) -}}
{{- end -}}

{{/* What the settings of every service have in common. Argument: a component's values. */}}
{{- define "lookalike.serverSettings" -}}
host: {{ .root.Values.listenAddress | quote }}
# TLS and API keys come with a later version: until then the NetworkPolicies say who may call.
insecure: true
drain_wait_seconds: {{ .values.drainWaitSeconds }}
stop_grace_seconds: {{ .values.stopGraceSeconds }}
{{- end -}}

{{/* The part of a pod's specification that all pods share. Arguments: the root context, the component, its
     values. Pod Security "restricted". */}}
{{- define "lookalike.podDefaults" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include "lookalike.fullname" $root }}-{{ $component }}
automountServiceAccountToken: false
# A Service named lookalike-gateway would otherwise put LOOKALIKE_GATEWAY_PORT=tcp://... into every pod, which
# is the name of a setting.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "lookalike.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Spreads a component's pods over zones and nodes. Nodes that the pods may not run on, as they are drained or kept for
     others, do not count: they would stay empty, and DoNotSchedule would let no other node have more than one pod.
     Arguments: the root context, the component, its values. */}}
{{- define "lookalike.spread" -}}
{{- $selector := include "lookalike.selector" (list (index . 0) (index . 1)) -}}
{{- $spread := (index . 2).topologySpread -}}
{{- $constraints := list -}}
{{- range $key, $when := dict "topology.kubernetes.io/zone" $spread.zones "kubernetes.io/hostname" $spread.nodes -}}
{{- if ne $when "Off" -}}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" $when "nodeTaintsPolicy" "Honor" "labelSelector" (dict "matchLabels" (fromYaml $selector))) -}}
{{- end -}}
{{- end -}}
{{- with $constraints }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "lookalike.ports" -}}
- name: grpc
  containerPort: {{ . }}
- name: metrics
  containerPort: {{ add . 2000 }}
{{- end -}}

{{/* Restarts a process that has hung, and no other: "liveness" is answered whatever the load is and whatever
     data, shards or model are missing (lookalike/runtime/health.py). Health checks are counted apart from
     calls, so overload does not refuse them. 10 s x 6 = a minute without an answer. Argument: the port. */}}
{{- define "lookalike.liveness" -}}
grpc:
  port: {{ . }}
  service: liveness
periodSeconds: 10
timeoutSeconds: 10
failureThreshold: 6
{{- end -}}

{{/* Up to 2 s x 60 = 2 min until the process listens (Python's start; seconds on an idle node). What it has to
     load comes after that and is the readiness probe's. Argument: the port. */}}
{{- define "lookalike.startup" -}}
grpc:
  port: {{ . }}
  service: liveness
periodSeconds: 2
timeoutSeconds: 5
failureThreshold: 60
{{- end -}}

{{/* Whether a service can do its work. The service looks each second (the gateway takes up to
     readiness_timeout_seconds for it), so a pod is out of its Services at most 1 + 1 + 3 x 2 = 8 s after it can
     no longer work, and in again 2 + 2 = 4 s after it can. Arguments: the port, the service. */}}
{{- define "lookalike.readiness" -}}
grpc:
  port: {{ index . 0 }}
  service: {{ index . 1 }}
periodSeconds: 2
timeoutSeconds: 5
failureThreshold: 3
{{- end -}}

{{/* Rolls the pods when their configuration changes. Arguments: the root context, the file of the ConfigMap, the
     component's values. */}}
{{- define "lookalike.podAnnotations" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
checksum/config: {{ get (fromYaml (include (print $root.Template.BasePath "/" (index . 1)) $root)) "data" | toJson | sha256sum }}
{{- with $values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}
