{{- define "lookalike.peer" -}}
- podSelector:
    matchLabels:
      {{- include "lookalike.selector" . | nindent 6 }}
{{- end -}}

{{- define "lookalike.scrape" -}}
{{- with (index . 0).Values.networkPolicy.metricsFrom -}}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - port: {{ index $ 1 }}
      protocol: TCP
{{- end }}
{{- end -}}

{{- define "lookalike.dns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}
