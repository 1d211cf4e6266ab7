// The guest's own seccomp filters.
#include "case.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

static int install(struct sock_filter *f, int n, int flags) {
	struct sock_fprog p = {n, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
// on(nr, action): every other call passes.
static int on(int nr, unsigned action, int flags) {
	struct sock_filter f[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	return install(f, 4, flags);
}
static void need(void) {
	CHILD(p) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		_exit(on(SYS_acct, SECCOMP_RET_ERRNO | EPERM, 0) < 0 ? errno : 0);
	}
	int st;
	EQ(waitpid(p, &st, 0), p);
	if (WIFEXITED(st) && (WEXITSTATUS(st) == ENOSYS || WEXITSTATUS(st) == EINVAL)) SKIP("seccomp is not offered");
}

CASE(errno_action) {
	need();
	CHILD(p) {
		OK(on(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0));
		ERR(syscall(SYS_getppid), 77);
		CHECK(getpid() > 0);
	}
	JOIN(p);
	CHECK(getppid() > 0);
}

CASE(kill_actions) {
	need();
	CHILD(p) {
		OK(on(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0));
		getppid();
	}
	KILLED(p, SIGSYS);
	CHILD(q) {
		OK(on(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0));
		getppid();
	}
	KILLED(q, SIGSYS);
}

CASE(trap_action) {
	need();
	CHILD(p) {
		static volatile int nr, code, err, arch;
		void h(int s, siginfo_t *si, void *c) {
			nr = si->si_syscall, code = si->si_code, err = si->si_errno, arch = si->si_arch;
			((ucontext_t *)c)->uc_mcontext.gregs[REG_RAX] = 1234;
		}
		on_siginfo(SIGSYS, h, 0);
		OK(on(SYS_getppid, SECCOMP_RET_TRAP | 9, 0));
		EQ(syscall(SYS_getppid), 1234);
		EQ(nr, SYS_getppid);
		EQ(code, 1);
		EQ(err, 9);
		EQ((unsigned)arch, AUDIT_ARCH_X86_64);
	}
	JOIN(p);
}

CASE(arguments_are_seen) {
	need();
	CHILD(p) {
		struct sock_filter f[] = {
		    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup, 0, 3),
		    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
		    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBUSY),
		    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		OK(install(f, 6, 0));
		ERR(dup(1), EBUSY);
		OK(dup(0));
	}
	JOIN(p);
}

CASE(strictest_filter_wins) {
	need();
	CHILD(p) {
		OK(on(SYS_getppid, SECCOMP_RET_ERRNO | 11, 0));
		OK(on(SYS_getppid, SECCOMP_RET_ERRNO | 22, 0));
		ERR(syscall(SYS_getppid), 22); // the same action: the newest
		OK(on(SYS_getppid, SECCOMP_RET_ALLOW, 0));
		ERR(syscall(SYS_getppid), 22);
		OK(on(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0));
		getppid();
	}
	KILLED(p, SIGSYS);
}

CASE(inherited_by_fork_and_exec) {
	need();
	CHILD(p) {
		OK(on(SYS_sync, SECCOMP_RET_ERRNO | EPERM, 0));
		CHILD(q) ERR(syscall(SYS_sync), EPERM);
		JOIN(q);
		OK(on(SYS_unlinkat, SECCOMP_RET_ERRNO | EACCES, 0));
		spew("f", "");
		execl("/bin/sh", "sh", "-c", "rm -f f 2>/dev/null; test -e f", NULL);
	}
	JOIN(p);
}

CASE(synchronised_to_threads) {
	need();
	CHILD(p) {
		static atomic_int go, out;
		void *body(void *a) {
			while (!go) usleep(1000);
			out = syscall(SYS_getppid) == -1 && errno == 5 ? 1 : 2;
			return a;
		}
		pthread_t t;
		PT(pthread_create(&t, NULL, body, NULL));
		OK(on(SYS_getppid, SECCOMP_RET_ERRNO | 5, SECCOMP_FILTER_FLAG_TSYNC));
		go = 1;
		PT(pthread_join(t, NULL));
		EQ(out, 1);
	}
	JOIN(p);
}

CASE(without_tsync_only_this_thread) {
	need();
	CHILD(p) {
		static atomic_int go, out;
		void *body(void *a) {
			while (!go) usleep(1000);
			out = syscall(SYS_getppid) > 0 ? 1 : 2;
			return a;
		}
		pthread_t t;
		PT(pthread_create(&t, NULL, body, NULL));
		OK(on(SYS_getppid, SECCOMP_RET_ERRNO | 5, 0));
		ERR(syscall(SYS_getppid), 5);
		go = 1;
		PT(pthread_join(t, NULL));
		EQ(out, 1);
	}
	JOIN(p);
}

CASE(strict_mode) {
	need();
	CHILD(p) {
		OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		write(1, "", 0);
		syscall(SYS_exit, 6);
	}
	EXITS(p, 6);
	CHILD(q) {
		OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		getpid(); // glibc asks the kernel
		for (;;);
	}
	KILLED(q, SIGKILL);
}

CASE(install_errors) {
	need();
	CHILD(p) {
		struct sock_filter ok[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}, bad[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},
				   off[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 3), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
		ERR(install(ok, 0, 0), EINVAL);
		ERR(install(bad, 1, 0), EINVAL);
		ERR(install(off, 2, 0), EINVAL);
		ERR(install(ok, 1, 0x8000), EINVAL);
		ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 8), EFAULT);
		ERR(syscall(SYS_seccomp, 99, 0, NULL), EINVAL);
		unsigned a = SECCOMP_RET_TRAP;
		OK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a));
		a = 0x12340000;
		ERR(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a), EOPNOTSUPP);
	}
	JOIN(p);
}

CASE(needs_no_new_privs_or_a_right) {
	need();
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		struct sock_filter ok[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
		struct sock_fprog f = {1, ok};
		ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f), EACCES);
	}
	JOIN(p);
}

CASE(status_shows_the_mode) {
	need();
	CHILD(p) {
		CHECK(strstr(slurp("/proc/self/status"), "Seccomp:\t0\n"));
		OK(on(SYS_acct, SECCOMP_RET_ERRNO | 1, 0));
		CHECK(strstr(slurp("/proc/self/status"), "Seccomp:\t2\n"));
		EQ(prctl(PR_GET_SECCOMP), 2);
	}
	JOIN(p);
}
