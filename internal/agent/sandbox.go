package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// configure sets up what containers share.
func (a *Agent) configure(s *agentpb.Sandbox) error {
	if s == nil {
		return nil
	}
	if s.Time != nil {
		if err := setTime(s.Time); err != nil {
			return err
		}
	}
	if len(s.Random) > 0 {
		if err := addRandom(s.Random); err != nil {
			return err
		}
	}
	if err := setNames(s.GetHostname(), s.GetDomainname()); err != nil {
		return err
	}
	if s.Network != nil {
		if err := a.network(s.Network); err != nil {
			return err
		}
	}
	for name, value := range s.Sysctl {
		if err := setSysctl(name, value); err != nil {
			return err
		}
	}
	return nil
}

func setTime(t *agentpb.Time) error {
	ts := unix.NsecToTimespec(t.UnixNanos)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	return nil
}

// maxRandom bounds what is added to the random pool at once.
const maxRandom = 4096

func addRandom(b []byte) error {
	if len(b) == 0 || len(b) > maxRandom {
		return fmt.Errorf("random %w: %d bytes; 1 to %d are taken", errInvalid, len(b), maxRandom)
	}
	return reseed(b)
}

// prepareSnapshot makes the agent ready to be copied.
func (a *Agent) prepareSnapshot(req *agentpb.SnapshotRequest) error {
	if err := a.prepare(); err != nil {
		return err
	}
	for _, g := range req.ModuleGroups {
		leave := a.stages.enter("loading the modules of %s", g)
		err := a.modules.load(g)
		leave()
		if err != nil {
			return err
		}
	}
	a.modules.release()
	a.mu.Lock()
	n := len(a.containers)
	a.snapshot = n == 0
	a.mu.Unlock()
	if n > 0 {
		return fmt.Errorf("the VM %w: it has containers", errState)
	}
	if a.spare == nil {
		leave := a.stages.enter("rehearsing")
		a.rehearse()
		leave()
	}
	if req.Container != nil {
		defer a.stages.enter("making the container")()
		return a.prepareContainer(req.Container)
	}
	defer a.stages.enter("dropping caches")()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	return nil
}

// event keeps an event for NextEvent.
func (a *Agent) event(e *agentpb.Event) {
	select {
	case a.events <- e:
	default: // nobody has asked for a long time
	}
}

// watchMemory tells of processes that the kernel killed for memory: the
// kernel notifies inotify(7) of changes of memory.events.
func (a *Agent) watchMemory(c *container) {
	a.openInotify()
	if a.inotify > 0 {
		_, _ = unix.InotifyAddWatch(a.inotify, c.cgroup.dir+"/memory.events", unix.IN_MODIFY)
	}
}

func (a *Agent) openInotify() {
	a.watchOnce.Do(func() {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			say("inotify: %v", err)
			return
		}
		a.inotify = fd
		go a.watch(os.NewFile(uintptr(fd), "inotify"))
	})
}

func (a *Agent) watch(f *os.File) {
	seen := make(map[*container]uint64)
	buf := make([]byte, 4096)
	for {
		if _, err := f.Read(buf); err != nil {
			say("inotify: %v", err)
			return
		}
		a.mu.Lock()
		var list []*container
		for _, c := range a.containers {
			list = append(list, c)
		}
		a.mu.Unlock()
		for _, c := range list {
			c.mu.Lock()
			made := c.init != nil
			c.mu.Unlock()
			if !made {
				continue
			}
			if n := c.cgroup.oomKills(); n > seen[c] {
				seen[c] = n
				a.event(&agentpb.Event{Kind: agentpb.Event_OOM, ContainerId: c.id})
			}
		}
	}
}
