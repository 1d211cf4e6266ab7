// Package seccomp turns tables of rules into seccomp filters (seccomp(2)): a
// rule is a host call, conditions on its arguments, and the reason it is there.
// It owns no state.
package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Action is what becomes of a call: SECCOMP_RET_* with its data.
type Action uint32

// Actions.
const (
	Allow       Action = 0x7fff0000
	KillProcess Action = 0x80000000
	Trap        Action = 0x00030000
	Log         Action = 0x7ffc0000
)

// Errno refuses a call with an error.
func Errno(e unix.Errno) Action { return 0x00050000 | Action(e)&0xffff }

// Test is how a condition compares.
type Test uint8

// Tests.
const (
	Eq      Test = iota // the argument is Value
	Masked              // the argument's bits in Mask are Value
	Between             // the argument lies in [Value, High], unsigned
)

// IP as a condition's argument is the address of the call itself.
const IP = -1

// Cond is a condition on one argument, all of whose 64 bits count.
type Cond struct {
	Arg         int // 0 to 5, or IP
	Test        Test
	Value, High uint64
	Mask        uint64
}

// Arg makes the condition that argument i is v.
func Arg(i int, v uint64) Cond { return Cond{Arg: i, Test: Eq, Value: v} }

// Bits makes the condition that argument i has the bits v among those of mask.
func Bits(i int, mask, v uint64) Cond { return Cond{Arg: i, Test: Masked, Mask: mask, Value: v} }

// Range makes the condition that low ≤ argument i ≤ high.
func Range(i int, low, high uint64) Cond { return Cond{Arg: i, Test: Between, Value: low, High: high} }

// Rule lets one call through when all its conditions hold. Several rules for a
// call are alternatives.
type Rule struct {
	Nr     uint32
	Name   string
	When   []Cond
	Reason string
	// Action if not Allow.
	Action Action
}

// Filter is a whole filter.
type Filter struct {
	Rules   []Rule
	Default Action
	// Guard are conditions that every call must meet; Else is what becomes of
	// those that do not.
	Guard []Cond
	Else  Action
	// Foreign is what becomes of calls by another way in (int 0x80, x32); 0
	// takes Default.
	Foreign Action
}

// Calls gives the numbers that the filter's rules name, ascending.
func (f *Filter) Calls() []uint32 {
	var nrs []uint32
	for _, r := range f.Rules {
		nrs = append(nrs, r.Nr)
	}
	slices.Sort(nrs)
	return slices.Compact(nrs)
}

// Allowed gives the rules that let calls through.
func (f *Filter) Allowed() []Rule {
	var out []Rule
	for _, r := range f.Rules {
		if r.Action == 0 || r.Action == Allow {
			out = append(out, r)
		}
	}
	return out
}

// check finds rules that make no sense.
func (f *Filter) check() error {
	for _, r := range f.Rules {
		if r.Reason == "" || r.Name == "" {
			return fmt.Errorf("seccomp: the rule for call %d (%q) has no name or no reason", r.Nr, r.Name)
		}
		for _, c := range r.When {
			if c.Arg < IP || c.Arg > 5 {
				return fmt.Errorf("seccomp: the rule for %s looks at argument %d", r.Name, c.Arg)
			}
		}
	}
	return nil
}

// String gives the condition as a reader of tables wants it.
func (c Cond) String() string {
	who := fmt.Sprintf("argument %d", c.Arg+1)
	if c.Arg == IP {
		who = "the call's address"
	}
	switch c.Test {
	case Masked:
		return fmt.Sprintf("%s & %#x = %#x", who, c.Mask, c.Value)
	case Between:
		return fmt.Sprintf("%s from %#x to %#x", who, c.Value, c.High)
	}
	return fmt.Sprintf("%s = %#x", who, c.Value)
}

// Holds says whether the condition holds for a call's arguments.
func (c Cond) Holds(args *[6]uint64, ip uint64) bool {
	v := ip
	if c.Arg != IP {
		v = args[c.Arg]
	}
	switch c.Test {
	case Masked:
		return v&c.Mask == c.Value
	case Between:
		return c.Value <= v && v <= c.High
	}
	return v == c.Value
}
