package boot

import (
	"math"
	"runtime"
	"runtime/debug"
)

// A small heap that is collected at every megabyte costs more time than it
// saves memory: garbage is left lying up to gcFloor, above that up to gcPercent
// of what lives.
const (
	gcFloor   = 8 << 20
	gcPercent = 100
)

// tuneGC takes over the collector's pace at the first collection. Until then the
// lifecycle has turned it off up to wire.SentryFirstGC, by the environment:
// most programs end before.
func tuneGC() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetGCPercent(gcPercent) // not started by the lifecycle
		return
	}
	afterGC(func() bool {
		debug.SetMemoryLimit(math.MaxInt64)
		return pace()
	})
}

// pace sets the percentage for the heap as it is; false: it stays at gcPercent.
func pace() bool {
	var m runtime.MemStats // runtime/metrics would cost every start its tables
	runtime.ReadMemStats(&m)
	// The runtime itself never collects below 4 MB times the percentage.
	percent := int(gcFloor * 100 / max(m.HeapAlloc, gcFloor/2))
	percent = max(percent, gcPercent)
	debug.SetGCPercent(percent)
	return percent > gcPercent
}

// afterGC calls f after each collection until it gives false.
func afterGC(f func() bool) {
	mark := new(*int) // what points to nothing may share its block with others
	runtime.SetFinalizer(mark, func(**int) {
		if f() {
			afterGC(pace)
		}
	})
}
