package syscalls

import (
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_MOUNT, Name: "mount", Args: "str path str flags:mount ptr", Fn: sysMount},
		Row{Nr: unix.SYS_UMOUNT2, Name: "umount2", Args: "path flags:umount", Fn: sysUmount2},
		Row{Nr: unix.SYS_PIVOT_ROOT, Name: "pivot_root", Args: "path path", Fn: sysPivotRoot},
	)
	const why = "the calls that mount in steps are not built; mount(2) does what they do"
	for _, r := range []struct {
		nr         uint32
		name, args string
	}{
		{unix.SYS_OPEN_TREE, "open_tree", "fd path hex"},
		{unix.SYS_MOVE_MOUNT, "move_mount", "fd path fd path hex"},
		{unix.SYS_FSOPEN, "fsopen", "str hex"},
		{unix.SYS_FSCONFIG, "fsconfig", "fd int str ptr int"},
		{unix.SYS_FSMOUNT, "fsmount", "fd hex hex"},
		{unix.SYS_FSPICK, "fspick", "fd path hex"},
		{unix.SYS_STATMOUNT, "statmount", "ptr ptr size hex"},
		{unix.SYS_LISTMOUNT, "listmount", "ptr ptr size hex"},
		{467, "open_tree_attr", "fd path hex ptr size"},
	} {
		register(Row{Nr: r.nr, Name: r.name, Args: r.args, Refuse: unix.ENOSYS, Why: why})
	}
}

// optionalString copies a string that may be null.
func optionalString(t *kernel.Task, addr uint64) (string, abi.Errno) {
	if addr == 0 {
		return "", 0
	}
	s, e := t.CopyInString(addr, pathMax)
	return strings.Clone(s), e
}

// mountData copies mount's options: a string, of a page at most, which may end
// with it.
func mountData(t *kernel.Task, addr uint64) (string, abi.Errno) {
	if addr == 0 {
		return "", 0
	}
	b := make([]byte, pageSize)
	n, e := t.CopyInPart(addr, b)
	if n == 0 {
		return "", e
	}
	s, _, _ := strings.Cut(string(b[:n]), "\x00")
	return s, 0
}

// sysMount is mount(2).
func sysMount(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fstype, e := optionalString(t, a[2])
	if e != 0 {
		return 0, e
	}
	source, e := optionalString(t, a[0])
	if e != 0 {
		return 0, e
	}
	data, e := mountData(t, a[4])
	if e != 0 {
		return 0, e
	}
	target, e := t.CopyInString(a[1], pathMax)
	if e != 0 {
		return 0, e
	}
	return 0, vfs.DoMount(t, t.FS(), source, strings.Clone(target), fstype, a[3], data)
}

// sysUmount2 is umount2(2).
func sysUmount2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(1)
	if flags&^(unix.MNT_FORCE|unix.MNT_DETACH|unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW) != 0 {
		return 0, unix.EINVAL
	}
	target, e := t.CopyInString(a[0], pathMax)
	if e != 0 {
		return 0, e
	}
	return 0, vfs.DoUmount(t, t.FS(), target, flags)
}

// sysPivotRoot is pivot_root(2).
func sysPivotRoot(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	newRoot, e := t.CopyInString(a[0], pathMax)
	if e != 0 {
		return 0, e
	}
	newRoot = strings.Clone(newRoot)
	putOld, e := t.CopyInString(a[1], pathMax)
	if e != 0 {
		return 0, e
	}
	return 0, vfs.PivotRoot(t, t.FS(), newRoot, strings.Clone(putOld), t.Kernel().EachFSContext)
}
