{{/* The name of the chart. */}}
{{- define "coc-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of every object. */}}
{{- define "coc-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name with a suffix, still at most 63 characters: list of the context and the suffix. */}}
{{- define "coc-exporter.suffixed" -}}
{{- $suffix := index . 1 }}
{{- printf "%s-%s" (include "coc-exporter.fullname" (index . 0) | trunc (sub 62 (len $suffix) | int) | trimSuffix "-") $suffix }}
{{- end }}

{{- define "coc-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* True when the config reloader runs; a demo has no configuration to watch. */}}
{{- define "coc-exporter.reloader" -}}
{{- if and .Values.configReloader.enabled (not .Values.demo) }}true{{ end }}
{{- end }}

{{/* What never changes, by which pods are found. */}}
{{- define "coc-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "coc-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object: dict with context and maybe labels, which win. */}}
{{- define "coc-exporter.labels" -}}
{{- $root := .context }}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
}}
{{- if $root.Values.releaseLabel }}
{{- $_ := set $labels "release" $root.Release.Name }}
{{- end }}
{{- $selector := include "coc-exporter.selectorLabels" $root | fromYaml }}
{{- toYaml (mergeOverwrite $labels $root.Values.commonLabels $selector (default dict .labels)) }}
{{- end }}

{{/* Reference of an image: list of the context and the image's values. */}}
{{- define "coc-exporter.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- $global := default dict $root.Values.global }}
{{- $registry := default $image.registry $global.imageRegistry }}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- define "coc-exporter.pullSecrets" -}}
{{- $secrets := list }}
{{- range .Values.imagePullSecrets }}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) }}
{{- end }}
{{- with $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "coc-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "coc-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* True when the chart itself renders the configuration. */}}
{{- define "coc-exporter.ownsConfig" -}}
{{- if not (or .Values.demo .Values.existingConfig.secret .Values.existingConfig.configMap) }}true{{ end }}
{{- end }}

{{- define "coc-exporter.config" -}}
{{- if not .Values.config.accounts }}
{{- fail "config.accounts is empty: name at least one account, or set existingConfig.secret, existingConfig.configMap or demo=true" }}
{{- end }}
{{- toYaml .Values.config }}
{{- end }}

{{- define "coc-exporter.credentialsName" -}}
{{- if .Values.credentials.existingSecret }}
{{- .Values.credentials.existingSecret }}
{{- else if .Values.credentials.values }}
{{- include "coc-exporter.suffixed" (list . "credentials") }}
{{- end }}
{{- end }}

{{- define "coc-exporter.webConfigName" -}}
{{- if .Values.webConfig.existingSecret }}
{{- .Values.webConfig.existingSecret }}
{{- else if .Values.webConfig.content }}
{{- include "coc-exporter.suffixed" (list . "web-config") }}
{{- end }}
{{- end }}

{{/* http or https. */}}
{{- define "coc-exporter.scheme" -}}
{{- if .Values.webConfig.scheme }}
{{- .Values.webConfig.scheme }}
{{- else }}
{{- ternary "https" "http" (hasKey .Values.webConfig.content "tls_server_config") }}
{{- end }}
{{- end }}

{{/* True when a request that brings nothing is refused. */}}
{{- define "coc-exporter.authenticated" -}}
{{- $content := .Values.webConfig.content }}
{{- $tls := default dict $content.tls_server_config }}
{{- $certificate := has (default "" $tls.client_auth_type) (list "RequireAnyClientCert" "RequireAndVerifyClientCert") }}
{{- if kindIs "bool" .Values.webConfig.authenticated }}
{{- if .Values.webConfig.authenticated }}true{{ end }}
{{- else if or $content.basic_auth_users $certificate }}true{{ end }}
{{- end }}

{{/* What stands before every path, without a slash at its end. */}}
{{- define "coc-exporter.prefix" -}}
{{- $prefix := .Values.web.routePrefix }}
{{- if and (not $prefix) .Values.web.externalUrl }}
{{- $prefix = (urlParse .Values.web.externalUrl).path }}
{{- end }}
{{- $prefix = trimAll "/" $prefix }}
{{- if $prefix }}/{{ $prefix }}{{ end }}
{{- end }}

{{- define "coc-exporter.metricsPath" -}}
{{- include "coc-exporter.prefix" . }}{{ .Values.web.telemetryPath }}
{{- end }}

{{/* A probe: list of the context, the values given, and the path. */}}
{{- define "coc-exporter.probe" -}}
{{- $root := index . 0 }}
{{- $given := index . 1 }}
{{- if or $given.httpGet $given.tcpSocket $given.exec $given.grpc }}
{{- toYaml $given }}
{{- else }}
{{- if include "coc-exporter.authenticated" $root }}
tcpSocket:
  port: http-metrics
{{- else }}
httpGet:
  path: {{ include "coc-exporter.prefix" $root }}{{ index . 2 }}
  port: http-metrics
  scheme: {{ include "coc-exporter.scheme" $root | upper }}
{{- end }}
{{- with $given }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The pods of the Deployment and of the StatefulSet. */}}
{{- define "coc-exporter.pod" -}}
{{- $credentials := include "coc-exporter.credentialsName" . }}
{{- $webConfig := include "coc-exporter.webConfigName" . }}
metadata:
  labels:
    {{- /* What pods are found by wins over what is given. */}}
    {{- include "coc-exporter.labels" (dict "context" . "labels" (mergeOverwrite (dict) .Values.podLabels (include "coc-exporter.selectorLabels" . | fromYaml))) | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: coc-exporter
    {{- if and (include "coc-exporter.ownsConfig" .) (not (include "coc-exporter.reloader" .)) (not .Values.autoReload) }}
    checksum/config: {{ include "coc-exporter.config" . | sha256sum }}
    {{- end }}
    {{- if or (and .Values.credentials.values (not .Values.credentials.existingSecret)) (and .Values.webConfig.content (not .Values.webConfig.existingSecret)) }}
    checksum/secret: {{ toYaml (dict "credentials" .Values.credentials.values "web" .Values.webConfig.content) | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with (include "coc-exporter.pullSecrets" . | trim) }}
  {{- . | nindent 2 }}
  {{- end }}
  serviceAccountName: {{ include "coc-exporter.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: coc-exporter
      image: {{ include "coc-exporter.image" (list . .Values.image) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        {{- if .Values.demo }}
        - --demo
        {{- else }}
        - --config.file=/etc/coc-exporter/config.yaml
        {{- end }}
        {{- if .Values.autoReload }}
        - --config.enable-auto-reload
        {{- end }}
        - --web.listen-address=:{{ .Values.containerPort }}
        {{- if $webConfig }}
        - --web.config.file=/etc/coc-exporter-web/web-config.yaml
        {{- end }}
        {{- if ne .Values.web.telemetryPath "/metrics" }}
        - --web.telemetry-path={{ .Values.web.telemetryPath }}
        {{- end }}
        {{- with .Values.web.externalUrl }}
        - --web.external-url={{ . }}
        {{- end }}
        {{- with .Values.web.routePrefix }}
        - --web.route-prefix={{ . }}
        {{- end }}
        {{- if or .Values.web.enableLifecycle (include "coc-exporter.reloader" .) }}
        - --web.enable-lifecycle
        {{- end }}
        {{- if gt (int .Values.shards) 1 }}
        - --shard=$(POD_INDEX)
        - --total-shards={{ .Values.shards }}
        {{- end }}
        {{- if .Values.storage.enabled }}
        - --storage.path={{ .Values.storage.mountPath }}/{{ .Values.storage.fileName }}
        {{- end }}
        - --log.level={{ .Values.log.level }}
        - --log.format={{ .Values.log.format }}
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or (gt (int .Values.shards) 1) (and $credentials .Values.credentials.env) .Values.extraEnv }}
      env:
        {{- if gt (int .Values.shards) 1 }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        # The ordinal at the end of the pod's name, as Kubernetes itself tells it.
        - name: POD_INDEX
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
        {{- end }}
        {{- if $credentials }}
        {{- range $variable, $key := .Values.credentials.env }}
        - name: {{ $variable }}
          valueFrom:
            secretKeyRef:
              name: {{ $credentials }}
              key: {{ $key }}
        {{- end }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http-metrics
          containerPort: {{ .Values.containerPort }}
          protocol: TCP
      livenessProbe:
        {{- include "coc-exporter.probe" (list . .Values.livenessProbe "/-/healthy") | trim | nindent 8 }}
      readinessProbe:
        {{- include "coc-exporter.probe" (list . .Values.readinessProbe "/-/ready") | trim | nindent 8 }}
      {{- with .Values.startupProbe }}
      startupProbe:
        {{- include "coc-exporter.probe" (list $ . "/-/healthy") | trim | nindent 8 }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if not .Values.demo }}
        - name: config
          mountPath: /etc/coc-exporter
          readOnly: true
        {{- end }}
        {{- if $credentials }}
        - name: credentials
          mountPath: {{ .Values.credentials.mountPath }}
          readOnly: true
        {{- end }}
        {{- if $webConfig }}
        - name: web-config
          mountPath: /etc/coc-exporter-web
          readOnly: true
        {{- end }}
        {{- if .Values.webConfig.tlsSecret }}
        - name: tls
          mountPath: /etc/coc-exporter-tls
          readOnly: true
        {{- end }}
        {{- if .Values.storage.enabled }}
        - name: storage
          mountPath: {{ .Values.storage.mountPath }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- if include "coc-exporter.reloader" . }}
    - name: config-reloader
      image: {{ include "coc-exporter.image" (list . .Values.configReloader.image) }}
      imagePullPolicy: {{ .Values.configReloader.image.pullPolicy }}
      args:
        - --watched-dir=/etc/coc-exporter
        - --reload-url={{ include "coc-exporter.scheme" . }}://127.0.0.1:{{ .Values.containerPort }}{{ include "coc-exporter.prefix" . }}/-/reload
        - --listen-address=:{{ .Values.configReloader.containerPort }}
        {{- with .Values.configReloader.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: reloader
          containerPort: {{ .Values.configReloader.containerPort }}
          protocol: TCP
      {{- with .Values.configReloader.livenessProbe }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.configReloader.readinessProbe }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.configReloader.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.configReloader.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: /etc/coc-exporter
          readOnly: true
    {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if not .Values.demo }}
    - name: config
      {{- if .Values.existingConfig.configMap }}
      configMap:
        name: {{ .Values.existingConfig.configMap }}
        items:
          - key: {{ .Values.existingConfig.key }}
            path: config.yaml
      {{- else if .Values.existingConfig.secret }}
      secret:
        secretName: {{ .Values.existingConfig.secret }}
        items:
          - key: {{ .Values.existingConfig.key }}
            path: config.yaml
        defaultMode: 0440
      {{- else if .Values.secretConfig }}
      secret:
        secretName: {{ include "coc-exporter.fullname" . }}
        defaultMode: 0440
      {{- else }}
      configMap:
        name: {{ include "coc-exporter.fullname" . }}
      {{- end }}
    {{- end }}
    {{- if $credentials }}
    - name: credentials
      secret:
        secretName: {{ $credentials }}
        defaultMode: 0440
    {{- end }}
    {{- if $webConfig }}
    - name: web-config
      secret:
        secretName: {{ $webConfig }}
        items:
          - key: {{ ternary .Values.webConfig.key "web-config.yaml" (ne .Values.webConfig.existingSecret "") }}
            path: web-config.yaml
        defaultMode: 0440
    {{- end }}
    {{- with .Values.webConfig.tlsSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- if and .Values.storage.enabled (not (and (gt (int .Values.shards) 1) .Values.storage.persistence.enabled)) }}
    - name: storage
      {{- if .Values.storage.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ default (include "coc-exporter.fullname" .) .Values.storage.persistence.existingClaim }}
      {{- else if .Values.storage.sizeLimit }}
      emptyDir:
        sizeLimit: {{ .Values.storage.sizeLimit }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The spec of a claim. */}}
{{- define "coc-exporter.claim" -}}
accessModes:
  {{- toYaml .Values.storage.persistence.accessModes | nindent 2 }}
{{- with .Values.storage.persistence.storageClass }}
storageClassName: {{ ternary "" . (eq . "-") | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.storage.persistence.size }}
{{- end }}

{{/* What a ServiceMonitor's endpoint and a PodMonitor's have in common: list of the context and the monitor's values. */}}
{{- define "coc-exporter.endpoint" -}}
{{- $root := index . 0 }}
{{- $monitor := index . 1 }}
path: {{ default (include "coc-exporter.metricsPath" $root) $monitor.path }}
scheme: {{ default (include "coc-exporter.scheme" $root) $monitor.scheme }}
honorLabels: {{ $monitor.honorLabels }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Limits and formats of a monitor's scrape. */}}
{{- define "coc-exporter.limits" -}}
{{- with .sampleLimit }}
sampleLimit: {{ . }}
{{- end }}
{{- with .labelLimit }}
labelLimit: {{ . }}
{{- end }}
{{- with .scrapeProtocols }}
scrapeProtocols:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Metadata of an object: dict with context, and maybe name, namespace, labels, annotations. */}}
{{- define "coc-exporter.metadata" -}}
metadata:
  name: {{ default (include "coc-exporter.fullname" .context) .name }}
  namespace: {{ default (include "coc-exporter.namespace" .context) .namespace }}
  labels:
    {{- include "coc-exporter.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
