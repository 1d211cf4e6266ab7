package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(Row{Nr: unix.SYS_MOUNT_SETATTR, Name: "mount_setattr", Args: "fd path flags:at ptr size", Fn: sysMountSetattr,
		Note: "MOUNT_ATTR_IDMAP: EINVAL, as for file systems that do not allow it"})
}

// Bits of struct mount_attr beyond those that have MS_* of the same meaning.
const (
	attrAtime       = unix.MOUNT_ATTR__ATIME
	attrFlags       = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	attrKnown       = attrFlags | attrAtime | unix.MOUNT_ATTR_NODIRATIME | attrNoSymFollow
	attrNoSymFollow = 0x200000
	mountAttrSize   = 32
	atRecursive     = 0x8000
	propagations    = unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE
	msAtimes        = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME
)

// mountAttrs turns attr_set and attr_clr into MS_* flags to set and to clear.
func mountAttrs(set, clear uint64) (msSet, msClear uint64, e abi.Errno) {
	switch {
	case (set|clear)&^attrKnown != 0,
		clear&attrAtime != 0 && clear&attrAtime != attrAtime,
		set&attrAtime != 0 && clear&attrAtime == 0:
		return 0, 0, unix.EINVAL
	}
	msSet, msClear = plainAttrs(set), plainAttrs(clear)
	if clear&attrAtime == 0 {
		return msSet, msClear, 0
	}
	msClear |= msAtimes
	switch set & attrAtime {
	case unix.MOUNT_ATTR_RELATIME:
		msSet |= unix.MS_RELATIME
	case unix.MOUNT_ATTR_NOATIME:
		msSet |= unix.MS_NOATIME
	case unix.MOUNT_ATTR_STRICTATIME:
	default:
		return 0, 0, unix.EINVAL
	}
	return msSet, msClear, 0
}

// plainAttrs are those with one bit on both sides.
func plainAttrs(a uint64) uint64 {
	ms := a & attrFlags // the same numbers
	if a&unix.MOUNT_ATTR_NODIRATIME != 0 {
		ms |= unix.MS_NODIRATIME
	}
	if a&attrNoSymFollow != 0 {
		ms |= msNoSymFollow
	}
	return ms
}

// sysMountSetattr is mount_setattr(2).
func sysMountSetattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(2)
	if flags&^(unix.AT_EMPTY_PATH|atRecursive|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT) != 0 || a[4] < mountAttrSize {
		return 0, unix.EINVAL
	}
	var b [mountAttrSize]byte
	if e := copyStruct(t, a[3], a[4], b[:]); e != 0 {
		return 0, e
	}
	set, clear, prop := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if set|clear|prop == 0 {
		return 0, 0
	}
	msSet, msClear, e := mountAttrs(set, clear)
	if e == 0 && (prop&^propagations != 0 || prop&(prop-1) != 0) {
		e = unix.EINVAL
	}
	if e == 0 && !t.Creds().Capable(auth.CAP_SYS_ADMIN) {
		e = unix.EPERM
	}
	if e != 0 {
		return 0, e
	}
	return withPathAt(t, a.Int(0), a[1], lookupFor(flags, true), func(p vfs.Path) abi.Errno {
		return changeMount(p, msSet, msClear, prop, flags&atRecursive != 0)
	})
}

func changeMount(p vfs.Path, set, clear, prop uint64, recursive bool) abi.Errno {
	ns := p.Namespace()
	if ns == nil || p.Dentry != p.Mount.Root {
		return unix.EINVAL
	}
	if set|clear != 0 {
		if e := ns.SetMountFlags(p, set, clear, recursive); e != 0 {
			return e
		}
	}
	if prop == 0 {
		return 0
	}
	if recursive {
		prop |= unix.MS_REC
	}
	return ns.SetPropagation(p, prop)
}
