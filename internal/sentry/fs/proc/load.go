package proc

import (
	"math"
	"sync"

	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// loadAverage keeps the averages of running tasks over 1, 5 and 15 minutes. It
// is brought up to date when it is read: what happened in between is taken to
// have been as it is now.
type loadAverage struct {
	mu   sync.Mutex
	last int64
	avg  [3]float64
}

func (l *loadAverage) read(running int) [3]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := ktime.Mono()
	if l.last != 0 {
		seconds := float64(now-l.last) / 1e9
		for i, period := range []float64{60, 300, 900} {
			keep := math.Exp(-seconds / period)
			l.avg[i] = l.avg[i]*keep + float64(running)*(1-keep)
		}
	}
	l.last = now
	return l.avg
}
