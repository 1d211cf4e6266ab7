package agent

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// mounts makes the container's mounts in their order.
func (b *builder) mounts() error {
	devpts, procs := b.devpts, b.procs
	for i, m := range b.config.Mounts {
		var fd int
		var err error
		switch m.Type {
		case "devpts":
			if fd = devpts; fd >= 0 {
				devpts = -1
				break
			}
			fd, err = fsMount("devpts", m.Source, ptsData(m.Data), m.Flags)
		case "proc":
			fd, procs = procs[0], procs[1:]
		case "bind":
			fd, err = b.bind(m)
		case "file":
			fd, err = b.file(m.File)
		case "cgroup": // version 1 is not there; runc mounts version 2 too
			fd, err = fsMount("cgroup2", m.Source, "", m.Flags)
		default:
			fd, err = fsMount(m.Type, m.Source, m.Data, m.Flags)
		}
		if err == nil {
			err = b.place(m, b.keep(fd))
		}
		if err != nil {
			return fmt.Errorf("mounts[%d] (%s): %w", i, m.Destination, err)
		}
	}
	return nil
}

// place puts a mount where it belongs.
func (b *builder) place(m *agentpb.Mount, fd int) error {
	dir, err := isDir(fd)
	if err != nil {
		return err
	}
	var target int
	if dir {
		target, err = b.root.makeDir(m.Destination)
	} else {
		target, err = b.root.makeFile(m.Destination)
	}
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	b.keep(target)
	if err := b.checkTarget(m, target); err != nil {
		return err
	}
	if m.CopyUp {
		if err := copyUp(target, fd); err != nil {
			return fmt.Errorf("tmpcopyup: %w", err)
		}
	}
	if err := attach(fd, target); err != nil {
		return err
	}
	if err := setAttr(fd, m.RecursiveSet, m.RecursiveClear, 0, true); err != nil {
		return err
	}
	return setAttr(fd, 0, 0, m.Propagation, m.Propagation&unix.MS_REC != 0)
}

// checkTarget refuses to mount proc or sysfs through a symbolic link: what is
// masked below them would be masked elsewhere.
func (b *builder) checkTarget(m *agentpb.Mount, target int) error {
	if m.Type != "proc" && m.Type != "sysfs" {
		return nil
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(b.root), m.Destination, how)
	if err != nil {
		return fmt.Errorf("%s is reached through a symbolic link: %w", m.Destination, err)
	}
	unix.Close(fd)
	return nil
}

// bind clones a tree of a storage or of a shared directory.
func (b *builder) bind(m *agentpb.Mount) (int, error) {
	var base string
	b.a.storageMu.Lock()
	if m.Bind.Storage != nil {
		base = b.a.storages[storageKey(m.Bind.Storage)].dir
	} else {
		base = workDir + "/d/" + m.Bind.SharedDir
	}
	b.a.storageMu.Unlock()
	root, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	b.keep(root)
	source, err := tree(root).open("/" + m.Bind.Path)
	if err != nil {
		return -1, fmt.Errorf("%q of the storage: %w", m.Bind.Path, err)
	}
	b.keep(source)
	fd, err := cloneTree(source, m.Bind.Recursive)
	if err != nil {
		return -1, err
	}
	if err := setAttr(fd, attrOf(m.Flags), 0, 0, false); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// file makes a small file on a tmpfs of the container's own.
func (b *builder) file(f *agentpb.File) (int, error) {
	dir := workDir + "/files"
	if b.files == 0 {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return -1, err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return -1, err
		}
	}
	b.files++
	name := fmt.Sprintf("%s/%d", dir, b.files)
	if err := os.WriteFile(name, f.Content, 0o600); err != nil {
		return -1, err
	}
	if err := os.Chown(name, int(f.Uid), int(f.Gid)); err != nil {
		return -1, err
	}
	if err := unix.Chmod(name, f.Mode&0o7777); err != nil {
		return -1, err
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	b.keep(fd)
	return cloneTree(fd, false)
}

// finish makes what is not in the list of mounts: devices, variables of the
// kernel, and what is hidden or may not be written to.
func (b *builder) finish() error {
	if err := b.devices(); err != nil {
		return err
	}
	for name, value := range b.config.Sysctl {
		err := setSysctl(name, value)
		if errors.Is(err, os.ErrPermission) && b.config.Namespaces.GetUser() {
			err = b.asNamespaceRoot(func() error { return setSysctl(name, value) })
		}
		if err != nil {
			return err
		}
	}
	// The working directory is made as runc makes it.
	if cwd := b.config.Process.Cwd; cwd != "" {
		if fd, err := b.root.makeDir(cwd); err == nil {
			unix.Close(fd)
		}
	}
	for i, name := range b.config.ReadonlyPaths {
		if err := b.readonly(name); err != nil {
			return fmt.Errorf("linux.readonlyPaths[%d] (%s): %w", i, name, err)
		}
	}
	for i, name := range b.config.MaskedPaths {
		if err := b.mask(name); err != nil {
			return fmt.Errorf("linux.maskedPaths[%d] (%s): %w", i, name, err)
		}
	}
	if b.config.Root.Readonly {
		if err := setAttr(int(b.root), unix.MOUNT_ATTR_RDONLY, 0, 0, false); err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
	}
	return nil
}

// asNamespaceRoot does something as the root of the container's user namespace,
// whom the variables of its other namespaces belong to. The builder's thread
// alone changes its effective user, and has its capabilities again after.
func (b *builder) asNamespaceRoot(do func() error) error {
	for _, m := range b.config.Namespaces.UidMap {
		if m.Container != 0 {
			continue
		}
		const same = ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(m.Host), same); errno != 0 {
			return fmt.Errorf("root of the user namespace: %w", errno)
		}
		err := do()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same); errno != 0 {
			return fmt.Errorf("root of the user namespace: %w", errno)
		}
		return err
	}
	return fmt.Errorf("the user namespace %w: it maps no root", errInvalid)
}

func setSysctl(name, value string) error {
	// A dot of an interface's name is written as a slash, sysctl(8).
	file := strings.NewReplacer(".", "/", "/", ".").Replace(name)
	if path.Clean("/"+file) != "/"+file {
		return fmt.Errorf("linux.sysctl[%s] %w", name, errInvalid)
	}
	if err := os.WriteFile("/proc/sys/"+file, []byte(value), 0); err != nil {
		return fmt.Errorf("linux.sysctl[%s]: %w", name, err)
	}
	return nil
}

// device nodes and links that every container has, config-linux.md, "Default
// Devices".
var (
	defaultNodes = []*agentpb.Device{
		{Path: "/dev/null", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 3},
		{Path: "/dev/zero", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 5},
		{Path: "/dev/full", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 7},
		{Path: "/dev/random", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 8},
		{Path: "/dev/urandom", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 9},
		{Path: "/dev/tty", Mode: unix.S_IFCHR | 0o666, Major: 5, Minor: 0},
	}
	defaultLinks = [][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"},
	}
)

// devices makes the nodes, unless /dev is a volume.
func (b *builder) devices() error {
	for _, m := range b.config.Mounts {
		if path.Clean(m.Destination) == "/dev" && m.Type == "bind" {
			return nil
		}
	}
	for i, d := range append(append([]*agentpb.Device(nil), defaultNodes...), b.config.Devices...) {
		if err := b.device(d); err != nil {
			if i >= len(defaultNodes) {
				return fmt.Errorf("linux.devices[%d] (%s): %w", i-len(defaultNodes), d.Path, err)
			}
			return fmt.Errorf("device %s: %w", d.Path, err)
		}
	}
	for _, l := range defaultLinks {
		parent, err := b.root.makeDir(path.Dir(l[1]))
		if err != nil {
			return fmt.Errorf("link %s: %w", l[1], err)
		}
		err = unix.Symlinkat(l[0], parent, path.Base(l[1]))
		unix.Close(parent)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("link %s: %w", l[1], err)
		}
	}
	return b.console()
}

func (b *builder) device(d *agentpb.Device) error {
	parent, err := b.root.makeDir(path.Dir(d.Path))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	name := path.Base(d.Path)
	dev := unix.Mkdev(d.Major, d.Minor)
	if d.Mode&unix.S_IFMT == unix.S_IFIFO {
		dev = 0
	}
	err = unix.Mknodat(parent, name, d.Mode, int(dev))
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != d.Mode&unix.S_IFMT || st.Rdev != dev {
			return errors.New("another file is in its place")
		}
	} else if err != nil {
		return err
	}
	if err := unix.Fchownat(parent, name, int(d.Uid), int(d.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	// The umask is the agent's; the name is ours, or of the same kind.
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), d.Mode&0o7777)
}

// console binds the terminal of the first process to /dev/console.
func (b *builder) console() error {
	if b.p.stdio.master == nil || b.devpts < 0 {
		return nil
	}
	n, err := unix.IoctlGetInt(b.p.stdio.fd, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	slave, err := unix.Openat(b.devpts, fmt.Sprint(n), unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	b.keep(slave)
	fd, err := cloneTree(slave, false)
	if err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	b.keep(fd)
	target, err := b.root.makeFile("/dev/console")
	if err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	b.keep(target)
	if err := attach(fd, target); err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	return nil
}

// readonly mounts what is there on itself, so that it cannot be written to.
func (b *builder) readonly(name string) error {
	fd, err := b.root.open(name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	b.keep(fd)
	mount, err := cloneTree(fd, true)
	if err != nil {
		return err
	}
	b.keep(mount)
	if err := setAttr(mount, unix.MOUNT_ATTR_RDONLY, 0, 0, false); err != nil {
		return err
	}
	return attach(mount, fd)
}

// mask hides a directory behind an empty one, and a file behind /dev/null.
func (b *builder) mask(name string) error {
	fd, err := b.root.open(name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	b.keep(fd)
	dir, err := isDir(fd)
	if err != nil {
		return err
	}
	var mount int
	if dir {
		mount, err = fsMount("tmpfs", "tmpfs", "nr_blocks=1,nr_inodes=1", unix.MS_RDONLY)
	} else {
		var null int
		if null, err = unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			b.keep(null)
			mount, err = cloneTree(null, false)
		}
	}
	if err != nil {
		return err
	}
	b.keep(mount)
	return attach(mount, fd)
}
