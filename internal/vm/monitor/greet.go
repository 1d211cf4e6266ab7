package monitor

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
)

// bootWait is how much CPU time a machine may take to its agent's first word.
// Under the translator it takes four to six seconds, on a host with twelve
// times as much to do as it has CPUs, too; but a translated CPU that spins for
// one that the host does not run can multiply that. A machine that hangs spins
// as well, or waits: bootWait tells them apart from one that is slow.
const bootWait = 2 * time.Minute

// A start can go wrong for want of the host's CPUs: the guest's kernel measures
// its timers' rate while it boots (package word), and a CPU that the host does
// not run at that moment makes it wrong by as much as was lost. The agent says so,
// but where the kernel finds its timer too slow to be one (it lost nearly all of a
// tenth of a second) nothing wakes it any more, and it sleeps for ever. Such a
// machine is begun anew.
const (
	// maxRestarts is how often. At a load of eleven on two CPUs two starts of five
	// were wrong by more than is taken, and one of a hundred slept.
	maxRestarts = 5
	// A machine sleeps that has used less than asleepCPU in asleepTime.
	asleepTime = 10 * time.Second
	asleepCPU  = 50 * time.Millisecond
)

// errTimers is a guest that is worth no template.
var errTimers = errors.New("the guest's kernel has measured its timers wrong in each of its starts: the host does not run it in time")

// restarts begins a machine anew, a few times. nil never does.
type restarts struct {
	vm     hypervisor.VM
	debugf func(format string, a ...any)

	mu   sync.Mutex
	left int
}

// again says whether the machine begins anew, because of what why says.
func (r *restarts) again(why string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	vm, ok := r.vm.(hypervisor.Resetter)
	if !ok || r.left == 0 {
		return false
	}
	r.left--
	if err := vm.Reset(); err != nil {
		r.debugf("%s, and the machine does not begin anew: %v", why, err)
		return false
	}
	r.debugf("%s: the machine begins anew, at most %d more times", why, r.left)
	return true
}

// greet waits for the agent's first word.
func greet(vm hypervisor.VM, ch net.Conn, limit time.Duration, r *restarts) (*agentconn.Conn, error) {
	type result struct {
		conn *agentconn.Conn
		err  error
	}
	done := make(chan result, 1)
	g := agentconn.NewGreeter(ch, func() bool { return r.again("the guest's timers are wrong") })
	go func() {
		c, err := g.Connect()
		done <- result{c, err}
	}()
	left := make(chan struct{})
	defer close(left)
	late := spent(vm, limit, left)
	var sleeps <-chan struct{}
	if r != nil {
		sleeps = asleep(vm, asleepTime, left)
	}
	for {
		select {
		case got := <-done:
			if got.err != nil {
				select {
				case <-vm.Done():
					return nil, fmt.Errorf("the VM has ended before its agent spoke: %w", vm.Err())
				case <-time.After(time.Second):
				}
			}
			return got.conn, got.err
		case <-vm.Done():
			ch.Close()
			return nil, fmt.Errorf("the VM has ended before its agent spoke: %w", vm.Err())
		case used := <-late:
			ch.Close()
			return nil, fmt.Errorf("the agent in the VM has not spoken after %v of the hypervisor's CPU time: see the console (--debug-log)", used)
		case <-sleeps:
			if r.again("the guest sleeps and its agent has not spoken") {
				_ = g.Hello() // where the channel has ended, Connect says so
			}
		}
	}
}

// asleep tells each time that a machine has slept for so long, until left is
// closed.
func asleep(vm hypervisor.VM, long time.Duration, left <-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		since, used := time.Now(), time.Duration(0)
		for {
			select {
			case <-left:
				return
			case <-vm.Done():
				return
			case <-time.After(long / 10):
			}
			st, err := vm.Stats()
			if err != nil || st.CPU-used > asleepCPU {
				since, used = time.Now(), st.CPU
			}
			if time.Since(since) < long {
				continue
			}
			select {
			case out <- struct{}{}:
			case <-left:
				return
			}
			since = time.Now()
		}
	}()
	return out
}

// spent tells when a machine has used so much CPU time, or waited five times as
// long: on a busy host a boot that does well may take minutes. It looks until left is
// closed.
func spent(vm hypervisor.VM, limit time.Duration, left <-chan struct{}) <-chan time.Duration {
	out := make(chan time.Duration, 1)
	go func() {
		begin := time.Now()
		for {
			select {
			case <-left:
				return
			case <-vm.Done():
				return
			case <-time.After(min(limit/4, time.Second)):
			}
			st, err := vm.Stats()
			passed := time.Since(begin)
			if passed > limit && (err != nil || st.CPU > limit) || passed > 5*limit {
				out <- st.CPU
				return
			}
		}
	}()
	return out
}
