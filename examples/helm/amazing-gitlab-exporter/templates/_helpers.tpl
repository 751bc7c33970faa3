{{- define "age.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters leave room for the hash that a StatefulSet's pods have in a label, and for suffixes. */}}
{{- define "age.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "age.selectorLabels" -}}
app.kubernetes.io/name: {{ include "age.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "age.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "age.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "age.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "age.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "age.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Not empty where replicas share their work. */}}
{{- define "age.redis" -}}
{{- if or .Values.redis.url .Values.redis.urlSecret.name }}true{{ end }}
{{- end }}

{{/* Not empty where the state is a file on a volume. */}}
{{- define "age.stateful" -}}
{{- if and .Values.persistence.enabled (not (include "age.redis" .)) }}true{{ end }}
{{- end }}

{{/* The secret with GitLab's token; empty where it comes by a variable. */}}
{{- define "age.tokenSecret" -}}
{{- if .Values.gitlab.token.existingSecret }}
{{- .Values.gitlab.token.existingSecret }}
{{- else if .Values.gitlab.token.value }}
{{- printf "%s-token" (include "age.fullname" .) }}
{{- end }}
{{- end }}

{{- define "age.tokenKey" -}}
{{- if .Values.gitlab.token.existingSecret }}{{ .Values.gitlab.token.key }}{{ else }}token{{ end }}
{{- end }}

{{/* Values that are right one by one and wrong together. */}}
{{- define "age.check" -}}
{{- $values := .Values }}
{{- if and (gt (int $values.replicas) 1) (not (include "age.redis" .)) }}
{{- fail "replicas: more than one replica needs Redis, which shares the projects between them; set redis.url or redis.urlSecret.name, or replicas: 1" }}
{{- end }}
{{- if and $values.redis.url $values.redis.urlSecret.name }}
{{- fail "redis: set url or urlSecret.name, not both" }}
{{- end }}
{{- if and $values.redis.urlSecret.name $values.redis.passwordSecret.name }}
{{- fail "redis.passwordSecret: the address in redis.urlSecret contains the password; set one of the two" }}
{{- end }}
{{- if and $values.redis.passwordSecret.name (not $values.redis.url) }}
{{- fail "redis.passwordSecret: redis.url is missing" }}
{{- end }}
{{- if and $values.gitlab.token.existingSecret $values.gitlab.token.value }}
{{- fail "gitlab.token: set existingSecret or value, not both" }}
{{- end }}
{{- if not (or (include "age.tokenSecret" .) $values.extraEnv $values.extraEnvFrom) }}
{{- fail "gitlab.token.existingSecret is missing: create a secret with a token of the scope read_api, and set its name" }}
{{- end }}
{{- if not (or $values.config.projects $values.config.wildcards $values.extraEnv $values.extraEnvFrom) }}
{{- fail "config: projects and wildcards are both missing; name what to track, such as config.wildcards: [{owner: {name: my-group}}]" }}
{{- end }}
{{- if and $values.extraCA.configMap $values.extraCA.secret }}
{{- fail "extraCA: set configMap or secret, not both" }}
{{- end }}
{{- $webhook := $values.webhook }}
{{- if and $webhook.enabled (not (or $webhook.existingSecret $values.extraEnv $values.extraEnvFrom)) }}
{{- fail "webhook.existingSecret is missing: create a secret with the secret token that GitLab sends, and set its name" }}
{{- end }}
{{- if and $webhook.ingress.enabled (not $webhook.enabled) }}
{{- fail "webhook.ingress: webhook.enabled is false, so that nothing would answer" }}
{{- end }}
{{- if and $webhook.ingress.enabled (not $webhook.ingress.host) }}
{{- fail "webhook.ingress.host is missing" }}
{{- end }}
{{- range $path, $instead := include "age.reserved" . | fromYaml }}
{{- $found := $values.config }}
{{- range splitList "." $path }}
{{- if and (kindIs "map" $found) (hasKey $found .) }}
{{- $found = get $found . }}
{{- else }}
{{- $found = "" }}
{{- end }}
{{- end }}
{{- if $found }}
{{- fail (printf "config.%s cannot be set: %s" $path $instead) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings that follow from other values, or that do not belong into a ConfigMap. */}}
{{- define "age.reserved" -}}
gitlab.url: use gitlab.url of the chart
gitlab.token: use gitlab.token.existingSecret
gitlab.token_file: use gitlab.token.existingSecret
gitlab.ca_cert_path: use extraCA
labels.people_hash_key: it is a secret; use extraEnv with AGE_LABELS_PEOPLE_HASH_KEY
redis.key_prefix: use redis.keyPrefix
redis.lease_ttl: use redis.leaseTtl
redis.password: use redis.passwordSecret
redis.password_file: use redis.passwordSecret
redis.url: use redis.url of the chart
server.listen_address: the chart serves port 8080 and the Service has service.port
server.probes.listen_address: the chart serves probes on port 8081
server.webhook.enabled: use webhook.enabled
server.webhook.listen_address: the chart serves webhooks on port 8082
server.webhook.secret_token: use webhook.existingSecret
server.webhook.secret_token_file: use webhook.existingSecret
server.webhook.secret_tokens: they are secrets; use extraEnv with AGE_SERVER_WEBHOOK_SECRET_TOKENS
server.webhook.signing_tokens: they are secrets; use extraEnv with AGE_SERVER_WEBHOOK_SIGNING_TOKENS
state.path: use persistence
{{- end }}

{{/* The exporter's configuration file. */}}
{{- define "age.config" -}}
{{- $gitlab := dict "url" .Values.gitlab.url }}
{{- if include "age.tokenSecret" . }}
{{- $_ := set $gitlab "token_file" "/run/secrets/gitlab/token" }}
{{- end }}
{{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
{{- $_ := set $gitlab "ca_cert_path" "/etc/amazing-gitlab-exporter/ca/ca.crt" }}
{{- end }}
{{- $server := dict "listen_address" ":8080" "probes" (dict "listen_address" ":8081") }}
{{- if .Values.webhook.enabled }}
{{- $webhook := dict "enabled" true "listen_address" ":8082" }}
{{- if .Values.webhook.existingSecret }}
{{- $_ := set $webhook "secret_token_file" "/run/secrets/webhook/token" }}
{{- end }}
{{- $_ := set $server "webhook" $webhook }}
{{- end }}
{{- $derived := dict "gitlab" $gitlab "server" $server }}
{{- if include "age.stateful" . }}
{{- $_ := set $derived "state" (dict "path" "/var/lib/amazing-gitlab-exporter/state.redb") }}
{{- end }}
{{- if include "age.redis" . }}
{{- $redis := dict }}
{{- with .Values.redis.url }}{{ $_ := set $redis "url" . }}{{ end }}
{{- if .Values.redis.passwordSecret.name }}{{ $_ := set $redis "password_file" "/run/secrets/redis/password" }}{{ end }}
{{- with .Values.redis.keyPrefix }}{{ $_ := set $redis "key_prefix" . }}{{ end }}
{{- with .Values.redis.leaseTtl }}{{ $_ := set $redis "lease_ttl" . }}{{ end }}
{{- if $redis }}{{ $_ := set $derived "redis" $redis }}{{ end }}
{{- end }}
{{- mergeOverwrite (deepCopy .Values.config) $derived | toYaml }}
{{- end }}
