package epoll

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/fs/eventfd"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// BenchmarkCollect: one of a thousand watched files is ready.
func BenchmarkCollect(b *testing.B) {
	ep, f := New(), eventfd.New(1, false)
	for i := range int32(999) {
		ep.Add(nil, i+10, describe(eventfd.New(0, false)), waiter.In, 0)
	}
	ep.Add(nil, 3, describe(f), waiter.In, 0)
	buf := make([]byte, 64*EventSize)
	b.ReportAllocs()
	for b.Loop() {
		if ep.Collect(nil, buf) != 1 {
			b.Fatal("not ready")
		}
	}
}
