package monitor

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
)

// resetVM is a machine that begins anew when it is told to.
type resetVM struct {
	hypervisor.VM
	reset func() error

	mu     sync.Mutex
	used   time.Duration
	resets int
}

func (v *resetVM) Done() <-chan struct{} { return nil }

func (v *resetVM) Stats() (hypervisor.Stats, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return hypervisor.Stats{CPU: v.used}, nil
}

func (v *resetVM) Reset() error {
	v.mu.Lock()
	v.resets++
	v.mu.Unlock()
	return v.reset()
}

// agents answers as those of one machine after another do, each with timers that
// are wrong or right.
func agents(t *testing.T, ch io.ReadWriteCloser, wrong []bool) {
	for i, w := range wrong {
		if i == len(wrong)-1 {
			if _, err := agentconn.Accept(ch, w); err != nil {
				t.Error(err)
			}
			return
		}
		var hello [16]byte
		if _, err := io.ReadFull(ch, hello[:]); err != nil {
			t.Error(err)
			return
		}
		if w {
			hello[10] = 1
		}
		if _, err := ch.Write(hello[:]); err != nil {
			t.Error(err)
		}
	}
}

// TestWrongTimers: a machine is begun anew until its timers are right, or as often
// as is allowed.
func TestWrongTimers(t *testing.T) {
	for _, c := range []struct {
		what   string
		wrong  []bool
		left   int
		reset  error
		resets int
		still  bool
	}{
		{"right", []bool{false}, 3, nil, 0, false},
		{"right at last", []bool{true, true, false}, 3, nil, 2, false},
		{"never", []bool{true, true, true}, 2, nil, 2, true},
		{"no reset", []bool{true}, 3, errors.New("refused"), 1, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			vm := &resetVM{reset: func() error { return c.reset }}
			var answered sync.WaitGroup
			answered.Go(func() { agents(t, theirs, c.wrong) })
			conn, err := greet(vm, ours, time.Minute, &restarts{vm: vm, left: c.left, debugf: t.Logf})
			if err != nil {
				t.Fatal(err)
			}
			answered.Wait()
			defer conn.Close()
			if vm.resets != c.resets || conn.TimersWrong != c.still {
				t.Errorf("%d resets, still wrong: %v; want %d and %v", vm.resets, conn.TimersWrong, c.resets, c.still)
			}
		})
	}
}

// TestAsleep: a machine that uses no CPU time is told of, again and again, and one
// that does is not.
func TestAsleep(t *testing.T) {
	left := make(chan struct{})
	defer close(left)
	vm := &resetVM{}
	sleeps := asleep(vm, 100*time.Millisecond, left)
	for range 2 {
		select {
		case <-sleeps:
		case <-time.After(20 * time.Second):
			t.Fatal("a machine that sleeps was not told of")
		}
	}
	busy := &resetVM{}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			busy.mu.Lock()
			busy.used += time.Second
			busy.mu.Unlock()
		}
	}()
	select {
	case <-asleep(busy, 2*time.Second, left):
		t.Error("a machine that works was taken for one that sleeps")
	case <-time.After(4 * time.Second):
	}
}
