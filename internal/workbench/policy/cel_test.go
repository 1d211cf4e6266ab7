package policy

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
)

// judge evaluates what render wrote as the API server does.
type judge struct {
	names    []string
	programs []cel.Program
	ok, says cel.Program
}

func compile(t testing.TB, env *cel.Env, e string) cel.Program {
	t.Helper()
	ast, iss := env.Compile(e)
	if iss.Err() != nil {
		t.Fatalf("%s\n%v", e, iss.Err())
	}
	prog, err := env.Program(ast, cel.CostLimit(1000000)) // the API server's limit for one expression
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

func newJudge(t testing.TB, p *Policy, s subject) *judge {
	t.Helper()
	env, err := cel.NewEnv(ext.Strings(), cel.Variable("object", cel.DynType), cel.Variable("namespaceObject", cel.DynType),
		cel.Variable("variables", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{ok: compile(t, env, admitted), says: compile(t, env, p.refusalMessage())}
	for _, v := range p.variables(s) {
		j.names = append(j.names, v.Name)
		j.programs = append(j.programs, compile(t, env, v.Expression))
	}
	return j
}

type verdict struct {
	admitted             bool
	class, rule, message string
}

// decide evaluates every variable, used or not: none may fail.
func (j *judge) decide(t testing.TB, object, namespace any) verdict {
	t.Helper()
	vars := map[string]any{}
	in := map[string]any{"object": object, "namespaceObject": namespace, "variables": vars}
	eval := func(what string, p cel.Program) any {
		out, _, err := p.Eval(in)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return out.Value()
	}
	for i, p := range j.programs {
		out, _, err := p.Eval(in)
		if err != nil {
			t.Fatalf("%s: %v", j.names[i], err)
		}
		vars[j.names[i]] = out
	}
	v := verdict{admitted: eval("the validation", j.ok).(bool)}
	in["variables"] = vars
	v.class, _ = eval("class", j.programs[index(j.names, "class")]).(string)
	v.rule, _ = eval("rule", j.programs[index(j.names, "rule")]).(string)
	if !v.admitted {
		v.message = eval("the message", j.says).(string)
	}
	return v
}

func index(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// TestCELAgrees: over generated pods, in every shape that holds one, the cluster
// decides as explain does.
func TestCELAgrees(t *testing.T) {
	for _, p := range []*Policy{mustDefault(t), mustWide(t)} {
		judges := map[string]*judge{"Pod": newJudge(t, p, subjectPods), "Deployment": newJudge(t, p, subjectTemplates), "CronJob": newJudge(t, p, subjectCronJobs)}
		rnd := rand.New(rand.NewSource(1))
		rules := map[string]int{}
		for i := 0; i < 800; i++ {
			g := &podMaker{rnd: rnd}
			pod, ns := g.pod(), g.namespace()
			kind := pick(rnd, "Pod", "Pod", "Deployment", "CronJob")
			object := wrap(kind, pod, ns["metadata"].(map[string]any)["name"].(string))
			text, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			all, _, err := ReadWorkloads("x", text)
			if err != nil || len(all) != 1 {
				t.Fatalf("%s: %v, %d workloads", text, err, len(all))
			}
			f := all[0]
			f.inNamespace(stringMap(ns["metadata"].(map[string]any)["labels"]), true)
			d := p.Decide(f)
			if d.Exempt != nil {
				continue // the binding does not ask
			}
			var generic any // as it comes to the API server
			if err := json.Unmarshal(text, &generic); err != nil {
				t.Fatal(err)
			}
			v := judges[kind].decide(t, generic, ns)
			rule := ""
			if d.Rule != nil {
				rule = d.Rule.Name
			}
			rules[rule]++
			if v.class != d.Class.Name || v.rule != rule || v.admitted != (d.Refused == "") {
				t.Fatalf("explain: class %s, rule %q, refused %q; CEL: %+v\n%s\nnamespace %v", d.Class.Name, rule, d.Refused, v, text, ns)
			}
		}
		for _, r := range p.Rules {
			if rules[r.Name] == 0 {
				t.Errorf("%s: no generated pod matched rule %q", p.file, r.Name)
			}
		}
	}
}

func stringMap(v any) map[string]string {
	out := map[string]string{}
	m, _ := v.(map[string]any)
	for k, x := range m {
		out[k] = x.(string)
	}
	return out
}

func wrap(kind string, pod map[string]any, namespace string) map[string]any {
	o := map[string]any{"kind": kind}
	meta := map[string]any{"name": "x", "namespace": namespace}
	switch kind {
	case "Pod":
		o["apiVersion"] = "v1"
		for k, v := range pod["metadata"].(map[string]any) {
			meta[k] = v
		}
		o["spec"] = pod["spec"]
	case "Deployment":
		o["apiVersion"] = "apps/v1"
		o["spec"] = map[string]any{"template": pod}
	case "CronJob":
		o["apiVersion"] = "batch/v1"
		o["spec"] = map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": pod}}}
	}
	o["metadata"] = meta
	return o
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.Intn(len(list))] }

// podMaker makes pods in which everything that rules look at comes up.
type podMaker struct{ rnd *rand.Rand }

func (g *podMaker) sometimes(n int) bool { return g.rnd.Intn(n) == 0 }

func (g *podMaker) namespace() map[string]any {
	name := pick(g.rnd, "default", "shop", "team-a", "kube-system", "teams")
	meta := map[string]any{"name": name}
	labels := map[string]any{nameLabel: name}
	if !g.sometimes(4) {
		labels["bulkhead.dev/trust"] = pick(g.rnd, "internal", "internal", "customer", "regulated", "node", "Internal")
		labels["trust"] = pick(g.rnd, "internal", "internal", "x")
	}
	meta["labels"] = labels
	return map[string]any{"metadata": meta}
}

func (g *podMaker) pod() map[string]any {
	meta, spec := map[string]any{}, map[string]any{"containers": g.containers(1 + g.rnd.Intn(2))}
	if !g.sometimes(3) {
		meta["labels"] = map[string]any{
			"bulkhead.dev/workload": pick(g.rnd, "agent", "ci", "build", "customer", "database", "database", "kernel-heavy", "pci", "trusted"),
			"tier":                  pick(g.rnd, "db", "cache-1", "web"), "app": "x", "legacy": pick(g.rnd, "true", "false"),
		}
	}
	if g.sometimes(4) {
		meta["annotations"] = map[string]any{"example.com/kind": pick(g.rnd, "it's so", "its so", "it's ")}
	}
	for name, chance := range map[string]int{"hostNetwork": 20, "hostPID": 30, "hostIPC": 10} {
		if g.sometimes(chance) {
			spec[name] = pick(g.rnd, true, true, false)
		}
	}
	if g.sometimes(2) {
		spec["runtimeClassName"] = pick(g.rnd, "runc", "crun", "bulkhead", "bulkhead-vm", "sentry", "vm", "unknown")
	}
	if g.sometimes(3) {
		spec[pick(g.rnd, "serviceAccountName", "serviceAccountName")] = pick(g.rnd, "agent-1", "robot", "agent", "default")
	}
	if g.sometimes(3) {
		spec[pick(g.rnd, "initContainers", "ephemeralContainers")] = g.containers(1)
	}
	if g.sometimes(8) {
		spec["volumes"] = []any{map[string]any{"name": "v", pick(g.rnd, "hostPath", "emptyDir"): map[string]any{"path": "/"}}}
	}
	if g.sometimes(15) {
		spec["resourceClaims"] = pick(g.rnd, []any{}, []any{map[string]any{"name": "gpu"}})
	}
	if g.sometimes(8) {
		spec["securityContext"] = g.podSecurity()
	}
	return map[string]any{"metadata": meta, "spec": spec}
}

func (g *podMaker) podSecurity() map[string]any {
	s := map[string]any{}
	switch g.rnd.Intn(3) {
	case 0:
		s["sysctls"] = pick(g.rnd, []any{}, []any{map[string]any{"name": "kernel.x", "value": "1"}})
	case 1:
		s["seccompProfile"] = map[string]any{"type": pick(g.rnd, "Unconfined", "RuntimeDefault")}
	case 2:
		s["appArmorProfile"] = map[string]any{"type": pick(g.rnd, "Unconfined", "Localhost")}
	}
	return s
}

func (g *podMaker) containers(n int) []any {
	var out []any
	for i := range n {
		c := map[string]any{"name": fmt.Sprint("c", i)}
		if !g.sometimes(20) {
			c["image"] = pick(g.rnd, "nginx", "docker.io/nginx:1", "docker.io/ours/x", "ours/x", "registry.example/shop/web:2", "registry.example/shop/web:2",
				"registry.example.evil/shop/web", "registry.example:443/x@sha256:0", "REGISTRY.example/shop/x", "evil.example:5000/a/b", "index.docker.io/nginx",
				"index.docker.io/ours/x", "localhost/x", "docker.io/library/x/y", "docker.io", "a/b/c")
		}
		if g.sometimes(10) {
			c["ports"] = []any{map[string]any{"containerPort": 80, "hostPort": pick(g.rnd, 0, 80)}}
		}
		if g.sometimes(6) {
			c["resources"] = map[string]any{"limits": map[string]any{"cpu": "1", pick(g.rnd, "nvidia.com/gpu", "example.com/npu", "example.com/npux", "hugepages-2Mi", "kubernetes.io/x"): 1}}
		}
		if g.sometimes(20) {
			c["volumeDevices"] = pick(g.rnd, []any{}, []any{map[string]any{"name": "d", "devicePath": "/dev/x"}})
		}
		if g.sometimes(4) {
			c["securityContext"] = g.security()
		}
		out = append(out, c)
	}
	return out
}

func (g *podMaker) security() map[string]any {
	s := map[string]any{}
	switch g.rnd.Intn(5) {
	case 0:
		s["privileged"] = pick(g.rnd, true, false)
	case 1:
		s["capabilities"] = pick(g.rnd, map[string]any{"drop": []any{"ALL"}},
			map[string]any{"add": []any{pick(g.rnd, "SYS_ADMIN", "NET_RAW", "ALL", "bpf", "CAP_SYS_ADMIN", "all", "SYS_TIME")}})
	case 2:
		s["procMount"] = pick(g.rnd, "Unmasked", "Default")
	case 3:
		s["seccompProfile"] = map[string]any{"type": pick(g.rnd, "Unconfined", "RuntimeDefault")}
	case 4:
		s["appArmorProfile"] = map[string]any{"type": pick(g.rnd, "Unconfined", "Localhost")}
	}
	return s
}

// TestRefusalMessages: what a refused author reads names class, rule and remedy.
func TestRefusalMessages(t *testing.T) {
	j := newJudge(t, mustWide(t), subjectPods)
	ns := map[string]any{"metadata": map[string]any{"name": "default", "labels": map[string]any{}}}
	pod := func(extra map[string]any) map[string]any {
		spec := map[string]any{"containers": []any{map[string]any{"name": "a", "image": "x.example/y"}}}
		for k, v := range extra {
			spec[k] = v
		}
		return map[string]any{"metadata": map[string]any{}, "spec": spec}
	}
	for _, c := range []struct {
		spec map[string]any
		want string
	}{
		{nil, "class other (by default) needs the wall sentry at least; no runtimeClassName gives none: set runtimeClassName: sentry"},
		{map[string]any{"runtimeClassName": "runc"}, "class other (by default) needs the wall sentry at least; runtimeClassName runc gives none: set runtimeClassName: sentry"},
		{map[string]any{"runtimeClassName": "magic"}, "class other (by default) needs the wall sentry at least; runtimeClassName magic is not known to the policy: set runtimeClassName: sentry"},
		{map[string]any{"hostNetwork": true, "runtimeClassName": "sentry"}, "class strong (rule net) needs the wall vm at least; runtimeClassName sentry gives sentry: set runtimeClassName: vm"},
		{map[string]any{"hostPID": true, "runtimeClassName": "vm"}, `class never (rule pid) is refused: it's "never" run\ by us`},
	} {
		if v := j.decide(t, pod(c.spec), ns); v.admitted || v.message != c.want {
			t.Errorf("%v: got %+v, want %q", c.spec, v, c.want)
		}
	}
}
