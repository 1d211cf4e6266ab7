package container

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// nsPlan is one way to start a process: which namespaces it gets. Plans are
// tried from the strongest to the weakest.
type nsPlan struct {
	name  string
	flags uintptr
	uids  []syscall.SysProcIDMap
	gids  []syscall.SysProcIDMap
	// joined says that the process starts in a network namespace made for the
	// container, and makes none.
	joined bool
	vm     bool // a VM's monitor
}

// sandboxNS are the namespaces that cut a Sentry off from the host.
const sandboxNS = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// goferNS are a Gofer's. A network namespace costs a millisecond; the Gofer's
// seccomp filter has no socket call, so it goes without.
const goferNS = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// nobody is who the Sentry is to the host when root starts it.
const nobody = 65534

// sentryPlans are the ways to start a Sentry for the user uid, gid.
//
// In its user namespace the Sentry is root, and drops that once it has made
// its empty root. To the host it is nobody, or the user who started it.
func sentryPlans(uid, gid int) []nsPlan {
	self := nsPlan{
		name:  "own user namespace",
		flags: unix.CLONE_NEWUSER | sandboxNS,
		uids:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		gids:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
	}
	bare := nsPlan{name: "no namespaces"}
	if uid != 0 {
		return []nsPlan{self, bare}
	}
	other := self
	other.name = "own user namespace as nobody"
	other.uids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	other.gids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	return []nsPlan{other, self, {name: "namespaces of root", flags: sandboxNS}, bare}
}

// goferPlans are the ways to start a Gofer. It must see owners as they are, so
// it has no user namespace of its own, and an ordinary user's Gofer none at
// all: Landlock and seccomp hold it.
func goferPlans(uid int) []nsPlan {
	bare := nsPlan{name: "no namespaces"}
	if uid != 0 {
		return []nsPlan{bare}
	}
	return []nsPlan{{name: "namespaces of root", flags: goferNS}, bare}
}

// mappedGoferPlans give the Gofer the user namespace of linux.uidMappings and
// gidMappings: an owner inside is the mapped one on the host.
func mappedGoferPlans(uids, gids []wire.IDMap) []nsPlan {
	return []nsPlan{{
		name:  "user namespace of config.json",
		flags: unix.CLONE_NEWUSER | goferNS,
		uids:  sysProcIDs(uids),
		gids:  sysProcIDs(gids),
	}}
}

func sysProcIDs(maps []wire.IDMap) []syscall.SysProcIDMap {
	var out []syscall.SysProcIDMap
	for _, m := range maps {
		out = append(out, syscall.SysProcIDMap{ContainerID: int(m.Container), HostID: int(m.Host), Size: int(m.Size)})
	}
	return out
}

func (p nsPlan) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags:                 p.flags,
		UidMappings:                p.uids,
		GidMappings:                p.gids,
		GidMappingsEnableSetgroups: os.Geteuid() == 0 && p.flags&unix.CLONE_NEWUSER != 0,
	}
	if p.flags&unix.CLONE_NEWUSER != 0 {
		// Root in its user namespace: who it was outside may not be mapped.
		attr.Credential = &syscall.Credential{NoSetGroups: !attr.GidMappingsEnableSetgroups}
	}
	return attr
}

// privileges says what a process started by this plan has.
func (p nsPlan) privileges(cgroup bool) wire.Privileges {
	return wire.Privileges{
		PIDNamespace:   p.flags&unix.CLONE_NEWPID != 0,
		UserNamespace:  p.flags&unix.CLONE_NEWUSER != 0,
		MountNamespace: p.flags&unix.CLONE_NEWNS != 0,
		NetNamespace:   p.flags&unix.CLONE_NEWNET != 0 || p.joined,
		IPCNamespace:   p.flags&unix.CLONE_NEWIPC != 0,
		UTSNamespace:   p.flags&unix.CLONE_NEWUTS != 0,
		Cgroup:         cgroup,
		HostRoot:       os.Geteuid() == 0,
	}
}

// missing names the protections that this plan lacks, for one line on stderr.
// It is empty for a plan with all of them.
func (p nsPlan) missing() string {
	if p.vm {
		if p.flags&unix.CLONE_NEWNS != 0 {
			return ""
		}
		return "no namespace may be made here; the hypervisor runs with your rights, held by its own seccomp filter alone"
	}
	var lacks []string
	for _, ns := range []struct {
		flag uintptr
		name string
	}{
		{unix.CLONE_NEWUSER, "user"},
		{unix.CLONE_NEWPID, "PID"},
		{unix.CLONE_NEWNS, "mount"},
		{unix.CLONE_NEWNET, "network"},
	} {
		if p.flags&ns.flag == 0 && !(p.joined && ns.flag == unix.CLONE_NEWNET) {
			lacks = append(lacks, ns.name)
		}
	}
	if len(lacks) == 0 {
		return ""
	}
	held := "seccomp and Landlock alone hold the Sentry"
	if len(lacks) == 1 {
		held = "the other namespaces, seccomp and Landlock hold the Sentry"
	}
	return fmt.Sprintf("no %s namespace may be made here; %s", strings.Join(lacks, ", "), held)
}

// freshNetNS makes a network namespace on a thread of its own, which ends with
// it: a millisecond that clone(2) would take otherwise.
func freshNetNS() <-chan *os.File {
	made := make(chan *os.File, 1)
	go func() {
		runtime.LockOSThread()
		var f *os.File
		if unix.Unshare(unix.CLONE_NEWNET) == nil {
			f, _ = os.Open("/proc/thread-self/ns/net")
		}
		made <- f
	}()
	return made
}

// inNetNS runs f with a thread in the network namespace ns (nil: as it is), so that
// a child is born there. The thread goes back afterwards; one that cannot go back
// ends with its goroutine.
func inNetNS[T any](ns *os.File, f func() (T, error)) (out T, err error) {
	if ns == nil {
		return f()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var back func() error
		if back, err = enterNetNS(ns); err != nil {
			return
		}
		out, err = f()
		if back() == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return out, err
}

// enterNetNS moves the calling thread, which is locked, to the network namespace ns,
// and gives what moves it back: to be called once.
func enterNetNS(ns *os.File) (back func() error, err error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		home.Close()
		return nil, fmt.Errorf("joining the network namespace %s: %w", ns.Name(), err)
	}
	return func() error {
		defer home.Close()
		return unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
	}, nil
}
