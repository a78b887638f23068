{{/* A path below the mount of the models. */}}
{{- define "lookalike.modelPath" -}}
{{- printf "/bundle/%s" (trimAll "/" .) | trimSuffix "/" -}}
{{- end -}}

{{- define "lookalike.modelVolume" -}}
{{- $models := .Values.models -}}
- name: models
  {{- if eq $models.source "claim" }}
  persistentVolumeClaim:
    claimName: {{ $models.claim }}
    readOnly: true
  {{- else if eq $models.source "imageVolume" }}
  image:
    reference: {{ include "lookalike.image" (list . $models.image) }}
    pullPolicy: {{ .Values.image.pullPolicy }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $models.sizeLimit }}
  {{- end }}
{{- end -}}

{{/* The whole source is mounted, and a bundle is a folder in it: a bundle that replaces another one by
     a rename would not be seen through a mount of that folder. */}}
{{- define "lookalike.modelMount" -}}
- name: models
  mountPath: /bundle
  readOnly: true
{{- end -}}

{{- define "lookalike.modelCopy" -}}
{{- $models := .Values.models -}}
{{- if eq $models.source "image" -}}
- name: copy-models
  image: {{ include "lookalike.image" (list . $models.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -r, "{{ $models.image.path | trimSuffix "/" }}/.", /copy/]
  resources:
    {{- $resources := deepCopy $models.resources -}}
    {{- range list "requests" "limits" -}}
    {{- $_ := set $resources . (mergeOverwrite (dict) (default dict (index $resources .)) (dict "ephemeral-storage" $models.sizeLimit)) -}}
    {{- end -}}
    {{- toYaml $resources | nindent 4 }}
  securityContext:
    {{- include "lookalike.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /copy
{{- end -}}
{{- end -}}
