package platform

// What spinTurn found.
const (
	spinIdle      int32 = 0
	spinTurned    int32 = 1 // turn is odd
	spinPreempted int32 = 2
)

//go:noescape
func spinTurn(turn *uint32, ticks int64, gap int64) int32

func rdtsc() int64

// currentCPU gives the CPU that runs the caller.
func currentCPU() int64

// CurrentCPU gives the CPU that runs the caller at this moment.
func CurrentCPU() int { return int(currentCPU()) }

// SpareCPU tells whether another process could work for this one beside it.
func SpareCPU() bool { return sched.cpus > 1 }

// aheadMicros is how long what is asked for ahead may take: then the answer lies
// there, and nobody wants it yet.
const aheadMicros = 10000

// Ahead says that another process begins, or ends, to work for this one while it
// goes on: that one takes the CPU that a pair would spin on.
func Ahead(begins bool) {
	until := int64(0)
	if begins {
		until = rdtsc() + aheadMicros*perMicro()
	}
	sched.ahead.Store(until)
}
