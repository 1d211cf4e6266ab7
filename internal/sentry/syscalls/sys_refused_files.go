package syscalls

import "golang.org/x/sys/unix"

// Calls about files that are refused, as a kernel built without them does.
func init() {
	refuse := func(why string, errno unix.Errno, rows ...Row) {
		for _, r := range rows {
			r.Refuse, r.Why = errno, why
			register(r)
		}
	}
	refuse("io_uring is not built", unix.ENOSYS,
		Row{Nr: unix.SYS_IO_URING_SETUP, Name: "io_uring_setup", Args: "uint ptr"},
		Row{Nr: unix.SYS_IO_URING_ENTER, Name: "io_uring_enter", Args: "fd uint uint hex ptr size"},
		Row{Nr: unix.SYS_IO_URING_REGISTER, Name: "io_uring_register", Args: "fd uint ptr uint"})
	refuse("kernel AIO is not built; the C library's aio uses threads", unix.ENOSYS,
		Row{Nr: unix.SYS_IO_SETUP, Name: "io_setup", Args: "uint ptr"},
		Row{Nr: unix.SYS_IO_DESTROY, Name: "io_destroy", Args: "ptr"},
		Row{Nr: unix.SYS_IO_SUBMIT, Name: "io_submit", Args: "ptr size ptr"},
		Row{Nr: unix.SYS_IO_CANCEL, Name: "io_cancel", Args: "ptr ptr ptr"},
		Row{Nr: unix.SYS_IO_GETEVENTS, Name: "io_getevents", Args: "ptr size size ptr ptr"},
		Row{Nr: unix.SYS_IO_PGETEVENTS, Name: "io_pgetevents", Args: "ptr size size ptr ptr ptr"})
	refuse("fanotify is not built; inotify is", unix.ENOSYS,
		Row{Nr: unix.SYS_FANOTIFY_INIT, Name: "fanotify_init", Args: "hex hex"},
		Row{Nr: unix.SYS_FANOTIFY_MARK, Name: "fanotify_mark", Args: "fd hex hex fd path"})
	refuse("quotas are not built", unix.ENOSYS,
		Row{Nr: unix.SYS_QUOTACTL, Name: "quotactl", Args: "hex str int ptr"},
		Row{Nr: unix.SYS_QUOTACTL_FD, Name: "quotactl_fd", Args: "fd hex int ptr"})
	refuse("swap is the host's", unix.EPERM,
		Row{Nr: unix.SYS_SWAPON, Name: "swapon", Args: "path hex"},
		Row{Nr: unix.SYS_SWAPOFF, Name: "swapoff", Args: "path"})
	refuse("file handles would outlive the sandbox's names", unix.EOPNOTSUPP,
		Row{Nr: unix.SYS_NAME_TO_HANDLE_AT, Name: "name_to_handle_at", Args: "fd path ptr ptr flags:at"},
		Row{Nr: unix.SYS_OPEN_BY_HANDLE_AT, Name: "open_by_handle_at", Args: "fd ptr flags:open"})
	refuse("attributes are set and read by setxattr(2) and its like", unix.ENOSYS,
		Row{Nr: sysSetxattrat, Name: "setxattrat", Args: "fd path hex str ptr size"},
		Row{Nr: sysSetxattrat + 1, Name: "getxattrat", Args: "fd path hex str ptr size"},
		Row{Nr: sysSetxattrat + 2, Name: "listxattrat", Args: "fd path hex ptr size"},
		Row{Nr: sysSetxattrat + 3, Name: "removexattrat", Args: "fd path hex str"})
	refuse("inode flags of Linux 6.17 are not built", unix.ENOSYS,
		Row{Nr: 468, Name: "file_getattr", Args: "fd path ptr size hex"},
		Row{Nr: 469, Name: "file_setattr", Args: "fd path ptr size hex"})
	refuse("superseded by statfs(2) and /proc/filesystems; as a kernel without CONFIG_SYSFS_SYSCALL", unix.ENOSYS,
		Row{Nr: unix.SYS_USTAT, Name: "ustat", Args: "dev ptr"},
		Row{Nr: unix.SYS_SYSFS, Name: "sysfs", Args: "int int int"})
	refuse("never existed in Linux, or no more", unix.ENOSYS,
		Row{Nr: unix.SYS_USELIB, Name: "uselib", Args: "path"},
		Row{Nr: unix.SYS_LOOKUP_DCOOKIE, Name: "lookup_dcookie", Args: "hex str:out size"},
		Row{Nr: unix.SYS_EPOLL_CTL_OLD, Name: "epoll_ctl_old"},
		Row{Nr: unix.SYS_EPOLL_WAIT_OLD, Name: "epoll_wait_old"},
		Row{Nr: unix.SYS_GETPMSG, Name: "getpmsg"},
		Row{Nr: unix.SYS_PUTPMSG, Name: "putpmsg"},
		Row{Nr: unix.SYS_AFS_SYSCALL, Name: "afs_syscall"},
		Row{Nr: unix.SYS_NFSSERVCTL, Name: "nfsservctl"},
		Row{Nr: unix.SYS_VSERVER, Name: "vserver"})
}

// sysSetxattrat is the first of the four numbers of Linux 6.13.
const sysSetxattrat = 463
