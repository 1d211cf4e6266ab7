package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_GETUID, Name: "getuid", Fn: sysGetuid},
		Row{Nr: unix.SYS_GETEUID, Name: "geteuid", Fn: sysGeteuid},
		Row{Nr: unix.SYS_GETGID, Name: "getgid", Fn: sysGetgid},
		Row{Nr: unix.SYS_GETEGID, Name: "getegid", Fn: sysGetegid},
		Row{Nr: unix.SYS_SETUID, Name: "setuid", Args: "uint", Fn: sysSetuid},
		Row{Nr: unix.SYS_SETGID, Name: "setgid", Args: "uint", Fn: sysSetgid},
		Row{Nr: unix.SYS_SETREUID, Name: "setreuid", Args: "int int", Fn: sysSetreuid},
		Row{Nr: unix.SYS_SETREGID, Name: "setregid", Args: "int int", Fn: sysSetregid},
		Row{Nr: unix.SYS_SETRESUID, Name: "setresuid", Args: "int int int", Fn: sysSetresuid},
		Row{Nr: unix.SYS_SETRESGID, Name: "setresgid", Args: "int int int", Fn: sysSetresgid},
		Row{Nr: unix.SYS_GETRESUID, Name: "getresuid", Args: "ptr ptr ptr", Fn: sysGetresuid},
		Row{Nr: unix.SYS_GETRESGID, Name: "getresgid", Args: "ptr ptr ptr", Fn: sysGetresgid},
		Row{Nr: unix.SYS_SETFSUID, Name: "setfsuid", Args: "int", Fn: sysSetfsuid},
		Row{Nr: unix.SYS_SETFSGID, Name: "setfsgid", Args: "int", Fn: sysSetfsgid},
		Row{Nr: unix.SYS_GETGROUPS, Name: "getgroups", Args: "int ptr", Fn: sysGetgroups},
		Row{Nr: unix.SYS_SETGROUPS, Name: "setgroups", Args: "int ptr", Fn: sysSetgroups},
		Row{Nr: unix.SYS_CAPGET, Name: "capget", Args: "ptr ptr", Fn: sysCapget},
		Row{Nr: unix.SYS_CAPSET, Name: "capset", Args: "ptr ptr", Fn: sysCapset},
	)
}

// sysGetuid is getuid(2).
func sysGetuid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.Creds().UID), 0 }

// sysGeteuid is geteuid(2).
func sysGeteuid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.Creds().EUID), 0 }

// sysGetgid is getgid(2).
func sysGetgid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.Creds().GID), 0 }

// sysGetegid is getegid(2).
func sysGetegid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.Creds().EGID), 0 }

// publish installs new credentials, unless making them has failed.
func publish(t *kernel.Task, c *auth.Creds, e abi.Errno) (uint64, abi.Errno) {
	if e == 0 {
		t.SetCreds(c)
	}
	return 0, e
}

// sysSetuid is setuid(2).
func sysSetuid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetUID(a.Uint32(0))
	return publish(t, c, e)
}

// sysSetgid is setgid(2).
func sysSetgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetGID(a.Uint32(0))
	return publish(t, c, e)
}

// sysSetreuid is setreuid(2).
func sysSetreuid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetREUID(a.Uint32(0), a.Uint32(1))
	return publish(t, c, e)
}

// sysSetregid is setregid(2).
func sysSetregid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetREGID(a.Uint32(0), a.Uint32(1))
	return publish(t, c, e)
}

// sysSetresuid is setresuid(2).
func sysSetresuid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetRESUID(a.Uint32(0), a.Uint32(1), a.Uint32(2))
	return publish(t, c, e)
}

// sysSetresgid is setresgid(2).
func sysSetresgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := t.Creds().SetRESGID(a.Uint32(0), a.Uint32(1), a.Uint32(2))
	return publish(t, c, e)
}

func putThree(t *kernel.Task, a *Args, v ...uint32) (uint64, abi.Errno) {
	for i, id := range v {
		if e := put32(t, a[i], id); e != 0 {
			return 0, e
		}
	}
	return 0, 0
}

// sysGetresuid is getresuid(2).
func sysGetresuid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c := t.Creds()
	return putThree(t, a, c.UID, c.EUID, c.SUID)
}

// sysGetresgid is getresgid(2).
func sysGetresgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c := t.Creds()
	return putThree(t, a, c.GID, c.EGID, c.SGID)
}

// sysSetfsuid is setfsuid(2): the result is the id of before, in any case.
func sysSetfsuid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	old := t.Creds()
	if n := old.SetFSUID(a.Uint32(0)); n != nil {
		t.SetCreds(n)
	}
	return uint64(old.FSUID), 0
}

// sysSetfsgid is setfsgid(2).
func sysSetfsgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	old := t.Creds()
	if n := old.SetFSGID(a.Uint32(0)); n != nil {
		t.SetCreds(n)
	}
	return uint64(old.FSGID), 0
}

// sysGetgroups is getgroups(2).
func sysGetgroups(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	groups, n := t.Creds().Groups, a.Int(0)
	switch {
	case n < 0:
		return 0, unix.EINVAL
	case n == 0:
		return uint64(len(groups)), 0
	case len(groups) > int(n):
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*len(groups))
	for i, g := range groups {
		binary.LittleEndian.PutUint32(b[4*i:], g)
	}
	return uint64(len(groups)), t.CopyOut(a[1], b)
}

// sysSetgroups is setgroups(2).
func sysSetgroups(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if !t.Creds().Capable(auth.CAP_SETGID) {
		return 0, unix.EPERM
	}
	n := a.Uint32(0)
	if n > auth.NGROUPS_MAX {
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*n)
	if e := t.CopyIn(a[1], b); e != 0 {
		return 0, e
	}
	groups := make([]uint32, n)
	for i := range groups {
		groups[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	c, e := t.Creds().SetGroups(groups)
	return publish(t, c, e)
}

// Versions of capget(2)'s header.
const (
	capVersion1 = 0x19980330
	capVersion2 = 0x20071026
	capVersion3 = 0x20080522
)

// capHeader reads struct __user_cap_header_struct: how many words each set has,
// and the pid. An unknown version is answered by the one preferred.
func capHeader(t *kernel.Task, addr uint64) (words int, pid int32, e abi.Errno) {
	v, e := get32(t, addr)
	if e != 0 {
		return 0, 0, e
	}
	switch v {
	case capVersion1:
		words = 1
	case capVersion2, capVersion3:
		words = 2
	default:
		if e := put32(t, addr, capVersion3); e != 0 {
			return 0, 0, e
		}
		return 0, 0, unix.EINVAL
	}
	p, e := get32(t, addr+4)
	return words, int32(p), e
}

// sysCapget is capget(2).
func sysCapget(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	words, pid, e := capHeader(t, a[0])
	if e != 0 {
		if e == unix.EINVAL && a[1] == 0 {
			e = 0 // only the version was asked for
		}
		return 0, e
	}
	if pid < 0 {
		return 0, unix.EINVAL
	}
	target := t
	if pid != 0 {
		if target = t.Kernel().Task(pid); target == nil {
			return 0, unix.ESRCH
		}
	}
	if a[1] == 0 {
		return 0, 0
	}
	c := target.Creds()
	var b [24]byte
	for i := range words {
		for j, s := range [...]auth.Caps{c.Effective, c.Permitted, c.Inheritable} {
			binary.LittleEndian.PutUint32(b[12*i+4*j:], uint32(s>>(32*i)))
		}
	}
	return 0, t.CopyOut(a[1], b[:12*words])
}

// sysCapset is capset(2).
func sysCapset(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	words, pid, e := capHeader(t, a[0])
	if e != 0 {
		return 0, e
	}
	if pid != 0 && pid != t.TID() {
		return 0, unix.EPERM
	}
	var b [24]byte
	if e := t.CopyIn(a[1], b[:12*words]); e != 0 {
		return 0, e
	}
	var s [3]auth.Caps
	for i := range words {
		for j := range s {
			s[j] |= auth.Caps(binary.LittleEndian.Uint32(b[12*i+4*j:])) << (32 * i)
		}
	}
	c, e := t.Creds().CapSet(s[0], s[1], s[2])
	return publish(t, c, e)
}
