{{- define "siyada.labels" -}}
app.kubernetes.io/part-of: siyada
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "siyada.operator" -}}system:serviceaccount:{{ .Release.Namespace }}:siyada-operator{{- end }}

{{- /* The policies that hold who may write what. The operator refuses to run without them. */}}
{{- define "siyada.policies" -}}
siyada-requester-stamp,siyada-requester-kept,siyada-protected-orders,siyada-protected-namespaces,siyada-orders-own-fields,siyada-retained-instances,siyada-decider-stamp,siyada-decisions,siyada-engine-namespaces,siyada-namespace-labels,siyada-role-bindings,siyada-tenant-delegation,siyada-tenants-own-fields,siyada-tenants-in-use,siyada-operator-bounds,siyada-tenant-roles
{{- end }}

{{- define "siyada.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "siyada.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The ledger's cluster of a generation: each restore makes another one. */}}
{{- define "siyada.ledger-of" -}}
siyada-ledger{{ if gt (int .) 1 }}-{{ int . }}{{ end }}
{{- end }}

{{- /* Values that are reused from an older chart know of no restore. */}}
{{- define "siyada.ledger" -}}
{{- include "siyada.ledger-of" ((.Values.ledger.cluster.restore | default dict).generation | default 1) }}
{{- end }}

{{- /* Where the cluster of that name is archived. */}}
{{- define "siyada.ledger-archive" -}}
{{- $store := .backup -}}
destinationPath: {{ printf "s3://%s/" $store.bucket }}
serverName: {{ .name }}
endpointURL: {{ $store.endpoint }}
{{- if $store.ownAuthority }}
endpointCA: {name: {{ $store.credentialsSecret }}, key: ca.crt}
{{- end }}
s3Credentials:
  accessKeyId: {name: {{ $store.credentialsSecret }}, key: ACCESS_KEY_ID}
  secretAccessKey: {name: {{ $store.credentialsSecret }}, key: ACCESS_SECRET_KEY}
  region: {name: {{ $store.credentialsSecret }}, key: REGION}
wal: {compression: gzip}
data: {compression: gzip, immediateCheckpoint: true}
{{- end }}
