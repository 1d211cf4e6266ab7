package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// Chroot is chroot(2).
func Chroot(c Caller, fs *FSContext, path string) abi.Errno {
	p, e := Walk(c, At{FS: fs}, path, LookupFollow|LookupDirectory)
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if e := p.Permission(c, MayExec); e != 0 {
		return e
	}
	if !c.Creds().Capable(auth.CAP_SYS_CHROOT) {
		return unix.EPERM
	}
	fs.SetRoot(p)
	return 0
}
