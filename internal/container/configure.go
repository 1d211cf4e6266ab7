package container

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// configure makes the configurations of Sentry and Gofer from config.json. It
// returns the network namespace to start the Sentry in, if there is one to
// join.
func (c *creation) configure() (*os.File, error) {
	cfg, l := c.bundle.config, &c.launch
	l.stdio = [3]*os.File{c.opts.Stdin, c.opts.Stdout, c.opts.Stderr}
	l.newSess = true
	l.tie = c.opts.foreground
	l.debug = c.opts.DebugLog
	for i := 0; i < c.opts.PreserveFDs; i++ {
		var st unix.Stat_t
		if err := unix.Fstat(3+i, &st); err != nil {
			return nil, fmt.Errorf("--preserve-fds=%d: descriptor %d: %w", c.opts.PreserveFDs, 3+i, err)
		}
		l.extra = append(l.extra, os.NewFile(uintptr(3+i), fmt.Sprint("fd ", 3+i)))
	}

	ns := namespaceMap(cfg.Linux.Namespaces)
	l.gofer.Mounts = []wire.GoferMount{{Root: c.bundle.rootfs, Readonly: c.rootOverlay() == wire.OverlayMemory || cfg.Root.Readonly, Dest: "/"}}
	mounts, err := mountsOf(c.bundle, &l.gofer)
	if err != nil {
		return nil, err
	}
	if cfg.Root.Readonly && c.rootOverlay() == wire.OverlayNone {
		l.gofer.Mounts[0].MountPoints = append(mountPoints(mounts), wire.MountPoint{Path: cfg.Process.Cwd})
	}
	seccomp, err := compileSeccomp(cfg.Linux.Seccomp)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp.%w", err)
	}
	l.sentry = wire.SentryConfig{
		ID: c.opts.ID, Bundle: c.bundle.dir, Process: c.rec.Process,
		Root:     wire.Root{Readonly: cfg.Root.Readonly, Overlay: c.rootOverlay(), Propagation: propagation()[cfg.Linux.RootfsPropagation]},
		Mounts:   mounts,
		Hostname: cfg.Hostname, Domainname: cfg.Domainname,
		Devices:     devicesOf(cfg.Linux.Devices),
		MaskedPaths: cfg.Linux.MaskedPaths, ReadonlyPaths: cfg.Linux.ReadonlyPaths,
		Sysctl: sysctlOf(cfg.Linux.Sysctl), Seccomp: seccomp,
		Namespaces:  guestNamespaces(cfg.Linux, ns),
		Limits:      c.rec.Limits,
		Annotations: cfg.Annotations,
		Strace:      c.opts.Strace,
	}
	if p := cfg.Linux.Personality; p != nil {
		l.sentry.Personality = personalities[p.Domain]
	}
	if ipc := ns[specs.IPCNamespace]; ipc != nil && ipc.Path != "" {
		f, err := openNamespace(ipc.Path, unix.CLONE_NEWIPC)
		if err != nil {
			return nil, fmt.Errorf("ipc namespace: %w", err)
		}
		f.Close()
	}
	if err := hostNames(&l.sentry, ns[specs.UTSNamespace]); err != nil {
		return nil, err
	}
	c.plans(cfg.Linux)
	if c.rec.Wall == WallVM {
		l.sentry.DeviceRules = deviceRulesOf(cfg.Linux.Resources)
		l.forVM(vmOptions(cfg.Annotations), c.dir)
		if err := c.joinPod(ns); err != nil {
			return nil, err
		}
	}
	return c.network(ns[specs.NetworkNamespace])
}

func (c *creation) rootOverlay() wire.OverlayMode {
	if mode := c.bundle.config.Annotations[overlayAnnotation]; mode != "" {
		return wire.OverlayMode(mode)
	}
	return wire.OverlayNone
}

// plans chooses how the two processes may be started.
func (c *creation) plans(l *specs.Linux) {
	uid, gid := os.Geteuid(), os.Getegid()
	c.launch.sentryPlans = sentryPlans(uid, gid)
	c.launch.goferPlans = goferPlans(uid)
	if namespaceMap(l.Namespaces)[specs.CgroupNamespace] != nil {
		for i := range c.launch.sentryPlans[:len(c.launch.sentryPlans)-1] { // the last has none
			c.launch.sentryPlans[i].flags |= unix.CLONE_NEWCGROUP
		}
	}
	if len(l.UIDMappings) > 0 {
		c.launch.goferPlans = mappedGoferPlans(idMapsOf(l.UIDMappings), idMapsOf(l.GIDMappings))
	}
}

func idMapsOf(list []specs.LinuxIDMapping) (out []wire.IDMap) {
	for _, m := range list {
		out = append(out, wire.IDMap{Container: m.ContainerID, Host: m.HostID, Size: m.Size})
	}
	return out
}

func namespaceMap(list []specs.LinuxNamespace) map[specs.LinuxNamespaceType]*specs.LinuxNamespace {
	out := make(map[specs.LinuxNamespaceType]*specs.LinuxNamespace)
	for i := range list {
		out[list[i].Type] = &list[i]
	}
	return out
}

func guestNamespaces(l *specs.Linux, ns map[specs.LinuxNamespaceType]*specs.LinuxNamespace) wire.Namespaces {
	return wire.Namespaces{
		PID: ns[specs.PIDNamespace] != nil, Network: ns[specs.NetworkNamespace] != nil, Mount: ns[specs.MountNamespace] != nil,
		IPC: ns[specs.IPCNamespace] != nil, UTS: ns[specs.UTSNamespace] != nil, User: ns[specs.UserNamespace] != nil,
		Cgroup: ns[specs.CgroupNamespace] != nil,
		UIDMap: idMapsOf(l.UIDMappings), GIDMap: idMapsOf(l.GIDMappings),
	}
}

func devicesOf(list []specs.LinuxDevice) (out []wire.Device) {
	for i := range list {
		d := &list[i]
		dev := wire.Device{Path: d.Path, Mode: deviceMode(d), Major: uint32(d.Major), Minor: uint32(d.Minor)}
		setIf(&dev.UID, d.UID)
		setIf(&dev.GID, d.GID)
		out = append(out, dev)
	}
	return out
}

// sysctlOf writes the names with dots, as sysctl(8) does.
func sysctlOf(vars map[string]string) map[string]string {
	if len(vars) == 0 {
		return nil
	}
	out := make(map[string]string, len(vars))
	for name, value := range vars {
		out[strings.ReplaceAll(name, "/", ".")] = value
	}
	return out
}

// hostNames fills in the names of a container that has no UTS namespace of its
// own (the host's) or joins one (that one's).
func hostNames(s *wire.SentryConfig, ns *specs.LinuxNamespace) error {
	if ns != nil && ns.Path == "" {
		return nil
	}
	path := ""
	if ns != nil {
		path = ns.Path
	}
	var uts unix.Utsname
	if err := inUTS(path, func() error { return unix.Uname(&uts) }); err != nil {
		return err
	}
	if s.Hostname == "" {
		s.Hostname = unix.ByteSliceToString(uts.Nodename[:])
	}
	if name := unix.ByteSliceToString(uts.Domainname[:]); s.Domainname == "" && name != "(none)" {
		s.Domainname = name
	}
	return nil
}

// inUTS runs f in the UTS namespace at path, "" being this process's own.
func inUTS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := openNamespace(path, unix.CLONE_NEWUTS)
	if err != nil {
		return fmt.Errorf("uts namespace: %w", err)
	}
	defer ns.Close()
	if err := inNamespace(int(ns.Fd()), unix.CLONE_NEWUTS, f); err != nil {
		return fmt.Errorf("uts namespace %s: %w", path, err)
	}
	return nil
}

// inNamespace runs f on a thread in a namespace (setns(2)), which is not used again.
func inNamespace(ns, kind int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the goroutine's end ends the thread
		if kind == unix.CLONE_NEWNS {
			if err := unix.Unshare(unix.CLONE_FS); err != nil { // root and working directory of its own
				done <- fmt.Errorf("unshare: %w", err)
				return
			}
		}
		if err := unix.Setns(ns, kind); err != nil {
			done <- fmt.Errorf("joining it: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
