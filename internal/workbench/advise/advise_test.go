package advise

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadCounts(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	write := func(s string) {
		if err := os.WriteFile(log, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a message\n" + countsMark + `[{"nr":3,"name":"close","times":1,"state":"full"},{"nr":0,"name":"read","times":9,"state":"full"}]` + "\n")
	calls, err := readCounts(log)
	if err != nil || len(calls) != 2 || calls[0].Name != "read" || total(calls) != 10 {
		t.Errorf("%v, %v", calls, err)
	}
	for _, bad := range []string{"", "nothing\n", countsMark + "{\n", "x" + countsMark + "[]\n"} {
		write(bad)
		if _, err := readCounts(log); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRefusals(t *testing.T) {
	calls := []Call{
		{Name: "rseq", State: "refused", Errors: map[string]uint64{"ENOSYS": 3}},
		{Name: "io_setup", State: "refused", Errors: map[string]uint64{"ENOSYS": 1}, Note: "no AIO"},
		{Name: "openat", State: "full", Errors: map[string]uint64{"ENOENT": 9, "EPERM": 1}},
		{Name: "mount", State: "partial", Errors: map[string]uint64{"EPERM": 1}},
		{Name: "fallocate", State: "partial", Errors: map[string]uint64{"EOPNOTSUPP": 2}},
	}
	var got []string
	for _, r := range refusals(calls) {
		got = append(got, r.Call+" "+r.Errno)
	}
	if s := strings.Join(got, ", "); s != "fallocate EOPNOTSUPP, io_setup ENOSYS, rseq ENOSYS" {
		t.Errorf("%s", s)
	}
}

func runs(exit int, seconds ...float64) *Runs {
	r := &Runs{Place: "runc"}
	for _, s := range seconds {
		r.add(exit, time.Duration(s*float64(time.Second)))
	}
	return r
}

func TestJudge(t *testing.T) {
	missing := []Refusal{{Call: "io_setup", Errno: "ENOSYS"}}
	usual := []Refusal{{Call: "rseq", Errno: "ENOSYS", Usual: true}}
	for _, c := range []struct {
		name           string
		sentry, base   *Runs
		refused        []Refusal
		calls          uint64
		want, reason   string
		absent, noBase bool
	}{
		{name: "cheap", sentry: runs(0, 1.1, 1.0, 1.2), base: runs(0, 1, 1, 1), refused: usual, want: useSentry, reason: "It costs 1.10 × runc"},
		{name: "dense", sentry: runs(0, 4), base: runs(0, 1), calls: 2000000, want: useVM, reason: "500000 calls a second"},
		{name: "short", sentry: runs(0, 0.3), base: runs(0, 0.1), calls: 100, want: useSentry, reason: "most of it the start"},
		{name: "slow", sentry: runs(0, 4), base: runs(0, 1), calls: 100, want: useSentry, reason: "above the limit of 1.5 ×"},
		{name: "broken", sentry: runs(1, 1), base: runs(0, 1), refused: missing, want: useVM, reason: "it was refused io_setup (ENOSYS)"},
		{name: "odd", sentry: runs(1, 1), base: runs(0, 1), refused: usual, want: unclear, reason: "bulkhead do --strace"},
		{name: "fails anywhere", sentry: runs(3, 1), base: runs(3, 1), want: useSentry, reason: "status 3 in both places"},
		{name: "no baseline", sentry: runs(0, 1), base: &Runs{Place: "runc", Why: "runc needs root here"}, want: useSentry, reason: "What it costs is not known: runc needs root here"},
		{name: "fails alone", sentry: runs(1, 1), base: &Runs{Place: "runc", Why: "x"}, refused: missing, want: useVM, reason: "not known without a run to compare with"},
	} {
		a := &Advice{Sentry: c.sentry, Baseline: c.base, Refused: c.refused, Calls: c.calls}
		if c.base.Why == "" {
			a.Ratio = c.sentry.Median / c.base.Median
		}
		a.Rate = float64(c.calls) / c.sentry.Median
		a.judge(1.5)
		said := strings.Join(a.Reasons, " ")
		if a.Recommend != c.want || !strings.Contains(said, c.reason) {
			t.Errorf("%s: %s: %s", c.name, a.Recommend, said)
		}
		if !strings.Contains(a.text(), a.Recommend) {
			t.Errorf("%s: the text does not say it", c.name)
		}
		var back Advice
		b, err := json.Marshal(a)
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back.Recommend != a.Recommend {
			t.Errorf("%s: as JSON: %v", c.name, err)
		}
	}
}

func TestMedian(t *testing.T) {
	if m := runs(0, 3, 1, 2).Median; m != 2 {
		t.Error(m)
	}
	if m := runs(0, 4, 1, 2, 3).Median; m != 2.5 {
		t.Error(m)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--runs", "0", "--", "true"}, {"--baseline", "x", "--", "true"}, {"-o", "pdf", "--", "true"}, {"--max-cost", "0", "--", "true"}, {"--nonsense"}} {
		var out, errs bytes.Buffer
		if code := Main(args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: status %d, %s", args, code, errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"--help"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "Examples:") {
		t.Errorf("--help: status %d", code)
	}
}
