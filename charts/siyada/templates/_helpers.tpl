{{- define "siyada.labels" -}}
app.kubernetes.io/part-of: siyada
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "siyada.operator" -}}system:serviceaccount:{{ .Release.Namespace }}:siyada-operator{{- end }}

{{- /* The policies that hold who may write what. The operator refuses to run without them. */}}
{{- define "siyada.policies" -}}
siyada-requester-stamp,siyada-requester-kept,siyada-protected-orders,siyada-protected-namespaces,siyada-orders-own-fields,siyada-retained-instances,siyada-engine-namespaces,siyada-namespace-labels,siyada-role-bindings,siyada-tenant-delegation,siyada-tenants-own-fields,siyada-tenants-in-use,siyada-operator-bounds,siyada-tenant-roles
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
