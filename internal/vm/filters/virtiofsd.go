package filters

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// Virtiofsd is the filter of QEMU's virtiofsd. Its root holds the shared trees
// alone; what the files' owners may do, it may.
func Virtiofsd() *seccomp.Filter {
	return seccomp.Program(seccomp.CLibrary(), both, virtiofsdStart(), fileRules())
}

func virtiofsdStart() []seccomp.Rule {
	out := []seccomp.Rule{
		{Nr: unix.SYS_ACCEPT, Name: "accept", Reason: "QEMU's connection, the only one"},
		{Nr: unix.SYS_ACCEPT4, Name: "accept4", Reason: "the same, by a later version"},
		{Nr: unix.SYS_UMASK, Name: "umask", Reason: "modes are the guest's to choose"},
		{Nr: unix.SYS_GETUID, Name: "getuid", Reason: "whether root started it"},
		{Nr: unix.SYS_GETGROUPS, Name: "getgroups", Reason: "supplementary groups to give up"},
		{Nr: unix.SYS_SETGROUPS, Name: "setgroups", Reason: "supplementary groups are given up; those of who makes a file"},
		{Nr: unix.SYS_CAPGET, Name: "capget", Reason: "capabilities to drop"},
		{Nr: unix.SYS_CAPSET, Name: "capset", Reason: "capabilities are dropped, and taken back to change an owner"},
		{Nr: unix.SYS_SCHED_GETATTR, Name: "sched_getattr", Reason: "glib's pool of threads"},
		{Nr: unix.SYS_SCHED_SETATTR, Name: "sched_setattr", Reason: "glib's pool of threads"},
		{Nr: unix.SYS_UNSHARE, Name: "unshare", Reason: "a thread has a working directory of its own", When: []seccomp.Cond{seccomp.Arg(0, unix.CLONE_FS)}},
	}
	for _, p := range []struct {
		option uint64
		why    string
	}{
		{unix.PR_CAPBSET_READ, "capabilities to drop"}, {unix.PR_CAPBSET_DROP, "capabilities are dropped"}, {unix.PR_CAP_AMBIENT, "capabilities are dropped"},
		{unix.PR_SET_NAME, "names of threads"}, {unix.PR_SET_NO_NEW_PRIVS, "its own filter wants no_new_privs, which is there"}, {unix.PR_SET_PDEATHSIG, "it ends with its parent"},
		{unix.PR_GET_SECUREBITS, "capabilities"}, {unix.PR_SET_SECUREBITS, "capabilities"}, {unix.PR_GET_SECCOMP, "whether there are filters"},
	} {
		out = append(out, seccomp.Rule{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: p.why, When: []seccomp.Cond{seccomp.Arg(0, p.option)}})
	}
	return out
}

// fileRules are what the guest asks of files (linux/fuse.h), all by descriptors
// or by one name below one.
func fileRules() []seccomp.Rule {
	var out []seccomp.Rule
	add := func(why string, calls ...any) {
		for i := 0; i < len(calls); i += 2 {
			out = append(out, seccomp.Rule{Nr: uint32(calls[i+1].(int)), Name: calls[i].(string), Reason: why})
		}
	}
	add("FUSE_LOOKUP, FUSE_GETATTR", "statx", unix.SYS_STATX, "readlinkat", unix.SYS_READLINKAT)
	add("FUSE_READDIR", "getdents64", unix.SYS_GETDENTS64)
	add("FUSE_READ, FUSE_WRITE", "preadv", unix.SYS_PREADV, "pwritev", unix.SYS_PWRITEV, "pwrite64", unix.SYS_PWRITE64,
		"writev", unix.SYS_WRITEV, "readv", unix.SYS_READV, "pwritev2", unix.SYS_PWRITEV2, "copy_file_range", unix.SYS_COPY_FILE_RANGE)
	add("FUSE_MKDIR, FUSE_MKNOD, FUSE_SYMLINK, FUSE_LINK, FUSE_UNLINK, FUSE_RENAME2", "mkdirat", unix.SYS_MKDIRAT, "mknodat", unix.SYS_MKNODAT, "symlinkat", unix.SYS_SYMLINKAT,
		"linkat", unix.SYS_LINKAT, "unlinkat", unix.SYS_UNLINKAT, "renameat", unix.SYS_RENAMEAT, "renameat2", unix.SYS_RENAMEAT2)
	add("FUSE_SETATTR", "fchmod", unix.SYS_FCHMOD, "fchmodat", unix.SYS_FCHMODAT, "fchownat", unix.SYS_FCHOWNAT, "utimensat", unix.SYS_UTIMENSAT)
	add("FUSE_FSYNC", "fsync", unix.SYS_FSYNC, "syncfs", unix.SYS_SYNCFS)
	add("FUSE_SETXATTR and its like, by descriptor or in a directory of its own", "fsetxattr", unix.SYS_FSETXATTR, "fgetxattr", unix.SYS_FGETXATTR,
		"flistxattr", unix.SYS_FLISTXATTR, "fremovexattr", unix.SYS_FREMOVEXATTR, "setxattr", unix.SYS_SETXATTR, "getxattr", unix.SYS_GETXATTR,
		"listxattr", unix.SYS_LISTXATTR, "removexattr", unix.SYS_REMOVEXATTR, "fchdir", unix.SYS_FCHDIR)
	add("who makes a file: one thread takes the guest's uid and gid", "setresuid", unix.SYS_SETRESUID, "setresgid", unix.SYS_SETRESGID,
		"geteuid", unix.SYS_GETEUID, "getegid", unix.SYS_GETEGID)
	add("descriptors", "dup", unix.SYS_DUP)
	out = append(out,
		seccomp.Rule{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "descriptors: flags", When: []seccomp.Cond{seccomp.Range(1, unix.F_GETFD, unix.F_SETFL)}},
		seccomp.Rule{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "descriptors: copies that close at exec", When: []seccomp.Cond{seccomp.Arg(1, unix.F_DUPFD_CLOEXEC)}},
		seccomp.Rule{Nr: unix.SYS_FLOCK, Name: "flock", Reason: "FUSE_FLUSH of a locked file"})
	return out
}
