package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

func TestDefaultIsGood(t *testing.T) {
	p := mustDefault(t)
	if len(p.Warnings()) > 0 {
		t.Errorf("warnings: %q", p.Warnings())
	}
	rows := map[string]bool{}
	all, err := spec.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		for _, m := range w.Metrics {
			rows[w.Name+"/"+m.Name] = true
		}
	}
	for _, c := range p.Classes {
		for _, row := range c.Cost {
			if !rows[row] {
				t.Errorf("class %s: the workbench has no row %s", c.Name, row)
			}
		}
	}
}

// small is a policy to make mistakes in; its lines are numbered from 1.
const small = `version: 1
absent: runc
default: other
runtimes:
  - {name: runc, wall: none}
  - {name: sentry, wall: sentry}
classes:
  - {name: other, wall: sentry, runtime: sentry}
  - {name: own, wall: none, runtime: runc}
rules:
  - name: a
    match: {namespace: shop}
    class: own
`

func TestMistakesByLine(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"no mistake", "", "", ""},
		{"empty", small, "", "p.yaml: the file is empty: bulkhead policy init prints one to start from"},
		{"only a comment", small, "# none\n", "p.yaml: the file is empty: bulkhead policy init prints one to start from"},
		{"syntax", "absent: runc", "absent: [runc", "p.yaml:2: did not find expected ',' or ']'"},
		{"two documents", "version: 1", "version: 1\n---\nversion: 1", "p.yaml:2:1: a second document: a policy is one"},
		{"a list", small, "- 1\n", "p.yaml:1:1: want fields (version, name, absent, default, runtimes, classes, exempt, rules), got a list"},
		{"version", "version: 1", "version: 2", "p.yaml:1:1: version 2: this program reads 1"},
		{"version as text", "version: 1", "version: one", `p.yaml:1:10: want a number, got "one"`},
		{"missing field", "absent: runc\n", "", `p.yaml:1:1: the field "absent" is missing`},
		{"unknown field", "absent:", "absnet:", "p.yaml:2:1: unknown field \"absnet\" (did you mean \"absent\"?): there are version, name, absent, default, runtimes, classes, exempt, rules\n" +
			`p.yaml:1:1: the field "absent" is missing`},
		{"unknown condition", "namespace: shop", "image: shop", `p.yaml:12:13: unknown field "image": there are namespace, namespace-labels, labels, annotations, service-account, image-all, image-any, needs, capabilities, resources`},
		{"twice", "absent: runc", "absent: runc\nabsent: runc", `p.yaml:3:1: "absent" stands twice, first on line 2`},
		{"number for text", "absent: runc", "absent: 1", `p.yaml:2:9: want a text, got "1": put it in quotes`},
		{"nothing", "absent: runc", "absent:", `p.yaml:2:8: want a text, got nothing: put it in quotes`},
		{"alias", "absent: runc", "absent: &x runc", `p.yaml:2:9: anchors and aliases are not used in a policy: write it out`},
		{"wall", "wall: none}", "wall: nine}", `p.yaml:5:24: "nine": want one of none, sentry, vm (did you mean "none"?)`},
		{"empty list", "runtimes:\n  - {name: runc, wall: none}\n  - {name: sentry, wall: sentry}\n", "runtimes: []\n", `p.yaml:4:11: an empty list: leave the field out`},
		{"absent", "absent: runc", "absent: docker", `p.yaml:2:1: no runtime is called "docker": there are runc, sentry`},
		{"default", "default: other", "default: others", `p.yaml:3:1: no class is called "others": there are other, own`},
		{"name", "name: a", "name: A", `p.yaml:11:5: "A": want lower-case letters, digits and dashes, at most 63`},
		{"name twice", "name: sentry", "name: runc", "p.yaml:6:6: \"runc\" stands twice in runtimes, first on line 5\n" +
			`p.yaml:8:33: no runtime is called "sentry": there are runc, runc`},
		{"runtime of class", "runtime: runc}", "runtime: crun}", `p.yaml:9:29: no runtime is called "crun": there are runc, sentry`},
		{"too weak a runtime", "wall: sentry, runtime: sentry", "wall: vm, runtime: sentry", `p.yaml:8:29: runtime "sentry" has the wall sentry, which is weaker than the class's vm`},
		{"half a class", "wall: none, runtime: runc}", "wall: none}", `p.yaml:9:5: class "own": want wall and runtime, or refuse with what its author is told`},
		{"refused and run", "runtime: runc}", "runtime: runc, refuse: no}", `p.yaml:9:44: class "own" is refused: it has neither wall nor runtime`},
		{"class of rule", "class: own", "class: mine", `p.yaml:13:5: no class is called "mine": there are other, own`},
		{"no condition", "{namespace: shop}", "{}", `p.yaml:12:5: no condition: what matches nothing else gets the class named by default`},
		{"author lowers", "{namespace: shop}", "{labels: {app: shop}}", `p.yaml:12:5: rule "a" lowers the wall from "other"'s to "own"'s on what the workload's author writes: add namespace or namespace-labels, or say why in unanchored`},
		{"any namespace lowers", "{namespace: shop}", "{namespace: '*'}", `p.yaml:12:5: rule "a" lowers the wall from "other"'s to "own"'s on what the workload's author writes: add namespace or namespace-labels, or say why in unanchored`},
		{"image lowers", "{namespace: shop}", "{image-all: registry.example/}", `p.yaml:12:5: rule "a" lowers the wall from "other"'s to "own"'s on what the workload's author writes: add namespace or namespace-labels, or say why in unanchored`},
		{"no excuse needed", "class: own\n", "class: own\n    unanchored: why not\n", `p.yaml:14:5: rule "a" needs no excuse: it names namespaces`},
		{"image prefix", "{namespace: shop}", "{namespace: shop, image-all: registry.example}", `p.yaml:12:30: "registry.example": want a beginning in lower case that ends in /, : or @, so that no other registry or repository begins with it`},
		{"star inside", "{namespace: shop}", "{namespace: [x, 's*p']}", `p.yaml:12:28: "s*p": a * stands at the end only, and control characters nowhere`},
		{"need", "{namespace: shop}", "{namespace: shop, needs: [host-ports]}", `p.yaml:12:38: "host-ports": want one of privileged, host-network, host-pid, host-ipc, host-path, host-port, device, unmasked-proc, unconfined, sysctls (did you mean "host-port"?)`},
		{"capability", "{namespace: shop}", "{namespace: shop, capabilities: [CAP-X]}", `p.yaml:12:45: "CAP-X": want a name such as SYS_ADMIN, without CAP_`},
		{"label", "{namespace: shop}", "{namespace-labels: {'a b': c}}", `p.yaml:12:32: "a b" is no name of a label or annotation`},
		{"exemption", "rules:", "exempt: [{namespace: 'kube-*', why: x}]\nrules:", `p.yaml:10:11: "kube-*": want lower-case letters, digits and dashes, at most 63`},
		{"exempt without reason", "rules:", "exempt: [{namespace: x}]\nrules:", `p.yaml:10:10: the field "why" is missing`},
		{"cost", "runtime: runc}", "runtime: runc, cost: [start]}", `p.yaml:9:51: "start": want WORKLOAD/METRIC of the bench report, such as run-true/time`},
		{"overhead", "{name: sentry, wall: sentry}", "{name: sentry, wall: sentry, overhead: {memory: 1 GB}}", `p.yaml:6:45: "1 GB": want a size such as 24Mi`},
	} {
		text := small
		if c.old != "" {
			text = strings.Replace(small, c.old, c.new, 1)
			if text == small {
				t.Fatalf("%s: nothing was replaced", c.name)
			}
		}
		_, err := Parse("p.yaml", []byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestAllMistakesAtOnce: one run shows every mistake.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("p.yaml", []byte(strings.NewReplacer("absent: runc", "absent: x", "class: own", "class: y").Replace(small)))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	text := small + `  - name: b
    match: {namespace: shop, labels: {a: b}}
    class: own
`
	text = strings.Replace(text, "rules:", "  - {name: spare, wall: none, runtime: runc}\nrules:", 1)
	p, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`p.yaml:15:5: rule "b" never decides: "a" on line 12 matches all that it does`, `p.yaml:10:5: no rule leads to class "spare"`}
	if !slices.Equal(p.Warnings(), want) {
		t.Errorf("got %q", p.Warnings())
	}
}

func TestCommandExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("good.yaml", small), file("bad.yaml", "version: 3\n")
	warns := file("warns.yaml", strings.Replace(small, "rules:", "  - {name: spare, wall: none, runtime: runc}\nrules:", 1))
	weak := "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b}]}\n"
	strong := strings.Replace(weak, "spec: {", "spec: {runtimeClassName: bulkhead, ", 1)
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string // in the output, or in the messages when it fails
	}{
		{"", []string{"check", good}, 0, "1 rules, 2 classes, 2 runtimes: good"},
		{"", []string{"check", "--policy", good}, 0, "good"},
		{"", []string{"check", bad}, 1, "bad.yaml:1:1: the field \"absent\" is missing"},
		{"", []string{"check", warns}, 0, "good"},
		{"", []string{"check", warns, "--strict"}, 1, "(warning)"},
		{"", []string{"check", filepath.Join(dir, "none.yaml")}, 2, "no such file"},
		{"", []string{"check", dir}, 2, "is a directory"},
		{"", []string{"check"}, 2, "want one FILE"},
		{"", nil, 2, "want init, check"},
		{"", []string{"expain"}, 2, `did you mean "explain"?`},
		{"", []string{"help"}, 0, "usage: bulkhead policy"},
		{"", []string{"explain", "--help"}, 0, "usage: bulkhead policy"},
		{"", []string{"explain", "--frob", "x"}, 2, "-frob"},
		{weak, []string{"explain", "--report", "none", "-"}, 1, ""},
		{strong, []string{"explain", "--report", "none", "-"}, 0, "as it is admitted: runtimeClassName bulkhead"},
		{strong, []string{"explain", "--report", "none", "-o", "json", "-"}, 0, `"admitted": true`},
		{strong, []string{"explain", "--policy", bad, "-"}, 1, "bad.yaml"},
		{strong, []string{"explain", "-o", "xml", "-"}, 2, "want text or json"},
		{"kind: ConfigMap\napiVersion: v1\n", []string{"explain", "-"}, 2, "nothing in it runs containers"},
		{": x: y", []string{"explain", "-"}, 2, "standard input"},
		{"", []string{"explain"}, 2, "name a file"},
		{strong, []string{"explain", "--report", filepath.Join(dir, "r.json"), "-"}, 2, "--report"},
		{"", []string{"render"}, 2, "want kubernetes"},
		{"", []string{"render", "kubernetse"}, 2, `did you mean "kubernetes"?`},
		{"", []string{"render", "kubernetes", "--actions", "Deny,Warn"}, 2, "exclude each other"},
		{"", []string{"render", "containerd", "--config-version", "1"}, 2, "want 3"},
		{"", []string{"render", "containerd", "--report", "none"}, 0, "version = 3"},
		{"", []string{"init"}, 0, "version: 1"},
		{"", []string{"schema"}, 0, "$schema"},
		{"", []string{"init", "--out", filepath.Join(dir, "no", "such")}, 2, "no such file"},
	} {
		code, out, errs := cli(t, c.stdin, c.args...)
		text := out
		if c.code != 0 {
			text = errs
		}
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%q: exit code %d, output %q, messages %q; want %d, %q", c.args, code, out, errs, c.code, c.want)
		}
	}
	// What init prints is the policy that is built in, and it is good.
	out := filepath.Join(dir, "init.yaml")
	if code, _, errs := cli(t, "", "init", "--out", out); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := cli(t, "", "check", "--strict", out); code != 0 || errs != "" {
		t.Errorf("init, then check: %d, %s", code, errs)
	}
}
