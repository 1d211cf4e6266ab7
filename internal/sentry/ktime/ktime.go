// Package ktime reads the clocks that the Sentry itself uses, without a system
// call: the host's CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. The guest
// reads the same clocks through the host's vDSO, so that both always agree.
package ktime

import (
	"time"

	"golang.org/x/sys/unix"
)

var (
	start    = time.Now()
	monoBase = readMono() // CLOCK_MONOTONIC at start
)

func readMono() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano() - int64(time.Since(start))
}

// Mono gives CLOCK_MONOTONIC in nanoseconds.
func Mono() int64 { return monoBase + int64(time.Since(start)) }

// Real gives CLOCK_REALTIME in nanoseconds since the epoch.
func Real() int64 { return time.Now().UnixNano() }
