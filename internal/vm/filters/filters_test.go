package filters

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/seccomp"
)

// TestRules: each rule is named by its number, once, and the filters compile
// and stay as small as they are.
func TestRules(t *testing.T) {
	byName := map[string]string{}
	f := strings.Fields(abi.SyscallNames)
	for i := 0; i+1 < len(f); i += 2 {
		byName[f[i]] = f[i+1]
	}
	for name, c := range map[string]struct {
		filter *seccomp.Filter
		most   int
	}{"QEMU": {QEMU(4711, 4712, false), 82}, "QEMU with vsock": {QEMU(4711, 4712, true), 82}, "virtiofsd": {Virtiofsd(), 103}, "the monitor": {Monitor(Everything), 47}, "the monitor, at least": {Monitor(MonitorNeeds{}), 38}, "a pod's member": {Member(), 41}} {
		if _, err := c.filter.Compile(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		seen := map[string]bool{}
		for _, r := range c.filter.Rules {
			if byName[r.Name] != strconv.Itoa(int(r.Nr)) {
				t.Errorf("%s: %s is call %s, not %d", name, r.Name, byName[r.Name], r.Nr)
			}
			key := r.Name
			for _, w := range r.When {
				key += " " + w.String()
			}
			if seen[key] {
				t.Errorf("%s: %s is there twice", name, key)
			}
			seen[key] = true
		}
		var allowed []string
		for _, r := range c.filter.Allowed() {
			if !slices.Contains(allowed, r.Name) {
				allowed = append(allowed, r.Name)
			}
		}
		t.Logf("%s: %d host calls", name, len(allowed))
		if len(allowed) > c.most {
			t.Errorf("%s: %d host calls, at most %d", name, len(allowed), c.most)
		}
	}
}

// TestRefused: what a program that was taken over would want first.
func TestRefused(t *testing.T) {
	allows := func(f *seccomp.Filter, nr uint32, args ...uint64) bool {
		var a [6]uint64
		copy(a[:], args)
		for _, r := range f.Rules {
			holds := r.Nr == nr
			for _, c := range r.When {
				holds = holds && c.Holds(&a, 0)
			}
			if holds {
				return r.Action == 0
			}
		}
		return f.Default == seccomp.Allow
	}
	for name, f := range map[string]*seccomp.Filter{"QEMU": QEMU(4711, 4712, false), "virtiofsd": Virtiofsd(), "the monitor": Monitor(MonitorNeeds{}), "a pod's member": Member()} {
		for what, call := range map[string][]uint64{
			"socket":                     {unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM},
			"connect":                    {unix.SYS_CONNECT},
			"io_uring_setup":             {unix.SYS_IO_URING_SETUP},
			"userfaultfd":                {unix.SYS_USERFAULTFD},
			"bpf":                        {unix.SYS_BPF},
			"clone3":                     {unix.SYS_CLONE3},
			"clone, a process":           {unix.SYS_CLONE, uint64(unix.SIGCHLD)},
			"clone, a namespace":         {unix.SYS_CLONE, unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)},
			"unshare, a namespace":       {unix.SYS_UNSHARE, unix.CLONE_NEWUSER},
			"unshare, one beside the fs": {unix.SYS_UNSHARE, unix.CLONE_FS | unix.CLONE_NEWNS},
			"ptrace":                     {unix.SYS_PTRACE},
			"mount":                      {unix.SYS_MOUNT},
			"setuid of another":          {unix.SYS_SETUID, 4713},
			"setuid 0":                   {unix.SYS_SETUID, 0},
			"ioctl TIOCSTI":              {unix.SYS_IOCTL, 0, unix.TIOCSTI},
			"ioctl TUNSETSTEERINGEBPF":   {unix.SYS_IOCTL, 0, unix.TUNSETSTEERINGEBPF},
			"ioctl TUNSETIFF":            {unix.SYS_IOCTL, 0, unix.TUNSETIFF},
			"prctl PR_SET_DUMPABLE":      {unix.SYS_PRCTL, unix.PR_SET_DUMPABLE},
			"prlimit64 of another":       {unix.SYS_PRLIMIT64, 77},
			"kill":                       {unix.SYS_KILL, 1},
			"futex FUTEX_LOCK_PI":        {unix.SYS_FUTEX, 0, 6},
			"futex FUTEX_CMP_REQUEUE_PI": {unix.SYS_FUTEX, 0, 12 | 128},
		} {
			if name == "a pod's member" && what == "connect" {
				continue // of the only sockets that it can make, Unix's
			}
			if allows(f, uint32(call[0]), call[1:]...) {
				t.Errorf("%s: %s is allowed", name, what)
			}
		}
	}
	if q := QEMU(4711, 4712, false); !allows(q, unix.SYS_SETUID, 4711) || !allows(q, unix.SYS_IOCTL, 9, 0xffffffff8004ae98) || allows(QEMU(0, 0, false), unix.SYS_SETUID, 0) {
		t.Error("QEMU becomes its own uid alone, and speaks to KVM however its request is extended")
	}
	for what, call := range map[string][]uint64{
		"execve":                {unix.SYS_EXECVE},
		"mprotect":              {unix.SYS_MPROTECT, 0, 4096, unix.PROT_EXEC},
		"mmap, executable":      {unix.SYS_MMAP, 0, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS},
		"mmap of a file":        {unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE},
		"openat to write":       {unix.SYS_OPENAT, 0, 0, unix.O_WRONLY},
		"openat O_CREAT":        {unix.SYS_OPENAT, 0, 0, unix.O_CREAT},
		"socket AF_INET":        {unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC},
		"socket AF_PACKET":      {unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW | unix.SOCK_CLOEXEC},
		"socket, netlink audit": {unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT},
		"ioctl SIOCSIFFLAGS":    {unix.SYS_IOCTL, 0, unix.SIOCSIFFLAGS},
		"kill of everybody":     {unix.SYS_KILL, 1<<64 - 1, uint64(unix.SIGKILL)},
		"kill, another signal":  {unix.SYS_KILL, 77, uint64(unix.SIGSTOP)},
	} {
		if allows(Monitor(Everything), uint32(call[0]), call[1:]...) {
			t.Errorf("the monitor, whatever it needs: %s is allowed", what)
		}
	}
}
