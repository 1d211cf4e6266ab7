package proc

import "testing"

// BenchmarkNew is what a sandbox's start pays for /proc.
func BenchmarkNew(b *testing.B) {
	v := &view{tasks: map[int32]*task{}}
	b.ReportAllocs()
	for range b.N {
		New(v, Config{CPUs: 2}).NewInstance("")
	}
}
