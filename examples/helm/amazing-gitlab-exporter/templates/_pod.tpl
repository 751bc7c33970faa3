{{/* The pod of the StatefulSet or Deployment. */}}
{{- define "age.pod" -}}
metadata:
  labels:
    {{- include "age.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A change of the configuration restarts the exporter, which reads it at the start.
    checksum/config: {{ include "age.config" . | sha256sum }}
    {{- if .Values.gitlab.token.value }}
    checksum/token: {{ .Values.gitlab.token.value | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "age.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # A stop takes nine seconds at most: the last push and what is being recorded.
  terminationGracePeriodSeconds: 30
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: exporter
      image: {{ include "age.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/amazing-gitlab-exporter/config.yml]
      {{- if or .Values.redis.urlSecret.name .Values.extraEnv }}
      env:
        {{- with .Values.redis.urlSecret }}
        {{- if .name }}
        - name: AGE_REDIS_URL
          valueFrom:
            secretKeyRef:
              name: {{ .name }}
              key: {{ .key }}
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
        - name: http
          containerPort: 8080
        - name: probes
          containerPort: 8081
        {{- if .Values.webhook.enabled }}
        - name: webhook
          containerPort: 8082
        {{- end }}
      livenessProbe:
        httpGet:
          path: /health
          port: probes
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /ready
          port: probes
        periodSeconds: 10
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/amazing-gitlab-exporter
          readOnly: true
        {{- if include "age.tokenSecret" . }}
        - name: token
          mountPath: /run/secrets/gitlab
          readOnly: true
        {{- end }}
        {{- if and .Values.webhook.enabled .Values.webhook.existingSecret }}
        - name: webhook
          mountPath: /run/secrets/webhook
          readOnly: true
        {{- end }}
        {{- if .Values.redis.passwordSecret.name }}
        - name: redis
          mountPath: /run/secrets/redis
          readOnly: true
        {{- end }}
        {{- if include "age.stateful" . }}
        - name: state
          mountPath: /var/lib/amazing-gitlab-exporter
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      projected:
        sources:
          - configMap:
              name: {{ include "age.fullname" . }}
              items:
                - key: config.yml
                  path: config.yml
          {{- with .Values.extraCA.configMap }}
          - configMap:
              name: {{ . }}
              items:
                - key: {{ $.Values.extraCA.key }}
                  path: ca/ca.crt
          {{- end }}
          {{- with .Values.extraCA.secret }}
          - secret:
              name: {{ . }}
              items:
                - key: {{ $.Values.extraCA.key }}
                  path: ca/ca.crt
          {{- end }}
    {{- with include "age.tokenSecret" . }}
    - name: token
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items:
          - key: {{ include "age.tokenKey" $ }}
            path: token
    {{- end }}
    {{- if and .Values.webhook.enabled .Values.webhook.existingSecret }}
    - name: webhook
      secret:
        secretName: {{ .Values.webhook.existingSecret }}
        defaultMode: 0440
        items:
          - key: {{ .Values.webhook.key }}
            path: token
    {{- end }}
    {{- with .Values.redis.passwordSecret }}
    {{- if .name }}
    - name: redis
      secret:
        secretName: {{ .name }}
        defaultMode: 0440
        items:
          - key: {{ .key }}
            path: password
    {{- end }}
    {{- end }}
    {{- if and (include "age.stateful" .) .Values.persistence.existingClaim }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
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
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if gt (int .Values.replicas) 1 }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "age.selectorLabels" . | nindent 10 }}
  {{- end }}
{{- end }}
