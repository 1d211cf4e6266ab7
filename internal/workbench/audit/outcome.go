package audit

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
)

// Results in words, beside names of errnos and signals.
const (
	resultOK      = "ok"
	resultBlocked = "blocked"
	resultEnded   = "ended"
	resultNone    = "-" // the case does not apply here
)

// words gives a probe's result.
func words(r probe.Result, family string) string {
	switch r.State {
	case probe.Blocked:
		return resultBlocked
	case probe.Ended:
		return resultEnded
	case probe.Killed:
		return unix.SignalName(unix.Signal(r.Result))
	case probe.NoChild:
		return "no child: " + unix.ErrnoName(unix.Errno(r.Result))
	case probe.Missing:
		return resultNone
	}
	v := r.Result
	if family == familyI386 {
		v = int64(int32(v))
	}
	if v < 0 && v >= -4095 {
		if n := unix.ErrnoName(unix.Errno(-v)); n != "" {
			return n
		}
		return fmt.Sprintf("errno %d", -v)
	}
	return resultOK
}

// class is what a result means beside the host's.
type class uint8

// Classes.
const (
	classNone     class = iota // not tried
	classLacking               // the host's kernel has no such call
	classAnswered              // the kernel behind it looked at the call
	classRefused               // refused with an errno before any kernel of its own looked at it, or not implemented
	classKilled                // a signal ended the caller
	classCaps                  // EPERM with and without a profile: a capability is missing
)

var classNames = [...]string{"not tried", "the host lacks it", "answered", "refused", "killed", "needs a capability"}

func (c class) String() string { return classNames[c] }

// isSignal says whether a result is a signal that ended the caller.
func isSignal(r string) bool { return strings.HasPrefix(r, "SIG") }

// lacking says whether a result is that of a kernel without the call.
func lacking(r string) bool { return r == "ENOSYS" }

// classify tells what a column's result means. host is the result without a
// container; open that of a container of the same capabilities without a
// profile, or host where there is none.
func classify(col *Column, got, host, open string) class {
	switch {
	case got == "" || got == resultNone || strings.HasPrefix(got, "no child"):
		return classNone
	case got == host && isSignal(got):
		return classAnswered // the signal is the call's own doing: rt_sigreturn
	case isSignal(got):
		return classKilled
	case lacking(host) && (lacking(got) || got == "EPERM"):
		return classLacking
	case lacking(got):
		return classRefused
	case got == "EPERM" && host != "EPERM":
		if open == "EPERM" {
			return classCaps
		}
		return classRefused
	}
	return classAnswered
}

// refs are the columns that others are judged by.
func (r *Record) refs(c *CaseResults) (host, open string) {
	host = c.Results[hostColumn]
	open = host
	if o, ok := c.Results[openColumn]; ok {
		open = o
	}
	return host, open
}

// classOf is a cell's class.
func (r *Record) classOf(c *CaseResults, col *Column) class {
	host, open := r.refs(c)
	k := classify(col, c.Results[col.Name], host, open)
	if c.Family == familyI386 && k == classAnswered && r.shutI386(col) {
		return classKilled // sigreturn's signal is that of the entry itself
	}
	if c.Family == familyStub && c.Call == "restart_syscall" && c.Results[col.Name] == "EINTR" {
		return classRefused // by the filter
	}
	if k == classCaps && col.Profile && r.Profile != nil && r.Profile.allows(c.Call) == never {
		return classRefused // by the profile, before the kernel would have
	}
	return k
}

// Names of the columns that others are judged by.
const (
	hostColumn = "host"
	openColumn = "runc" // a container without a profile
)

// tally counts a family's classes in a column.
func (r *Record) tally(col *Column, family string) map[class]int {
	n := map[class]int{}
	for _, c := range r.Cases {
		if c.Family == family {
			n[r.classOf(c, col)]++
		}
	}
	return n
}

// shutI386 says whether int 0x80 itself ends the caller, whatever the number.
func (r *Record) shutI386(col *Column) bool {
	for _, c := range r.Cases {
		if c.Family == familyI386 && c.Nr == 20 { // getpid
			return isSignal(c.Results[col.Name])
		}
	}
	return false
}
