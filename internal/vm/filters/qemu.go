package filters

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// Requests of ioctl(2) that x/sys/unix does not name.
const (
	ioctlType   = 0xff00
	ioctlKVM    = 0xae00 // linux/kvm.h: KVMIO
	ioctlVhost  = 0xaf00 // linux/vhost.h: VHOST_VIRTIO
	prMCEKill   = 33     // PR_MCE_KILL
	memfdSealOp = 1033   // F_ADD_SEALS
)

// QEMU is the filter of QEMU 7.2 or later on the host's KVM or its translator.
// Where root starts it, it changes to uid and gid; otherwise they are 0.
// AnyID stands for them where the filter is shown. vsock lets it drive the host's
// vhost_vsock.
func QEMU(uid, gid int, vsock bool) *seccomp.Filter {
	ioctls := qemuIoctls()
	if vsock {
		ioctls = append(ioctls, vhostIoctls)
	}
	return seccomp.Program(seccomp.CLibrary(), both, qemuRules(), ioctls, becomes(uid, gid))
}

// vhostIoctls are those of linux/vhost.h, which are of vhost's devices alone.
var vhostIoctls = seccomp.Rule{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "vhost: queues, memory and address of the guest's vsock", When: []seccomp.Cond{seccomp.Bits(1, ioctlType, ioctlVhost)}}

// AnyID is an id that differs from machine to machine.
const AnyID = -1

// both are what QEMU and virtiofsd have in common.
var both = []seccomp.Rule{
	{Nr: unix.SYS_PPOLL, Name: "ppoll", Reason: "waiting for descriptors"},
	{Nr: unix.SYS_EVENTFD2, Name: "eventfd2", Reason: "threads wake each other's poll; interrupts of a vhost-user device"},
	{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Reason: "vhost-user, QEMU's monitor and the agent's channel"},
	{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Reason: "the same, with descriptors"},
	{Nr: unix.SYS_LSEEK, Name: "lseek", Reason: "the size of a file, its holes"},
	{Nr: unix.SYS_FALLOCATE, Name: "fallocate", Reason: "memory of the guest's is given back; a hole in a file"},
	{Nr: unix.SYS_FTRUNCATE, Name: "ftruncate", Reason: "shared memory for a log of changes; a file's size"},
	{Nr: unix.SYS_FDATASYNC, Name: "fdatasync", Reason: "a disk's or file's flush"},
	{Nr: unix.SYS_FSTATFS, Name: "fstatfs", Reason: "what a file lies on"},
	{Nr: unix.SYS_SECCOMP, Name: "seccomp", Reason: "the program's own filter on top of this one"},
	{Nr: unix.SYS_CHDIR, Name: "chdir", Reason: "into the empty root"},
	{Nr: unix.SYS_CHROOT, Name: "chroot", Reason: "an empty root, while CAP_SYS_CHROOT is there"},
}

func qemuRules() []seccomp.Rule {
	return []seccomp.Rule{
		{Nr: unix.SYS_POLL, Name: "poll", Reason: "waiting for descriptors"},
		{Nr: unix.SYS_EPOLL_CREATE1, Name: "epoll_create1", Reason: "waiting for many descriptors"},
		{Nr: unix.SYS_EPOLL_CTL, Name: "epoll_ctl", Reason: "waiting for many descriptors"},
		{Nr: unix.SYS_EPOLL_WAIT, Name: "epoll_wait", Reason: "waiting for many descriptors"},
		{Nr: unix.SYS_SIGNALFD4, Name: "signalfd4", Reason: "signals as a descriptor"},
		{Nr: unix.SYS_RT_SIGTIMEDWAIT, Name: "rt_sigtimedwait", Reason: "KVM: a virtual CPU takes the signal that called it out of the guest"},
		{Nr: unix.SYS_RT_SIGPENDING, Name: "rt_sigpending", Reason: "KVM: whether there is one more"},
		{Nr: unix.SYS_READV, Name: "readv", Reason: "packets of a tap; state of a template"},
		{Nr: unix.SYS_WRITEV, Name: "writev", Reason: "packets of a tap; state of a template"},
		{Nr: unix.SYS_PREADV, Name: "preadv", Reason: "a disk is read"},
		{Nr: unix.SYS_PWRITEV, Name: "pwritev", Reason: "a disk is written"},
		{Nr: unix.SYS_PWRITE64, Name: "pwrite64", Reason: "a disk is written"},
		{Nr: unix.SYS_FADVISE64, Name: "fadvise64", Reason: "a disk's pages are dropped from the cache"},
		{Nr: unix.SYS_FSYNC, Name: "fsync", Reason: "a disk's flush"},
		{Nr: unix.SYS_STATFS, Name: "statfs", Reason: "a library asks for SELinux"},
		{Nr: unix.SYS_SYSINFO, Name: "sysinfo", Reason: "how much memory the host has"},
		{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Reason: "what kind of socket was inherited"},
		{Nr: unix.SYS_SETSOCKOPT, Name: "setsockopt", Reason: "options of inherited sockets", When: []seccomp.Cond{seccomp.Arg(1, unix.SOL_SOCKET)}},
		{Nr: unix.SYS_GETPEERNAME, Name: "getpeername", Reason: "who is at the other end of an inherited socket"},
		{Nr: unix.SYS_GETSOCKNAME, Name: "getsockname", Reason: "the same"},
		{Nr: unix.SYS_SHUTDOWN, Name: "shutdown", Reason: "the end of a channel"},
		{Nr: unix.SYS_SOCKETPAIR, Name: "socketpair", Reason: "vhost-user: a second channel from virtiofsd", When: []seccomp.Cond{seccomp.Arg(0, unix.AF_UNIX)}},
		{Nr: unix.SYS_MEMFD_CREATE, Name: "memfd_create", Reason: "vhost-user: a log of changed pages"},
		{Nr: unix.SYS_DUP, Name: "dup", Reason: "descriptors of disks, by number"},
		{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "descriptors: copies that close at exec", When: []seccomp.Cond{seccomp.Arg(1, unix.F_DUPFD_CLOEXEC)}},
		{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "descriptors: flags", When: []seccomp.Cond{seccomp.Range(1, unix.F_GETFD, unix.F_SETFL)}},
		{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "seals of shared memory", When: []seccomp.Cond{seccomp.Arg(1, memfdSealOp)}},
		{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "timers that are exact", When: []seccomp.Cond{seccomp.Arg(0, unix.PR_SET_TIMERSLACK)}},
		{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "broken memory of the host's is told at once", When: []seccomp.Cond{seccomp.Arg(0, prMCEKill)}},
		{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "its own filter wants no_new_privs, which is there", When: []seccomp.Cond{seccomp.Arg(0, unix.PR_SET_NO_NEW_PRIVS)}},
		{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "names of threads", When: []seccomp.Cond{seccomp.Arg(0, unix.PR_SET_NAME)}},
	}
}

// qemuIoctls are the requests that QEMU makes of its descriptors.
func qemuIoctls() []seccomp.Rule {
	out := []seccomp.Rule{{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "KVM", When: []seccomp.Cond{seccomp.Bits(1, ioctlType, ioctlKVM)}}}
	for _, r := range []struct {
		request uint64
		why     string
	}{
		{unix.TUNGETIFF, "a tap: what it is"}, {unix.TUNGETFEATURES, "a tap: what it can"}, {unix.TUNSETOFFLOAD, "a tap: checksums and segments"},
		{unix.TUNGETVNETHDRSZ, "a tap: its header"}, {unix.TUNSETVNETHDRSZ, "a tap: its header"}, {unix.TUNSETVNETLE, "a tap: its header's byte order"},
		{unix.TUNSETSNDBUF, "a tap: its buffer"},
		{unix.TCGETS, "a console on a terminal"}, {unix.TCSETS, "a console on a terminal"},
	} {
		out = append(out, seccomp.Rule{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: r.why, When: []seccomp.Cond{seccomp.Bits(1, 1<<32-1, r.request)}})
	}
	return out
}

// becomes lets a program take one uid and gid.
func becomes(uid, gid int) []seccomp.Rule {
	if uid == 0 {
		return nil
	}
	only := func(id int) []seccomp.Cond {
		if id == AnyID {
			return []seccomp.Cond{seccomp.Range(0, 1, 1<<32-2)}
		}
		return []seccomp.Cond{seccomp.Arg(0, uint64(id))}
	}
	return []seccomp.Rule{
		{Nr: unix.SYS_SETGROUPS, Name: "setgroups", Reason: "no group but its own", When: []seccomp.Cond{seccomp.Range(0, 0, 1)}},
		{Nr: unix.SYS_SETGID, Name: "setgid", Reason: "its own gid, the only one", When: only(gid)},
		{Nr: unix.SYS_SETUID, Name: "setuid", Reason: "its own uid, the only one", When: only(uid)},
	}
}
