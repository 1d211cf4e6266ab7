package workbench

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// saved writes results of one runtime with six runs of about so many seconds.
func saved(t *testing.T, dir, runtime string, seconds float64) string {
	t.Helper()
	r := &results.Results{Schema: results.Schema, Mode: "quick", Baseline: runtime,
		Runtimes:  []results.Runtime{{Name: runtime, Title: runtime, Status: results.RuntimeMeasured}},
		Workloads: []results.Workload{{Name: "w", Title: "work", Metrics: []results.Metric{{Name: "t", Title: "time", Unit: "s", Better: "lower"}}}}}
	for pass := range 6 {
		r.Cell("w", runtime).Keep(pass, map[string]float64{"t": seconds * (1 + 0.001*float64(pass))})
	}
	path := filepath.Join(dir, runtime+"-"+strings.ReplaceAll(t.Name(), "/", "-")+"-results.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// In CI the exit status is what counts: 0 nothing got worse, 1 something did, 2
// the comparison says nothing.
func TestCompareExitStatus(t *testing.T) {
	old := saved(t, t.TempDir(), "runc", 1)
	same, slow, fast := saved(t, t.TempDir(), "runc", 1.001), saved(t, t.TempDir(), "runc", 1.2), saved(t, t.TempDir(), "runc", 0.8)
	other := saved(t, t.TempDir(), "crun", 1)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{old, same}, exitOK, "1 figures compared, 0 regressed"},
		{[]string{old, fast}, exitOK, "improved"},
		{[]string{old, slow}, exitFailed, "REGRESSION"},
		{[]string{"--threshold", "30", old, slow}, exitOK, "0 regressed"},
		{[]string{"--runtimes", "runc", old, slow}, exitFailed, "+20.0 %"},
		{[]string{"--runtimes", "rnc", old, slow}, exitUsage, `has no runtime called "rnc"`},
		{[]string{old, other}, exitUsage, "no figure in common"},
		{[]string{old, slow, "--all"}, exitUsage, "behind the flags"},
		{[]string{"--threshold", "x", old, slow}, exitUsage, "invalid value"},
	} {
		var out, err strings.Builder
		code := run(context.Background(), append([]string{"compare"}, c.args...), &out, &err, false)
		if said := out.String() + err.String(); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%q: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.says, said)
		}
	}
}

func TestCompareJSON(t *testing.T) {
	var out, err strings.Builder
	code := run(context.Background(), []string{"compare", "--json", saved(t, t.TempDir(), "runc", 1), saved(t, t.TempDir(), "runc", 1.5)}, &out, &err, false)
	var got struct {
		Compared, Regressions int
		Figures               []struct {
			Workload, Metric, Runtime, Verdict string
			Cost, P                            float64
			Old, New                           struct{ Median, Lo, Hi float64 }
		}
	}
	if e := json.Unmarshal([]byte(out.String()), &got); e != nil || code != exitFailed {
		t.Fatalf("exit %d, %v: %s%s", code, e, out.String(), err.String())
	}
	if f := got.Figures; got.Regressions != 1 || len(f) != 1 || f[0].Verdict != "REGRESSION" || f[0].Workload != "w" || f[0].Metric != "t" ||
		f[0].Cost < 1.49 || f[0].Cost > 1.51 || f[0].P > 0.01 || f[0].New.Median < 1.5 || f[0].Old.Hi < f[0].Old.Lo {
		t.Errorf("got %s", out.String())
	}
}
