package audit

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
)

// Families of cases: each is a table of the report.
const (
	familyCalls = "calls" // every number of x86-64
	familyWide  = "wide"  // risky arguments of the wide ones
	familyX32   = "x32"   // the numbers with the x32 bit
	familyI386  = "i386"  // int 0x80
	familyStub  = "stub"  // from inside the Sentry's stub
)

// testCase is one call that the probe makes, and how the report calls it.
type testCase struct {
	ID     string
	Family string
	Call   string // the call's name; a number where it has none
	About  string // of wide ones: the argument
	probe.Case
}

// lastNumber is the last x86-64 number that is tried one by one; beyond are a
// few more.
const lastNumber = 479

var beyond = []uint32{480, 499, 511, 512, 547, 600, 1000, 4095, 65535, 0x3fffffff}

// callNames maps numbers to names and back.
var callNames = sync.OnceValue(func() (m struct {
	byNr   map[uint32]string
	byName map[string]uint32
}) {
	m.byNr, m.byName = map[uint32]string{}, map[string]uint32{}
	f := strings.Fields(abi.SyscallNames)
	for i := 0; i+1 < len(f); i += 2 {
		nr, _ := strconv.ParseUint(f[i+1], 10, 32)
		m.byNr[uint32(nr)], m.byName[f[i]] = f[i], uint32(nr)
	}
	return m
})

// callName is a call's name, or its number in words.
func callName(nr uint32) string {
	if n := callNames().byNr[nr]; n != "" {
		return n
	}
	return fmt.Sprintf("number %d", nr)
}

const none = ^uintptr(0) // a descriptor, pointer, flag or pid that is none

var noArgs = [6]uintptr{none, none, none, none, none, none}

// gentle are the calls for which six times -1 would tell nothing, or do
// something: a kernel that has the call answers these.
var gentle = map[string][6]uintptr{
	"kill":             {1 << 22, 0}, // no such pid
	"alarm":            {0},
	"futex":            {none, 129, 1},
	"modify_ldt":       {0, 0, 0},
	"select":           {0, 0, 0, 0, none},
	"umask":            {0o22},
	"brk":              {0},
	"sched_yield":      {},
	"getpriority":      {0, 0},
	"uname":            {none},
	"personality":      {0xffffffff},
	"unshare":          {0},
	"setns":            {none, 0},
	"restart_syscall":  {},
	"userfaultfd":      {0xffff},
	"set_tid_address":  {0},
	"sysfs":            {3},
	"epoll_create":     {0},
	"epoll_ctl_old":    {},
	"shmget":           {0, 0, 0},
	"msgget":           {1, 0},
	"semget":           {1, 0, 0},
	"io_setup":         {0, none},
	"inotify_init1":    {none},
	"getrandom":        {none, 1, 0xff},
	"clone3":           {none, 0},
	"setuid":           {none},
	"exit":             {0},
	"exit_group":       {0},
	"seccomp":          {99, 0, 0},
	"arch_prctl":       {0xffff, 0},
	"prctl":            {0xffff},
	"mq_unlink":        {none},
	"rseq_slice_yield": {},
}

// forks are the calls that make a process.
var forks = map[string]bool{"fork": true, "vfork": true, "clone": true, "clone3": true}

// allCases is the list that both sides of the probe have: their order is what
// its output refers to.
var allCases = sync.OnceValue(func() []testCase {
	var out []testCase
	numbers := make([]uint32, 0, lastNumber+1+len(beyond))
	for nr := uint32(0); nr <= lastNumber; nr++ {
		numbers = append(numbers, nr)
	}
	numbers = append(numbers, beyond...)
	for _, nr := range numbers {
		out = append(out, plainCase(familyCalls, nr, 0))
	}
	out = append(out, wideCases()...)
	for _, nr := range x32Numbers() {
		out = append(out, plainCase(familyX32, nr, x32Bit))
	}
	for nr := uint32(0); nr <= lastNumber; nr++ {
		c := testCase{ID: fmt.Sprintf("i386/%d", nr), Family: familyI386, Call: strconv.Itoa(int(nr)), Case: probe.Case{Kind: probe.I386, Nr: uintptr(nr), Args: noArgs}}
		if nr == 37 { // kill
			c.Args = gentle["kill"]
		}
		out = append(out, c)
	}
	return append(out, stubCases()...)
})

const x32Bit = 0x40000000

// x32Numbers are a part of x86-64's numbers, for a kernel has all of x32 or
// none, and all that are x32's own (512 to 547).
func x32Numbers() []uint32 {
	var out []uint32
	for nr := uint32(0); nr < 16; nr++ {
		out = append(out, nr)
	}
	out = append(out, 39, 41, 57, 101, 157, 165, 202, 250, 272, 321, 425)
	for nr := uint32(512); nr <= 547; nr++ {
		out = append(out, nr)
	}
	return out
}

func plainCase(family string, nr, bit uint32) testCase {
	name := callName(nr)
	c := testCase{ID: fmt.Sprintf("%s/%d", family, nr), Family: family, Call: name, Case: probe.Case{Nr: uintptr(nr | bit), Args: noArgs}}
	if a, ok := gentle[name]; ok {
		c.Args = a
	}
	if forks[name] {
		c.Kind = probe.Forks
	}
	return c
}

// stubCases try every number by the stub's own instruction, and arguments that
// its filter must refuse.
func stubCases() []testCase {
	var out []testCase
	for nr := uint32(0); nr <= lastNumber; nr++ {
		out = append(out, testCase{ID: fmt.Sprintf("stub/%d", nr), Family: familyStub, Call: callName(nr), Case: probe.Case{Kind: probe.Stub, Nr: uintptr(nr)}})
	}
	for _, w := range stubArguments {
		c := w.testCase(familyStub)
		c.Kind = probe.Stub
		out = append(out, c)
	}
	return out
}

// probeCases are the cases as the probe takes them.
func probeCases() []probe.Case {
	all := allCases()
	out := make([]probe.Case, len(all))
	for i := range all {
		out[i] = all[i].Case
	}
	return out
}
