// fork, vfork, clone, clone3, exit, pids and reparenting.
#include "case.h"
#include <linux/sched.h>
#include <sys/prctl.h>

static pid_t raw_fork(unsigned long flags) { return syscall(SYS_clone, flags, 0, 0, 0, 0); }

CASE(fork_returns_pid_and_zero) {
	int fds[2];
	OK(pipe(fds));
	pid_t me = getpid();
	CHILD(p) {
		pid_t v[2] = {getpid(), getppid()};
		writen(fds[1], v, sizeof v);
	}
	pid_t v[2];
	readn(fds[0], v, sizeof v);
	EQ(v[0], p);
	EQ(v[1], me);
	CHECK(p > 0 && p != me);
	JOIN(p);
}

CASE(fork_copies_memory) {
	int *priv = anon(PAGE), *shar = shared(PAGE);
	static int data = 7;
	*priv = *shar = 1;
	CHILD(p) {
		EQ(*priv, 1);
		*priv = *shar = data = 99;
	}
	JOIN(p);
	EQ(*priv, 1);
	EQ(*shar, 99);
	EQ(data, 7);
}

CASE(fork_shares_file_offset) {
	spew("f", "0123456789");
	int fd = OK(open("f", O_RDONLY));
	CHILD(p) {
		char b[4];
		readn(fd, b, 4);
	}
	JOIN(p);
	EQ(lseek(fd, 0, SEEK_CUR), 4);
}

CASE(fork_copies_descriptor_table) {
	int fd = OK(open("/dev/null", O_RDONLY));
	CHILD(p) {
		OK(close(fd));
		OK(fcntl(0, F_SETFD, FD_CLOEXEC));
	}
	JOIN(p);
	OK(fcntl(fd, F_GETFD));
	EQ(fcntl(0, F_GETFD), 0);
}

CASE(fork_clears_pending_signals_and_timers) {
	sigset_t s = sigs(SIGUSR1, SIGALRM, 0), pend;
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	alarm(100);
	CHILD(p) {
		OK(sigpending(&pend));
		EQ(sigismember(&pend, SIGUSR1), 0);
		EQ(alarm(0), 0);
		sigset_t mask;
		OK(sigprocmask(SIG_BLOCK, NULL, &mask));
		EQ(sigismember(&mask, SIGUSR1), 1);
	}
	JOIN(p);
	OK(sigpending(&pend));
	EQ(sigismember(&pend, SIGUSR1), 1);
	CHECK(alarm(0) > 90);
}

CASE(fork_keeps_cwd_umask_pgid_sid) {
	OK(mkdir("d", 0755));
	OK(chdir("d"));
	umask(027);
	pid_t pg = getpgrp(), sid = getsid(0);
	CHILD(p) {
		char b[PATH_MAX];
		CHECK(getcwd(b, sizeof b));
		STR(strrchr(b, '/'), "/d");
		EQ(umask(0), 027);
		EQ(getpgrp(), pg);
		EQ(getsid(0), sid);
		OK(chdir(".."));
	}
	JOIN(p);
	EQ(umask(022), 027);
	EQ(access("../d", F_OK), 0);
}

CASE(fork_in_thread_leaves_one_thread) {
	pthread_t t;
	static int fds[2];
	OK(pipe(fds));
	void *sleeper(void *a) {
		char c;
		return read(fds[0], &c, 1) < 0 ? a : NULL;
	}
	PT(pthread_create(&t, NULL, sleeper, NULL));
	CHILD(p) {
		EQ(syscall(SYS_gettid), getpid());
		char *s = slurp("/proc/self/status"), *l = strstr(s, "Threads:");
		CHECK(l);
		EQ(atoi(l + 8), 1);
	}
	JOIN(p);
	writen(fds[1], "x", 1);
	PT(pthread_join(t, NULL));
}

CASE(exit_status_is_low_byte) {
	CHILD(p) { _exit(0x1234); }
	EXITS(p, 0x34);
	CHILD(q) { _exit(-1); }
	EXITS(q, 255);
}

CASE(exit_group_ends_all_threads) {
	CHILD(p) {
		pthread_t t;
		void *ender(void *a) { syscall(SYS_exit_group, 5); return a; }
		PT(pthread_create(&t, NULL, ender, NULL));
		for (;;) pause();
	}
	EXITS(p, 5);
}

CASE(exit_of_main_thread_keeps_process) {
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		static int *f;
		f = fds;
		pthread_t t;
		void *rest(void *a) {
			sleep_ms(50);
			writen(f[1], "y", 1);
			exit(6);
			return a;
		}
		PT(pthread_create(&t, NULL, rest, NULL));
		syscall(SYS_exit, 3);
	}
	char c;
	readn(fds[0], &c, 1);
	EXITS(p, 6);
}

CASE(last_thread_to_exit_gives_the_status) {
	// The leader left with 3, the last thread leaves with plain exit(4): the last one's status counts (Linux 5.19).
	CHILD(p) {
		pthread_t t;
		void *rest(void *a) {
			sleep_ms(30);
			syscall(SYS_exit, 4);
			return a;
		}
		PT(pthread_create(&t, NULL, rest, NULL));
		syscall(SYS_exit, 3);
	}
	EXITS(p, 4);
}

CASE(orphan_goes_to_subreaper) {
	OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int v = 0;
	OK(prctl(PR_GET_CHILD_SUBREAPER, &v));
	EQ(v, 1);
	int fds[2], go[2];
	OK(pipe(fds));
	OK(pipe(go));
	pid_t me = getpid();
	CHILD(p) {
		pid_t q = OK(fork());
		if (q == 0) {
			char c;
			readn(go[0], &c, 1);
			EQ(getppid(), me);
			_exit(8);
		}
		writen(fds[1], &q, sizeof q);
	}
	pid_t q;
	readn(fds[0], &q, sizeof q);
	JOIN(p);
	writen(go[1], "g", 1);
	EXITS(q, 8);
}

CASE(subreaper_is_not_inherited) {
	OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
	CHILD(p) {
		int v = 9;
		OK(prctl(PR_GET_CHILD_SUBREAPER, &v));
		EQ(v, 0);
	}
	JOIN(p);
}

CASE(pdeathsig_on_parent_exit) {
	OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		pid_t q = OK(fork());
		if (q == 0) {
			OK(prctl(PR_SET_PDEATHSIG, SIGTERM));
			int v = 0;
			OK(prctl(PR_GET_PDEATHSIG, &v));
			EQ(v, SIGTERM);
			pid_t me = getpid();
			writen(fds[1], &me, sizeof me);
			for (;;) pause();
		}
		pid_t x;
		readn(fds[0], &x, sizeof x);
		writen(fds[1], &x, sizeof x);
	}
	pid_t q;
	JOIN(p);
	readn(fds[0], &q, sizeof q);
	KILLED(q, SIGTERM);
}

CASE(vfork_suspends_parent_and_shares_memory) {
	volatile int *m = anon(PAGE);
	pid_t p = vfork();
	if (p == 0) {
		struct timespec t = {0, 50000000};
		nanosleep(&t, NULL);
		*m = 5;
		_exit(0);
	}
	EQ(*m, 5);
	JOIN(p);
}

CASE(vfork_released_by_exec) {
	long long t0 = now_ms();
	pid_t p = vfork();
	if (p == 0) {
		execl("/bin/sleep", "sleep", "5", NULL);
		_exit(127);
	}
	CHECK(now_ms() - t0 < 4000);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(vfork_failed_exec_is_seen_by_parent) {
	volatile int e = 0;
	pid_t p = vfork();
	if (p == 0) {
		execl("/no/such/program", "x", NULL);
		e = errno;
		_exit(1);
	}
	EQ(e, ENOENT);
	EXITS(p, 1);
}

CASE(clone_files_shares_table) {
	int fds[2];
	OK(pipe(fds));
	pid_t p = OK(raw_fork(CLONE_FILES | SIGCHLD));
	if (p == 0) {
		close(fds[1]);
		_exit(dup2(0, 77) == 77 ? 0 : 1);
	}
	JOIN(p);
	ERR(fcntl(fds[1], F_GETFD), EBADF);
	OK(fcntl(77, F_GETFD));
}

CASE(clone_fs_shares_cwd_and_umask) {
	OK(mkdir("in", 0755));
	pid_t p = OK(raw_fork(CLONE_FS | SIGCHLD));
	if (p == 0) {
		umask(077);
		_exit(chdir("in") ? 1 : 0);
	}
	JOIN(p);
	char b[PATH_MAX];
	CHECK(getcwd(b, sizeof b));
	STR(strrchr(b, '/'), "/in");
	EQ(umask(022), 077);
}

CASE(clone_tid_pointers) {
	int *w = shared(PAGE);
	w[0] = w[1] = -1;
	pid_t p = OK(syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &w[0], &w[1], 0));
	if (p == 0) _exit(w[1] == getpid() && w[0] == getpid() ? 0 : 1);
	JOIN(p);
	EQ(w[0], p);
	EQ(w[1], p);
}

CASE(clone_without_exit_signal) {
	pid_t p = OK(raw_fork(0));
	if (p == 0) _exit(4);
	ERR(waitpid(p, NULL, 0), ECHILD);
	int st = 0;
	EQ(waitpid(p, &st, __WCLONE), p);
	EQ(WEXITSTATUS(st), 4);
}

CASE(clone_other_exit_signal) {
	sigset_t s = sigs(SIGUSR2, SIGCHLD, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	pid_t p = OK(raw_fork(SIGUSR2));
	if (p == 0) _exit(0);
	siginfo_t si;
	EQ(sigwaitinfo(&s, &si), SIGUSR2);
	EQ(si.si_pid, p);
	int st;
	EQ(waitpid(p, &st, __WALL), p);
}

CASE(clone_bad_flags) {
	ERR(raw_fork(CLONE_THREAD | SIGCHLD), EINVAL);
	ERR(raw_fork(CLONE_SIGHAND | SIGCHLD), EINVAL);
	ERR(raw_fork(CLONE_NEWNS | CLONE_FS | SIGCHLD), EINVAL);
}

CASE(clone3_forks_with_pidfd) {
	int pidfd = -1;
	struct clone_args a = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t p = OK(syscall(SYS_clone3, &a, sizeof a));
	if (p == 0) _exit(9);
	CHECK(pidfd > 2);
	EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
	CHECK(ready(pidfd, POLLIN, 10000));
	EXITS(p, 9);
}

CASE(clone3_bad_arguments) {
	struct clone_args a = {.exit_signal = SIGCHLD};
	ERR(syscall(SYS_clone3, &a, 8), EINVAL);
	ERR(syscall(SYS_clone3, NULL, sizeof a), EFAULT);
	a.exit_signal = 200;
	ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
	a.exit_signal = SIGCHLD;
	a.flags = CLONE_THREAD;
	ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
	a.flags = 0;
	a.stack = 4096;
	ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
	struct { struct clone_args a; uint64_t more; } big = {.a = {.exit_signal = SIGCHLD}, .more = 1};
	ERR(syscall(SYS_clone3, &big, sizeof big), E2BIG);
}

CASE(clone_parent_makes_sibling) {
	pid_t me = getpid();
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		pid_t q = OK(raw_fork(CLONE_PARENT | SIGCHLD));
		if (q == 0) _exit(getppid() == me ? 0 : 1);
		writen(fds[1], &q, sizeof q);
	}
	pid_t q;
	readn(fds[0], &q, sizeof q);
	JOIN(p);
	JOIN(q);
}

CASE(pids_are_not_reused_soon) {
	pid_t seen[50];
	for (int i = 0; i < 50; i++) {
		CHILD(p) {}
		JOIN(p);
		seen[i] = p;
		for (int j = 0; j < i; j++) CHECK(seen[j] != p);
	}
}

CASE(many_children_at_once) {
	pid_t p[60];
	int fds[2];
	OK(pipe(fds));
	for (int i = 0; i < 60; i++) {
		p[i] = OK(fork());
		if (p[i] == 0) {
			char c;
			close(fds[1]);
			_exit(read(fds[0], &c, 1) == 0 ? i : 99);
		}
	}
	close(fds[1]);
	for (int i = 0; i < 60; i++) EXITS(p[i], i);
	ERR(wait(NULL), ECHILD);
}

CASE(nested_forks) {
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		for (int depth = 0; depth < 12; depth++) {
			pid_t q = OK(fork());
			if (q == 0) continue;
			writen(fds[1], "x", 1);
			int st;
			EQ(waitpid(q, &st, 0), q);
			_exit(WEXITSTATUS(st) + 1);
		}
		_exit(0);
	}
	EXITS(p, 12);
	char b[20];
	EQ(read(fds[0], b, sizeof b), 12);
}

CASE(gettid_equals_getpid_in_main) { EQ(syscall(SYS_gettid), getpid()); }

CASE(atfork_handlers_run) {
	static int before, parent, child;
	void f1(void) { before++; }
	void f2(void) { parent++; }
	void f3(void) { child++; }
	PT(pthread_atfork(f1, f2, f3));
	CHILD(p) { EQ(before * 100 + parent * 10 + child, 101); }
	JOIN(p);
	EQ(before * 100 + parent * 10 + child, 110);
}

CASE(getppid_of_orphan_changes) {
	int fds[2], go[2];
	OK(pipe(fds));
	OK(pipe(go));
	pid_t mid = OK(fork());
	if (mid == 0) {
		pid_t q = OK(fork());
		if (q == 0) {
			pid_t was = getppid(), now = was;
			writen(fds[1], "r", 1);
			for (int i = 0; i < 5000 && (now = getppid()) == was; i++) sleep_ms(1);
			writen(fds[1], now != was ? "c" : "s", 1);
			_exit(0);
		}
		char c;
		readn(go[0], &c, 1);
		_exit(0);
	}
	char c;
	readn(fds[0], &c, 1);
	writen(go[1], "g", 1);
	JOIN(mid);
	readn(fds[0], &c, 1);
	EQ(c, 'c');
}

CASE(fork_of_large_dirty_memory) {
	size_t n = 64 << 20;
	char *m = anon(n);
	for (size_t i = 0; i < n; i += PAGE) m[i] = i >> 12;
	CHILD(p) {
		for (size_t i = 0; i < n; i += PAGE) {
			EQ(m[i], (char)(i >> 12));
			m[i]++;
		}
	}
	JOIN(p);
	for (size_t i = 0; i < n; i += PAGE) EQ(m[i], (char)(i >> 12));
}
