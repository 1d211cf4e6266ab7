package boot

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/seccomp"
	"bulkhead.dev/bulkhead/internal/sentry/fs/hostfile"
)

// insideEnv has the test binary try its calls behind the Sentry's filter.
const insideEnv = "BULKHEAD_TEST_INSIDE_FILTER"

// refused is what the filter answers there, in place of a trap.
const refused = unix.EXDEV

// TestFilterFromInside: behind the Sentry's own filter, in a process that has
// it, just the terminal requests pass that package hostfile makes, and of the
// calls with conditions none passes with arguments that the rule's reason does
// not name.
func TestFilterFromInside(t *testing.T) {
	if d := Filter().Default; d != seccomp.Trap {
		t.Errorf("a call outside the filter gets %#x, want a trap", d)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput() // the test's platform may have reaped it
	if !strings.HasPrefix(string(out), "tried ") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

func init() {
	if os.Getenv(insideEnv) != "" {
		inside()
	}
}

// beyond are calls that the Sentry's filter has a rule for, with arguments that
// none of its rules allows.
var beyond = []struct {
	what string
	nr   uintptr
	a    [6]uintptr
}{
	{"fcntl F_DUPFD", unix.SYS_FCNTL, [6]uintptr{0, unix.F_DUPFD, 1000}},
	{"fcntl F_SETFL", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETFL, 0}},
	{"fcntl F_SETOWN", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETOWN, 1}},
	{"fcntl F_SETSIG", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETSIG, 9}},
	{"fcntl F_NOTIFY", unix.SYS_FCNTL, [6]uintptr{0, unix.F_NOTIFY, 1}},
	{"fcntl F_SETLEASE", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETLEASE, 0}},
	{"fcntl F_SETPIPE_SZ", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETPIPE_SZ, 1 << 20}},
	{"kill of everybody", unix.SYS_KILL, [6]uintptr{^uintptr(0), 9}},
	{"kill of the own group", unix.SYS_KILL, [6]uintptr{0, 9}},
	{"kill of process 1", unix.SYS_KILL, [6]uintptr{1, 9}},
	{"kill with SIGTERM", unix.SYS_KILL, [6]uintptr{1 << 22, 15}},
	{"kill with no signal", unix.SYS_KILL, [6]uintptr{1 << 22, 0}},
	{"tgkill with SIGSTOP", unix.SYS_TGKILL, [6]uintptr{1 << 22, 1 << 22, 19}},
	{"tgkill with SIGCHLD", unix.SYS_TGKILL, [6]uintptr{1 << 22, 1 << 22, 17}},
	{"tgkill with SIGRTMAX", unix.SYS_TGKILL, [6]uintptr{1 << 22, 1 << 22, 64}},
	{"waitid that waits", unix.SYS_WAITID, [6]uintptr{unix.P_PID, 1 << 22, 0, unix.WEXITED}},
	{"waitid of a pidfd", unix.SYS_WAITID, [6]uintptr{unix.P_PIDFD, 0, 0, unix.WEXITED | unix.WNOHANG | unix.WNOWAIT}},
	{"memfd_create MFD_HUGETLB", unix.SYS_MEMFD_CREATE, [6]uintptr{0, unix.MFD_CLOEXEC | unix.MFD_HUGETLB}},
	{"memfd_create MFD_EXEC", unix.SYS_MEMFD_CREATE, [6]uintptr{0, 0x10}},
	{"mmap PROT_EXEC", unix.SYS_MMAP, [6]uintptr{0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, ^uintptr(0)}},
	{"socketpair of streams", unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
	{"socketpair AF_TIPC", unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_TIPC, unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC}},
	{"getsockopt SO_PEERCRED", unix.SYS_GETSOCKOPT, [6]uintptr{0, unix.SOL_SOCKET, unix.SO_PEERCRED}},
	{"getsockopt of TCP", unix.SYS_GETSOCKOPT, [6]uintptr{0, unix.SOL_TCP, unix.TCP_INFO}},
	{"openat by the working directory", unix.SYS_OPENAT, [6]uintptr{^uintptr(99), 0, unix.O_RDONLY}},
	{"openat to write", unix.SYS_OPENAT, [6]uintptr{100, 0, unix.O_WRONLY}},
	{"openat O_CREAT", unix.SYS_OPENAT, [6]uintptr{100, 0, unix.O_CREAT}},
	{"openat O_TMPFILE", unix.SYS_OPENAT, [6]uintptr{100, 0, unix.O_TMPFILE | unix.O_RDWR}},
	{"membarrier MEMBARRIER_CMD_GLOBAL", unix.SYS_MEMBARRIER, [6]uintptr{1}},
	{"membarrier by CPU", unix.SYS_MEMBARRIER, [6]uintptr{128, 1}},
	{"madvise MADV_MERGEABLE", unix.SYS_MADVISE, [6]uintptr{0, 0, unix.MADV_MERGEABLE}},
	{"madvise MADV_HWPOISON", unix.SYS_MADVISE, [6]uintptr{0, 0, unix.MADV_HWPOISON}},
	{"madvise MADV_DONTFORK", unix.SYS_MADVISE, [6]uintptr{0, 0, unix.MADV_DONTFORK}},
	{"prctl PR_SET_DUMPABLE", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_DUMPABLE, 1}},
	{"prctl PR_SET_PTRACER", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_PTRACER, ^uintptr(0)}},
	{"clone of a process", unix.SYS_CLONE, [6]uintptr{uintptr(unix.SIGCHLD)}},
	{"clone CLONE_NEWUSER", unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
	{"clone of a thread in a new network namespace", unix.SYS_CLONE, [6]uintptr{0x50f00 | unix.CLONE_NEWNET}},
	{"futex FUTEX_LOCK_PI", unix.SYS_FUTEX, [6]uintptr{0, 6}},
	{"futex FUTEX_WAIT_REQUEUE_PI", unix.SYS_FUTEX, [6]uintptr{0, 11}},
	{"futex FUTEX_CMP_REQUEUE_PI", unix.SYS_FUTEX, [6]uintptr{0, 12 | 128}},
	{"futex FUTEX_LOCK_PI2", unix.SYS_FUTEX, [6]uintptr{0, 13}},
	{"futex FUTEX_WAKE_OP", unix.SYS_FUTEX, [6]uintptr{0, 5}},
}

// inside installs the filter, tries, prints what was wrong, and ends.
func inside() {
	f := Filter()
	f.Default = seccomp.Errno(refused)
	runtime.LockOSThread()
	err := confine.NoNewPrivs()
	if err == nil {
		err = f.Install()
	}
	if err != nil {
		fmt.Println("the filter:", err)
		os.Exit(1)
	}
	tried, wrong := 0, false
	complain := func(format string, a ...any) {
		fmt.Printf(format+"\n", a...)
		wrong = true
	}
	allowed := hostfile.HostRequests()
	try := func(cmd uint32) {
		tried++
		_, _, e := unix.RawSyscall(unix.SYS_IOCTL, ^uintptr(0), uintptr(cmd), 0)
		if passes := e != refused; passes != slices.Contains(allowed, cmd) {
			complain("ioctl %#x: %v", cmd, e)
		}
	}
	for cmd := range uint32(1 << 16) {
		try(cmd)
	}
	for _, cmd := range allowed {
		try(cmd)
		for bit := range 32 { // its neighbours
			try(cmd ^ 1<<bit)
		}
	}
	for _, c := range beyond {
		tried++
		if _, _, e := unix.RawSyscall6(c.nr, c.a[0], c.a[1], c.a[2], c.a[3], c.a[4], c.a[5]); e != refused {
			complain("%s: %v", c.what, e)
		}
	}
	if wrong {
		os.Exit(1)
	}
	fmt.Println("tried", tried)
	os.Exit(0)
}
