//go:build kubernetes

package policy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestKubernetes tries what render writes on a real kube-apiserver: make
// test-kubernetes builds it and runs this.
func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	p := mustDefault(t)
	old := beforeThePolicy(c)
	code, manifests, errs := cli(t, "", "render", "kubernetes", "--report", "none")
	if code != exitOK {
		t.Fatal(errs)
	}
	c.apply(manifests)
	c.apply(manifests) // again: nothing conflicts
	// Somebody's own RuntimeClass, of which the policy knows nothing.
	c.must(c.create("", map[string]any{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": map[string]any{"name": "kata"}, "handler": "kata"}))
	for _, trust := range []string{"", "internal", "customer", "regulated", "node"} {
		c.makeNamespace(namespaceFor(trust), trust)
	}
	waitInForce(c)

	run := func(name string, f func(*cluster)) {
		t.Run(name, func(t *testing.T) {
			sub := *c
			sub.t = t
			f(&sub)
		})
	}
	run("matrix", func(c *cluster) { tryMatrix(c, p) })
	run("overhead", func(c *cluster) { tryOverhead(c, p) })
	run("labels", tryLabels)
	run("ephemeral containers", tryEphemeral)
	run("exempt", tryExempt)
	run("runtime classes", tryRuntimeClasses)
	run("from before", func(c *cluster) { tryOld(c, old) })
	run("namespace's label", tryNamespaceLabel)
	run("assign", tryAssign)
	run("audit only", tryAudit)
}

func namespaceFor(trust string) string {
	if trust == "" {
		return "ns-nobody"
	}
	return "ns-" + trust
}

// makeNamespace with the accounts that pods use: no controller makes them here.
func (c *cluster) makeNamespace(name, trust string) {
	c.t.Helper()
	labels := map[string]any{}
	if trust != "" {
		labels["bulkhead.dev/trust"] = trust
	}
	if name != "kube-system" {
		c.must(c.create("", map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels}}))
	}
	for _, account := range []string{"default", "agent-7"} {
		c.must(c.create(name, map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": account}}))
	}
}

// decodeMap reads YAML as the tests write it.
func decodeMap(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// podObject is the pod of a manifest, complete enough for the API server.
func podObject(t testing.TB, kind, spec string, labels map[string]any) map[string]any {
	t.Helper()
	s := decodeMap(t, spec)
	for _, list := range []string{"containers", "initContainers"} {
		for _, x := range anyList(s[list]) {
			if c := x.(map[string]any); c["image"] == nil {
				c["image"] = "registry.example/a"
			}
		}
	}
	all := map[string]any{"app": "x"}
	for k, v := range labels {
		all[k] = v
	}
	template := map[string]any{"metadata": map[string]any{"labels": all}, "spec": s}
	o := map[string]any{"kind": kind, "metadata": map[string]any{"generateName": "x-", "labels": all}}
	selector := map[string]any{"matchLabels": map[string]any{"app": "x"}}
	switch kind {
	case "Pod":
		o["apiVersion"], o["spec"] = "v1", s
	case "ReplicationController":
		o["apiVersion"], o["spec"] = "v1", map[string]any{"selector": map[string]any{"app": "x"}, "template": template}
	case "Job":
		s["restartPolicy"] = "Never"
		o["apiVersion"], o["spec"] = "batch/v1", map[string]any{"template": template}
	case "CronJob":
		s["restartPolicy"] = "Never"
		o["apiVersion"], o["spec"] = "batch/v1", map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	case "StatefulSet":
		o["apiVersion"], o["spec"] = "apps/v1", map[string]any{"serviceName": "x", "selector": selector, "template": template}
	default:
		o["apiVersion"], o["spec"] = "apps/v1", map[string]any{"selector": selector, "template": template}
	}
	return o
}

var podKinds = []string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "CronJob"}

// splitPod takes the corpus' own notation apart.
func splitPod(pod string) (spec string, labels map[string]any) {
	spec = strings.TrimSuffix(strings.TrimPrefix(pod, "{"), "}")
	if pod[0] != '{' {
		spec = pod
	}
	if rest, ok := strings.CutPrefix(spec, "x-workload: "); ok {
		value, rest, _ := strings.Cut(rest, ", ")
		return "{" + rest + "}", map[string]any{"bulkhead.dev/workload": value}
	}
	return "{" + spec + "}", nil
}

func waitInForce(c *cluster) {
	c.t.Helper()
	for _, kind := range []string{"Pod", "Deployment", "CronJob"} {
		weak := podObject(c.t, kind, "{containers: [{name: a}]}", nil)
		c.eventually("the policy for a "+kind+" is in force", func() bool {
			r := c.dryRun("ns-customer", weak)
			return r.code == 403 && strings.Contains(r.message(), "bulkhead-")
		})
	}
	c.eventually("the policy for RuntimeClasses is in force", func() bool {
		r := c.patch("RuntimeClass", "", "bulkhead?dryRun=All", `{"metadata":{"labels":{"x":"y"}}}`)
		bad := c.do("POST", pathFor("RuntimeClass", "")+"?dryRun=All", "application/json",
			[]byte(`{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"bulkhead"},"handler":"runc"}`))
		return r.ok() && bad.code == 403
	})
}

func (c *cluster) dryRun(namespace string, object map[string]any) reply {
	c.t.Helper()
	data, err := yaml.Marshal(object)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do("POST", pathFor(object["kind"].(string), namespace)+"?dryRun=All&fieldValidation=Strict", "application/yaml", data)
}

// tryMatrix: every pod of the corpus, and every template with it, is admitted or
// refused as explain says; who is refused reads which rule and what to do.
func tryMatrix(c *cluster, p *Policy) {
	tried, refused := 0, 0
	for _, k := range corpus {
		if k.invalid {
			continue
		}
		spec, labels := splitPod(k.pod)
		for _, kind := range podKinds {
			o := podObject(c.t, kind, spec, labels)
			o["metadata"].(map[string]any)["namespace"] = namespaceFor(k.trust)
			text, err := yaml.Marshal(o)
			if err != nil {
				c.t.Fatal(err)
			}
			all, _, err := ReadWorkloads("x", text)
			if err != nil || len(all) != 1 {
				c.t.Fatalf("%s: %v", text, err)
			}
			all[0].inNamespace(map[string]string{"bulkhead.dev/trust": k.trust}, true)
			want := p.Decide(all[0])
			if (want.Refused == "") != (k.refused == "") {
				c.t.Errorf("%s, %s: explain says %q, the table %q", k.name, kind, want.Refused, k.refused)
			}
			r := c.create(namespaceFor(k.trust), o)
			tried++
			if r.code == 403 {
				refused++
			}
			rule := k.rule
			if rule == "" {
				rule = "by default"
			}
			switch {
			case want.Refused == "" && !r.ok():
				c.t.Errorf("%s, %s: %d: %s", k.name, kind, r.code, r.message())
			case want.Refused != "" && r.code != 403:
				c.t.Errorf("%s, %s: %d, want it refused: %.200s", k.name, kind, r.code, r.message())
			case want.Refused != "" && !(strings.Contains(r.message(), "class "+k.class+" (") && strings.Contains(r.message(), rule)):
				c.t.Errorf("%s, %s: refused with %q, which names neither class %s nor %s", k.name, kind, r.message(), k.class, rule)
			}
		}
	}
	c.t.Logf("%d objects tried, %d refused", tried, refused)
}

// tryOverhead: what the RuntimeClass says is on the pod, and nobody changes it.
func tryOverhead(c *cluster, p *Policy) {
	for _, rt := range p.Runtimes {
		r := c.must(c.create("ns-internal", podObject(c.t, "Pod", "{runtimeClassName: "+rt.Name+", containers: [{name: a}]}", nil)))
		spec := r.body["spec"].(map[string]any)
		over, _ := spec["overhead"].(map[string]any)
		if rt.Overhead == nil {
			if over != nil {
				c.t.Errorf("%s: overhead %v", rt.Name, over)
			}
		} else if over["memory"] != rt.Overhead.Memory || over["cpu"] != rt.Overhead.CPU {
			c.t.Errorf("%s: overhead %v, want %+v", rt.Name, over, rt.Overhead)
		}
		selector, _ := spec["nodeSelector"].(map[string]any)
		for k, v := range rt.NodeSelector {
			if selector[k] != v {
				c.t.Errorf("%s: node selector %v, want %s=%s", rt.Name, selector, k, v)
			}
		}
	}
	if r := c.create("ns-internal", podObject(c.t, "Pod", "{runtimeClassName: bulkhead, overhead: {memory: 1Mi}, containers: [{name: a}]}", nil)); r.ok() {
		c.t.Error("a pod with an overhead of its own was admitted")
	}
	if r := c.create("ns-internal", podObject(c.t, "Pod", "{runtimeClassName: nothing, containers: [{name: a}]}", nil)); r.ok() {
		c.t.Error("a pod of a RuntimeClass that is not there was admitted")
	}
}

// tryLabels: a pod cannot be relabelled into a class that its wall is too weak for.
func tryLabels(c *cluster) {
	name := c.mustName(c.create("ns-internal", podObject(c.t, "Pod", "{containers: [{name: a}]}", nil)))
	c.must(c.patch("Pod", "ns-internal", name, `{"metadata":{"labels":{"team":"a"}}}`))
	for _, workload := range []string{"agent", "pci", "kernel-heavy"} {
		r := c.patch("Pod", "ns-internal", name, `{"metadata":{"labels":{"bulkhead.dev/workload":"`+workload+`"}}}`)
		if r.code != 403 {
			c.t.Errorf("label %s: %d, want it refused", workload, r.code)
		}
	}
	// And a label does not lower the wall that the namespace asks for.
	for _, workload := range []string{"trusted-service", "database", "internal"} {
		o := podObject(c.t, "Pod", "{containers: [{name: a}]}", map[string]any{"bulkhead.dev/workload": workload, "bulkhead.dev/trust": "internal"})
		if r := c.create("ns-customer", o); r.code != 403 {
			c.t.Errorf("a customer's pod with the label %s: %d", workload, r.code)
		}
	}
	// Nor can the runtime of a pod be changed, by Kubernetes' own rule.
	pod := c.mustName(c.create("ns-customer", podObject(c.t, "Pod", "{runtimeClassName: bulkhead, containers: [{name: a}]}", nil)))
	if r := c.patch("Pod", "ns-customer", pod, `{"spec":{"runtimeClassName":"runc"}}`); r.ok() {
		c.t.Error("a pod's runtimeClassName was changed")
	}
	// A Deployment whose template is changed to something weaker.
	d := c.mustName(c.create("ns-customer", podObject(c.t, "Deployment", "{runtimeClassName: bulkhead, containers: [{name: a}]}", nil)))
	if r := c.patch("Deployment", "ns-customer", d, `{"spec":{"template":{"spec":{"runtimeClassName":null}}}}`); r.code != 403 {
		c.t.Errorf("a template that loses its runtime: %d", r.code)
	}
	c.must(c.patch("Deployment", "ns-customer", d, `{"spec":{"replicas":3}}`))
}

// mustName is the name of what was made.
func (c *cluster) mustName(r reply) string {
	c.t.Helper()
	return c.must(r).body["metadata"].(map[string]any)["name"].(string)
}

// tryEphemeral: containers that are added to a running pod are judged with it.
func tryEphemeral(c *cluster) {
	name := c.mustName(c.create("ns-internal", podObject(c.t, "Pod", "{containers: [{name: a}]}", nil)))
	add := func(container string) reply {
		return c.do("PATCH", pathFor("Pod", "ns-internal")+"/"+name+"/ephemeralcontainers", "application/strategic-merge-patch+json",
			[]byte(`{"spec":{"ephemeralContainers":[`+container+`]}}`))
	}
	c.must(add(`{"name":"debug","image":"registry.example/debug","targetContainerName":"a"}`))
	for what, security := range map[string]string{"privileged": `{"privileged":true}`, "capability": `{"capabilities":{"add":["SYS_ADMIN"]}}`, "unconfined": `{"seccompProfile":{"type":"Unconfined"}}`} {
		r := add(`{"name":"evil-` + what + `","image":"registry.example/debug","securityContext":` + security + `}`)
		if r.code != 403 || !strings.Contains(r.message(), "kernel-heavy") {
			c.t.Errorf("%s: %d %s", what, r.code, r.message())
		}
	}
}

// tryExempt: kube-system is not judged, and nothing that only looks like it.
func tryExempt(c *cluster) {
	c.eventually("kube-system is there", func() bool { return c.do("GET", "/api/v1/namespaces/kube-system", "", nil).ok() })
	c.makeNamespace("kube-system", "")
	host := "{hostNetwork: true, hostPID: true, containers: [{name: a, securityContext: {privileged: true}}]}"
	c.must(c.create("kube-system", podObject(c.t, "Pod", host, nil)))
	c.must(c.create("kube-system", podObject(c.t, "DaemonSet", host, nil)))
	c.makeNamespace("kube-system-2", "")
	// The label by which it is exempt is the API server's own.
	fake := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "fake", "labels": map[string]any{nameLabel: "kube-system"}}}
	if c.create("", fake).ok() {
		c.must(c.create("fake", map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": "default"}}))
		c.patch("Namespace", "", "fake", `{"metadata":{"labels":{"`+nameLabel+`":"kube-system"}}}`)
		if r := c.create("fake", podObject(c.t, "Pod", host, nil)); r.code != 403 {
			c.t.Errorf("in a namespace with a false name: %d %s", r.code, r.message())
		}
	}
	if r := c.create("kube-system-2", podObject(c.t, "Pod", host, nil)); r.code != 403 {
		c.t.Errorf("in kube-system-2: %d", r.code)
	}
}

// tryRuntimeClasses: the name of a wall stays with its handler.
func tryRuntimeClasses(c *cluster) {
	c.must(c.do("DELETE", pathFor("RuntimeClass", "")+"/bulkhead-vm", "", nil))
	again := func(handler string) reply {
		return c.create("", map[string]any{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": map[string]any{"name": "bulkhead-vm"}, "handler": handler})
	}
	if r := again("runc"); r.code != 403 || !strings.Contains(r.message(), "bulkhead-vm") {
		c.t.Errorf("bulkhead-vm that runs runc: %d %s", r.code, r.message())
	}
	c.must(again("bulkhead-vm"))
}

// oldObjects were there before the policy.
type oldObjects struct{ pod, deployment string }

func beforeThePolicy(c *cluster) oldObjects {
	c.makeNamespace("ns-old", "customer")
	pod := podObject(c.t, "Pod", "{containers: [{name: a}]}", nil)
	pod["metadata"].(map[string]any)["finalizers"] = []any{"example.com/hold"}
	return oldObjects{pod: c.mustName(c.create("ns-old", pod)),
		deployment: c.mustName(c.create("ns-old", podObject(c.t, "Deployment", "{containers: [{name: a}]}", nil)))}
}

// tryOld: what is too weak and older than the policy can be scaled and finished,
// but not be made anew.
func tryOld(c *cluster, old oldObjects) {
	c.must(c.patch("Deployment", "ns-old", old.deployment, `{"metadata":{"annotations":{"a":"b"}},"spec":{"replicas":0}}`))
	if r := c.patch("Deployment", "ns-old", old.deployment, `{"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}`); r.code != 403 {
		c.t.Errorf("a new template that is as weak: %d", r.code)
	}
	c.must(c.patch("Deployment", "ns-old", old.deployment, `{"spec":{"template":{"spec":{"runtimeClassName":"bulkhead"}}}}`))
	c.must(c.do("DELETE", pathFor("Pod", "ns-old")+"/"+old.pod+"?gracePeriodSeconds=0", "", nil))
	c.must(c.patch("Pod", "ns-old", old.pod, `{"metadata":{"finalizers":null}}`))
	if r := c.do("GET", pathFor("Pod", "ns-old")+"/"+old.pod, "", nil); r.code != 404 {
		c.t.Errorf("the old pod: %d, want it gone", r.code)
	}
}

// tryNamespaceLabel: the operator's label decides, from the next pod on.
func tryNamespaceLabel(c *cluster) {
	c.makeNamespace("ns-moves", "customer")
	weak := podObject(c.t, "Pod", "{containers: [{name: a}]}", nil)
	if r := c.create("ns-moves", weak); r.code != 403 {
		c.t.Errorf("as a customer's: %d", r.code)
	}
	for _, step := range []struct {
		trust string
		code  int
	}{{"internal", 201}, {"regulated", 403}, {"internal", 201}} {
		c.must(c.patch("Namespace", "", "ns-moves", `{"metadata":{"labels":{"bulkhead.dev/trust":"`+step.trust+`"}}}`))
		c.eventually(fmt.Sprintf("as %s: %d", step.trust, step.code), func() bool { return c.dryRun("ns-moves", weak).code == step.code })
	}
}

// tryAssign: with render --assign nobody has to name a runtime.
func tryAssign(c *cluster) {
	code, manifests, errs := cli(c.t.(*testing.T), "", "render", "kubernetes", "--report", "none", "--assign")
	if code != exitOK {
		c.t.Fatal(errs)
	}
	c.apply(manifests)
	for _, k := range []struct{ trust, pod, runtime string }{
		{"customer", "{containers: [{name: a}]}", "bulkhead"}, {"regulated", "{containers: [{name: a}]}", "bulkhead-vm"},
		{"internal", "{containers: [{name: a}]}", ""}, {"internal", "{containers: [{name: a, securityContext: {privileged: true}}]}", "bulkhead-vm"},
		{"customer", "{runtimeClassName: bulkhead-vm, containers: [{name: a}]}", "bulkhead-vm"},
	} {
		var spec map[string]any
		c.eventually(fmt.Sprintf("%s in %s is given %q", k.pod, k.trust, k.runtime), func() bool {
			r := c.dryRun(namespaceFor(k.trust), podObject(c.t, "Pod", k.pod, nil))
			spec, _ = r.body["spec"].(map[string]any)
			got, _ := spec["runtimeClassName"].(string)
			return r.ok() && got == k.runtime
		})
		if over, _ := spec["overhead"].(map[string]any); k.runtime == "bulkhead" && over["memory"] == nil {
			c.t.Errorf("%s in %s: no overhead: %v", k.pod, k.trust, spec)
		}
	}
	// What is refused stays so.
	if r := c.create("ns-customer", podObject(c.t, "Pod", "{runtimeClassName: runc, containers: [{name: a}]}", nil)); r.code != 403 {
		c.t.Errorf("a customer's pod on runc: %d", r.code)
	}
	if r := c.create("ns-customer", podObject(c.t, "Pod", "{hostPID: true, containers: [{name: a}]}", nil)); r.code != 403 {
		c.t.Errorf("a customer's pod with the host's processes: %d", r.code)
	}
}

// tryAudit: with --actions Warn,Audit everything is admitted.
func tryAudit(c *cluster) {
	for _, kind := range []string{"MutatingAdmissionPolicyBinding"} {
		c.must(c.do("DELETE", pathFor(kind, "")+"/bulkhead-assign", "", nil))
	}
	code, manifests, errs := cli(c.t.(*testing.T), "", "render", "kubernetes", "--report", "none", "--actions", "Warn,Audit")
	if code != exitOK {
		c.t.Fatal(errs)
	}
	c.apply(manifests)
	weak := podObject(c.t, "Pod", "{containers: [{name: a}]}", nil)
	c.eventually("what is too weak is admitted", func() bool { return c.dryRun("ns-regulated", weak).ok() })
}

// TestKubernetesContainerd: containerd reads the entries that render writes, of
// both versions. The lab builds containerd: lab/sandbox-bench/containerd-build.sh.
func TestKubernetesContainerd(t *testing.T) {
	program := filepath.Join(os.Getenv("LAB_CACHE"), "bin", "containerd")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("containerd"); err != nil {
			t.Skip("on demand: make lab-containerd builds containerd in minutes, make test-kubernetes runs this with it; there is none on the PATH")
		}
	}
	for _, version := range []string{"3", "2"} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if code, _, errs := cli(t, "", "render", "containerd", "--report", "none", "--config-version", version, "--out", file); code != exitOK {
			t.Fatal(errs)
		}
		out, err := exec.Command(program, "--config", file, "config", "dump").CombinedOutput()
		if err != nil {
			t.Fatalf("version %s: %v\n%s", version, err, out)
		}
		for _, want := range []string{"runtimes.bulkhead-vm", "BinaryName = '/usr/local/bin/bulkhead-vm'", "privileged_without_host_devices = true", "default_runtime_name = 'runc'"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("version %s: what containerd read has no %q", version, want)
			}
		}
	}
}
