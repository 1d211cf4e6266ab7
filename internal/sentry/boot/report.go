package boot

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"time"

	"bulkhead.dev/bulkhead/internal/wire"
)

// maxStacks bounds the goroutines' stacks in a report; as much again of the rest fits
// into a control message.
const maxStacks = 1 << 20

// Report says what every task waits for, and where every goroutine is: wire.Reporter.
func (s *sandbox) Report() (wire.ReportResult, error) {
	var b bytes.Buffer
	s.k.Describe(&b)
	b.Truncate(min(b.Len(), maxStacks))
	stacks := make([]byte, maxStacks)
	b.Write(stacks[:runtime.Stack(stacks, true)])
	return wire.ReportResult{Text: b.String()}, nil
}

// endLimit is how long the Sentry may take to end once init has. All that finish waits
// for is bounded by a few seconds; a machine that stands still is another matter.
const endLimit = time.Minute

// mustEnd ends the process by a crash, which shows all stacks, if it is still there
// after the limit: a sandbox that has printed its results and stays is worse.
func (s *sandbox) mustEnd(limit time.Duration) *time.Timer {
	return time.AfterFunc(limit, func() {
		debug.SetTraceback("all")
		var b bytes.Buffer
		s.k.Describe(&b)
		panic("the container's init ended " + limit.String() + " ago, and the Sentry has not:\n" + b.String())
	})
}
