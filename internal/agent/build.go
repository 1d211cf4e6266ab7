package agent

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A container is put together by one goroutine on a thread of its own, which
// has left the agent's mount namespace and ends with it:
//
//	builder thread                        child (a script)
//	unshare(CLONE_NEWNS), the root
//	clone3 ─────────────────────────────▶ in its namespaces and cgroup
//	uid_map, gid_map (user namespace)     waits, becomes root there
//	                                      unshare(CLONE_NEWCGROUP), fsopen(proc)
//	takes the proc mounts (pidfd_getfd) ◀ checkpoint
//	setns(its IPC, UTS, cgroup)
//	mounts, devices, masks, pivot_root
//	limits of the child ────────────────▶ session, stdio, closes everything else
//	                                    ◀ checkpoint: created
//	Start ──────────────────────────────▶ ids, capabilities, seccomp, exec
type builder struct {
	a      *Agent
	c      *container
	config *agentpb.Container
	p      *process

	session *agentconn.Session
	streams *agentpb.Streams
	page    *page // the process is named later (prepared.go)

	root   tree // of the container, a mount
	devpts int  // the first devpts mount, made ahead for the terminal; or -1
	procs  []int
	fds    []int // to close at the end
	files  int   // small files so far
}

// keep closes a descriptor when the builder is done.
func (b *builder) keep(fd int) int {
	b.fds = append(b.fds, fd)
	return fd
}

// build makes a container up to the point where Start lets it go.
func (a *Agent) build(b *builder) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := b.run()
		if b.devpts >= 0 && err == nil {
			// Terminals of processes that come later are made here.
			if fd, e := unix.FcntlInt(uintptr(b.devpts), unix.F_DUPFD_CLOEXEC, 0); e == nil {
				b.c.devpts = fd
			}
		}
		for _, fd := range b.fds {
			unix.Close(fd)
		}
		done <- err
	}()
	err := <-done
	if err == nil {
		err = b.created()
	}
	if err != nil {
		b.p.endNamespace()
	}
	if err != nil && b.p.child != nil {
		b.p.child.kill()
		b.p.child.close()
	}
	return err
}

// created gives the child its limits, and waits until it is ready for Start.
func (b *builder) created() error {
	if err := adjust(b.p.pid(), b.config.Process); err != nil {
		return err
	}
	if err := b.p.child.proceed(); err != nil {
		return err
	}
	return b.p.child.reach()
}

func (b *builder) run() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// By the agent's own /proc: the container's is not there yet.
	fd, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	b.c.mounts = fd
	if err := b.attachRoot(); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if b.page == nil {
		if err := b.findProgram(); err != nil {
			return err
		}
	}
	if err := b.openStdio(); err != nil {
		return err
	}
	if err := b.fork(); err != nil {
		return err
	}
	if err := b.joinChild(); err != nil {
		return err
	}
	if err := b.mounts(); err != nil {
		return err
	}
	if err := b.finish(); err != nil {
		return err
	}
	return b.pivot()
}

// attachRoot mounts the root at a place of the builder's own namespace.
func (b *builder) attachRoot() error {
	r := b.config.Root
	st := b.c.storages[0]
	lower := st.dir
	place := workDir + "/root"
	if r.Path != "" {
		base, err := unix.Open(st.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		b.keep(base)
		fd, err := tree(base).openFlags(r.Path, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
		b.keep(fd)
		// A place with a name that needs no quoting.
		if lower, err = b.attachAt(fd, workDir+"/lower"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	var mount int
	fd, err := unix.Open(lower, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.keep(fd)
	if r.Overlay == agentpb.Root_MEMORY && !b.complete(tree(fd)) {
		mount, err = b.overlay(lower, r.OverlaySize)
	} else if mount, err = cloneTree(fd, false); err == nil {
		err = setAttr(mount, 0, unix.MOUNT_ATTR_NODEV, 0, false) // as an overlay has it
	}
	if err != nil {
		return err
	}
	b.keep(mount)
	target, err := unix.Open(place, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.keep(target)
	if err := attach(mount, target); err != nil {
		return err
	}
	b.root = tree(mount)
	return nil
}

// attachAt bind mounts what fd names at a directory of the builder's.
func (b *builder) attachAt(fd int, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	mount, err := cloneTree(fd, false)
	if err != nil {
		return "", err
	}
	b.keep(mount)
	target, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	b.keep(target)
	return dir, attach(mount, target)
}

// complete says whether a root that the container may only read has a place for
// all that is put into it: then it needs no overlay, which makes a walk over
// many files twice as dear.
func (b *builder) complete(root tree) bool {
	if !b.config.Root.Readonly {
		return false
	}
	var mounted []string
	placed := func(name string) bool {
		name = path.Clean("/" + name)
		for _, m := range mounted {
			if name == m || strings.HasPrefix(name, m+"/") {
				return true // on a mount that has been made by then
			}
		}
		return false
	}
	there := func(name string) bool {
		fd, err := root.open(name)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	}
	for _, m := range b.config.Mounts {
		if !placed(m.Destination) && !there(m.Destination) {
			return false
		}
		mounted = append(mounted, path.Clean("/"+m.Destination))
	}
	for _, d := range append(append([]*agentpb.Device(nil), defaultNodes...), b.config.Devices...) {
		if !placed(d.Path) {
			return false
		}
	}
	return placed(b.config.Process.Cwd) || there(b.config.Process.Cwd)
}

// overlay makes the overlay of a root: writes go to a tmpfs that only the
// overlay holds, and that goes with the container's mount namespace.
func (b *builder) overlay(lower string, size uint64) (int, error) {
	if err := b.a.modules.load(agentpb.GroupOverlay); err != nil {
		return -1, err
	}
	rw := workDir + "/rw"
	if err := os.MkdirAll(rw, 0o755); err != nil {
		return -1, err
	}
	data := "mode=700"
	if size > 0 {
		data += fmt.Sprintf(",size=%d", size)
	}
	if err := unix.Mount("tmpfs", rw, "tmpfs", unix.MS_NOSUID, data); err != nil {
		return -1, fmt.Errorf("the overlay's tmpfs: %w", err)
	}
	for _, dir := range []string{"/upper", "/work"} {
		if err := os.Mkdir(rw+dir, 0o755); err != nil {
			return -1, err
		}
	}
	// The root's own owner and mode are those of the upper directory.
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return -1, err
	}
	if err := os.Chown(rw+"/upper", int(st.Uid), int(st.Gid)); err != nil {
		return -1, err
	}
	if err := unix.Chmod(rw+"/upper", st.Mode&0o7777); err != nil {
		return -1, err
	}
	return fsMount("overlay", "overlay", "lowerdir="+lower+",upperdir="+rw+"/upper,workdir="+rw+"/work,xino=on", 0)
}

// findProgram sees whether there is a program, so that Create can say it.
func (b *builder) findProgram() error {
	var first error
	for _, file := range candidates(b.config.Process) {
		if !path.IsAbs(file) {
			return nil // relative to cwd: exec will say
		}
		fd, err := b.root.open(file)
		if err == nil {
			unix.Close(fd)
			return nil
		}
		if first == nil {
			first = err
		}
	}
	// It may be on a mount that is not made yet.
	if len(b.config.Mounts) > 0 && b.onMount() {
		return nil
	}
	var errno unix.Errno
	if !errors.As(first, &errno) {
		errno = unix.ENOENT
	}
	return &scriptError{"executing " + programOf(b.config.Process), errno, true}
}

func (b *builder) onMount() bool {
	for _, m := range b.config.Mounts {
		if m.Type != "bind" && m.Type != "file" {
			continue
		}
		for _, file := range candidates(b.config.Process) {
			if file == m.Destination || strings.HasPrefix(file, strings.TrimSuffix(m.Destination, "/")+"/") {
				return true
			}
		}
	}
	return false
}

// openStdio makes the devpts instance ahead of its turn if there is a terminal:
// the child gets its descriptors by the fork.
func (b *builder) openStdio() (err error) {
	b.devpts = -1
	for i, m := range b.config.Mounts {
		if m.Type == "devpts" {
			fd, err := fsMount("devpts", m.Source, ptsData(m.Data), m.Flags)
			if err != nil {
				return fmt.Errorf("mounts[%d]: %w", i, err)
			}
			b.devpts = b.keep(fd)
			break
		}
	}
	if b.page != nil {
		b.p.stdio, err = announcedStdio(b.streams)
		return err
	}
	b.p.stdio, err = newStdio(b.session, b.streams, b.config.Process, func() (int, int, error) {
		return b.a.newPTY(b.devpts)
	})
	return err
}

// ptsData makes every devpts an instance with a ptmx that can be used.
func ptsData(data string) string {
	var out []string
	for _, o := range strings.Split(data, ",") {
		if o != "" && o != "newinstance" { // since Linux 4.7 always so
			out = append(out, o)
		}
	}
	return strings.Join(out, ",")
}

// fork makes the child and gives it what only its parent can.
func (b *builder) fork() error {
	ns := b.config.Namespaces
	s, report, start, err := newScript()
	if err != nil {
		return err
	}
	var flags uint64
	switch {
	case b.ordinaryInit():
		if err := b.makeNamespace(); err != nil {
			return err
		}
	case ns.GetPidOf() == "":
		flags |= unix.CLONE_NEWPID
	}
	if ns.GetIpc() == agentpb.Namespaces_NEW && ns.GetIpcOf() == "" {
		flags |= unix.CLONE_NEWIPC
	}
	if ns.GetUts() == agentpb.Namespaces_NEW {
		flags |= unix.CLONE_NEWUTS
	}
	if ns.GetUser() {
		flags |= unix.CLONE_NEWUSER
		s.wait()
		s.add("root of the user namespace", unix.SYS_SETRESGID, 0, 0, 0).may()
		s.add("root of the user namespace", unix.SYS_SETRESUID, 0, 0, 0).may()
	}
	if ns.GetIpcOf() != "" {
		other, p, err := b.a.process(ns.IpcOf, "")
		if err != nil {
			return fmt.Errorf("namespaces.ipc_of: container %v: %w", other, err)
		}
		s.add("joining the IPC namespace of "+ns.IpcOf, unix.SYS_SETNS, uintptr(p.child.pidfd), unix.CLONE_NEWIPC)
	}
	if ns.GetCgroup() == agentpb.Namespaces_NEW {
		s.add("cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
	if !ns.GetUser() {
		b.scriptProcs(s)
	}
	s.wait()
	if ns.GetUser() {
		s.add("mount namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
	}
	s.stage1(b.p.stdio)
	s.wait()
	if b.page != nil {
		s.follow(b.page)
	} else {
		s.stage2(b.config.Process, b.config.Personality, b.config.Seccomp, b.a.lastCap)
	}
	err = b.a.spawn(b.p, func() (*child, error) {
		if first := b.p.namespace.Load(); first != nil {
			return b.a.forkInto(&process{child: first}, s, flags, b.c.cgroup.fd, report, start)
		}
		return b.a.forkIn(ns.GetPidOf(), s, flags, b.c.cgroup.fd, report, start)
	})
	s.closeChildEnds()
	if err != nil {
		report.Close()
		start.Close()
		b.p.stdio.close()
		return err
	}
	b.p.stdio.start()
	if ns.GetUser() {
		return b.mapIDs()
	}
	return nil
}

// forkIn forks into the PID namespace of a container's first process, or the
// agent's own. Called on a locked thread.
func (a *Agent) forkIn(pidOf string, s *script, flags uint64, cgroup int, report, start *os.File) (*child, error) {
	if pidOf == "" {
		return s.fork(flags, cgroup, report, start)
	}
	_, p, err := a.process(pidOf, "")
	if err != nil {
		return nil, err
	}
	return a.forkInto(p, s, flags, cgroup, report, start)
}

// forkInto forks into the PID namespace of a process.
func (a *Agent) forkInto(p *process, s *script, flags uint64, cgroup int, report, start *os.File) (*child, error) {
	if err := unix.Setns(p.child.pidfd, unix.CLONE_NEWPID); err != nil {
		return nil, fmt.Errorf("joining the PID namespace: %w", err)
	}
	c, err := s.fork(flags, cgroup, report, start)
	if e := unix.Setns(a.pidNS, unix.CLONE_NEWPID); e != nil && err == nil {
		c.kill()
		return nil, fmt.Errorf("leaving the PID namespace: %w", e)
	}
	return c, err
}

// mapIDs writes the maps of the user namespace, and lets the child go on.
func (b *builder) mapIDs() error {
	if err := b.p.child.reach(); err != nil {
		return err
	}
	for _, m := range []struct {
		file string
		maps []*agentpb.IDMap
	}{{"uid_map", b.config.Namespaces.UidMap}, {"gid_map", b.config.Namespaces.GidMap}} {
		var text strings.Builder
		for _, l := range m.maps {
			fmt.Fprintf(&text, "%d %d %d\n", l.Container, l.Host, l.Size)
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", b.p.pid(), m.file), []byte(text.String()), 0); err != nil {
			return fmt.Errorf("user namespace: %w", err)
		}
	}
	return b.p.child.proceed()
}

// scriptProcs lets a child that is in the container's PID namespace make its
// proc file systems: they show the namespace of who makes them.
func (b *builder) scriptProcs(s *script) {
	n := 0
	for _, m := range b.config.Mounts {
		if m.Type != "proc" {
			continue
		}
		const what = "mounting proc"
		s.add(what, unix.SYS_FSOPEN, s.str("proc"), unix.FSOPEN_CLOEXEC).into(1)
		for _, o := range fsOptions(m.Source, m.Data, m.Flags) {
			if o.flag {
				s.add(what+": option "+o.key, unix.SYS_FSCONFIG, 0, unix.FSCONFIG_SET_FLAG, s.str(o.key), 0, 0).from(1, 0)
			} else {
				s.add(what+": option "+o.key, unix.SYS_FSCONFIG, 0, unix.FSCONFIG_SET_STRING, s.str(o.key), s.str(o.value), 0).from(1, 0)
			}
		}
		s.add(what, unix.SYS_FSCONFIG, 0, unix.FSCONFIG_CMD_CREATE, 0, 0, 0).from(1, 0)
		s.add(what, unix.SYS_FSMOUNT, 0, unix.FSMOUNT_CLOEXEC, uintptr(attrOf(m.Flags))).from(1, 0).into(2)
		s.add(what, unix.SYS_CLOSE, 0).from(1, 0)
		s.add(what, unix.SYS_DUP3, 0, uintptr(childMounts+n), unix.O_CLOEXEC).from(2, 0)
		s.add(what, unix.SYS_CLOSE, 0).from(2, 0)
		n++
	}
}

// joinChild waits for the child's namespaces, takes its proc mounts and joins
// what mounts and names depend on.
func (b *builder) joinChild() error {
	if err := b.p.child.reach(); err != nil {
		return err
	}
	from := b.p.child
	if b.config.Namespaces.GetUser() {
		// A process of a user namespace may make no mount that its parent's
		// namespace takes: a helper in its PID namespace does.
		helper, err := b.procHelper()
		if err != nil {
			return err
		}
		defer func() {
			helper.kill()
			helper.close()
			unix.Close(helper.pidfd)
		}()
		from = helper
	}
	for i, n := 0, 0; i < len(b.config.Mounts); i++ {
		if b.config.Mounts[i].Type != "proc" {
			continue
		}
		fd, err := unix.PidfdGetfd(from.pidfd, childMounts+n, 0)
		if err != nil {
			return fmt.Errorf("mounts[%d]: proc: %w", i, err)
		}
		b.procs = append(b.procs, b.keep(fd))
		n++
	}
	if err := unix.Setns(b.p.child.pidfd, unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("the container's namespaces: %w", err)
	}
	if b.config.Namespaces.GetUts() == agentpb.Namespaces_NEW {
		return setNames(b.config.Hostname, b.config.Domainname)
	}
	return nil
}

func setNames(hostname, domainname string) error {
	if hostname != "" {
		if err := unix.Sethostname([]byte(hostname)); err != nil {
			return fmt.Errorf("hostname: %w", err)
		}
	}
	if domainname != "" {
		if err := unix.Setdomainname([]byte(domainname)); err != nil {
			return fmt.Errorf("domainname: %w", err)
		}
	}
	return nil
}

func (b *builder) procHelper() (*child, error) {
	s, report, start, err := newScript()
	if err != nil {
		return nil, err
	}
	b.scriptProcs(s)
	s.wait()
	s.wait()
	var c *child
	err = b.a.spawn(nil, func() (_ *child, err error) {
		c, err = b.a.forkInto(b.p, s, 0, -1, report, start)
		return c, err
	})
	s.closeChildEnds()
	if err != nil {
		report.Close()
		start.Close()
		return nil, err
	}
	return c, c.reach()
}

// pivot makes the container's root the root of the namespace, for the builder
// and its child, and takes everything else out of it.
func (b *builder) pivot() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	b.keep(old)
	if err := unix.Fchdir(int(b.root)); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	return setAttr(int(b.root), 0, 0, b.config.Root.Propagation, b.config.Root.Propagation&unix.MS_REC != 0)
}
