// Package abi holds Linux's x86-64 numbers, structures and errno values as the
// guest sees them. It owns no state and imports nothing of this project.
package abi

import "golang.org/x/sys/unix"

// Errno is an error number; zero is success. Functions inside the Sentry
// return it in place of an error: it costs no allocation.
type Errno = unix.Errno

// Internal results of an interrupted call (include/linux/errno.h). They never
// reach the guest: the exit path of a call turns each into EINTR or a restart.
const (
	ERESTARTSYS           Errno = 512 // restart if the handler has SA_RESTART
	ERESTARTNOINTR        Errno = 513 // restart always
	ERESTARTNOHAND        Errno = 514 // restart only if no handler runs
	ERESTART_RESTARTBLOCK Errno = 516 // restart by restart_syscall(2) if no handler runs
	ENOIOCTLCMD           Errno = 515 // an ioctl the file does not know: ENOTTY for the guest
)
