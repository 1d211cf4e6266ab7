package boot

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// lastWords has a crash of this process written to the pipe ready too, behind the
// report: the guest may have closed what stderr was. Whoever started it may read
// that once it has ended; if nobody is there, or the pipe is full, the rest is lost.
func lastWords(ready int) {
	fd, err := unix.FcntlInt(uintptr(ready), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "ready")
	defer f.Close()
	if debug.SetCrashOutput(f, debug.CrashOptions{}) == nil {
		unix.SetNonblock(ready, true)
	}
}
