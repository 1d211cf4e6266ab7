package syscalls

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

func init() {
	register(
		Row{Nr: unix.SYS_EXECVE, Name: "execve", Args: "path ptr ptr", Fn: sysExecve},
		Row{Nr: unix.SYS_EXECVEAT, Name: "execveat", Args: "fd path ptr ptr flags", Fn: sysExecveat},
	)
}

// sysExecve is execve(2).
func sysExecve(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return exec(t, unix.AT_FDCWD, a[0], a[1], a[2], 0)
}

// sysExecveat is execveat(2).
func sysExecveat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := uint32(a[4])
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, unix.EINVAL
	}
	return exec(t, a.Int(0), a[1], a[2], a[3], flags)
}

func exec(t *kernel.Task, dirfd int32, path, argv, envv uint64, flags uint32) (uint64, abi.Errno) {
	p, e := pathAt(t, dirfd, path)
	defer p.put()
	if e != 0 {
		return 0, e
	}
	x := kernel.ExecArgs{At: p.At, Path: strings.Clone(p.name), How: vfs.LookupFollow}
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		x.How = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		x.How |= vfs.LookupEmpty
	}
	if p.Dir != nil {
		x.FDPath = "/dev/fd/" + strconv.Itoa(int(dirfd))
		if x.Path != "" {
			x.FDPath += "/" + x.Path
		}
		x.FDCloses, _ = t.FDs().Cloexec(dirfd)
	}
	if x.Argv, e = copyStrings(t, argv); e != 0 {
		return 0, e
	}
	if x.Envv, e = copyStrings(t, envv); e != 0 {
		return 0, e
	}
	if len(x.Argv) == 0 {
		x.Argv = []string{""} // as Linux since 5.18
	}
	return 0, t.Exec(&x)
}

const (
	maxArgStrings = 1 << 20
	maxArgLen     = 128 << 10 // MAX_ARG_STRLEN
	maxArgBytes   = 8 << 20
)

// copyStrings copies a list of strings that ends in a null pointer; a null list
// is empty.
func copyStrings(t *kernel.Task, addr uint64) ([]string, abi.Errno) {
	if addr == 0 {
		return nil, 0
	}
	var out []string
	total := 0
	var raw [64 * 8]byte
	for {
		n, e := t.CopyInPart(addr, raw[:])
		n &^= 7
		if n == 0 {
			return nil, e
		}
		for i := 0; i < n; i += 8 {
			p := binary.LittleEndian.Uint64(raw[i:])
			if p == 0 {
				return out, 0
			}
			s, e := t.CopyInString(p, maxArgLen)
			if e == unix.ENAMETOOLONG {
				e = unix.E2BIG
			}
			if e != 0 {
				return nil, e
			}
			total += len(s) + 9
			if total > maxArgBytes || len(out) >= maxArgStrings {
				return nil, unix.E2BIG
			}
			out = append(out, strings.Clone(s))
		}
		addr += uint64(n)
	}
}
