package word

import "syscall"

// The kernel measures the rate of the local APIC's timer once, while it boots: it
// counts off a tenth of a second by the time-stamp counter in 25 ticks, and takes
// what the timer lost between the first and the last for that tenth
// (calibrate_APIC_clock, arch/x86/kernel/apic/apic.c). A host that does not run
// the CPU at either end makes the rate wrong for as long as the machine lives:
// every timer comes late by as much, or early and in vain. The hypervisor's rate
// is known, so what the kernel took it for can be judged.

// rateName is as in package agentpb.
const rateName = "BULKHEAD_APIC_HZ"

const timerList = "/proc/timer_list"

// ProcFlags are those of the mount of /proc.
const ProcFlags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC

// Bounds of Greeting.Timers, in thousandths: what comes late is late by at most a
// twentieth. A timer that comes early is only set again.
const (
	timersEarly = 667
	timersLate  = 1050
)

// TimersWrong says that the kernel has the timer's rate wrong.
func (g *Greeting) TimersWrong() bool {
	return g.Timers != 0 && (g.Timers < timersEarly || g.Timers > timersLate)
}

func (g *Greeting) checkTimers() {
	rate, _ := syscall.Getenv(rateName)
	hz := number(rate)
	if hz == 0 || syscall.Mount("proc", "/proc", "proc", ProcFlags, "") != nil {
		return
	}
	g.Proc = true
	if text, ok := readFile(timerList); ok {
		g.Timers = timersOf(text, hz)
	}
}

// timersOf judges the first local APIC's timer in a text of /proc/timer_list: the
// thousandths of its time that a timer takes, or 0. The kernel sets it by
// mult / 2^shift ticks to the nanosecond.
func timersOf(text []byte, hz uint64) uint64 {
	at := find(text, "Clock Event Device: lapic\n")
	mult, shift := field(at, " mult:"), field(at, " shift:")
	if mult == 0 || mult >= 1<<32 || shift > 32 || hz == 0 {
		return 0
	}
	return mult * 1_000_000_000 / hz * 1000 >> shift
}

// field gives the number behind a name.
func field(text []byte, name string) uint64 {
	rest := find(text, name)
	for len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	return number(string(rest[:n]))
}

// find gives what comes behind a string; nil if it is not there.
func find(text []byte, s string) []byte {
	for i := 0; i+len(s) <= len(text); i++ {
		if string(text[i:i+len(s)]) == s {
			return text[i+len(s):]
		}
	}
	return nil
}

// number is 0 for what is none, or too large.
func number(s string) (n uint64) {
	if len(s) == 0 || len(s) > 12 {
		return 0
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + uint64(c-'0')
	}
	return n
}
