package audit

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
	"bulkhead.dev/bulkhead/internal/workbench/drive"
)

// workload is what the traced run does: many kinds of work by common programs.
//
//go:embed workload.sh
var workload string

// Roles of processes.
const (
	roleGuest      = "guest"
	roleSentry     = "sentry"
	roleGofer      = "gofer"
	roleHypervisor = "hypervisor"
	roleVirtiofsd  = "virtiofsd"
	roleMonitor    = "monitor"
)

// stubCall is an address inside the Sentry's stub (internal/platform).
const stubCall = 0x7ff000000100

// rank puts the guest first, then what stands between it and the host.
func rank(p *Process) int {
	return (slices.Index([]string{roleGuest, roleSentry, roleGofer, roleHypervisor, roleVirtiofsd, roleMonitor}, p.Role) + 7) % 7
}

// targets are how many host calls our own processes may have.
var targets = map[string]int{roleGuest: 14, roleSentry: 55, roleGofer: 45}

// processes holds a container, reads the filters of what stands for it on the
// host, and traces what our own wall does for a workload.
func (a *auditor) processes(ctx context.Context, d drive.Driver, c *Column) *Wall {
	w := &Wall{Column: c.Name, Title: c.Title, Kernel: c.Kernel}
	if os.Geteuid() != 0 {
		w.Why = "the filters of processes are told to root only"
		return w
	}
	limit := 2 * time.Minute
	if c.Kernel == onVM {
		limit = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ct := a.container(c, probePath, probe.Command, probe.Hold)
	ct.Work = filepath.Join(a.place.Dir, ct.ID+".work")
	if err := a.workDir(ct.Work); err != nil {
		w.Why = err.Error()
		return w
	}
	held, err := d.Hold(ctx, ct)
	if err == nil {
		_, err = held.WaitOutput(ctx)
	}
	if err != nil {
		w.Why = err.Error()
		purge(d, ct)
		return w
	}
	pids := a.look(w, c, d.Processes([]*drive.Held{held}))
	trace := a.startTrace(w, pids)
	if trace != nil {
		a.say("%s: a workload under trace", c.Title)
		for _, cmd := range a.traced() {
			if out, err := d.Exec(ctx, held, []string{"/bin/sh", "-c", cmd}); err != nil || out.Exit != 0 {
				a.rec.note("A part of the traced workload failed on %s: status %d: %s", c.Title, out.Exit, drive.Complaint(out.Stderr+errText(err)))
			}
		}
	}
	if err := d.Release(ctx, held); err != nil {
		w.Why = err.Error()
		purge(d, ct)
	}
	if trace != nil {
		a.endTrace(ctx, w, trace)
	}
	if c.Name == vmColumn && !a.o.noTrace {
		a.tour(ctx, w)
	}
	return w
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return "\n" + err.Error()
}

// traced are the commands of the traced run.
func (a *auditor) traced() []string { return append([]string{workload}, a.o.workloads...) }

func (a *auditor) workDir(dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777)
}

// look reads the filters of these processes, and returns ours by role.
func (a *auditor) look(w *Wall, c *Column, pids []int) map[int]string {
	ours := map[int]string{}
	for _, pid := range pids {
		comm, cmdline := processName(pid)
		role := roleOf(c, comm, cmdline)
		if role == "" {
			continue
		}
		filters, err := filtersOf(pid)
		if err != nil {
			a.rec.note("%s: the filters of %s were not read: %v.", c.Title, role, err)
			continue
		}
		if c.Name == "bulkhead" && (role == roleSentry || role == roleGofer) {
			ours[pid] = role
		}
		w.add(a, c, role, filters)
	}
	sort.SliceStable(w.Processes, func(i, j int) bool { return rank(w.Processes[i]) < rank(w.Processes[j]) })
	return ours
}

// roleOf names a process by its command line. Names are the process's own to
// choose, but what stands outside the container is the runtime's.
func roleOf(c *Column, comm, cmdline string) string {
	argv := strings.Fields(cmdline)
	first := ""
	if len(argv) > 0 {
		first = filepath.Base(argv[0])
	}
	second := ""
	if len(argv) > 1 {
		second = argv[1]
	}
	switch {
	case c.Kernel == onShared && strings.Contains(cmdline, probeName):
		return roleGuest
	case c.Kernel == onShared:
		return ""
	case second == "sentry" || strings.Contains(first, "runsc-sandbox"):
		return roleSentry
	case second == "gofer" || strings.Contains(first, "runsc-gofer"):
		return roleGofer
	case strings.HasPrefix(first, "qemu-system"), strings.HasPrefix(first, "cloud-hyper"), strings.HasPrefix(first, "firecracker"):
		return roleHypervisor
	case strings.HasPrefix(first, "virtiofsd"):
		return roleVirtiofsd
	case strings.HasPrefix(first, "bulkhead") && second == "monitor":
		return roleMonitor
	case c.Kernel == onUserspace && (first == "" || first == "exe" || strings.HasPrefix(comm, "stub") || strings.HasPrefix(comm, "bulkhead-guest") || strings.Contains(cmdline, probeName)):
		return roleGuest
	case strings.HasPrefix(first, "bulkhead") && second != "" && !strings.HasPrefix(second, "-"):
		return "bulkhead " + second
	}
	return strings.TrimSpace(comm)
}

// add counts a process among those of its role; the widest filter counts.
func (w *Wall) add(a *auditor, c *Column, role string, filters []program) {
	free, checked := allowedBy(filters, archX8664, 0)
	placed := false
	if c.Name == "bulkhead" && role == roleGuest && len(free) == 0 {
		placed = true // nothing whatever the place: look from inside the stub
		free, checked = allowedBy(filters, archX8664, stubCall)
	}
	p := w.process(role)
	if p == nil {
		p = &Process{Role: role, Guest: role == roleGuest}
		if c.Name == "bulkhead" {
			p.Target = targets[role]
		}
		w.Processes = append(w.Processes, p)
	}
	p.Count++
	if p.Count > 1 && len(free)+len(checked) <= p.Reach() {
		return
	}
	p.Filters, p.Allowed, p.Checked, p.Placed = len(filters), callsNamed(free), callsNamed(checked), placed
	for _, r := range a.rules {
		if strings.HasPrefix(c.Name, "bulkhead") && r.Process == role && p.Count == 1 {
			p.Rules = append(p.Rules, Rule{Call: r.Name, When: r.Text, Reason: r.Reason})
		}
	}
}

func callsNamed(nrs []uint32) []string {
	out := make([]string, 0, len(nrs))
	for _, nr := range nrs {
		out = append(out, callName(nr))
	}
	return out
}

// startTrace follows our own processes; nil if there are none.
func (a *auditor) startTrace(w *Wall, pids map[int]string) *tracer {
	if len(pids) == 0 || a.o.noTrace {
		return nil
	}
	use := map[int]*doings{}
	for pid, role := range pids {
		use[pid] = newDoings(role, a.rules)
	}
	t, err := follow(use)
	if err != nil {
		a.rec.note("%s: no trace: %v.", w.Title, err)
		return nil
	}
	return t
}

// endTrace takes the counts once the traced processes have ended.
func (a *auditor) endTrace(ctx context.Context, w *Wall, t *tracer) {
	select {
	case err := <-t.done:
		if err != nil {
			a.rec.note("%s: the trace ended early: %v.", w.Title, err)
		}
	case <-ctx.Done():
		a.rec.note("%s: the traced processes did not end.", w.Title)
		return
	case <-time.After(20 * time.Second):
		a.rec.note("%s: the traced processes did not end.", w.Title)
		return
	}
	a.count(w, t.all())
}

// count takes what traced processes did.
func (a *auditor) count(w *Wall, done []*doings) {
	for _, u := range done {
		p := w.process(u.role)
		if p == nil {
			continue
		}
		p.Traced = true
		for nr, n := range u.calls {
			p.Made = append(p.Made, Made{callName(nr), n})
		}
		for nr := range u.odd {
			p.Tried = append(p.Tried, callName(nr))
		}
		slices.Sort(p.Tried)
		slices.SortFunc(p.Made, func(a, b Made) int {
			if a.Times != b.Times {
				return b.Times - a.Times
			}
			return strings.Compare(a.Call, b.Call)
		})
		for i := range u.hits {
			p.Rules[i].Times += u.hits[i]
		}
		if len(p.Rules) > 0 && len(p.Tried) > 0 {
			a.rec.note("%s, %s: calls that no rule of its filter describes, and that it does not let through, were tried: %s.", w.Title, u.role, strings.Join(p.Tried, ", "))
		}
	}
}

// unused are the rules that the traced run never needed.
func (p *Process) unused() []Rule {
	var out []Rule
	for _, r := range p.Rules {
		if p.Traced && r.Times == 0 {
			out = append(out, r)
		}
	}
	return out
}

func (w *Wall) String() string { return fmt.Sprintf("%s: %d processes", w.Title, len(w.Processes)) }
