package policy

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/workbench/results"

	"go.yaml.in/yaml/v3"
)

func TestGoldenRenderings(t *testing.T) {
	def, wide := mustDefault(t), mustWide(t)
	for name, c := range map[string]struct {
		p *Policy
		r *Report
		o kubernetesOptions
	}{
		"kubernetes-default.yaml":  {def, nil, kubernetesOptions{actions: []string{"Deny"}}},
		"kubernetes-measured.yaml": {wide, testReport(), kubernetesOptions{actions: []string{"Warn", "Audit"}, assign: true}},
	} {
		got, err := c.p.Kubernetes(c.r, c.o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
	for name, c := range map[string]struct {
		version int
		systemd bool
	}{"containerd-v3.toml": {3, false}, "containerd-v2.toml": {2, true}} {
		got, err := def.Containerd(c.version, c.systemd)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
	golden(t, "crio.conf", def.CRIO())
	golden(t, "runbook-measured.md", def.Runbook(testReport()))
	golden(t, "runbook-wide.md", wide.Runbook(nil))
}

// TestRunbookIsCurrent: docs/runbook.md is what the built-in policy says, with
// the figures of the committed report.
func TestRunbookIsCurrent(t *testing.T) {
	const path = "../../../docs/runbook.md"
	res, err := results.Load("../../../docs/report/results.json")
	if err != nil {
		t.Fatal(err)
	}
	got := mustDefault(t).Runbook(newReport("docs/report/results.json", res))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != got {
		t.Errorf("docs/runbook.md is old: make runbook; first difference:\n%s", firstDifference(string(committed), got))
	}
}

// TestManifestsHaveTheRightShape: what the API server would refuse at sight.
func TestManifestsHaveTheRightShape(t *testing.T) {
	text, err := mustDefault(t).Kubernetes(testReport(), kubernetesOptions{actions: []string{"Deny"}, assign: true})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	variable := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	policies, bound := map[string]bool{}, map[string]bool{}
	dec := yaml.NewDecoder(strings.NewReader(text))
	kinds := map[string]int{}
	for {
		var o struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct {
				Name        string
				Annotations map[string]string
			}
			Overhead struct {
				PodFixed map[string]string `yaml:"podFixed"`
			}
			Spec struct {
				PolicyName string `yaml:"policyName"`
				Variables  []struct{ Name, Expression string }
			}
		}
		err := dec.Decode(&o)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds[o.Kind]++
		if !name.MatchString(o.Metadata.Name) || o.APIVersion == "" || o.Metadata.Annotations["bulkhead.dev/policy"] == "" {
			t.Errorf("%s %q of %q", o.Kind, o.Metadata.Name, o.APIVersion)
		}
		if strings.HasSuffix(o.Kind, "Policy") {
			policies[o.Metadata.Name] = true
		} else if o.Spec.PolicyName != "" {
			bound[o.Spec.PolicyName] = true
		}
		defined := map[string]bool{}
		for _, v := range o.Spec.Variables {
			if !variable.MatchString(v.Name) || defined[v.Name] {
				t.Errorf("%s: variable %q", o.Metadata.Name, v.Name)
			}
			for _, m := range regexp.MustCompile(`variables\.([a-z_0-9]+)`).FindAllStringSubmatch(v.Expression, -1) {
				if !defined[m[1]] {
					t.Errorf("%s: variable %q uses %q, which comes later or never", o.Metadata.Name, v.Name, m[1])
				}
			}
			defined[v.Name] = true
		}
		if o.Metadata.Name == "bulkhead" && o.Kind == "RuntimeClass" && o.Overhead.PodFixed["memory"] != "22Mi" { // 2 × (13 − 2) MiB
			t.Errorf("overhead %v", o.Overhead)
		}
	}
	if kinds["RuntimeClass"] != 4 || kinds["ValidatingAdmissionPolicy"] != 4 || len(policies) != len(bound) {
		t.Errorf("kinds %v, policies %v, bound %v", kinds, policies, bound)
	}
	for p := range policies {
		if !bound[p] {
			t.Errorf("policy %s is not in force", p)
		}
	}
}

// TestOverheads: the report comes first, then the policy file, then nothing.
func TestOverheads(t *testing.T) {
	p := mustDefault(t)
	for _, c := range []struct {
		runtime string
		report  *Report
		want    string
	}{
		{"bulkhead", testReport(), "22Mi 20m"}, {"bulkhead", nil, "48Mi 20m"}, {"bulkhead-vm", testReport(), "192Mi 100m"}, {"runc", testReport(), "none"},
	} {
		o, _ := c.report.overhead(p.runtime(c.runtime), p.runtime(p.Absent))
		got := "none"
		if o != nil {
			got = o.Memory + " " + o.CPU
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.runtime, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add(defaultPolicy)
	wide, err := os.ReadFile("testdata/wide.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wide)
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("version: 1\nabsent: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", data)
		if err != nil {
			return
		}
		// What was taken can be rendered, and is YAML again.
		text, err := p.Kubernetes(nil, kubernetesOptions{actions: []string{"Deny"}, assign: true})
		if err != nil {
			t.Fatal(err)
		}
		dec := yaml.NewDecoder(strings.NewReader(text))
		for {
			var v any
			if err := dec.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Containerd(3, true); err != nil {
			t.Fatal(err)
		}
		p.Runbook(nil)
	})
}

func FuzzReadWorkloads(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(manifest(c.trust, c.pod, "Pod")))
	}
	f.Add([]byte(manifest("", corpus[0].pod, "List")))
	f.Add([]byte(`{"ociVersion": "1.0", "mounts": [{"type": "bind", "source": "/"}], "linux": {}}`))
	p, err := Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _, err := ReadWorkloads("f", data)
		if err != nil {
			return
		}
		for _, x := range all {
			x.inNamespace(nil, false)
		}
		var b strings.Builder
		if err := p.Explain(all, nil).Text(&b); err != nil {
			t.Fatal(err)
		}
	})
}
