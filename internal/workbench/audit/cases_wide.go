package audit

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
)

// wide is a call with one of its risky arguments.
type wide struct {
	call  string
	about string
	args  [6]uintptr
}

func (w wide) testCase(family string) testCase {
	nr, ok := callNames().byName[w.call]
	if !ok {
		panic("audit: no call " + w.call)
	}
	c := testCase{ID: family + "/" + w.call + "(" + w.about + ")", Family: family, Call: w.call, About: w.about,
		Case: probe.Case{Nr: uintptr(nr), Args: w.args}}
	if forks[w.call] {
		c.Kind = probe.Forks
	}
	return c
}

// named is an argument's value and name.
type named struct {
	v    uintptr
	name string
}

func wideCases() []testCase {
	var out []testCase
	add := func(w wide) { out = append(out, w.testCase(familyWide)) }
	for _, f := range families {
		add(wide{"socket", f.name, [6]uintptr{f.v, unix.SOCK_STREAM, 0}})
	}
	for _, s := range sockets {
		add(s)
	}
	for _, f := range namespaces {
		add(wide{"clone", f.name, [6]uintptr{f.v | uintptr(unix.SIGCHLD)}})
		add(wide{"unshare", f.name, [6]uintptr{f.v}})
		add(wide{"setns", f.name, [6]uintptr{none, f.v}})
	}
	for _, r := range ioctls {
		add(wide{"ioctl", r.name, [6]uintptr{none, r.v, none}})
	}
	for _, o := range prctls {
		add(wide{"prctl", o.name, [6]uintptr{o.v, none, none, none, none}})
	}
	for _, c := range bpfCommands {
		add(wide{"bpf", c.name, [6]uintptr{c.v, none, 48}})
	}
	for _, k := range keyOperations {
		add(wide{"keyctl", k.name, [6]uintptr{k.v, 0, none, none, none}})
	}
	for _, f := range mountFlags {
		add(wide{"mount", f.name, [6]uintptr{none, none, none, f.v, none}})
	}
	for _, p := range ptraces {
		add(wide{"ptrace", p.name, [6]uintptr{p.v, 1 << 22, 0, 0}})
	}
	for _, w := range others {
		add(w)
	}
	return out
}

// families are the address families (socket(2)); a stream is asked for, which
// not all have: the errno tells a family that is there from one that is not.
var families = []named{
	{unix.AF_UNIX, "AF_UNIX"}, {unix.AF_INET, "AF_INET"}, {unix.AF_AX25, "AF_AX25"}, {unix.AF_IPX, "AF_IPX"},
	{unix.AF_APPLETALK, "AF_APPLETALK"}, {unix.AF_NETROM, "AF_NETROM"}, {unix.AF_ATMPVC, "AF_ATMPVC"}, {unix.AF_X25, "AF_X25"},
	{unix.AF_INET6, "AF_INET6"}, {unix.AF_ROSE, "AF_ROSE"}, {unix.AF_KEY, "AF_KEY"}, {unix.AF_ATMSVC, "AF_ATMSVC"},
	{unix.AF_RDS, "AF_RDS"}, {unix.AF_PPPOX, "AF_PPPOX"}, {unix.AF_LLC, "AF_LLC"}, {unix.AF_IB, "AF_IB"}, {unix.AF_MPLS, "AF_MPLS"},
	{unix.AF_CAN, "AF_CAN"}, {unix.AF_TIPC, "AF_TIPC"}, {unix.AF_BLUETOOTH, "AF_BLUETOOTH"}, {unix.AF_RXRPC, "AF_RXRPC"},
	{unix.AF_PHONET, "AF_PHONET"}, {unix.AF_IEEE802154, "AF_IEEE802154"}, {unix.AF_NFC, "AF_NFC"}, {unix.AF_VSOCK, "AF_VSOCK"},
	{unix.AF_KCM, "AF_KCM"}, {unix.AF_QIPCRTR, "AF_QIPCRTR"}, {unix.AF_SMC, "AF_SMC"}, {45, "AF_MCTP"}, {46, "family 46"}, {99, "family 99"},
}

var sockets = []wide{
	{"socket", "AF_INET, SOCK_RAW, ICMP", [6]uintptr{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}},
	{"socket", "AF_INET, SOCK_RAW, RAW", [6]uintptr{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}},
	{"socket", "AF_INET, SOCK_DGRAM, ICMP", [6]uintptr{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}},
	{"socket", "AF_INET, SCTP", [6]uintptr{unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}},
	{"socket", "AF_INET, MPTCP", [6]uintptr{unix.AF_INET, unix.SOCK_STREAM, 262}},
	{"socket", "AF_PACKET, SOCK_RAW", [6]uintptr{unix.AF_PACKET, unix.SOCK_RAW, 0}},
	{"socket", "AF_PACKET, SOCK_DGRAM", [6]uintptr{unix.AF_PACKET, unix.SOCK_DGRAM, 0}},
	{"socket", "AF_NETLINK, ROUTE", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}},
	{"socket", "AF_NETLINK, SOCK_DIAG", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG}},
	{"socket", "AF_NETLINK, NETFILTER", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}},
	{"socket", "AF_NETLINK, XFRM", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM}},
	{"socket", "AF_NETLINK, AUDIT", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}},
	{"socket", "AF_NETLINK, KOBJECT_UEVENT", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT}},
	{"socket", "AF_NETLINK, GENERIC", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}},
	{"socket", "AF_NETLINK, CRYPTO", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_CRYPTO}},
	{"socket", "AF_ALG", [6]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}},
	{"socket", "AF_XDP", [6]uintptr{unix.AF_XDP, unix.SOCK_RAW, 0}},
	{"socket", "AF_VSOCK, SOCK_DGRAM", [6]uintptr{unix.AF_VSOCK, unix.SOCK_DGRAM, 0}},
	{"socketpair", "AF_UNIX", [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM, 0, none}},
	{"socketpair", "AF_TIPC", [6]uintptr{unix.AF_TIPC, unix.SOCK_SEQPACKET, 0, none}},
}

// namespaces are what clone(2), unshare(2) and setns(2) make or enter.
var namespaces = []named{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
}

// ioctls go to a descriptor that is not open: EBADF says that the request
// would have been looked at.
var ioctls = []named{
	{unix.TIOCSTI, "TIOCSTI"}, {0x541c, "TIOCLINUX"}, {unix.TIOCSCTTY, "TIOCSCTTY"}, {0x4b47, "KDSKBENT"},
	{unix.FS_IOC_SETFLAGS, "FS_IOC_SETFLAGS"}, {0x5000940e, "BTRFS_IOC_SNAP_CREATE"}, {0xae01, "KVM_CREATE_VM"},
	{0xc0045878, "FIFREEZE"}, {unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"}, {0x4c80, "LOOP_CTL_ADD"}, {0xc018aa3f, "UFFDIO_API"},
}

var prctls = []named{
	{unix.PR_SET_SECCOMP, "PR_SET_SECCOMP"}, {unix.PR_SET_MM, "PR_SET_MM"}, {unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"},
	{unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"}, {unix.PR_SET_SECUREBITS, "PR_SET_SECUREBITS"}, {unix.PR_SET_PTRACER, "PR_SET_PTRACER"},
	{unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"}, {unix.PR_SET_TSC, "PR_SET_TSC"}, {unix.PR_SCHED_CORE, "PR_SCHED_CORE"},
	{unix.PR_SET_SYSCALL_USER_DISPATCH, "PR_SET_SYSCALL_USER_DISPATCH"}, {unix.PR_SET_MDWE, "PR_SET_MDWE"},
	{unix.PR_SET_SPECULATION_CTRL, "PR_SET_SPECULATION_CTRL"}, {unix.PR_SET_VMA, "PR_SET_VMA"}, {unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"},
	{unix.PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER"}, {unix.PR_SET_IO_FLUSHER, "PR_SET_IO_FLUSHER"},
}

var bpfCommands = []named{
	{unix.BPF_MAP_CREATE, "BPF_MAP_CREATE"}, {unix.BPF_PROG_LOAD, "BPF_PROG_LOAD"}, {unix.BPF_OBJ_GET, "BPF_OBJ_GET"},
	{unix.BPF_PROG_ATTACH, "BPF_PROG_ATTACH"}, {unix.BPF_BTF_LOAD, "BPF_BTF_LOAD"}, {unix.BPF_LINK_CREATE, "BPF_LINK_CREATE"},
	{unix.BPF_PROG_GET_NEXT_ID, "BPF_PROG_GET_NEXT_ID"},
}

// keyOperations name key 0, which there is not.
var keyOperations = []named{
	{unix.KEYCTL_GET_KEYRING_ID, "KEYCTL_GET_KEYRING_ID"}, {unix.KEYCTL_UPDATE, "KEYCTL_UPDATE"}, {unix.KEYCTL_CHOWN, "KEYCTL_CHOWN"},
	{unix.KEYCTL_DESCRIBE, "KEYCTL_DESCRIBE"}, {unix.KEYCTL_LINK, "KEYCTL_LINK"}, {unix.KEYCTL_SEARCH, "KEYCTL_SEARCH"},
	{unix.KEYCTL_READ, "KEYCTL_READ"}, {unix.KEYCTL_INSTANTIATE, "KEYCTL_INSTANTIATE"}, {unix.KEYCTL_DH_COMPUTE, "KEYCTL_DH_COMPUTE"},
	{unix.KEYCTL_PKEY_QUERY, "KEYCTL_PKEY_QUERY"},
}

// mountFlags go with paths that cannot be read.
var mountFlags = []named{
	{0, "new"}, {unix.MS_BIND, "MS_BIND"}, {unix.MS_REMOUNT, "MS_REMOUNT"}, {unix.MS_MOVE, "MS_MOVE"}, {unix.MS_PRIVATE, "MS_PRIVATE"},
}

// ptraces are of a process that there is not.
var ptraces = []named{
	{unix.PTRACE_TRACEME, "PTRACE_TRACEME"}, {unix.PTRACE_ATTACH, "PTRACE_ATTACH"}, {unix.PTRACE_SEIZE, "PTRACE_SEIZE"},
	{unix.PTRACE_PEEKDATA, "PTRACE_PEEKDATA"}, {unix.PTRACE_POKEDATA, "PTRACE_POKEDATA"},
}

var others = []wide{
	{"clone", "plain fork", [6]uintptr{uintptr(unix.SIGCHLD)}},
	{"io_uring_setup", "no parameters", [6]uintptr{1, none}},
	{"io_uring_enter", "no ring", [6]uintptr{none, 1, 0, 0}},
	{"io_uring_register", "no ring", [6]uintptr{none, 0, 0, 0}},
	{"perf_event_open", "no attributes", [6]uintptr{none, 0, none, none, 0}},
	{"userfaultfd", "kernel faults too", [6]uintptr{0x100}},
	{"userfaultfd", "UFFD_USER_MODE_ONLY", [6]uintptr{0x101}},
	{"add_key", "no type", [6]uintptr{none, none, 0, 0, 0}},
	{"request_key", "no type", [6]uintptr{none, none, 0, 0}},
	{"seccomp", "SECCOMP_SET_MODE_FILTER", [6]uintptr{1, 0, none}},
	{"seccomp", "with a listener", [6]uintptr{1, 8, none}},
	{"kexec_load", "flags that are none", [6]uintptr{0, 0, 0, none}},
	{"kexec_file_load", "flags that are none", [6]uintptr{none, none, 0, 0, none}},
	{"init_module", "no image", [6]uintptr{none, 0, none}},
	{"finit_module", "no file", [6]uintptr{none, none, 0}},
	{"delete_module", "no name", [6]uintptr{none, 0}},
	{"create_module", "no name", [6]uintptr{none, 0}},
	{"reboot", "wrong magic", [6]uintptr{1, 2, 3, 0}},
	{"swapon", "no path", [6]uintptr{none, 0}},
	{"swapoff", "no path", [6]uintptr{none}},
	{"acct", "no path", [6]uintptr{none}},
	{"pivot_root", "no paths", [6]uintptr{none, none}},
	{"chroot", "no path", [6]uintptr{none}},
	{"umount2", "no path", [6]uintptr{none, 0}},
	{"fsopen", "no name", [6]uintptr{none, 0}},
	{"fsmount", "no context", [6]uintptr{none, 0, 0}},
	{"open_tree", "OPEN_TREE_CLONE", [6]uintptr{none, none, 1}},
	{"move_mount", "no paths", [6]uintptr{none, none, none, none, 0}},
	{"mount_setattr", "no path", [6]uintptr{none, none, 0, none, 32}},
	{"open_by_handle_at", "no mount", [6]uintptr{none, none, 0}},
	{"name_to_handle_at", "no path", [6]uintptr{none, none, none, none, 0}},
	{"process_vm_readv", "no such process", [6]uintptr{1 << 22, 0, 0, 0, 0, 0}},
	{"process_vm_writev", "no such process", [6]uintptr{1 << 22, 0, 0, 0, 0, 0}},
	{"pidfd_getfd", "no pidfd", [6]uintptr{none, 0, 0}},
	{"kcmp", "no such process", [6]uintptr{1 << 22, 1 << 22, 0, 0, 0}},
	{"move_pages", "no such process", [6]uintptr{1 << 22, 0, 0, 0, 0, 0}},
	{"migrate_pages", "no such process", [6]uintptr{1 << 22, 0, 0, 0}},
	{"mbind", "no memory", [6]uintptr{0, 0, 0, 0, 0, 0}},
	{"set_mempolicy", "default", [6]uintptr{0, 0, 0}},
	{"syslog", "SYSLOG_ACTION_READ_ALL", [6]uintptr{3, none, 1}},
	{"syslog", "SYSLOG_ACTION_SIZE_BUFFER", [6]uintptr{10, 0, 0}},
	{"iopl", "3", [6]uintptr{3}},
	{"ioperm", "port 0x80", [6]uintptr{0x80, 1, 1}},
	{"modify_ldt", "read", [6]uintptr{0, none, 0}},
	{"modify_ldt", "write", [6]uintptr{1, none, 16}},
	{"personality", "query", [6]uintptr{0xffffffff}},
	{"personality", "ADDR_NO_RANDOMIZE", [6]uintptr{0x0040000}},
	{"personality", "READ_IMPLIES_EXEC", [6]uintptr{0x0400000}},
	{"settimeofday", "no time", [6]uintptr{none, 0}},
	{"clock_settime", "no time", [6]uintptr{0, none}},
	{"clock_adjtime", "no time", [6]uintptr{0, none}},
	{"adjtimex", "no time", [6]uintptr{none}},
	{"sethostname", "no name", [6]uintptr{none, 1}},
	{"setdomainname", "no name", [6]uintptr{none, 1}},
	{"quotactl", "Q_SYNC of nothing", [6]uintptr{0x80000100, none, 0, 0}},
	{"lookup_dcookie", "0", [6]uintptr{0, none, 0}},
	{"fanotify_init", "flags that are none", [6]uintptr{none, 0}},
	{"landlock_create_ruleset", "version", [6]uintptr{0, 0, 1}},
	{"memfd_secret", "0", [6]uintptr{0}},
	{"sched_setattr", "no attributes", [6]uintptr{0, none, 0}},
	{"sched_setscheduler", "SCHED_FIFO", [6]uintptr{0, 1, none}},
	{"setpriority", "-20 of no process", [6]uintptr{0, 1 << 22, ^uintptr(19)}},
	{"mlockall", "flags that are none", [6]uintptr{none}},
	{"mknodat", "no path", [6]uintptr{none, none, unix.S_IFBLK, 0x100}},
	{"vhangup", "no terminal", [6]uintptr{}},
	{"statmount", "no request", [6]uintptr{none, none, 0, 0}},
	{"lsm_set_self_attr", "no attributes", [6]uintptr{0, none, 0, 0}},
	{"map_shadow_stack", "flags that are none", [6]uintptr{0, 4096, none}},
	{"uprobe", "outside a trampoline", [6]uintptr{}},
	{"uretprobe", "outside a trampoline", [6]uintptr{}},
}

// stubArguments are arguments of the calls in a guest's reach that the filter
// must not let through.
var stubArguments = []wide{
	{"clone", "CLONE_NEWUSER", [6]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
	{"clone", "a plain fork, not of the Sentry's", [6]uintptr{uintptr(unix.SIGCHLD)}},
	{"clone", "CLONE_PTRACE", [6]uintptr{unix.CLONE_PTRACE | unix.CLONE_PARENT | uintptr(unix.SIGCHLD)}},
	{"clone", "CLONE_UNTRACED", [6]uintptr{unix.CLONE_UNTRACED | unix.CLONE_PARENT | uintptr(unix.SIGCHLD)}},
	{"clone", "high bits", [6]uintptr{1<<32 | unix.CLONE_PARENT | uintptr(unix.SIGCHLD)}},
	{"futex", "FUTEX_LOCK_PI", [6]uintptr{0, 6, 0, 0, 0, 0}},
	{"futex", "FUTEX_CMP_REQUEUE_PI", [6]uintptr{0, 12, 0, 0, 0, 0}},
	{"futex", "FUTEX_FD", [6]uintptr{0, 2, 0, 0, 0, 0}},
	{"mmap", "MAP_HUGETLB", [6]uintptr{0, 4096, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB, none, 0}},
	{"mmap", "MAP_LOCKED", [6]uintptr{0, 4096, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_LOCKED, none, 0}},
	{"mmap", "MAP_GROWSDOWN", [6]uintptr{0, 4096, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN, none, 0}},
	{"mmap", "MAP_SYNC", [6]uintptr{0, 4096, 0, unix.MAP_SHARED_VALIDATE | unix.MAP_SYNC, none, 0}},
	{"madvise", "MADV_MERGEABLE", [6]uintptr{0, 0, unix.MADV_MERGEABLE}},
	{"madvise", "MADV_HWPOISON", [6]uintptr{0, 0, unix.MADV_HWPOISON}},
	{"prctl", "PR_SET_DUMPABLE", [6]uintptr{unix.PR_SET_DUMPABLE, 1}},
	{"prctl", "PR_SET_PTRACER", [6]uintptr{unix.PR_SET_PTRACER, none}},
	{"prctl", "PR_SET_MM", [6]uintptr{unix.PR_SET_MM, 1}},
	{"prctl", "PR_SET_NO_NEW_PRIVS", [6]uintptr{unix.PR_SET_NO_NEW_PRIVS, 1}},
	{"mmap", fmt.Sprintf("flag bit %d", 25), [6]uintptr{0, 4096, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | 1<<25, none, 0}},
}
