package platform

//go:noescape
func spinTurn(turn *uint32, want uint32, ticks int64, gap int64) int32

func rdtsc() int64

// currentCPU gives the CPU that runs the caller.
func currentCPU() int64
