package agent

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Mounts are made with the descriptors of mount_setattr(2) and its kin: what is
// mounted exists, with its attributes, before it is seen anywhere, and where it
// goes is a descriptor that was found inside the root (openat2(2),
// RESOLVE_IN_ROOT), so that no symbolic link of an image leads out of it.

// fsMount makes a file system and gives a descriptor of its root, attached
// nowhere.
func fsMount(fstype, source, data string, flags uint64) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("file system %q: %w", fstype, err)
	}
	defer unix.Close(fs)
	if source == "" {
		source = fstype
	}
	for _, o := range fsOptions(source, data, flags) {
		if o.flag {
			err = unix.FsconfigSetFlag(fs, o.key)
		} else {
			err = unix.FsconfigSetString(fs, o.key, o.value)
		}
		if err != nil {
			return -1, fmt.Errorf("file system %q: option %s: %w%s", fstype, o.key, err, fsMessage(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("file system %q: %w%s", fstype, err, fsMessage(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrOf(flags)))
	if err != nil {
		return -1, fmt.Errorf("file system %q: %w%s", fstype, err, fsMessage(fs))
	}
	return fd, nil
}

// fsOption is one parameter of fsconfig(2).
type fsOption struct {
	key, value string
	flag       bool
}

// superFlags are the flags that belong to the file system, not to its mount.
var superFlags = []struct {
	flag uint64
	name string
}{{unix.MS_SYNCHRONOUS, "sync"}, {unix.MS_DIRSYNC, "dirsync"}, {unix.MS_LAZYTIME, "lazytime"}, {unix.MS_MANDLOCK, "mand"}}

func fsOptions(source, data string, flags uint64) []fsOption {
	out := []fsOption{{key: "source", value: source}}
	for _, f := range superFlags {
		if flags&f.flag != 0 {
			out = append(out, fsOption{key: f.name, flag: true})
		}
	}
	for _, opt := range strings.Split(data, ",") {
		if opt == "" {
			continue
		}
		key, value, ok := strings.Cut(opt, "=")
		out = append(out, fsOption{key, value, !ok})
	}
	return out
}

// fsMessage reads what the file system says of a failure: "e type: text".
func fsMessage(fs int) string {
	buf := make([]byte, 512)
	n, err := unix.Read(fs, buf)
	if err != nil || n < 3 {
		return ""
	}
	return " (" + strings.TrimSpace(string(buf[2:n])) + ")"
}

// attrOf turns MS_* into MOUNT_ATTR_*.
func attrOf(flags uint64) uint64 {
	var attr uint64
	for _, f := range []struct{ ms, attr uint64 }{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, {unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME}, {unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
	} {
		if flags&f.ms != 0 {
			attr |= f.attr
		}
	}
	switch {
	case flags&unix.MS_NOATIME != 0:
		attr |= unix.MOUNT_ATTR_NOATIME
	case flags&unix.MS_STRICTATIME != 0:
		attr |= unix.MOUNT_ATTR_STRICTATIME
	}
	return attr
}

// setAttr changes a mount's attributes; recursive for all below it.
func setAttr(fd int, set, clear, propagation uint64, recursive bool) error {
	if set|clear|propagation == 0 {
		return nil
	}
	const atime = unix.MOUNT_ATTR__ATIME
	if set&atime != 0 {
		clear |= atime // one kind of atime in place of another
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation &^ unix.MS_REC})
	if err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// cloneTree gives a mount of what fd names, attached nowhere.
func cloneTree(fd int, recursive bool) (int, error) {
	flags := uint(unix.AT_EMPTY_PATH | unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(fd, "", flags)
	if err != nil {
		return -1, fmt.Errorf("open_tree: %w", err)
	}
	return tree, nil
}

// attach puts a mount where target is.
func attach(mount, target int) error {
	if err := unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// tree is a directory that names are looked up in, as if it were the root.
type tree int

// open finds a name with O_PATH; it follows symbolic links inside the tree.
func (t tree) open(name string) (int, error) { return t.openFlags(name, unix.O_PATH) }

func (t tree) openFlags(name string, flags uint64) (int, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(t), name, how)
		if err == unix.EAGAIN || err == unix.EINTR { // a rename came between
			continue
		}
		return fd, err
	}
}

// makeDir opens a directory, made with all above it if it is not there.
func (t tree) makeDir(name string) (int, error) {
	name = path.Clean("/" + name)
	fd, err := t.openFlags(name, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) || name == "/" {
		return fd, err
	}
	parent, err := t.makeDir(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(name), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return t.openFlags(name, unix.O_PATH|unix.O_DIRECTORY)
}

// makeFile opens a file, made empty if it is not there.
func (t tree) makeFile(name string) (int, error) {
	name = path.Clean("/" + name)
	fd, err := t.open(name)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := t.makeDir(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	fd, err = unix.Openat(parent, path.Base(name), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return -1, err
	}
	unix.Close(fd)
	return t.open(name)
}

func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// checkMount refuses what cannot be made.
func checkMount(m *agentpb.Mount) error {
	if !path.IsAbs(m.Destination) || path.Clean(m.Destination) == "/" {
		return fmt.Errorf("destination %q is not an absolute path below the root", m.Destination)
	}
	switch m.Type {
	case "bind":
		if m.Bind == nil || (m.Bind.Storage == nil) == (m.Bind.SharedDir == "") {
			return errors.New("a bind mount needs a storage or a shared directory")
		}
	case "file":
		if m.File == nil {
			return errors.New("a mount of type file needs its content")
		}
	case "":
		return errors.New("has no type")
	}
	return nil
}
