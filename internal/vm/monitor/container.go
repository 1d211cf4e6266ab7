package monitor

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// guestContainer is one container in the VM: the first, whose sandbox it is, or a
// further one of a pod. Its methods are those of wire.ControlHandler.
type guestContainer struct {
	*monitor
	id    string // its name in the VM
	conf  *wire.SentryConfig
	trees *wire.GoferConfig
	opts  *wire.VMOptions

	// updating is held while limits change; conf.Limits are those that the guest
	// has.
	updating sync.Mutex

	started chan struct{} // closed when init runs

	// These are guarded by monitor.mu.
	begun bool             // Start has been called
	procs map[string]*proc // "" is init
	next  int              // of the names of exec'ed processes
}

func newContainer(m *monitor, id string, cfg *wire.VMConfig) *guestContainer {
	return &guestContainer{
		monitor: m, id: id, conf: &cfg.Container, trees: &cfg.Trees, opts: &cfg.VM,
		started: make(chan struct{}), procs: make(map[string]*proc),
	}
}

// isMember says whether it has joined another's VM.
func (m *guestContainer) isMember() bool { return m != m.first }

// exitCode is what a process on the host ends with in place of one in the guest.
func exitCode(status uint32) int {
	if ws := unix.WaitStatus(status); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return int(status >> 8 & 0xff)
}
