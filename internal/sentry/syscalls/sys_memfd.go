package syscalls

import (
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_MEMFD_CREATE, Name: "memfd_create", Args: "str flags:memfd", Fn: sysMemfdCreate,
			Note: "MFD_HUGETLB: ENOSYS, as without CONFIG_HUGETLBFS"},
		Row{Nr: unix.SYS_MEMFD_SECRET, Name: "memfd_secret", Args: "hex", Refuse: unix.ENOSYS,
			Why: "as where secretmem is not enabled: the Sentry sees all memory of its guest"},
	)
}

// memfdNameMax leaves room for "memfd:" in a file's name.
const memfdNameMax = maxNameLen - len("memfd:")

// sysMemfdCreate is memfd_create(2).
func sysMemfdCreate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(1)
	const known = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING | unix.MFD_NOEXEC_SEAL | unix.MFD_EXEC
	switch {
	case flags&unix.MFD_HUGETLB != 0:
		return 0, unix.ENOSYS
	case flags&^known != 0, flags&(unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL) == unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL:
		return 0, unix.EINVAL
	}
	name, e := t.CopyInString(a[0], memfdNameMax+1)
	if e == unix.ENAMETOOLONG {
		e = unix.EINVAL
	}
	if e != 0 {
		return 0, e
	}
	fd, e := tmpfs.NewMemfd(t, strings.Clone(name), flags)
	if e != 0 {
		return 0, e
	}
	return install(t, fd, flags&unix.MFD_CLOEXEC != 0)
}
