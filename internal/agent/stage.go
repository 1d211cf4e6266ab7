package agent

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// stages are what the agent is just doing to get ready. Under a hypervisor that
// is starved or has lost an interrupt any of it can take for ever, and the host
// sees no more than that no answer comes: it is told where the agent is.
type stages struct {
	mu  sync.Mutex
	now map[string]time.Time // since when
}

// enter notes that something has begun; the function it gives that it has ended.
func (s *stages) enter(format string, args ...any) (leave func()) {
	name := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = make(map[string]time.Time)
	}
	s.now[name] = time.Now()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.now, name)
	}
}

// String gives what is going on, the oldest first.
func (s *stages) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.now {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return s.now[names[i]].Before(s.now[names[j]]) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (for %v)", name, time.Since(s.now[name]).Round(time.Millisecond))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// withAnswer does something for a request, and answers when a quarter of the
// request's time is left, whether it is done or not; what is not done goes on.
func (s *stages) withAnswer(ctx context.Context, do func() error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return do()
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	left := time.Until(deadline)
	timer := time.NewTimer(left - left/4)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: after %v the agent is at: %v", context.DeadlineExceeded, (left - left/4).Round(time.Millisecond), s)
	}
}
