{{/* "true" if each embedder has a Triton in its pod. */}}
{{- define "lookalike.tritonInPod" -}}
{{- if and (eq .Values.embedder.backend "triton") (eq .Values.triton.placement "pod") }}true{{ end -}}
{{- end -}}

{{- define "lookalike.tritonDeployed" -}}
{{- if and (eq .Values.embedder.backend "triton") (eq .Values.triton.placement "deployment") }}true{{ end -}}
{{- end -}}

{{/* Arguments: root; outlivesSeconds: how long it goes on after the pod got the signal to stop. */}}
{{- define "lookalike.tritonContainer" -}}
{{- $root := .root -}}
{{- $triton := $root.Values.triton -}}
- name: triton
  image: {{ include "lookalike.image" (list $root $triton.image) }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command:
    - tritonserver
    - --model-repository={{ include "lookalike.modelPath" $root.Values.models.repositoryPath }}
    - --model-control-mode=explicit
    - --load-model={{ $triton.model }}
    - --exit-timeout-secs={{ $triton.exitTimeoutSeconds }}
    {{- with $triton.traceEndpoint }}
    # The rate is that of calls without a traceparent; those with one are all traced.
    - --trace-config=mode=opentelemetry
    - --trace-config=level=TIMESTAMPS
    - --trace-config=rate=0
    - {{ printf "--trace-config=opentelemetry,url=%s" . | quote }}
    - --trace-config=opentelemetry,resource=service.name=lookalike-triton
    {{- end }}
    {{- range $triton.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    # GPUs from Ampere on may compute in TF32, too far off for the golden images.
    - name: NVIDIA_TF32_OVERRIDE
      value: "0"
    - name: HOME
      value: /tmp
  ports:
    - name: triton-http
      containerPort: 8000
    - name: triton-grpc
      containerPort: 8001
    - name: triton-metrics
      containerPort: 8002
  # Loading warms the model up with batches of every size, 136 pictures by default: 5 s x {{ div (add $triton.startupBudgetSeconds 4) 5 }}.
  startupProbe:
    httpGet:
      path: /v2/health/ready
      port: triton-http
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: {{ div (add $triton.startupBudgetSeconds 4) 5 }}
  livenessProbe:
    httpGet:
      path: /v2/health/live
      port: triton-http
    periodSeconds: 10
    timeoutSeconds: 10
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /v2/health/ready
      port: triton-http
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 3
  {{- with ceil .outlivesSeconds }}
  lifecycle:
    # Triton refuses new requests as soon as it is to stop, so it begins when those who call it are done.
    # Kubernetes before 1.33 refuses a sleep of 0.
    preStop:
      sleep:
        seconds: {{ . }}
  {{- end }}
  resources:
    {{- $resources := deepCopy $triton.resources -}}
    {{- if $triton.gpus -}}
    {{- $_ := set $resources "limits" (merge (dict $triton.gpuResource $triton.gpus) (default dict $resources.limits)) -}}
    {{- end -}}
    {{- toYaml $resources | nindent 4 }}
  securityContext:
    {{- include "lookalike.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    {{- include "lookalike.modelMount" $root | nindent 4 }}
    - name: triton-tmp
      mountPath: /tmp
    - name: shm
      mountPath: /dev/shm
{{- end -}}

{{/* Shared memory counts as memory of the container that writes it. */}}
{{- define "lookalike.tritonVolumes" -}}
- name: triton-tmp
  emptyDir:
    sizeLimit: 1Gi
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.triton.sharedMemory }}
{{- end -}}
