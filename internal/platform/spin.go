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

// SpareCPU tells whether another process could work for this one without taking
// the CPU of a pair that spins.
func SpareCPU() bool { return 2*int(sched.spinners.Load()) < sched.cpus && sched.cpus > 1 }
