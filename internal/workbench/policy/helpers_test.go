package policy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/machine"
	"bulkhead.dev/bulkhead/internal/workbench/results"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mustDefault(t testing.TB) *Policy {
	t.Helper()
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustWide(t testing.TB) *Policy {
	t.Helper()
	data, err := os.ReadFile("testdata/wide.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse("testdata/wide.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// golden compares with testdata/golden/NAME, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata/golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./internal/workbench/policy -update writes it anew); first difference:\n%s", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			w := "(nothing)"
			if i < len(b) {
				w = b[i]
			}
			return "got  " + a[i] + "\nwant " + w
		}
	}
	return "got fewer lines"
}

// cli runs the command.
func cli(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(args, strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// testReport is a report of a machine that is not this one, made up.
func testReport() *Report {
	res := &results.Results{Schema: results.Schema, Mode: "quick", Baseline: "runc", Complete: true,
		Updated: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Machine: machine.Machine{CPU: "Test CPU", CPUs: 8, MemoryBytes: 16 << 30, Kernel: "6.1.0", Load: 5},
		Runtimes: []results.Runtime{{Name: "runc", Status: results.RuntimeMeasured}, {Name: "bulkhead", Status: results.RuntimeMeasured},
			{Name: "bulkhead-vm", Status: results.RuntimeBroken}, {Name: "ctr-bulkhead-vm", Status: results.RuntimeMeasured}},
		Workloads: []results.Workload{
			{Name: "run-true", Title: "run of /bin/true", Metrics: []results.Metric{{Name: "time", Title: "whole run", Unit: "s", Better: "lower"}}},
			{Name: "rate", Title: "Starts per second", Metrics: []results.Metric{{Name: "rate", Title: "runs", Unit: "/s", Better: "higher"}}},
			{Name: "idle", Title: "A sandbox that sleeps", Metrics: []results.Metric{{Name: "memory", Title: "memory", Unit: "B", Better: "lower"}}}}}
	fill := func(workload, runtime, metric string, values ...float64) {
		c := res.Cell(workload, runtime)
		c.Status = results.CellOK
		for i, v := range values {
			c.Add(metric, i, v)
		}
	}
	fill("run-true", "runc", "time", .030, .031, .032, .030, .031, .030)
	fill("run-true", "bulkhead", "time", .024, .025, .024, .026, .024, .025)
	fill("rate", "runc", "rate", 40, 41, 42, 40, 41, 40)
	fill("rate", "bulkhead", "rate", 20, 42, 80, 38, 21, 45)
	fill("idle", "runc", "memory", 2<<20, 2<<20)
	fill("idle", "bulkhead", "memory", 12<<20, 13<<20)
	r := newReport("report/results.json", res)
	r.here = machine.Machine{CPU: "Another CPU"}
	r.now = res.Updated.Add(3 * time.Hour)
	return r
}
