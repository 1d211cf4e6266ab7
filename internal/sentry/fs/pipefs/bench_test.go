package pipefs

import "testing"

// BenchmarkSmall is a byte in and out; BenchmarkPage a page.
func BenchmarkSmall(b *testing.B) { benchmark(b, 1) }
func BenchmarkPage(b *testing.B)  { benchmark(b, PageSize) }

func benchmark(b *testing.B, n int) {
	r, w, rd, wd := pair(b)
	buf := make([]byte, n)
	b.ReportAllocs()
	for b.Loop() {
		w.Write(nil, wd, buf, 0)
		r.Read(nil, rd, buf, 0)
	}
}
