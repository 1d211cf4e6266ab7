package kernel

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// InstallFD gives the task a new descriptor for fd, whose reference it takes
// over on success (tty.FDInstaller).
func (t *Task) InstallFD(fd *vfs.FileDescription, cloexec bool) (int32, abi.Errno) {
	return t.fds.Install(fd, 0, cloexec, t.tg.LimitCur(RLIMIT_NOFILE))
}
