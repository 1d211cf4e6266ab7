// Package probe makes system calls inside a container, and tells what became of
// each: it is the part of the audit that runs behind the wall, a hidden command
// of the static workbench program, which is put into the bundle.
//
// Every call is made by a child of its own, with arguments that do no harm:
// descriptors that are not open, pointers to nothing, flags that do not exist.
// The child and the probe share a page; a child that does not come back is
// killed. It holds no locks, and keeps to one goroutine.
//
//	probe ── fork ──▶ child: state = 1, the call, result, state = 2, exit
//	   ◀─ wait4 ─────
package probe

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the hidden command's name; Hold, as its argument, stays.
const (
	Command = "audit-probe"
	Hold    = "hold"
)

// Kind is the way into the kernel.
type Kind uint8

// Kinds.
const (
	Native Kind = iota // the instruction syscall
	Forks              // the same, and it may make a process
	I386               // int 0x80
	Stub               // the instruction inside the Sentry's stub
)

// Case is one call.
type Case struct {
	Kind Kind
	Nr   uintptr
	Args [6]uintptr
}

// State is what became of a call.
type State uint8

// States.
const (
	Missing  State = iota // no result: the probe did not get there
	Returned              // the call came back with Result
	Ended                 // the child exited in the call
	Killed                // a signal ended the child: Result is its number
	Blocked               // it did not come back in time
	NoChild               // no child could be made: Result is the errno
)

// Result is what became of one case.
type Result struct {
	State  State
	Result int64
}

// limit is how long a call may take. Only calls that wait reach it.
const limit = 150 * time.Millisecond

// Run makes the calls and writes a line for each: its index, state and result.
// slow multiplies the time limit.
func Run(cases []Case, slow int, w io.Writer) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("probe: a shared page: %w", err)
	}
	p := &prober{shared: sharedPage(mem), limit: limit * time.Duration(max(slow, 1))}
	defaultSignals()
	out := bufio.NewWriter(w)
	for i := range cases {
		r := p.one(&cases[i])
		fmt.Fprintf(out, "%d %d %d\n", i, r.State, r.Result)
		if i%64 == 0 {
			out.Flush() // how far it came, should it not come to the end
		}
	}
	fmt.Fprintln(out, "done")
	return out.Flush()
}

// Stay is a container that does nothing until it is killed.
func Stay(w io.Writer) error {
	fmt.Fprintln(w, "ready")
	for {
		time.Sleep(time.Hour)
	}
}

type prober struct {
	shared *page
	limit  time.Duration
	stub   uintptr // where sys6 of the stub is; 1 if there is none
}

func (p *prober) one(c *Case) Result {
	if c.Kind == Stub && !p.findStub() {
		return Result{State: Missing}
	}
	r := p.child(c)
	if c.Kind == Stub && r.State == Blocked {
		// None of these waits: the host has been slow. It gets its time.
		p.limit *= 20
		r = p.child(c)
		p.limit /= 20
	}
	return r
}

// child makes the call in a process of its own.
func (p *prober) child(c *Case) Result {
	p.shared.state, p.shared.result = 0, 0
	pid := call(unix.SYS_CLONE, &[6]uintptr{uintptr(unix.SIGCHLD)})
	if pid == 0 {
		inChild(p.shared, c, p.stub)
	}
	if e := errno(pid); e != 0 {
		return Result{NoChild, int64(e)}
	}
	return p.wait(int(pid))
}

// inChild is all that the child does. It may not grow the stack or call into
// Go's runtime: the other threads are not there.
//
//go:nosplit
//go:norace
func inChild(s *page, c *Case, stub uintptr) {
	args := [6]uintptr{unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)}
	call(unix.SYS_PRCTL, &args)
	call(unix.SYS_SETSID, &args)
	s.state = 1
	switch c.Kind {
	case Native:
		s.result = call(c.Nr, &c.Args)
	case Forks:
		s.result = callFork(c.Nr, &c.Args)
	case I386:
		s.result = call32(c.Nr, &c.Args)
	case Stub:
		if c.Nr == search {
			s.result = scan(c.Args[0], c.Args[1])
		} else {
			s.result = callStub(stub, c.Nr, &c.Args)
		}
	}
	s.state = 2
	args = [6]uintptr{}
	for {
		call(unix.SYS_EXIT_GROUP, &args)
		call(unix.SYS_EXIT, &args)
	}
}

func (p *prober) wait(pid int) Result {
	var status unix.WaitStatus
	pause := 20 * time.Microsecond
	for end := time.Now().Add(p.limit); ; {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG|unix.WALL, nil)
		if got == pid {
			return p.result(status)
		}
		if err != nil && err != unix.EINTR {
			return Result{NoChild, int64(err.(unix.Errno))}
		}
		if time.Now().After(end) {
			break
		}
		time.Sleep(pause)
		pause = min(2*pause, 2*time.Millisecond)
	}
	unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != unix.EINTR {
			break
		}
	}
	if p.shared.state == 2 { // it returned, and was slow to end
		return Result{Returned, int64(p.shared.result)}
	}
	return Result{State: Blocked}
}

func (p *prober) result(status unix.WaitStatus) Result {
	switch {
	case p.shared.state == 2:
		return Result{Returned, int64(p.shared.result)}
	case status.Signaled():
		return Result{Killed, int64(status.Signal())}
	}
	return Result{State: Ended}
}

func errno(r uintptr) unix.Errno {
	if r > ^uintptr(4095) {
		return unix.Errno(-r)
	}
	return 0
}

// Where the Sentry's stub is (internal/platform), and how far its text goes.
const (
	stubBase = 0x7ff000000000
	stubText = 0x2000
	search   = ^uintptr(0) // as the number of a case: look for sys6
)

// sys6 is how the stub's function of that name begins: the number to rax, each
// argument one register on.
var sys6 = [...]byte{0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8}

// findStub looks for the stub in a child, which dies where there is none.
func (p *prober) findStub() bool {
	if p.stub == 0 {
		p.stub = 1
		r := p.child(&Case{Kind: Stub, Nr: search, Args: [6]uintptr{stubBase, stubText}})
		if r.State == Returned && r.Result != 0 {
			p.stub = uintptr(r.Result)
		}
	}
	return p.stub != 1
}

// scan looks for sys6 in memory.
//
//go:nosplit
func scan(from, size uintptr) uintptr {
	for at := from; at < from+size-uintptr(len(sys6)); at++ {
		n := 0
		for n < len(sys6) && readByte(at+uintptr(n)) == sys6[n] {
			n++
		}
		if n == len(sys6) {
			return at
		}
	}
	return 0
}

// Main is the hidden command.
func Main(args []string, cases []Case) int {
	var err error
	if len(args) > 0 && args[0] == Hold {
		err = Stay(os.Stdout)
	} else {
		slow := 1
		if len(args) > 0 {
			fmt.Sscan(args[0], &slow)
		}
		err = Run(cases, slow, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead audit:", err)
		return 1
	}
	return 0
}
