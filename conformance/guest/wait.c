// wait4, waitid, waitpid: statuses, options, process groups, rusage.
#include "case.h"

static pid_t stopped_child(void) {
	pid_t p = fork();
	if (p == 0) {
		raise(SIGSTOP);
		sleep_ms(100); // so that it is seen continued before it has ended
		_exit(21);
	}
	return p;
}

CASE(no_children) {
	ERR(wait(NULL), ECHILD);
	ERR(waitpid(getpid(), NULL, 0), ECHILD);
	ERR(waitpid(-1, NULL, WNOHANG), ECHILD);
	siginfo_t si;
	ERR(waitid(P_ALL, 0, &si, WEXITED), ECHILD);
}

CASE(bad_options) {
	ERR(waitpid(-1, NULL, 0x10), EINVAL);
	siginfo_t si;
	ERR(waitid(P_ALL, 0, &si, 0), EINVAL);
	ERR(waitid(P_ALL, 0, &si, WNOHANG), EINVAL);
	ERR(waitid(99, 0, &si, WEXITED), EINVAL);
	ERR(waitid(P_PID, 0, &si, WEXITED), EINVAL);
	ERR(waitpid(INT_MIN, NULL, 0), ESRCH);
}

CASE(wnohang_returns_zero_then_pid) {
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		char c;
		readn(fds[0], &c, 1);
		_exit(2);
	}
	int st = 77;
	EQ(waitpid(p, &st, WNOHANG), 0);
	EQ(st, 77);
	writen(fds[1], "x", 1);
	EVENTUALLY(waitpid(p, &st, WNOHANG) == p);
	EQ(WEXITSTATUS(st), 2);
	ERR(waitpid(p, &st, 0), ECHILD);
}

CASE(signaled_status) {
	for (int s = 1; s < 32; s++) {
		if (s == SIGCHLD || s == SIGCONT || s == SIGSTOP || s == SIGTSTP || s == SIGTTIN || s == SIGTTOU || s == SIGURG || s == SIGWINCH) continue;
		CHILD(p) { kill(getpid(), s); }
		int st;
		EQ(waitpid(p, &st, 0), p);
		CHECK(WIFSIGNALED(st));
		EQ(WTERMSIG(st), s);
		EQ(WCOREDUMP(st), 0);
	}
	CHILD(q) { kill(getpid(), SIGRTMIN + 3); }
	KILLED(q, SIGRTMIN + 3);
}

CASE(stopped_and_continued) {
	pid_t p = OK(stopped_child());
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	CHECK(WIFSTOPPED(st));
	EQ(WSTOPSIG(st), SIGSTOP);
	EQ(waitpid(p, &st, WUNTRACED | WNOHANG), 0);
	OK(kill(p, SIGCONT));
	EQ(waitpid(p, &st, WCONTINUED), p);
	CHECK(WIFCONTINUED(st));
	EQ(st, 0xffff);
	EXITS(p, 21);
}

CASE(stop_without_wuntraced_is_not_reported) {
	pid_t p = OK(stopped_child());
	EVENTUALLY(proc_state(p) == 'T');
	int st;
	EQ(waitpid(p, &st, WNOHANG), 0);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(waitid_exit_info) {
	CHILD(p) { _exit(33); }
	siginfo_t si;
	memset(&si, 0xff, sizeof si);
	OK(waitid(P_PID, p, &si, WEXITED));
	EQ(si.si_signo, SIGCHLD);
	EQ(si.si_code, CLD_EXITED);
	EQ(si.si_pid, p);
	EQ(si.si_uid, getuid());
	EQ(si.si_status, 33);
	EQ(si.si_errno, 0);
}

CASE(waitid_killed_info) {
	CHILD(p) { raise(SIGTERM); }
	siginfo_t si;
	OK(waitid(P_PID, p, &si, WEXITED));
	EQ(si.si_code, CLD_KILLED);
	EQ(si.si_status, SIGTERM);
}

CASE(waitid_stop_continue_info) {
	pid_t p = OK(stopped_child());
	siginfo_t si;
	OK(waitid(P_PID, p, &si, WSTOPPED));
	EQ(si.si_code, CLD_STOPPED);
	EQ(si.si_status, SIGSTOP);
	OK(kill(p, SIGCONT));
	OK(waitid(P_PID, p, &si, WCONTINUED));
	EQ(si.si_code, CLD_CONTINUED);
	EQ(si.si_status, SIGCONT);
	EXITS(p, 21);
}

CASE(waitid_wnowait_leaves_zombie) {
	CHILD(p) { _exit(3); }
	siginfo_t si;
	for (int i = 0; i < 3; i++) {
		memset(&si, 0, sizeof si);
		OK(waitid(P_PID, p, &si, WEXITED | WNOWAIT));
		EQ(si.si_pid, p);
	}
	EQ(proc_state(p), 'Z');
	OK(kill(p, 0));
	EXITS(p, 3);
	ERR(kill(p, 0), ESRCH);
}

CASE(waitid_wnohang_zeroes_pid) {
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		char c;
		readn(fds[0], &c, 1);
	}
	siginfo_t si;
	memset(&si, 0xff, sizeof si);
	OK(waitid(P_PID, p, &si, WEXITED | WNOHANG));
	EQ(si.si_pid, 0);
	EQ(si.si_signo, 0);
	writen(fds[1], "x", 1);
	JOIN(p);
}

CASE(waitid_null_info) {
	CHILD(p) {}
	OK(waitid(P_PID, p, NULL, WEXITED));
	ERR(waitpid(p, NULL, 0), ECHILD);
}

CASE(wait_by_group) {
	int fds[2];
	OK(pipe(fds));
	CHILD(a) {
		OK(setpgid(0, 0));
		writen(fds[1], "a", 1);
		_exit(1);
	}
	char c;
	readn(fds[0], &c, 1);
	CHILD(b) { _exit(2); }
	int st;
	EQ(waitpid(0, &st, 0), b);
	EQ(WEXITSTATUS(st), 2);
	ERR(waitpid(0, &st, 0), ECHILD);
	EQ(waitpid(-a, &st, 0), a);
	EQ(WEXITSTATUS(st), 1);
	ERR(waitpid(-a, &st, 0), ECHILD);
}

CASE(waitid_by_group) {
	CHILD(b) { _exit(2); }
	siginfo_t si;
	OK(waitid(P_PGID, getpgrp(), &si, WEXITED));
	EQ(si.si_pid, b);
	ERR(waitid(P_PGID, getpgrp(), &si, WEXITED), ECHILD);
}

CASE(any_child_comes) {
	pid_t p[5];
	for (int i = 0; i < 5; i++)
		if ((p[i] = OK(fork())) == 0) _exit(i);
	int seen = 0;
	for (int i = 0; i < 5; i++) {
		int st;
		pid_t q = OK(wait(&st));
		EQ(p[WEXITSTATUS(st)], q);
		seen |= 1 << WEXITSTATUS(st);
	}
	EQ(seen, 31);
}

CASE(sigchld_ignored_reaps) {
	on_signal(SIGCHLD, SIG_IGN, 0);
	CHILD(p) { sleep_ms(20); }
	ERR(waitpid(p, NULL, 0), ECHILD);
	EVENTUALLY(kill(p, 0) < 0 && errno == ESRCH); // a parent is called before its number is free
}

CASE(sa_nocldwait_reaps) {
	on_signal(SIGCHLD, nothing, SA_NOCLDWAIT | SA_RESTART);
	CHILD(p) {}
	ERR(waitpid(p, NULL, 0), ECHILD);
}

static volatile int chlds, chld_code, chld_status, chld_pid;
static void chld(int s, siginfo_t *si, void *c) {
	chlds++;
	chld_code = si->si_code;
	chld_status = si->si_status;
	chld_pid = si->si_pid;
}

CASE(sigchld_info) {
	on_siginfo(SIGCHLD, chld, 0);
	CHILD(p) { _exit(12); }
	EVENTUALLY(chlds);
	EQ(chld_code, CLD_EXITED);
	EQ(chld_status, 12);
	EQ(chld_pid, p);
	EXITS(p, 12);
}

CASE(sigchld_on_stop_and_continue) {
	on_siginfo(SIGCHLD, chld, SA_RESTART);
	pid_t p = OK(stopped_child());
	EVENTUALLY(chlds == 1);
	EQ(chld_code, CLD_STOPPED);
	OK(kill(p, SIGCONT));
	EVENTUALLY(chlds >= 2);
	EXITS(p, 21);
	EVENTUALLY(chld_code == CLD_EXITED);
}

CASE(sa_nocldstop_silences_stops) {
	on_siginfo(SIGCHLD, chld, SA_RESTART | SA_NOCLDSTOP);
	pid_t p = OK(stopped_child());
	EVENTUALLY(proc_state(p) == 'T');
	sleep_ms(30);
	EQ(chlds, 0);
	OK(kill(p, SIGCONT));
	EXITS(p, 21);
	EVENTUALLY(chlds == 1);
}

CASE(wait_interrupted_without_restart) {
	int fds[2];
	OK(pipe(fds));
	on_signal(SIGUSR1, nothing, 0);
	pid_t me = getpid();
	CHILD(p) {
		char c;
		readn(fds[0], &c, 1);
	}
	CHILD(q) {
		settle(me);
		kill(me, SIGUSR1);
		pause();
	}
	ERR(waitpid(p, NULL, 0), EINTR);
	OK(kill(q, SIGKILL));
	KILLED(q, SIGKILL);
	writen(fds[1], "x", 1);
	JOIN(p);
}

CASE(wait_restarts_with_sa_restart) {
	on_signal(SIGUSR1, nothing, SA_RESTART);
	pid_t me = getpid();
	CHILD(p) {
		settle(me);
		kill(me, SIGUSR1);
		sleep_ms(30);
		_exit(4);
	}
	EXITS(p, 4);
}

CASE(wait_by_thread_of_other_threads_child) {
	static pid_t p;
	p = OK(fork());
	if (p == 0) _exit(5);
	void *waiter(void *a) {
		EXITS(p, 5);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, waiter, NULL));
	PT(pthread_join(t, NULL));
}

CASE(wnothread_sees_own_children_only) {
	static pid_t p;
	p = OK(fork());
	if (p == 0) _exit(5);
	void *waiter(void *a) {
		ERR(waitpid(p, NULL, __WNOTHREAD), ECHILD);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, waiter, NULL));
	PT(pthread_join(t, NULL));
	EXITS(p, 5);
}

CASE(rusage_of_child) {
	CHILD(p) {
		struct timespec t;
		do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		while (t.tv_sec == 0 && t.tv_nsec < 60000000);
	}
	struct rusage ru, all;
	int st;
	EQ(wait4(p, &st, 0, &ru), p);
	long us = ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_sec * 1000000 + ru.ru_stime.tv_usec;
	CHECK(us >= 30000 && us < 10000000);
	CHECK(ru.ru_maxrss > 0);
	OK(getrusage(RUSAGE_CHILDREN, &all));
	long sum = all.ru_utime.tv_sec * 1000000 + all.ru_utime.tv_usec + all.ru_stime.tv_sec * 1000000 + all.ru_stime.tv_usec;
	CHECK(sum >= us - 1000);
}

CASE(rusage_who) {
	struct rusage ru;
	OK(getrusage(RUSAGE_SELF, &ru));
	OK(getrusage(RUSAGE_THREAD, &ru));
	ERR(getrusage(7, &ru), EINVAL);
	OK(getrusage(RUSAGE_CHILDREN, &ru));
	EQ(ru.ru_maxrss, 0);
}

CASE(zombie_of_exited_parent_is_reaped) {
	// A child that its parent never waited for does not outlive the parent's end in our tree.
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		pid_t q = OK(fork());
		if (q == 0) _exit(0);
		siginfo_t si;
		OK(waitid(P_PID, q, &si, WEXITED | WNOWAIT));
		writen(fds[1], &q, sizeof q);
	}
	pid_t q;
	readn(fds[0], &q, sizeof q);
	JOIN(p);
	ERR(waitpid(q, NULL, 0), ECHILD);
}

CASE(two_waiters_one_child) {
	static int fds[2];
	static atomic_int got, none;
	static pid_t p;
	OK(pipe(fds));
	p = OK(fork());
	if (p == 0) {
		char c;
		readn(fds[0], &c, 1);
		_exit(0);
	}
	void *waiter(void *a) {
		pid_t r = waitpid(p, NULL, 0);
		if (r == p) got++;
		else if (r == -1 && errno == ECHILD) none++;
		return a;
	}
	pthread_t t[2];
	for (int i = 0; i < 2; i++) PT(pthread_create(&t[i], NULL, waiter, NULL));
	sleep_ms(20);
	writen(fds[1], "x", 1);
	for (int i = 0; i < 2; i++) PT(pthread_join(t[i], NULL));
	EQ(got, 1);
	EQ(none, 1);
}

CASE(efault_status_pointer) {
	CHILD(p) {}
	siginfo_t si;
	OK(waitid(P_PID, p, &si, WEXITED | WNOWAIT));
	ERR(syscall(SYS_wait4, p, 8, 0, 0), EFAULT);
}
