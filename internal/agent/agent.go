package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/agent/word"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Agent is the one of a VM.
type Agent struct {
	options options
	modules *modules
	version string

	initNanos, channelNanos, helloNanos uint64

	late   sync.Once
	lateE  error
	cpus   chan error // the CPUs behind the first are up
	stages stages

	pidNS   int // the agent's own PID namespace
	lastCap int

	events     chan *agentpb.Event
	spawned    chan struct{} // a hint for the reaper that there are children again
	watchOnce  sync.Once
	forgetOnce sync.Once
	behindOnce sync.Once
	inotify    int

	ptsOnce sync.Once
	pts     int // root of the agent's own devpts

	mu         sync.Mutex
	session    *agentconn.Session
	snapshot   bool // the connection may end
	containers map[string]*container
	spare      *cgroup // made ahead by rehearse
	prepared   *prepared

	reapMu    sync.Mutex
	processes map[int]*process // that have not ended, by pid

	storageMu  sync.Mutex
	storages   map[string]*storage
	storageSeq int
	shared     map[string]bool
	disks      map[string]string // serial number → name, of those that a snapshot has
}

// maxFiles is the hard limit of descriptors that a process starts with.
const maxFiles = 1 << 20

// Main is PID 1, and the rest of what package word has begun. It returns only what went wrong before the host could be told.
func Main(version string) error {
	a := &Agent{
		version: version, initNanos: word.First.Began,
		events: make(chan *agentpb.Event, 64), spawned: make(chan struct{}, 1), cpus: make(chan error, 1),
		containers: make(map[string]*container), processes: make(map[int]*process),
		storages: make(map[string]*storage), shared: make(map[string]bool),
	}
	dir, err := enterRoot()
	if err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("the kernel's command line: %w", err)
	}
	a.options = parseOptions(string(cmdline))
	debug = a.options.debug
	say("it began at %.3f", float64(a.initNanos)/1e9)
	if a.modules, err = newModules(dir); err != nil {
		return err
	}
	go a.ahead()
	if err := a.protect(); err != nil {
		return err
	}
	if err := a.modules.boot(&word.First); err != nil {
		return err
	}
	ch, err := openChannel(a.options, a.modules)
	if err != nil {
		return err
	}
	return a.serve(ch)
}

// protect makes PID 1 what no container can look into or use up.
func (a *Agent) protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxFiles, Max: maxFiles}); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	var err error
	if a.pidNS, err = unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("the PID namespace: %w", err)
	}
	last, err := readFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return fmt.Errorf("the last capability: %w", err)
	}
	if a.lastCap = int(number(last)); a.lastCap < 1 || a.lastCap > 62 {
		return fmt.Errorf("the last capability is %q", last)
	}
	// If the agent dies, or the kernel has lost its way, the kernel panics and
	// ends the VM at once.
	for _, v := range [][2]string{{"panic", "-1"}, {"panic_on_oops", "1"}} {
		if err := os.WriteFile("/proc/sys/kernel/"+v[0], []byte(v[1]), 0); err != nil {
			return fmt.Errorf("kernel.%s: %w", v[0], err)
		}
	}
	return nil
}

// serve answers the host until the channel ends for good.
func (a *Agent) serve(ch channel) error {
	a.channelNanos = bootNanos()
	if word.First.FD >= 0 {
		a.channelNanos = word.First.Opened
	}
	say("the channel is open")
	go a.reap()
	for {
		// Made while nobody waits, and before a snapshot of this.
		srv, err := ttrpc.NewServer()
		if err != nil {
			return fmt.Errorf("ttrpc: %w", err)
		}
		agentpb.RegisterAgentService(srv, &service{a})
		conn, err := ch.next()
		if err != nil {
			return err
		}
		var s *agentconn.Session
		said := uint64(0)
		if ch.takeGreeted() {
			s, err = agentconn.Greeted(conn)
			said = word.First.Answered
		} else {
			s, err = agentconn.Accept(conn, word.First.TimersWrong())
		}
		if err != nil {
			say("%v", err)
			conn.Close()
			continue
		}
		if a.helloNanos = said; said == 0 {
			a.helloNanos = bootNanos()
		}
		say("the host has said hello")
		a.mu.Lock()
		a.session, a.snapshot = s, false
		a.mu.Unlock()
		if err := a.answer(s, srv); err != nil {
			return err
		}
		a.mu.Lock()
		again := a.snapshot
		a.mu.Unlock()
		if !again {
			say("the host has closed the channel")
			a.powerOff()
		}
	}
}

// answer serves one session.
func (a *Agent) answer(s *agentconn.Session, srv *ttrpc.Server) error {
	l := &controlListener{conn: s.Control(), done: s.Done()}
	go func() { _ = a.prepare() }() // its error is that of the first container
	err := srv.Serve(context.Background(), l)
	_ = srv.Close()
	_ = s.Close()
	if err != nil && err != ttrpc.ErrServerClosed && err != net.ErrClosed {
		return fmt.Errorf("ttrpc: %w", err)
	}
	return nil
}

// prepare makes ready what the first container needs, while the host thinks.
func (a *Agent) prepare() error {
	a.late.Do(func() {
		leave := a.stages.enter("cgroups and loopback")
		if a.lateE = lateMounts(); a.lateE == nil {
			a.lateE = upLoopback()
		}
		leave()
		if err := <-a.cpus; a.lateE == nil {
			a.lateE = err
		}
	})
	return a.lateE
}

// newPTY opens a terminal of a container's devpts, or of the agent's own for a
// container that has none.
func (a *Agent) newPTY(devpts int) (master, slave int, err error) {
	if devpts >= 0 {
		return newPTY(devpts)
	}
	a.ptsOnce.Do(func() { a.pts, err = fsMount("devpts", "devpts", "ptmxmode=0666,mode=0620,gid=5", 0) })
	if err != nil {
		return -1, -1, err
	}
	return newPTY(a.pts)
}

// controlListener gives the control stream, and ends with the session.
type controlListener struct {
	once sync.Once
	conn net.Conn
	done <-chan struct{}
}

func (l *controlListener) Accept() (net.Conn, error) {
	var c net.Conn
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *controlListener) Close() error   { return nil }
func (l *controlListener) Addr() net.Addr { return l.conn.LocalAddr() }

// bootNanos is the time since the kernel began.
func bootNanos() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// debug says whether say does.
var debug bool

// say writes a line to the console.
func say(format string, args ...any) {
	if debug {
		fmt.Fprintf(os.Stderr, "agent: %.3f "+format+"\n", append([]any{float64(bootNanos()) / 1e9}, args...)...)
	}
}

// PowerOff ends the VM. What could be lost is on volumes, which are synced.
func PowerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	for {
		time.Sleep(time.Hour)
	}
}

func (a *Agent) powerOff() {
	_ = unix.Kill(-1, unix.SIGKILL)
	PowerOff()
}
