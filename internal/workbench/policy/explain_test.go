package policy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pods of the corpus: in which namespace, what the pod is, and what is decided.
var corpus = []struct {
	name, trust, pod string
	class, rule      string
	refused          string // a part of it; empty: admitted
	invalid          bool   // the API server itself takes no such pod
}{
	{"nobody's", "", `containers: [{name: a, image: nginx}]`, "untrusted", "", "the wall of runc is none, and at least sentry is needed", false},
	{"nobody's, behind the Sentry", "", `{runtimeClassName: bulkhead, containers: [{name: a}]}`, "untrusted", "", "", false},
	{"nobody's, behind more", "", `{runtimeClassName: bulkhead-vm, containers: [{name: a}]}`, "untrusted", "", "", false},
	{"an unknown runtime", "internal", `{runtimeClassName: kata, containers: [{name: a}]}`, "trusted-service", "internal", `knows no runtime "kata"`, false},
	{"an empty runtime is none", "internal", `{runtimeClassName: "", containers: [{name: a}]}`, "trusted-service", "internal", "", true},
	{"internal", "internal", `containers: [{name: a, image: nginx}]`, "trusted-service", "internal", "", false},
	{"internal on crun", "internal", `{runtimeClassName: crun, containers: [{name: a}]}`, "trusted-service", "internal", "", false},
	{"database", "internal", `{x-workload: database, containers: [{name: a}]}`, "database", "internal-database", "", false},
	{"database of nobody", "", `{x-workload: database, containers: [{name: a}]}`, "untrusted", "", "sentry is needed", false},
	{"label that lies", "customer", `{x-workload: trusted-service, containers: [{name: a}]}`, "customer-code", "customer-namespace", "sentry is needed", false},
	{"customer", "customer", `{runtimeClassName: bulkhead, containers: [{name: a}]}`, "customer-code", "customer-namespace", "", false},
	{"agent in an internal namespace", "internal", `{x-workload: agent, containers: [{name: a}]}`, "agent-code", "says-agent", "sentry is needed", false},
	{"agent by account", "internal", `{serviceAccountName: agent-7, containers: [{name: a}]}`, "agent-code", "agent-accounts", "sentry is needed", false},
	{"agent by the account's old field", "internal", `{serviceAccount: agent-7, containers: [{name: a}]}`, "agent-code", "agent-accounts", "sentry is needed", false},
	{"build", "internal", `{x-workload: build, runtimeClassName: bulkhead, containers: [{name: a}]}`, "build-job", "says-build", "", false},
	{"CI", "internal", `{x-workload: ci, runtimeClassName: runc, containers: [{name: a}]}`, "ci-runner", "says-ci", "sentry is needed", false},
	{"regulated namespace", "regulated", `{runtimeClassName: bulkhead, containers: [{name: a}]}`, "regulated", "regulated-namespace", "at least vm is needed", false},
	{"regulated by label", "internal", `{x-workload: pci, runtimeClassName: bulkhead-vm, containers: [{name: a}]}`, "regulated", "says-regulated", "", false},
	{"privileged", "internal", `containers: [{name: a, securityContext: {privileged: true}}]`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"privileged init container", "internal", `{initContainers: [{name: i, securityContext: {privileged: true}}], containers: [{name: a}]}`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"privileged ephemeral container", "internal", `{ephemeralContainers: [{name: e, securityContext: {privileged: true}}], containers: [{name: a}]}`, "kernel-heavy", "needs-a-kernel", "at least vm", true},
	{"not privileged", "internal", `containers: [{name: a, securityContext: {privileged: false}}]`, "trusted-service", "internal", "", false},
	{"capability", "internal", `containers: [{name: a, securityContext: {capabilities: {add: [NET_ADMIN]}}}]`, "kernel-heavy", "kernel-capabilities", "at least vm", false},
	{"capability in lower case with its prefix", "internal", `containers: [{name: a, securityContext: {capabilities: {add: [cap_sys_admin]}}}]`, "kernel-heavy", "kernel-capabilities", "at least vm", false},
	{"all capabilities", "internal", `containers: [{name: a, securityContext: {capabilities: {add: [ALL]}}}]`, "kernel-heavy", "kernel-capabilities", "at least vm", false},
	{"capability that everybody may have", "internal", `containers: [{name: a, securityContext: {capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}}]`, "trusted-service", "internal", "", false},
	{"seccomp unconfined", "internal", `{securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: a}]}`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"AppArmor unconfined in a container", "internal", `containers: [{name: a, securityContext: {appArmorProfile: {type: Unconfined}}}]`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"unmasked proc", "internal", `{hostUsers: false, containers: [{name: a, securityContext: {procMount: Unmasked}}]}`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"sysctls", "internal", `{securityContext: {sysctls: [{name: a, value: b}]}, containers: [{name: a}]}`, "kernel-heavy", "needs-a-kernel", "at least vm", false},
	{"host network", "internal", `{hostNetwork: true, runtimeClassName: bulkhead-vm, containers: [{name: a}]}`, "host-access", "asks-for-the-host", "for node agents", false},
	{"host PID", "customer", `{hostPID: true, containers: [{name: a}]}`, "host-access", "asks-for-the-host", "for node agents", false},
	{"host IPC", "", `{hostIPC: true, containers: [{name: a}]}`, "host-access", "asks-for-the-host", "for node agents", false},
	{"host port", "", `containers: [{name: a, ports: [{containerPort: 1, hostPort: 1}]}]`, "host-access", "asks-for-the-host", "for node agents", false},
	{"host path", "regulated", `{volumes: [{name: v, hostPath: {path: /}}], containers: [{name: a}]}`, "host-access", "asks-for-the-host", "for node agents", false},
	{"another volume", "internal", `{volumes: [{name: v, emptyDir: {}}], containers: [{name: a}]}`, "trusted-service", "internal", "", false},
	{"node agent", "node", `{hostNetwork: true, volumes: [{name: v, hostPath: {path: /}}], containers: [{name: a, securityContext: {privileged: true}}]}`, "node-agent", "node-agents", "", false},
	{"GPU", "internal", `containers: [{name: a, resources: {limits: {nvidia.com/gpu: 1}}}]`, "device", "internal-device", "", false},
	{"GPU of a customer", "customer", `{runtimeClassName: bulkhead-vm, containers: [{name: a, resources: {limits: {nvidia.com/gpu: 1}}}]}`, "device-untrusted", "other-device", "No wall covers", false},
	{"resource claim", "customer", `{resourceClaims: [{name: g, resourceClaimName: g}], containers: [{name: a}]}`, "device-untrusted", "other-device", "No wall covers", false},
	{"block device", "internal", `{volumes: [{name: d, persistentVolumeClaim: {claimName: d}}], containers: [{name: a, volumeDevices: [{name: d, devicePath: /dev/x}]}]}`, "device", "internal-device", "", false},
	{"usual resources", "internal", `containers: [{name: a, resources: {limits: {cpu: 1, hugepages-2Mi: 2Mi}}}]`, "trusted-service", "internal", "", false},
}

// manifest is the pod as YAML, in its namespace, in the given shape.
func manifest(trust, pod, kind string) string {
	spec := strings.TrimSuffix(strings.TrimPrefix(pod, "{"), "}")
	labels := "{}"
	if rest, ok := strings.CutPrefix(spec, "x-workload: "); ok {
		var value string
		value, spec, _ = strings.Cut(rest, ", ")
		labels = "{bulkhead.dev/workload: " + value + "}"
	}
	if pod[0] != '{' {
		spec = pod
	}
	space := "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns, labels: {" + map[bool]string{true: "bulkhead.dev/trust: " + trust}[trust != ""] + "}}\n---\n"
	template := "{metadata: {labels: " + labels + "}, spec: {" + spec + "}}"
	switch kind {
	case "Pod":
		return space + "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: ns, labels: " + labels + "}\nspec: {" + spec + "}\n"
	case "CronJob":
		return space + "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x, namespace: ns}\nspec: {jobTemplate: {spec: {template: " + template + "}}}\n"
	case "List":
		return space + "apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: StatefulSet\n  metadata: {name: x, namespace: ns}\n  spec: {template: " + template + "}\n"
	}
	group := map[string]string{"Job": "batch/v1", "ReplicationController": "v1"}[kind]
	if group == "" {
		group = "apps/v1"
	}
	return space + "apiVersion: " + group + "\nkind: " + kind + "\nmetadata: {name: x, namespace: ns}\nspec: {template: " + template + "}\n"
}

func TestExplainCorpus(t *testing.T) {
	p := mustDefault(t)
	used := map[string]bool{}
	for _, c := range corpus {
		used[c.rule] = true
		for _, kind := range []string{"Pod", "Deployment", "DaemonSet", "Job", "ReplicationController", "CronJob", "List", "Rollout"} {
			cmd := &command{stdin: strings.NewReader(manifest(c.trust, c.pod, kind))}
			all, err := cmd.read([]string{"-"}, explainOptions{namespace: "default"})
			if err != nil || len(all) != 1 {
				t.Fatalf("%s, %s: %v, %d workloads\n%s", c.name, kind, err, len(all), manifest(c.trust, c.pod, kind))
			}
			a := p.Explain(all, nil).Workloads[0]
			if a.Class != c.class || a.Rule != c.rule || (a.Refused == "") != (c.refused == "") || !strings.Contains(a.Refused, c.refused) || *a.Admitted != (c.refused == "") {
				t.Errorf("%s, %s: class %s, rule %q, refused %q; want %s, %q, %q", c.name, kind, a.Class, a.Rule, a.Refused, c.class, c.rule, c.refused)
			}
			if !strings.HasPrefix(a.RuleAt, DefaultFile+":") {
				t.Errorf("%s: the rule is at %q", c.name, a.RuleAt)
			}
		}
	}
	for _, r := range p.Rules {
		if !used[r.Name] && r.Name != "says-kernel-heavy" && r.Name != "says-customer" {
			t.Errorf("no pod of the corpus is for rule %q", r.Name)
		}
	}
}

func TestExplainOutput(t *testing.T) {
	p := mustDefault(t)
	text := `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {bulkhead.dev/trust: internal}}
---
apiVersion: v1
kind: Pod
metadata: {name: "evil\e[31m", namespace: shop}
spec: {containers: [{name: a, image: nginx}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: functions, namespace: tenants}
spec:
  template:
    metadata: {labels: {bulkhead.dev/workload: customer}}
    spec: {containers: [{name: a, image: nginx}]}
---
apiVersion: batch/v1
kind: Job
metadata: {generateName: scan-, namespace: kube-system}
spec: {template: {spec: {hostPID: true, containers: [{name: a}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: top}
spec: {hostPID: true, containers: [{name: a, image: nginx}]}
`
	cmd := &command{stdin: strings.NewReader(text)}
	all, err := cmd.read([]string{"-"}, explainOptions{namespace: "default", labels: labelFlags{"bulkhead.dev/trust": "customer"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Report{"explain": testReport(), "explain-no-report": nil} {
		e := p.Explain(all, r)
		if e.Refused() != 2 {
			t.Errorf("%d are refused, want 2", e.Refused())
		}
		var plain, js strings.Builder
		if err := e.Text(&plain); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", plain.String())
		if err := e.JSON(&js); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", js.String())
		var back Explanation
		if err := json.Unmarshal([]byte(js.String()), &back); err != nil || len(back.Workloads) != 4 {
			t.Errorf("the JSON: %v", err)
		}
		if strings.Contains(plain.String(), "\x1b") {
			t.Error("a manifest's escape sequence reaches the terminal")
		}
	}
}

func TestManifestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Pod\napiVersion: v1\nspec:\n  containers: 3\n":     "m.yaml:4: cannot unmarshal !!int",
		"kind: Pod\napiVersion: v1\nspec:\n  hostNetwork: sure\n": "m.yaml:4: cannot unmarshal !!str `sure` into bool",
		"a: 1\n":                         "m.yaml:1:1: no kind: want a Kubernetes object",
		"kind: Pod\n\tapiVersion: v1\n":  "m.yaml:2: found a tab character",
		"{\"kind\": \"Pod\",\n  nothing": "m.yaml:3: did not find expected",
		strings.Repeat("{kind: List, apiVersion: v1, items: [", 6) + strings.Repeat("]}", 6): "lists within lists",
	} {
		if _, _, err := ReadWorkloads("m.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestExplainConfigJSON(t *testing.T) {
	own := `"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}], "maskedPaths": ["/proc/kcore"]`
	for _, c := range []struct {
		name, config, class, rule string
	}{
		{"plain", `{"ociVersion": "1.2.0", "linux": {` + own + `}}`, "untrusted", ""},
		{"of containerd", `{"ociVersion": "1.2.0", "annotations": {"io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.image-name": "nginx"},
			"linux": {` + own + `}}`, "trusted-service", "internal"},
		{"of CRI-O", `{"ociVersion": "1.2.0", "annotations": {"io.kubernetes.pod.namespace": "shop", "io.kubernetes.cri-o.Labels": "{\"bulkhead.dev/workload\":\"agent\"}"},
			"linux": {` + own + `}}`, "agent-code", "says-agent"},
		{"host's network", `{"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}], "maskedPaths": ["/proc/kcore"]}}`, "host-access", "asks-for-the-host"},
		{"joins process 1", `{"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "ipc"}, {"type": "network"}], "maskedPaths": ["x"]}}`, "host-access", "asks-for-the-host"},
		{"host's directory", `{"ociVersion": "1.2.0", "mounts": [{"destination": "/x", "source": "/var/lib/kubelet/pods/../../../../etc", "options": ["rbind"]}], "linux": {` + own + `}}`, "host-access", "asks-for-the-host"},
		{"a volume", `{"ociVersion": "1.2.0", "mounts": [{"destination": "/x", "type": "bind", "source": "/var/lib/kubelet/pods/1/volumes/v"}], "linux": {` + own + `}}`, "untrusted", ""},
		{"capability", `{"ociVersion": "1.2.0", "process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, "linux": {` + own + `}}`, "kernel-heavy", "kernel-capabilities"},
		{"device", `{"ociVersion": "1.2.0", "linux": {"devices": [{"path": "/dev/null"}, {"path": "/dev/nvidia0"}], ` + own + `}}`, "device-untrusted", "other-device"},
		{"every device", `{"ociVersion": "1.2.0", "linux": {"resources": {"devices": [{"allow": true, "access": "rwm"}]}, ` + own + `}}`, "kernel-heavy", "needs-a-kernel"},
		{"no masks", `{"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}]}}`, "kernel-heavy", "needs-a-kernel"},
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := &command{}
		all, err := cmd.read([]string{path}, explainOptions{namespace: "shop", labels: labelFlags{"bulkhead.dev/trust": "internal"}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if all[0].Namespace == "" { // nobody's labels
			all[0].inNamespace(nil, false)
		}
		a := mustDefault(t).Explain(all, nil).Workloads[0]
		if a.Class != c.class || a.Rule != c.rule || a.Admitted != nil {
			t.Errorf("%s: class %s, rule %q, admitted %v; want %s, %q", c.name, a.Class, a.Rule, a.Admitted, c.class, c.rule)
		}
	}
	// With --runtime it is judged.
	cmd := &command{stdin: strings.NewReader(`{"ociVersion": "1.2.0", "linux": {` + own + `}}`)}
	all, err := cmd.read([]string{"-"}, explainOptions{runtime: "runc"})
	if err != nil {
		t.Fatal(err)
	}
	if a := mustDefault(t).Explain(all, nil).Workloads[0]; a.Admitted == nil || *a.Admitted {
		t.Errorf("on runc: %+v", a)
	}
	if _, err := readConfig("c", []byte("{\n\"linux\": 3}")); err == nil || !strings.HasPrefix(err.Error(), "c:2: ") {
		t.Errorf("got %v", err)
	}
}

func TestNormalImage(t *testing.T) {
	for in, want := range map[string]string{
		"nginx": "docker.io/library/nginx", "nginx:1@sha256:0": "docker.io/library/nginx:1@sha256:0", "a/b": "docker.io/a/b", "a/b/c": "docker.io/a/b/c",
		"docker.io/nginx": "docker.io/library/nginx", "index.docker.io/nginx": "docker.io/library/nginx", "index.docker.io/a/b": "docker.io/a/b",
		"localhost/x": "localhost/x", "host:5000/x": "host:5000/x", "R.example/X": "r.example/x",
	} {
		if got := normalImage(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
