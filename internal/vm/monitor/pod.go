package monitor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/virtiofs"
	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A pod's VM takes further containers while it runs. A microvm has no hot-plug,
// so that their roots and volumes come by two shares that it has from its boot:
// the lifecycle mounts each tree below the directory that virtiofsd serves, in
// virtiofsd's own mount namespace, where the monitor itself could not.

// Tags of the two shares.
const (
	podRootsTag   = "pod-roots"
	podVolumesTag = "pod-volumes"
)

// maxMembers bounds the containers of a pod.
const maxMembers = 256

// pod are the places for the trees of those who join, in the order of Place's
// answer.
type pod struct{ places [wire.PlaceFDs]*os.File }

// makePod starts the two shares of a pod.
func (m *monitor) makePod(cfg *hypervisor.Config) error {
	if !m.cfg.VM.Pod {
		return nil
	}
	if !m.cfg.Container.Privileges.MountNamespace {
		return errors.New("a pod behind the VM wall needs mount namespaces, which may not be made here")
	}
	m.pod = new(pod)
	for i, tag := range []string{podRootsTag, podVolumesTag} {
		cache := virtiofs.CacheAlways // nobody else changes a root
		if tag == podVolumesTag {
			cache = virtiofs.CacheAuto
		}
		dir := filepath.Join(m.scratch, tag)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("share %s: %w", tag, err)
		}
		if err := m.share(cfg, tag, cache, []virtiofs.Tree{{Source: dir}}); err != nil {
			return err
		}
		daemon := m.shares[len(m.shares)-1]
		for j, p := range []struct {
			path  string
			flags int
		}{{dir, unix.O_PATH | unix.O_DIRECTORY}, {fmt.Sprintf("/proc/%d/ns/mnt", daemon.Pid), unix.O_RDONLY}} {
			fd, err := unix.Open(p.path, p.flags|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("share %s: %s: %w", tag, p.path, err)
			}
			m.pod.places[2*i+j] = os.NewFile(uintptr(fd), p.path)
		}
	}
	return nil
}

// errNoPod is the answer of a VM that was made for one container.
var errNoPod = &wire.ControlError{Message: "this VM was made for one container: it is no pod's", Errno: int(unix.ENOSYS)}

// Place gives the descriptors of the pod's shares.
func (m *guestContainer) Place() ([]int, error) {
	if m.pod == nil {
		return nil, errNoPod
	}
	var out []int
	for _, f := range m.pod.places {
		out = append(out, int(rawFD(f)))
	}
	return out, nil
}

// Join makes one more container in the VM.
func (m *guestContainer) Join(args wire.JoinArgs, fds []int) error {
	c, err := m.admit(&args, fds)
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return err
	}
	if err := c.create(args.Start, [3]int(fds)); err != nil {
		m.Gone(args.Name)
		return err
	}
	return nil
}

// admit notes a container that may join.
func (m *monitor) admit(args *wire.JoinArgs, fds []int) (*guestContainer, error) {
	if m.pod == nil {
		return nil, errNoPod
	}
	if len(fds) != 3 || args.Name == "" || len(args.Config.Trees.Mounts) == 0 {
		return nil, &wire.ControlError{Message: "Join: malformed", Errno: int(unix.EINVAL)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.members[args.Name] != nil:
		return nil, &wire.ControlError{Message: fmt.Sprintf("container %s is in the pod already", args.Name), Errno: int(unix.EEXIST)}
	case len(m.members) >= maxMembers:
		return nil, &wire.ControlError{Message: fmt.Sprintf("the pod has %d containers already", maxMembers), Errno: int(unix.EAGAIN)}
	}
	c := newContainer(m, args.Name, &args.Config)
	c.opts.Member = args.Name
	m.members[args.Name] = c
	return c, nil
}

// Member finds a container that has joined.
func (m *guestContainer) Member(name string) (wire.ControlHandler, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.members[name]
	if c == nil {
		return nil, &wire.ControlError{Message: fmt.Sprintf("the pod has no container %q", name), Errno: int(unix.ESRCH)}
	}
	return c, nil
}

// Gone ends a container whose process on the host is no more.
func (m *guestContainer) Gone(name string) {
	m.mu.Lock()
	c := m.members[name]
	delete(m.members, name)
	paused := m.pause
	if c != nil && paused { // a VM that stands still answers nothing
		m.leftover = append(m.leftover, name)
	}
	m.mu.Unlock()
	if c == nil {
		return
	}
	if !paused {
		m.removeContainer(name)
	}
	c.abort()
}

// abort lets go of the streams of a container's processes.
func (m *guestContainer) abort() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.procs {
		p.io.abort()
	}
}

// removeLeftover ends the containers whose processes ended while the VM was paused.
func (m *monitor) removeLeftover() {
	m.mu.Lock()
	names := m.leftover
	m.leftover = nil
	m.mu.Unlock()
	for _, name := range names {
		m.removeContainer(name)
	}
}

func (m *monitor) removeContainer(name string) {
	ctx, cancel := m.call()
	defer cancel()
	if _, err := m.agent.Remove(ctx, &agentpb.ContainerRequest{ContainerId: name}); err != nil {
		m.debugf("removing container %s: %v", name, err)
	}
}

// podRoot is a member's root: its tree in the share of roots, below memory of the
// guest's unless it writes to the host's.
func (m *guestContainer) podRoot(r *agentpb.Root) *agentpb.Root {
	r.Storage = &agentpb.Storage{Source: &agentpb.Storage_VirtiofsTag{VirtiofsTag: podRootsTag}}
	r.Path = wire.PodTree(m.opts.Member, 0)
	if m.opts.LiveRoot && m.writableRoot() {
		// Others may look at what is written, and so the share of volumes serves it.
		r.Storage = &agentpb.Storage{Source: &agentpb.Storage_VirtiofsTag{VirtiofsTag: podVolumesTag}}
		r.Overlay = agentpb.Root_NONE
	}
	return r
}

// podShm is the directory of the guest's memory that the containers of a pod have
// at podShmAt, in place of the host's that an engine binds there.
const (
	podShm   = "shm"
	podShmAt = "/dev/shm"
)

// podNamespaces makes a pod's IPC and UTS namespaces the VM's.
func (m *guestContainer) podNamespaces(n *agentpb.Namespaces) *agentpb.Namespaces {
	member := m.opts.Member != ""
	if !member && m.opts.Pod || member && m.opts.PodIPC {
		n.Ipc = agentpb.Namespaces_VM
	}
	if !member && m.opts.Pod || member && m.opts.PodUTS {
		n.Uts = agentpb.Namespaces_VM
	}
	if member && m.opts.PodPIDs {
		n.PidOf = m.first.id
	}
	return n
}
