package gofer

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// TestPlace holds when the serving thread changes its CPU.
func TestPlace(t *testing.T) {
	runtime.LockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	p := here()
	if p.cpus < 2 {
		return // nowhere to go
	}
	var two []uint8
	for c := 0; c < 255 && len(two) < 2; c++ {
		if all.IsSet(c) {
			two = append(two, uint8(c)+1)
		}
	}
	a, b := two[0], two[1]
	times := func(n int, near ...uint8) {
		for i := range n {
			p.follow(near[i%len(near)])
		}
	}
	where := func(want uint8) {
		t.Helper()
		var set unix.CPUSet
		if unix.SchedGetaffinity(0, &set) != nil || p.pinned != want {
			t.Errorf("pinned to %d, want %d", p.pinned, want)
		}
		if want != 0 && (set.Count() != 1 || !set.IsSet(int(want)-1)) || want == 0 && set != all {
			t.Errorf("may run on %v, pinned to %d", set, want)
		}
	}
	times(placeSoon-1, a)
	where(0)
	times(1, a)
	where(a)
	times(10, 0)
	where(a)
	times(placeSoon, b)
	where(b)
	times(100, a, b)
	where(0)
	times(placeLate-2, b)
	where(0)
	times(1, b)
	where(b)
	p.follow(wire.FSAnywhere)
	where(0)
}
