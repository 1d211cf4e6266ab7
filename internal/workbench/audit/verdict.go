package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
)

func probeMain(args []string) int { return probe.Main(args, probeCases()) }

func asJSON(r *Record) string {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err.Error() // a record is plain data
	}
	return string(b) + "\n"
}

// judge says of every column what it is against the default profile.
func (r *Record) judge() {
	r.Verdict = nil
	for _, c := range r.Columns {
		if c.Status != audited || c.Kernel == onHost {
			continue
		}
		v := Verdict{Column: c.Name, Title: c.Title}
		switch c.Kernel {
		case onShared:
			r.judgeShared(c, &v)
		default:
			r.judgeWall(c, &v)
		}
		r.Verdict = append(r.Verdict, v)
	}
}

// judgeShared: the container's own calls are the host's.
func (r *Record) judgeShared(c *Column, v *Verdict) {
	n := r.tally(c, familyCalls)
	v.Lines = append(v.Lines, fmt.Sprintf("Not a wall of its own: the container's calls are the host's. Of the %d calls that this kernel has, %d were answered or ended at a missing capability (%d), %d were refused or killed.",
		r.has(), n[classAnswered]+n[classCaps], n[classCaps], n[classRefused]+n[classKilled]))
	if w := r.wall(c.Name); w != nil && w.process(roleGuest) != nil && c.Profile {
		v.Lines = append(v.Lines, fmt.Sprintf("The profile names %d calls to allow; the filter that the runtime made of it, read back, lets %d through, some of which this kernel lacks.",
			len(r.Profile.Free)+len(r.Profile.Checked), w.process(roleGuest).Reach()))
	}
	if c.Profile {
		if leaks := r.leaks(c); len(leaks) > 0 {
			v.Lines = append(v.Lines, "Answered although the profile refuses them: "+strings.Join(leaks, ", ")+".")
		} else {
			v.Lines = append(v.Lines, "It is the profile itself: no call that the profile refuses was answered.")
		}
	}
}

// has counts the calls that the host's kernel has.
func (r *Record) has() int {
	n := 0
	for _, c := range r.Cases {
		if host := c.Results[hostColumn]; c.Family == familyCalls && host != "" && !lacking(host) {
			n++
		}
	}
	return n
}

// leaks are calls that the profile refuses and that were answered under it.
func (r *Record) leaks(c *Column) []string {
	var out []string
	for _, cs := range r.Cases {
		if cs.Family == familyCalls && callNames().byNr[uint32(cs.Nr)] != "" && !pastFilters[cs.Call] &&
			r.Profile.allows(cs.Call) == never && r.classOf(cs, c) == classAnswered {
			out = append(out, cs.Call)
		}
	}
	return out
}

// pastFilters are the calls that the host's kernel lets past every seccomp
// filter (kernel/seccomp.c: uretprobe since 6.11, uprobe since 6.18); outside a
// trampoline of the kernel's own they do nothing. restart_syscall is answered by
// the C library's way of asking only after a stop.
var pastFilters = map[string]bool{"uretprobe": true, "uprobe": true}

// judgeWall: which host calls are left to guest code, and which to the
// processes it would have to take over first.
func (r *Record) judgeWall(c *Column, v *Verdict) {
	w := r.wall(c.Name)
	if w == nil || w.Why != "" && len(w.Processes) == 0 {
		why := "it was not looked at"
		if w != nil {
			why = w.Why
		}
		v.Lines = append(v.Lines, "What it leaves of the host's kernel is not known: "+why+".")
		return
	}
	profile := len(r.Profile.Free) + len(r.Profile.Checked)
	guest := w.process(roleGuest)
	v.Stronger = true
	switch {
	case guest != nil && guest.Filters == 0:
		v.Stronger = false
		v.Lines = append(v.Lines, "Guest code runs in a process without a seccomp filter: what holds it is something else, which this audit does not see.")
	case guest != nil:
		wider := r.wider(guest)
		v.Stronger = len(wider) == 0
		where := ""
		if guest.Placed {
			where = ", none but from inside the stub"
		}
		v.Lines = append(v.Lines, fmt.Sprintf("Guest code reaches %d host calls (%d by their arguments)%s; the profile leaves %d (%d by their arguments).",
			guest.Reach(), len(guest.Checked), where, profile, len(r.Profile.Checked)))
		v.Lines = append(v.Lines, subset(wider, "All of them are calls that the profile allows, too: for guest code the wall is strictly stronger."))
	case c.Kernel == onVM:
		v.Lines = append(v.Lines, fmt.Sprintf("Guest code makes no host call at all: it runs on a kernel of its own, and leaves it only through the virtual machine's devices (without KVM, the emulator of its instructions must hold, too); the profile leaves %d calls.", profile))
	default:
		v.Stronger = false
		v.Lines = append(v.Lines, "No process of the guest's was seen: what guest code reaches is not known.")
	}
	for _, p := range w.Processes {
		if !p.Guest {
			r.judgeProcess(p, v)
		}
	}
	if stub := r.stubReach(c); stub != "" {
		v.Lines = append(v.Lines, stub)
	}
}

// judgeProcess says what code that took over a process would have.
func (r *Record) judgeProcess(p *Process, v *Verdict) {
	if p.Filters == 0 {
		v.Lines = append(v.Lines, fmt.Sprintf("The %s has no seccomp filter: whoever takes it over has every call that its user has.", roleWord(p.Role)))
		return
	}
	wider := r.wider(p)
	line := fmt.Sprintf("Whoever takes over the %s first has %d host calls (%d by their arguments). ", roleWord(p.Role), p.Reach(), len(p.Checked))
	if p.Target > 0 && p.Reach() > p.Target {
		line += fmt.Sprintf("That is above its target of %d. ", p.Target)
	}
	v.Lines = append(v.Lines, line+subset(wider, "The profile allows them all, too."))
}

// wider are the calls of a process that the profile does not allow, or not so
// freely.
func (r *Record) wider(p *Process) []string {
	var out []string
	for _, n := range append(slices.Clone(p.Allowed), p.Checked...) {
		switch {
		case r.Profile.allows(n) == never:
			out = append(out, n)
		case r.Profile.allows(n) == some && slices.Contains(p.Allowed, n):
			out = append(out, n+" (with any arguments)")
		}
	}
	return out
}

func subset(wider []string, none string) string {
	if len(wider) == 0 {
		return none
	}
	if len(wider) > 24 {
		return fmt.Sprintf("%d of them the profile refuses or checks, such as %s: there it is not strictly stronger.", len(wider), strings.Join(wider[:24], ", "))
	}
	return fmt.Sprintf("%d of them the profile refuses or checks: %s: there it is not strictly stronger.", len(wider), strings.Join(wider, ", "))
}

// stubReach tells what the calls from inside the stub showed.
func (r *Record) stubReach(c *Column) string {
	var pass, odd []string
	tried, held, argsTried := 0, 0, 0
	for _, cs := range r.Cases {
		got := cs.Results[c.Name]
		if cs.Family != familyStub || got == resultNone || got == "" {
			continue
		}
		refused := isSignal(got) || cs.Call == "restart_syscall" && got == "EINTR"
		switch {
		case cs.About != "":
			argsTried++
			if refused {
				held++
			} else {
				odd = append(odd, cs.Call+"("+cs.About+")")
			}
		default:
			tried++
			if !refused && !pastFilters[cs.Call] {
				pass = append(pass, cs.Call)
			}
		}
	}
	if tried == 0 {
		return ""
	}
	s := fmt.Sprintf("Measured from inside: of %d numbers tried with the stub's own instruction, %d came back (%s), the others ended their process; of %d arguments that must not pass, %d were stopped.",
		tried, len(pass), strings.Join(pass, ", "), argsTried, held)
	if len(odd) > 0 {
		s += " Not stopped: " + strings.Join(odd, ", ") + "."
	}
	return s
}
