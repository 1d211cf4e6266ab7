// Command bench measures the Sentry against the same programs run natively and
// under runc, and the VM wall against a bare guest, interleaved in one run, and
// prints medians of paired ratios beside what each may cost. It checks the
// programs' answers.
//
//	go run ./bench [-rounds N] [-bulkhead bin/bulkhead] [-wall sentry|vm] [-only REGEXP] [-enforce]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/jail"
)

// row is one line of the table.
type row struct {
	name   string
	limit  float64 // at most this times the base
	base   string  // "native" or "runc"
	ratio  []float64
	ours   []float64
	theirs []float64
	unit   string
}

var limits = map[string]float64{
	"getpid": 0.3, "gettid": 0.3, "clock_gettime": 0.3, "read": 4, "fstat": 4, "stat": 4, "fork+exit+wait": 2.5, "fork+exec+wait": 2.5,
	"pipe round trip": 3, "thread": 3, "64 MB of page faults": 1.1,
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "jail" { // of a bare machine's helpers
		os.Exit(jail.Main(os.Args[2:]))
	}
	rounds := flag.Int("rounds", 7, "rounds of each comparison")
	bin := flag.String("bulkhead", "bin/bulkhead", "the binary to measure")
	wall := flag.String("wall", "", "sentry or vm: that wall's rows alone")
	only := flag.String("only", "", "of the VM wall, the parts that match alone: boot, hello, programs, memory")
	enforce := flag.Bool("enforce", false, "exit 1 if a figure is over its limit")
	flag.Parse()
	parts, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(2)
	}
	if err := private(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if err := run(*bin, *wall, parts, *rounds, *enforce); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(bin, wall string, parts *regexp.Regexp, rounds int, enforce bool) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	// Only what was made here is removed, file by file: the host's root is
	// mounted below, and must never be walked.
	defer os.Remove(dir)
	os.Chmod(dir, 0755)
	calls := filepath.Join(dir, "calls")
	defer os.Remove(calls)
	if out, err := exec.Command("gcc", "-O2", "-pthread", "-o", calls, "bench/guest/calls.c").CombinedOutput(); err != nil {
		return fmt.Errorf("gcc bench/guest/calls.c: %w\n%s", err, out)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("load at the start: %s", load)
	t := &table{}
	for r := 0; r < rounds && wall != "vm"; r++ {
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", r+1, rounds)
		if err := t.calls(calls, bin); err != nil {
			return err
		}
		if err := t.programs(dir, bin, r); err != nil {
			return err
		}
	}
	if wall != "sentry" {
		if err := t.vmWall(dir, bin, parts, rounds); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr)
	over := t.print()
	if enforce && over > 0 {
		return fmt.Errorf("%d figures are over their limits", over)
	}
	return nil
}

type table struct{ rows []*row }

func (t *table) add(name, base, unit string, limit, ours, theirs float64) {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{name: name, base: base, unit: unit, limit: limit})
	}
	r := t.rows[i]
	r.ratio = append(r.ratio, ours/theirs)
	r.ours = append(r.ours, ours)
	r.theirs = append(r.theirs, theirs)
}

// calls compares the single calls, natively and behind the wall in turn.
func (t *table) calls(prog, bin string) error {
	native, err := values(prog)
	if err != nil {
		return err
	}
	wall, err := values(bin, "do", "--", prog)
	if err != nil {
		return err
	}
	for _, v := range native {
		i := slices.IndexFunc(wall, func(w value) bool { return w.name == v.name })
		if i < 0 {
			return fmt.Errorf("%s: no figure behind the wall", v.name)
		}
		t.add(v.name, "native", "µs", limits[v.name], wall[i].v, v.v)
	}
	return nil
}

type value struct {
	name string
	v    float64
}

func values(argv ...string) ([]value, error) {
	var errs bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &errs
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out, errs.String())
	}
	var vs []value
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		i := strings.LastIndexByte(l, ' ')
		var v value
		if i < 0 {
			return nil, fmt.Errorf("unexpected line %q", l)
		}
		v.name = l[:i]
		if _, err := fmt.Sscan(l[i+1:], &v.v); err != nil {
			return nil, fmt.Errorf("unexpected line %q", l)
		}
		vs = append(vs, v)
	}
	return vs, nil
}

func (t *table) print() int {
	over := 0
	fmt.Println("| what | Bulkhead | base | ratio (median, min–max) | at most | |\n|---|---|---|---|---|---|")
	for _, r := range t.rows {
		mark := "ok"
		if m := median(r.ratio); r.limit == 0 {
			mark = ""
		} else if m > r.limit {
			mark = "over"
			over++
		}
		limit := "–"
		if r.limit != 0 {
			limit = fmt.Sprintf("%.2f ×", r.limit)
		}
		fmt.Printf("| %s | %.3g %s | %s %.3g %s | %.2f (%.2f–%.2f) | %s | %s |\n", r.name, median(r.ours), r.unit, r.base, median(r.theirs), r.unit,
			median(r.ratio), slices.Min(r.ratio), slices.Max(r.ratio), limit, mark)
	}
	return over
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
