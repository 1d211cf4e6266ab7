package sys

import "testing"

// BenchmarkNew is what a sandbox's start pays for /sys.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		New(Config{CPUs: 2})
	}
}
