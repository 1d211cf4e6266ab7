package gofer

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// aDirectory refuses AT_FDCWD: every path is relative to a held descriptor.
var aDirectory = []seccomp.Cond{seccomp.Range(0, 0, 1<<20)}

// readRules are what every Gofer does.
var readRules = []seccomp.Rule{
	{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Reason: "a request"},
	{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Reason: "its reply, perhaps with a descriptor"},
	{Nr: unix.SYS_OPENAT2, Name: "openat2", Reason: "resolving a path below a root", When: aDirectory},
	{Nr: unix.SYS_OPENAT, Name: "openat", Reason: "one component of a path; creating a file", When: aDirectory},
	{Nr: unix.SYS_CLOSE, Name: "close", Reason: "descriptors that were sent or looked at"},
	{Nr: unix.SYS_STATX, Name: "statx", Reason: "attributes", When: aDirectory},
	{Nr: unix.SYS_FSTATFS, Name: "fstatfs", Reason: "statfs, and what kind of file system lies below a root"},
	{Nr: unix.SYS_GETDENTS64, Name: "getdents64", Reason: "the entries of a directory"},
	{Nr: unix.SYS_LSEEK, Name: "lseek", Reason: "going on in a large directory"},
	{Nr: unix.SYS_READLINKAT, Name: "readlinkat", Reason: "the targets of symbolic links", When: aDirectory},
	{Nr: unix.SYS_FGETXATTR, Name: "fgetxattr", Reason: "extended attributes"},
	{Nr: unix.SYS_FLISTXATTR, Name: "flistxattr", Reason: "extended attributes"},
	{Nr: unix.SYS_SCHED_SETAFFINITY, Name: "sched_setaffinity", Reason: "serving on the CPU of the Sentry's thread that waits", When: []seccomp.Cond{seccomp.Arg(0, 0)}},
}

// changeRules are added when a mount may be written to.
var changeRules = []seccomp.Rule{
	{Nr: unix.SYS_MKDIRAT, Name: "mkdirat", Reason: "mkdir", When: aDirectory},
	{Nr: unix.SYS_MKNODAT, Name: "mknodat", Reason: "fifos and sockets", When: append([]seccomp.Cond{seccomp.Bits(2, unix.S_IFMT, unix.S_IFIFO)}, aDirectory...)},
	{Nr: unix.SYS_MKNODAT, Name: "mknodat", Reason: "fifos and sockets", When: append([]seccomp.Cond{seccomp.Bits(2, unix.S_IFMT, unix.S_IFSOCK)}, aDirectory...)},
	{Nr: unix.SYS_SYMLINKAT, Name: "symlinkat", Reason: "symlink", When: []seccomp.Cond{seccomp.Range(1, 0, 1<<20)}},
	{Nr: unix.SYS_LINKAT, Name: "linkat", Reason: "link", When: append([]seccomp.Cond{seccomp.Range(2, 0, 1<<20), seccomp.Arg(4, 0)}, aDirectory...)},
	{Nr: unix.SYS_LINKAT, Name: "linkat", Reason: "a name for a file of O_TMPFILE", When: append([]seccomp.Cond{seccomp.Range(2, 0, 1<<20), seccomp.Arg(4, unix.AT_EMPTY_PATH)}, aDirectory...)},
	{Nr: unix.SYS_UNLINKAT, Name: "unlinkat", Reason: "unlink and rmdir", When: aDirectory},
	{Nr: unix.SYS_RENAMEAT2, Name: "renameat2", Reason: "rename", When: append([]seccomp.Cond{seccomp.Range(2, 0, 1<<20)}, aDirectory...)},
	{Nr: unix.SYS_FCHMOD, Name: "fchmod", Reason: "chmod of an open file"},
	{Nr: sysFchmodat2, Name: "fchmodat2", Reason: "chmod, without following links", When: append([]seccomp.Cond{seccomp.Arg(3, nofollow)}, aDirectory...)},
	{Nr: unix.SYS_FCHOWNAT, Name: "fchownat", Reason: "the owner of an open file", When: append([]seccomp.Cond{seccomp.Arg(4, unix.AT_EMPTY_PATH)}, aDirectory...)},
	{Nr: unix.SYS_FCHOWNAT, Name: "fchownat", Reason: "chown, without following links", When: append([]seccomp.Cond{seccomp.Arg(4, nofollow)}, aDirectory...)},
	{Nr: unix.SYS_UTIMENSAT, Name: "utimensat", Reason: "times", When: aDirectory},
	{Nr: unix.SYS_FTRUNCATE, Name: "ftruncate", Reason: "truncate"},
	{Nr: unix.SYS_FSETXATTR, Name: "fsetxattr", Reason: "extended attributes"},
	{Nr: unix.SYS_FREMOVEXATTR, Name: "fremovexattr", Reason: "extended attributes"},
	{Nr: unix.SYS_FSYNC, Name: "fsync", Reason: "fsync of a directory"},
	{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "how a descriptor from the Sentry was opened", When: []seccomp.Cond{seccomp.Arg(1, unix.F_GETFL)}},
}

// Filter gives the Gofer's filter: at most 45 host calls. No thread of
// the Gofer ends before it does: exit is left out of what the runtime has.
func Filter(writable bool) *seccomp.Filter {
	f := &seccomp.Filter{Default: seccomp.KillProcess}
	for _, r := range seccomp.GoRuntime {
		if r.Nr != unix.SYS_EXIT {
			f.Rules = append(f.Rules, r)
		}
	}
	f.Rules = append(f.Rules, readRules...)
	if writable {
		f.Rules = append(f.Rules, changeRules...)
	}
	return f
}
