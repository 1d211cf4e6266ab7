package spec

import (
	"strings"
	"testing"
)

func TestDefaults(t *testing.T) {
	all, err := Defaults()
	if err != nil {
		t.Fatal(err)
	}
	quick := 0
	for _, w := range all {
		for _, mode := range []string{"quick", "full"} {
			if _, err := w.ForMode(mode); err != nil {
				t.Error(err)
			}
		}
		if w.InMode("quick") {
			quick++
		}
		if !w.InMode("full") {
			t.Errorf("%s is not in the full set", w.Name)
		}
	}
	if quick < 10 || len(all) < 20 {
		t.Errorf("%d workloads, %d of them quick", len(all), quick)
	}
	runtimes, err := DefaultRuntimes()
	if err != nil {
		t.Fatal(err)
	}
	if runtimes[0].Name != "runc" {
		t.Errorf("the baseline comes first, not %s", runtimes[0].Name)
	}
}

// Each mistake is named with its file, its line and what is wanted.
func TestMistakes(t *testing.T) {
	const head = "workloads:\n  - name: a\n    command: [true]\n"
	const metric = "    metrics: [{name: t, source: wall}]\n"
	for name, c := range map[string]struct{ in, want string }{
		"empty":             {"", "f.yaml: the file is empty"},
		"no list":           {"workloads: []\n", "no workloads"},
		"not YAML":          {"workloads:\n  - name: [\n", "f.yaml:2: did not find expected"},
		"open bracket":      {head + "    in: [quick\n" + metric, "f.yaml:4: did not find expected ',' or ']'"},
		"open quote":        {head + "    title: \"x\n" + metric, "f.yaml:4: found unexpected end of stream"},
		"wrong indentation": {"workloads:\n  - name: a\n  command: [x]\n", "f.yaml:3: did not find expected '-' indicator"},
		"not text":          {head + "    title: \xff\xfe\n" + metric, "f.yaml:4: "},
		"tab":               {"workloads:\n\t- name: x\n", "f.yaml:2: found character that cannot start any token"},
		"wrong shape":       {"workloads:\n  - name: a\n    command: {a: b}\n", "f.yaml:3: cannot unmarshal"},
		"unknown field":     {head + "    comand: [x]\n" + metric, `f.yaml:4: unknown field "comand" in a workload`},
		"unknown in metric": {head + "    metrics:\n      - {name: t, sauce: wall}\n", `f.yaml:5: unknown field "sauce" in a metric`},
		"no command":        {"workloads:\n  - name: a\n" + metric, `f.yaml:2: workload "a": command: missing`},
		"no metrics":        {head, `workload "a": metrics: missing`},
		"bad kind":          {head + metric + "    kind: fast\n", `f.yaml:5: workload "a": kind: no such kind "fast"`},
		"bad source":        {head + "    metrics: [{name: t, source: rate}]\n", `kind command has no source "rate": want one of wall`},
		"source and match":  {head + "    metrics: [{name: t, source: wall, match: '(x)'}]\n", "want either source"},
		"bad pattern":       {head + "    metrics: [{name: t, match: '('}]\n", "missing closing )"},
		"no group":          {head + "    metrics: [{name: t, match: 'x'}]\n", "want one (group)"},
		"bad mode":          {head + metric + "    in: [slow]\n", `no such mode "slow"`},
		"bad better":        {head + "    metrics: [{name: t, source: wall, better: up}]\n", `want lower or higher, got "up"`},
		"bad timeout":       {head + metric + "    timeout: soon\n", `f.yaml:5: want a time such as 90s or 2m, got "soon"`},
		"bad name":          {"workloads:\n  - name: A b\n    command: [x]\n" + metric, `got "A b"`},
		"twice":             {head + metric + "  - name: a\n    command: [x]\n" + metric, `f.yaml:5: workload "a" is already defined on line 2`},
		"equals alone":      {head + metric + "    check: {equals: x}\n", "say where it stands in the output with answer"},
	} {
		_, err := ParseWorkloads("f.yaml", []byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestForMode(t *testing.T) {
	all, err := ParseWorkloads("f.yaml", []byte(`workloads:
  - name: a
    command: [x, "${n}"]
    set: {quick: {n: "1"}, full: {n: "20"}}
    check: {answer: 'a(.)', equals: "${n}"}
    metrics: [{name: t, source: wall}]
  - name: b
    command: ["${nope}"]
    count: many
    metrics: [{name: t, source: wall}]
`))
	if err != nil {
		t.Fatal(err)
	}
	q, err := all[0].ForMode("quick")
	if err != nil || q.Command[1] != "1" || q.Check.Equals != "1" || all[0].Command[1] != "${n}" {
		t.Errorf("got %+v, %v", q, err)
	}
	if _, err := all[1].ForMode("full"); err == nil || !strings.Contains(err.Error(), "${nope} has no value for mode full") {
		t.Errorf("got %v", err)
	}
	if _, err := Select(all, []string{"a", "c"}); err == nil || !strings.Contains(err.Error(), `no workload is called "c": there are a, b`) {
		t.Errorf("got %v", err)
	}
}

func TestVerifyAndValue(t *testing.T) {
	all, err := ParseWorkloads("f.yaml", []byte(`workloads:
  - name: a
    command: [x]
    check: {output: '^ok$', answer: 'n=(\d+)', equals: "7"}
    metrics: [{name: t, match: '^t ([0-9.,]+)', scale: 0.001, unit: s}]
`))
	if err != nil {
		t.Fatal(err)
	}
	c, m := &all[0].Check, &all[0].Metrics[0]
	if a, err := c.Verify(0, "ok\nn=7\n"); err != nil || a != "7" {
		t.Errorf("got %q, %v", a, err)
	}
	for name, bad := range map[string]struct {
		exit      int
		out, want string
	}{
		"status": {1, "ok\nn=7", "exit status 1 instead of 0"},
		"output": {0, "n=7", "wrong output"},
		"answer": {0, "ok\nn=8", "wrong answer"},
		"none":   {0, "ok", "no answer"},
	} {
		if _, err := c.Verify(bad.exit, bad.out); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if v, err := m.Value("x\nt 1,234.5\n"); err != nil || v != 1.2345 {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err := m.Value("nothing"); err == nil {
		t.Error("a figure out of nothing")
	}
}

func TestRuntimeMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"runtimes:\n  - name: a\n": `f:2: runtime "a": command: missing`,
		"runtimes:\n  - {name: a, command: [x]}\n  - {name: a, command: [x]}\n": `f:3: runtime "a" is defined twice`,
		"runtimes:\n  - {name: a, comand: [x]}\n":                               `f:2: unknown field "comand" in a runtime`,
		"runtimes:\n  - {name: a, command: [x], time-share: {full: 2}}\n":       `f:2: runtime "a": time-share: full: want a number from 0 to 0.9, got 2`,
		"runtimes:\n  - {name: a, command: [x], time-share: {slow: 0.2}}\n":     `f:2: runtime "a": time-share: no such mode "slow"`,
	} {
		if _, err := ParseRuntimes("f", []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
