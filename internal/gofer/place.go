package gofer

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// place is where the serving thread runs: on the CPU that its requests come
// from, as long as they come from one. The Sentry's thread sleeps meanwhile,
// and another CPU that idles would take longer to wake than most answers take.
type place struct {
	all    unix.CPUSet // that the process may use
	cpus   int         // how many those are; below 2 nothing is done
	pinned uint8       // CPU + 1, 0 none
	last   uint8       // what the last request said
	run    int         // requests in a row that said so
	need   int         // how many of those it takes to go there
	mixed  int         // grows with requests from other CPUs than pinned
}

const (
	placeSoon  = 3  // requests from one CPU, at first
	placeLate  = 64 // after they came from several
	placeMixed = 24
)

// here is the place of a thread that may run anywhere.
func here() (p place) {
	if unix.SchedGetaffinity(0, &p.all) == nil {
		p.cpus = p.all.Count()
	}
	p.need = placeSoon
	return p
}

// follow takes note of where a request came from.
func (p *place) follow(near uint8) {
	if p.cpus < 2 || near == 0 {
		return
	}
	if near == wire.FSAnywhere {
		if p.pinned != 0 {
			p.pinned, p.run = 0, 0
			_ = unix.SchedSetaffinity(0, &p.all)
		}
		return
	}
	if near == p.pinned {
		p.run, p.mixed = 0, max(p.mixed-1, 0)
		return
	}
	if near != p.last {
		p.last, p.run = near, 0
	}
	p.run++
	if p.mixed += 3; p.pinned != 0 && p.mixed >= placeMixed && p.run < p.need {
		p.pinned, p.need, p.run = 0, placeLate, 0
		_ = unix.SchedSetaffinity(0, &p.all)
		return
	}
	if p.run < p.need || !p.all.IsSet(int(near)-1) {
		return
	}
	var one unix.CPUSet
	one.Set(int(near) - 1)
	if unix.SchedSetaffinity(0, &one) == nil {
		p.pinned, p.run, p.mixed = near, 0, 0
	}
}
