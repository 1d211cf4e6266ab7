package policy

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kubernetes options of render.
type kubernetesOptions struct {
	actions []string // of the bindings: Deny, Warn, Audit
	assign  bool     // also write the policy that fills in runtimeClassName
}

// Kubernetes renders RuntimeClasses and the admission policies with their bindings.
func (p *Policy) Kubernetes(r *Report, o kubernetesOptions) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by bulkhead policy render kubernetes from %s; do not edit, render again.\n", p.file)
	fmt.Fprintf(&b, "# Measured overheads: %s.\n", r.Origin().dated())
	for _, d := range p.kubernetesObjects(r, o) {
		b.WriteString("---\n")
		for _, line := range d.comment {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(d.node); err != nil {
			return "", fmt.Errorf("render: %w", err)
		}
	}
	return b.String(), nil
}

// rendered is one object and what is said above it.
type rendered struct {
	comment []string
	node    *yaml.Node
}

func (p *Policy) kubernetesObjects(r *Report, o kubernetesOptions) []rendered {
	var out []rendered
	for _, rt := range p.Runtimes {
		out = append(out, p.runtimeClass(rt, r))
	}
	if o.assign {
		out = append(out, p.assignPolicy()...)
	}
	for _, k := range admissionKinds {
		out = append(out, p.admissionPolicy(k), p.binding("ValidatingAdmissionPolicyBinding", k.subject.name, o.actions, true))
	}
	return append(out, p.guardPolicy(), p.binding("ValidatingAdmissionPolicyBinding", "runtimeclasses", o.actions, false))
}

// field is a name and its value; fields keep their order, as people expect it.
type field struct {
	name  string
	value any
}

type fields []field

// node makes YAML of fields, lists, texts and numbers.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case fields:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range v {
			if f.value != nil {
				n.Content = append(n.Content, node(f.name), node(f.value))
			}
		}
		return n
	case map[string]string:
		var fs fields
		for _, k := range sortedKeys(v) {
			fs = append(fs, field{k, v[k]})
		}
		return node(fs)
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range v {
			n.Content = append(n.Content, node(s))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, x := range v {
			n.Content = append(n.Content, node(x))
		}
		return n
	case *yaml.Node:
		return v
	}
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil { // only texts and numbers come here
		panic(err)
	}
	if s, ok := v.(string); ok && strings.Contains(s, "\n") {
		n.Style = yaml.LiteralStyle
	}
	return n
}

// metadata of a cluster object; every one says what it was made from.
func (p *Policy) metadata(name, from string) fields {
	annotations := fields{{"bulkhead.dev/policy", p.digest()}}
	if from != "" {
		annotations = append(annotations, field{"bulkhead.dev/overhead-from", from})
	}
	return fields{
		{"name", name},
		{"labels", fields{{"app.kubernetes.io/managed-by", "bulkhead-policy"}}},
		{"annotations", annotations},
	}
}

// digest names the rendered decision: the same rules give the same digest.
func (p *Policy) digest() string {
	if p.named != "" {
		return p.named
	}
	h := sha256.New()
	for _, v := range p.variables(subjectPods) {
		fmt.Fprintf(h, "%s\x00%s\x00", v.Name, v.Expression)
	}
	p.named = fmt.Sprintf("v%d-%x", p.Version, h.Sum(nil)[:8])
	return p.named
}

// runtimeClass: https://kubernetes.io/docs/concepts/containers/runtime-class/
func (p *Policy) runtimeClass(rt *Runtime, r *Report) rendered {
	o, from := r.overhead(rt, p.runtime(p.Absent))
	out := rendered{comment: []string{fmt.Sprintf("%s: wall %s, %s.", rt.Name, rt.Wall, rt.Wall.about())}}
	fs := fields{{"apiVersion", "node.k8s.io/v1"}, {"kind", "RuntimeClass"}, {"metadata", p.metadata(rt.Name, from)}, {"handler", rt.Handler}}
	if o != nil {
		fixed := fields{}
		if o.Memory != "" {
			fixed = append(fixed, field{"memory", o.Memory})
		}
		if o.CPU != "" {
			fixed = append(fixed, field{"cpu", o.CPU})
		}
		fs = append(fs, field{"overhead", fields{{"podFixed", fixed}}})
		out.comment = append(out.comment, "Overhead for a pod of one container (and its pause container); from "+from+".")
	}
	if len(rt.NodeSelector) > 0 {
		fs = append(fs, field{"scheduling", fields{{"nodeSelector", rt.NodeSelector}}})
	}
	out.node = node(fs)
	return out
}

// admissionKind is a kind of object that holds a pod, and when it is judged.
type admissionKind struct {
	subject  subject
	about    []string
	rules    []any
	changed  string // what of an update makes it worth judging
	required string // what an object without a pod in it lacks
}

func resourceRule(group, version string, operations []string, resources ...string) fields {
	return fields{{"apiGroups", []string{group}}, {"apiVersions", []string{version}}, {"operations", operations}, {"resources", resources}}
}

var (
	both = []string{"CREATE", "UPDATE"}

	admissionKinds = []admissionKind{
		{subject: subjectPods, about: []string{
			"Pods, whoever makes them, and the containers that are added to running ones. An update is judged when it changes",
			"what the rules look at, so that a pod from before the policy can still be finished."},
			rules: []any{resourceRule("", "v1", both, "pods"), resourceRule("", "v1", []string{"UPDATE"}, "pods/ephemeralcontainers")},
			changed: "object.spec != oldObject.spec ||\n" +
				"(has(object.metadata.labels) ? object.metadata.labels : {}) != (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}) ||\n" +
				"(has(object.metadata.annotations) ? object.metadata.annotations : {}) != (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {})"},
		{subject: subjectTemplates, about: []string{
			"Templates of pods: what is refused here would be refused pod by pod, and its author is told at once. An update is",
			"judged when it changes the template, so that an old Deployment can still be scaled down."},
			rules: []any{resourceRule("apps", "v1", both, "deployments", "replicasets", "statefulsets", "daemonsets"),
				resourceRule("batch", "v1", both, "jobs"), resourceRule("", "v1", both, "replicationcontrollers")},
			changed:  "object.spec.template != oldObject.spec.template",
			required: "has(object.spec.template)"},
		{subject: subjectCronJobs, about: []string{"The same for CronJobs, whose template is one level further in."},
			rules:   []any{resourceRule("batch", "v1", both, "cronjobs")},
			changed: "object.spec.jobTemplate.spec.template != oldObject.spec.jobTemplate.spec.template"},
	}
)

// admissionPolicy: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
func (p *Policy) admissionPolicy(k admissionKind) rendered {
	var conditions, variables []any
	if k.required != "" {
		conditions = append(conditions, fields{{"name", "has-a-template"}, {"expression", k.required}})
	}
	conditions = append(conditions, fields{{"name", "changes-what-counts"}, {"expression", "request.operation != 'UPDATE' ||\n" + k.changed}})
	for _, v := range p.variables(k.subject) {
		variables = append(variables, fields{{"name", v.Name}, {"expression", v.Expression}})
	}
	return rendered{comment: k.about, node: node(fields{
		{"apiVersion", "admissionregistration.k8s.io/v1"}, {"kind", "ValidatingAdmissionPolicy"},
		{"metadata", p.metadata(p.objectName(k.subject.name), "")},
		{"spec", fields{
			{"failurePolicy", "Fail"},
			{"matchConstraints", fields{{"resourceRules", k.rules}}},
			{"matchConditions", conditions},
			{"variables", variables},
			{"validations", []any{fields{
				{"expression", admitted},
				{"message", "the wall is too weak for this workload"},
				{"messageExpression", p.refusalMessage()},
				{"reason", "Forbidden"},
			}}},
			{"auditAnnotations", []any{
				fields{{"key", "class"}, {"valueExpression", "variables.class"}},
				fields{{"key", "rule"}, {"valueExpression", "variables.rule"}},
			}},
		}},
	})}
}

func (p *Policy) objectName(what string) string { return p.Name + "-" + what }

// binding puts a policy into force, everywhere but in the exempt namespaces. They
// are chosen by the label that the API server itself sets.
func (p *Policy) binding(kind, what string, actions []string, namespaced bool) rendered {
	spec := fields{{"policyName", p.objectName(what)}}
	if kind == "ValidatingAdmissionPolicyBinding" {
		spec = append(spec, field{"validationActions", actions})
	}
	var exempt []string
	for _, e := range p.Exempt {
		exempt = append(exempt, e.Namespace)
	}
	sort.Strings(exempt)
	if namespaced && len(exempt) > 0 {
		spec = append(spec, field{"matchResources", fields{{"namespaceSelector", fields{{"matchExpressions", []any{
			fields{{"key", nameLabel}, {"operator", "NotIn"}, {"values", exempt}},
		}}}}}})
	}
	return rendered{node: node(fields{
		{"apiVersion", "admissionregistration.k8s.io/v1"}, {"kind", kind},
		{"metadata", p.metadata(p.objectName(what), "")},
		{"spec", spec},
	})}
}

// guardPolicy keeps the names of the RuntimeClasses true: a name that says vm and
// runs runc would make every rule void.
func (p *Policy) guardPolicy() rendered {
	var handlers []string
	for _, rt := range p.Runtimes {
		handlers = append(handlers, quote(rt.Name)+": "+quote(rt.Handler))
	}
	return rendered{comment: []string{"RuntimeClasses keep the handlers that the policy knows them by."}, node: node(fields{
		{"apiVersion", "admissionregistration.k8s.io/v1"}, {"kind", "ValidatingAdmissionPolicy"},
		{"metadata", p.metadata(p.objectName("runtimeclasses"), "")},
		{"spec", fields{
			{"failurePolicy", "Fail"},
			{"matchConstraints", fields{{"resourceRules", []any{resourceRule("node.k8s.io", "v1", both, "runtimeclasses")}}}},
			{"variables", []any{fields{{"name", "handlers"}, {"expression", table(handlers)}}}},
			{"validations", []any{fields{
				{"expression", "!(object.metadata.name in variables.handlers) || object.handler == variables.handlers[object.metadata.name]"},
				{"messageExpression", "'RuntimeClass ' + object.metadata.name + ' has the handler ' + variables.handlers[object.metadata.name] + ' in the policy, and no other'"},
				{"reason", "Forbidden"},
			}}},
		}},
	})}
}

// assignPolicy fills in the runtime of the class where a pod names none
// (MutatingAdmissionPolicy). What it fills in is then judged like everything else.
func (p *Policy) assignPolicy() []rendered {
	var variables []any
	for _, v := range p.variables(subjectPods) {
		variables = append(variables, fields{{"name", v.Name}, {"expression", v.Expression}})
	}
	return []rendered{{
		comment: []string{"A pod that names no runtimeClassName, and needs a stronger wall than it would get, gets its class's runtime."},
		node: node(fields{
			{"apiVersion", "admissionregistration.k8s.io/v1"}, {"kind", "MutatingAdmissionPolicy"},
			{"metadata", p.metadata(p.objectName("assign"), "")},
			{"spec", fields{
				{"failurePolicy", "Fail"},
				{"reinvocationPolicy", "IfNeeded"},
				{"matchConstraints", fields{{"resourceRules", []any{resourceRule("", "v1", []string{"CREATE"}, "pods")}}}},
				{"matchConditions", []any{fields{{"name", "names-none"}, {"expression", "!has(object.spec.runtimeClassName)"}}}},
				{"variables", variables},
				{"mutations", []any{fields{
					{"patchType", "JSONPatch"},
					{"jsonPatch", fields{{"expression", "variables.have < variables.need && variables.advice != '' ?\n" +
						"[JSONPatch{op: 'add', path: '/spec/runtimeClassName', value: variables.advice}] : []"}}},
				}}},
			}},
		})},
		p.binding("MutatingAdmissionPolicyBinding", "assign", nil, true),
	}
}
