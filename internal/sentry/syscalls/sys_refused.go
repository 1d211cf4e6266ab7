package syscalls

import "golang.org/x/sys/unix"

// Calls that nobody implements, and that answer as a kernel built without them
// does.
func init() {
	refuse := func(why string, errno unix.Errno, rows ...Row) {
		for _, r := range rows {
			r.Refuse, r.Why = errno, why
			register(r)
		}
	}
	refuse("tracing is refused, as Yama's ptrace_scope 3 does", unix.EPERM,
		Row{Nr: unix.SYS_PTRACE, Name: "ptrace", Args: "int pid ptr ptr"})
	refuse("keyrings are not built", unix.ENOSYS,
		Row{Nr: unix.SYS_ADD_KEY, Name: "add_key", Args: "str str ptr size int"},
		Row{Nr: unix.SYS_REQUEST_KEY, Name: "request_key", Args: "str str str int"},
		Row{Nr: unix.SYS_KEYCTL, Name: "keyctl", Args: "int hex hex hex hex"})
	refuse("the kernel is one program: no modules, no kexec, no BPF", unix.ENOSYS,
		Row{Nr: unix.SYS_INIT_MODULE, Name: "init_module", Args: "ptr size str"},
		Row{Nr: unix.SYS_FINIT_MODULE, Name: "finit_module", Args: "fd str hex"},
		Row{Nr: unix.SYS_DELETE_MODULE, Name: "delete_module", Args: "str hex"},
		Row{Nr: unix.SYS_KEXEC_LOAD, Name: "kexec_load", Args: "hex size ptr hex"},
		Row{Nr: unix.SYS_KEXEC_FILE_LOAD, Name: "kexec_file_load", Args: "fd fd size str hex"},
		Row{Nr: unix.SYS_BPF, Name: "bpf", Args: "int ptr size"})
	refuse("performance events and process accounting are not built", unix.ENOSYS,
		Row{Nr: unix.SYS_PERF_EVENT_OPEN, Name: "perf_event_open", Args: "ptr pid int fd hex"},
		Row{Nr: unix.SYS_ACCT, Name: "acct", Args: "path"})
	refuse("guests have no ports and no descriptor tables of their own", unix.ENOSYS,
		Row{Nr: unix.SYS_IOPL, Name: "iopl", Args: "int"},
		Row{Nr: unix.SYS_IOPERM, Name: "ioperm", Args: "hex size int"},
		Row{Nr: unix.SYS_MODIFY_LDT, Name: "modify_ldt", Args: "int ptr size"},
		Row{Nr: unix.SYS_SET_THREAD_AREA, Name: "set_thread_area", Args: "ptr"},
		Row{Nr: unix.SYS_GET_THREAD_AREA, Name: "get_thread_area", Args: "ptr"},
		Row{Nr: unix.SYS_MAP_SHADOW_STACK, Name: "map_shadow_stack", Args: "ptr size hex"})
	refuse("memory is one node", unix.ENOSYS,
		Row{Nr: unix.SYS_MBIND, Name: "mbind", Args: "ptr size int ptr uint hex"},
		Row{Nr: unix.SYS_SET_MEMPOLICY, Name: "set_mempolicy", Args: "int ptr uint"},
		Row{Nr: unix.SYS_GET_MEMPOLICY, Name: "get_mempolicy", Args: "ptr ptr uint ptr hex"},
		Row{Nr: unix.SYS_MIGRATE_PAGES, Name: "migrate_pages", Args: "pid uint ptr ptr"},
		Row{Nr: unix.SYS_MOVE_PAGES, Name: "move_pages", Args: "pid size ptr ptr ptr hex"},
		Row{Nr: unix.SYS_SET_MEMPOLICY_HOME_NODE, Name: "set_mempolicy_home_node", Args: "ptr size uint hex"})
	refuse("page faults are the host's", unix.ENOSYS,
		Row{Nr: unix.SYS_USERFAULTFD, Name: "userfaultfd", Args: "hex"},
		Row{Nr: unix.SYS_PROCESS_MADVISE, Name: "process_madvise", Args: "fd ptr size int hex"},
		Row{Nr: unix.SYS_PROCESS_MRELEASE, Name: "process_mrelease", Args: "fd hex"},
		Row{Nr: unix.SYS_CACHESTAT, Name: "cachestat", Args: "fd ptr ptr hex"},
		Row{Nr: unix.SYS_MSEAL, Name: "mseal", Args: "ptr size hex"})
	refuse("no security module stacks inside", unix.ENOSYS,
		Row{Nr: unix.SYS_LANDLOCK_CREATE_RULESET, Name: "landlock_create_ruleset", Args: "ptr size hex"},
		Row{Nr: unix.SYS_LANDLOCK_ADD_RULE, Name: "landlock_add_rule", Args: "fd int ptr hex"},
		Row{Nr: unix.SYS_LANDLOCK_RESTRICT_SELF, Name: "landlock_restrict_self", Args: "fd hex"},
		Row{Nr: unix.SYS_LSM_GET_SELF_ATTR, Name: "lsm_get_self_attr", Args: "int ptr ptr hex"},
		Row{Nr: unix.SYS_LSM_SET_SELF_ATTR, Name: "lsm_set_self_attr", Args: "int ptr size hex"},
		Row{Nr: unix.SYS_LSM_LIST_MODULES, Name: "lsm_list_modules", Args: "ptr ptr hex"})
	refuse("namespaces are not built", unix.ENOSYS,
		Row{Nr: 470, Name: "listns", Args: "ptr ptr size hex"})
	refuse("there is no more in Linux than the number", unix.ENOSYS,
		Row{Nr: unix.SYS__SYSCTL, Name: "_sysctl", Args: "ptr"},
		Row{Nr: unix.SYS_CREATE_MODULE, Name: "create_module"},
		Row{Nr: unix.SYS_GET_KERNEL_SYMS, Name: "get_kernel_syms"},
		Row{Nr: unix.SYS_QUERY_MODULE, Name: "query_module"},
		Row{Nr: unix.SYS_TUXCALL, Name: "tuxcall"},
		Row{Nr: unix.SYS_SECURITY, Name: "security"})
	refuseUnlessBuilt("futex(2) has all that these do for one word; waiting on several would be one more host call in the reach of guests", unix.ENOSYS,
		Row{Nr: unix.SYS_FUTEX_WAITV, Name: "futex_waitv", Args: "ptr uint hex ptr int"},
		Row{Nr: unix.SYS_FUTEX_WAKE, Name: "futex_wake", Args: "ptr hex int hex"},
		Row{Nr: unix.SYS_FUTEX_WAIT, Name: "futex_wait", Args: "ptr hex hex hex ptr int"},
		Row{Nr: unix.SYS_FUTEX_REQUEUE, Name: "futex_requeue", Args: "ptr hex int int"})
}

// refuseUnlessBuilt refuses calls that another family may have, whichever comes
// first.
func refuseUnlessBuilt(why string, errno unix.Errno, rows ...Row) {
	for _, r := range rows {
		r.Refuse, r.Why, r.provisional = errno, why, true
		if Table[r.Nr].Name == "" {
			Table[r.Nr] = r
		}
	}
}
