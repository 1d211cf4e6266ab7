package workbench

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

func describeWorkloads(p *plan) []results.Workload {
	var out []results.Workload
	for _, w := range p.workloads {
		d := results.Workload{Name: w.Name, Title: w.Title, Group: w.Group, About: w.About, Kind: string(w.Kind), Command: w.Command, Repeat: w.Repeat}
		for _, m := range w.Metrics {
			d.Metrics = append(d.Metrics, results.Metric{Name: m.Name, Title: m.Title, Unit: m.Unit, Better: m.Better})
		}
		out = append(out, d)
	}
	return out
}

// sameWorkloads refuses to mix samples of different workloads.
func sameWorkloads(old *results.Results, now []results.Workload) error {
	a, err := json.Marshal(old.Workloads)
	if err != nil {
		return err
	}
	b, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return errors.New("it was measured with other workloads or another mode: give the same flags as then, or start anew without --resume")
	}
	return nil
}

func describeRoot(s *site) string {
	if s.bound != "" || s.rootfs == "/" {
		return "the host's own, read-only"
	}
	return s.rootfs
}

// noteLoad warns when others use the machine too.
func noteLoad(res *results.Results) {
	if m := res.Machine; m.Load > 0.5*float64(m.CPUs) {
		res.Note(fmt.Sprintf("The machine was busy when the measurement began: load %.1f on %d CPUs. Times are longer and spread wider than on an idle one.", m.Load, m.CPUs))
	}
}

// list shows what there is to choose from.
func list(args []string, stdout, stderr io.Writer) (int, error) {
	f := flag.NewFlagSet("bench list", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	rf := f.String("runtimes-file", "", "")
	wf := f.String("workloads-file", "", "")
	if err := f.Parse(args); err != nil {
		return exitUsage, err
	}
	o := &options{full: true, runtimesFile: *rf, workloadsFile: *wf, baseline: "runc"}
	p, err := o.plan()
	if err != nil {
		return exitUsage, err
	}
	fmt.Fprintln(stdout, "runtimes:")
	for _, r := range p.runtimes {
		fmt.Fprintf(stdout, "  %-16s %s\n", r.Name, strings.Join(r.Command, " "))
	}
	fmt.Fprintln(stdout, "workloads:")
	for _, w := range p.workloads {
		fmt.Fprintf(stdout, "  %-16s %s%s\n", w.Name, w.Title, quickMark(w))
	}
	return exitOK, nil
}

func quickMark(w *spec.Workload) string {
	if w.InMode("quick") {
		return " (quick)"
	}
	return ""
}
