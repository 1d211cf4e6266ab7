// Package host knows what this machine can do for a VM: whether KVM runs a
// guest here, how fast the time-stamp counter is, how much memory is left. What
// takes time to find out is kept per boot of the machine, in the VM's cache.
package host

import "time"

// rdtsc reads the time-stamp counter.
func rdtsc() uint64

// measure is how long the counter is compared with the clock.
const measure = 20 * time.Millisecond

// TSCKHz measures the frequency of the time-stamp counter in kHz. QEMU's
// translator gives the guest the host's counter, and a guest that has to find
// its frequency without a PIT hangs: it is told (tsc_early_khz).
func TSCKHz() uint64 {
	var best uint64
	var least time.Duration = 1 << 62
	// The try with the tightest clock readings is the one not interrupted.
	for range 3 {
		t0, a := bracket()
		for time.Since(t0.at) < measure {
		}
		t1, b := bracket()
		if slack := t0.slack + t1.slack; slack < least {
			least = slack
			best = uint64(float64(b-a) / (float64(t1.at.Sub(t0.at)) / 1e6))
		}
	}
	return best
}

type reading struct {
	at    time.Time
	slack time.Duration
}

// bracket reads the counter between two looks at the clock.
func bracket() (reading, uint64) {
	before := time.Now()
	c := rdtsc()
	slack := time.Since(before)
	return reading{before.Add(slack / 2), slack}, c
}
