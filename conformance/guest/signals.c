// sigaction, masks, delivery order, kill and its relatives, SA_ flags, alternate stacks, interrupted calls.
#include "case.h"
#include <setjmp.h>
#include <ucontext.h>

static volatile int hits, last, order[64], n_order;
static siginfo_t info;
static void count(int s) { hits++, last = s; }
static void note(int s) { order[n_order++] = s; }
static void record(int s, siginfo_t *si, void *c) {
	hits++, last = s;
	info = *si;
}

CASE(raise_runs_handler_before_return) {
	on_signal(SIGUSR1, count, 0);
	OK(raise(SIGUSR1));
	EQ(hits, 1);
	EQ(last, SIGUSR1);
}

CASE(sigaction_returns_the_old) {
	struct sigaction o;
	on_signal(SIGUSR1, count, SA_RESTART | SA_NODEFER);
	OK(sigaction(SIGUSR1, NULL, &o));
	CHECK(o.sa_handler == count);
	EQ(o.sa_flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO), SA_RESTART | SA_NODEFER);
}

CASE(sigaction_refusals) {
	struct sigaction a = {.sa_handler = SIG_IGN};
	ERR(sigaction(SIGKILL, &a, NULL), EINVAL);
	ERR(sigaction(SIGSTOP, &a, NULL), EINVAL);
	ERR(sigaction(65, &a, NULL), EINVAL);
	ERR(sigaction(0, &a, NULL), EINVAL);
	ERR(syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8), EFAULT);
	ERR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
	OK(sigaction(SIGKILL, NULL, &a));
}

CASE(mask_cannot_block_kill_and_stop) {
	sigset_t s, o;
	sigfillset(&s);
	OK(sigprocmask(SIG_SETMASK, &s, NULL));
	OK(sigprocmask(SIG_BLOCK, NULL, &o));
	EQ(sigismember(&o, SIGKILL), 0);
	EQ(sigismember(&o, SIGSTOP), 0);
	EQ(sigismember(&o, SIGTERM), 1);
	CHILD(p) for (;;) pause();
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(sigprocmask_how) {
	sigset_t s = sigs(SIGUSR1, 0), o;
	ERR(sigprocmask(9, &s, NULL), EINVAL);
	OK(sigprocmask(9, NULL, &o));
	OK(sigprocmask(SIG_BLOCK, &s, &o));
	EQ(sigismember(&o, SIGUSR1), 0);
	s = sigs(SIGUSR2, 0);
	OK(sigprocmask(SIG_BLOCK, &s, &o));
	EQ(sigismember(&o, SIGUSR1), 1);
	OK(sigprocmask(SIG_UNBLOCK, &s, NULL));
	OK(sigprocmask(SIG_SETMASK, NULL, &o));
	EQ(sigismember(&o, SIGUSR2), 0);
	EQ(sigismember(&o, SIGUSR1), 1);
	ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, NULL, 7), EINVAL);
}

CASE(blocked_signal_waits) {
	on_signal(SIGUSR1, count, 0);
	sigset_t s = sigs(SIGUSR1, 0), p;
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(kill(getpid(), SIGUSR1));
	OK(kill(getpid(), SIGUSR1));
	EQ(hits, 0);
	OK(sigpending(&p));
	EQ(sigismember(&p, SIGUSR1), 1);
	OK(sigprocmask(SIG_UNBLOCK, &s, NULL));
	EQ(hits, 1); // ordinary signals do not queue
	OK(sigpending(&p));
	EQ(sigismember(&p, SIGUSR1), 0);
}

CASE(realtime_signals_queue_in_order) {
	static int got[16], n;
	void h(int sig, siginfo_t *si, void *c) { got[n++] = sig * 100 + si->si_value.sival_int; }
	sigset_t s = sigs(SIGRTMIN, SIGRTMIN + 1, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	on_siginfo(SIGRTMIN, h, 0);
	on_siginfo(SIGRTMIN + 1, h, 0);
	struct sigaction a = {.sa_sigaction = h, .sa_flags = SA_SIGINFO, .sa_mask = s};
	OK(sigaction(SIGRTMIN, &a, NULL));
	OK(sigaction(SIGRTMIN + 1, &a, NULL));
	for (int i = 0; i < 3; i++) {
		OK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}));
		OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
	}
	OK(sigprocmask(SIG_UNBLOCK, &s, NULL));
	EQ(n, 6);
	// All are set up before the first handler runs, so the frames of the higher number stand on top of none: the lowest comes first.
	for (int i = 0; i < 3; i++) EQ(got[i], SIGRTMIN * 100 + i);
	for (int i = 0; i < 3; i++) EQ(got[3 + i], (SIGRTMIN + 1) * 100 + i);
}

CASE(handler_mask_blocks_itself) {
	static int depth, max;
	void h(int s) {
		if (++depth > max) max = depth;
		if (hits++ == 0) raise(SIGUSR1);
		depth--;
	}
	on_signal(SIGUSR1, h, 0);
	raise(SIGUSR1);
	EQ(hits, 2);
	EQ(max, 1);
}

CASE(nodefer_nests) {
	static int depth, max;
	void h(int s) {
		if (++depth > max) max = depth;
		if (hits++ < 3) kill(getpid(), SIGUSR1);
		depth--;
	}
	on_signal(SIGUSR1, h, SA_NODEFER);
	raise(SIGUSR1);
	EQ(max, 4);
}

CASE(sa_mask_holds_during_handler) {
	void h(int s) {
		if (s == SIGUSR1) raise(SIGUSR2);
		note(s);
	}
	struct sigaction a = {.sa_handler = h, .sa_mask = sigs(SIGUSR2, 0)};
	OK(sigaction(SIGUSR1, &a, NULL));
	on_signal(SIGUSR2, h, 0);
	raise(SIGUSR1);
	EQ(n_order, 2);
	EQ(order[0], SIGUSR1);
	EQ(order[1], SIGUSR2);
	sigset_t m;
	OK(sigprocmask(SIG_BLOCK, NULL, &m));
	EQ(sigismember(&m, SIGUSR2), 0);
}

CASE(resethand_resets) {
	on_signal(SIGUSR1, count, SA_RESETHAND);
	raise(SIGUSR1);
	EQ(hits, 1);
	struct sigaction o;
	OK(sigaction(SIGUSR1, NULL, &o));
	CHECK(o.sa_handler == SIG_DFL);
}

CASE(handler_changes_mask_of_context) {
	void h(int s, siginfo_t *si, void *c) { sigaddset(&((ucontext_t *)c)->uc_sigmask, SIGUSR2); }
	on_siginfo(SIGUSR1, h, 0);
	raise(SIGUSR1);
	sigset_t m;
	OK(sigprocmask(SIG_BLOCK, NULL, &m));
	EQ(sigismember(&m, SIGUSR2), 1);
}

CASE(handler_changes_registers) {
	static volatile long seen;
	void h(int s, siginfo_t *si, void *c) {
		greg_t *g = ((ucontext_t *)c)->uc_mcontext.gregs;
		seen = g[REG_R12];
		g[REG_R12] = 0x1122334455667788;
	}
	on_siginfo(SIGUSR1, h, 0);
	long out, r;
	asm volatile("mov $0x7766554433221100, %%r12; syscall; mov %%r12, %0"
		     : "=r"(out), "=a"(r)
		     : "a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
		     : "r12", "rcx", "r11", "memory");
	EQ(r, 0);
	EQ(seen, 0x7766554433221100);
	EQ(out, 0x1122334455667788);
}

CASE(registers_survive_handlers) {
	// SSE state and general registers around a call that a signal interrupts.
	void h(int s) {
		volatile double x = 1.5;
		for (int i = 0; i < 10; i++) x = x * 1.01 + 0.5;
		asm volatile("pxor %%xmm6, %%xmm6; pxor %%xmm7, %%xmm7" ::: "xmm6", "xmm7");
		hits++;
	}
	on_signal(SIGUSR1, h, 0);
	double a = 3.25, b = 0;
	long r, v = 0;
	asm volatile("movsd %2, %%xmm7; mov $0x55, %%rbx; syscall; movsd %%xmm7, %1; mov %%rbx, %3"
		     : "=a"(r), "=m"(b), "+m"(a), "=m"(v)
		     : "a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
		     : "rbx", "rcx", "r11", "xmm7", "memory");
	EQ(hits, 1);
	CHECK(b == 3.25);
	EQ(v, 0x55);
}

CASE(siginfo_of_kill) {
	on_siginfo(SIGUSR1, record, 0);
	CHILD(p) OK(kill(getppid(), SIGUSR1));
	EVENTUALLY(hits);
	EQ(info.si_code, SI_USER);
	EQ(info.si_pid, p);
	EQ(info.si_uid, getuid());
	EQ(info.si_signo, SIGUSR1);
	JOIN(p);
}

CASE(siginfo_of_sigqueue) {
	on_siginfo(SIGUSR1, record, 0);
	OK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_ptr = (void *)0x123456789a}));
	EQ(hits, 1);
	EQ(info.si_code, SI_QUEUE);
	EQ((long)info.si_value.sival_ptr, 0x123456789a);
	EQ(info.si_pid, getpid());
}

CASE(siginfo_of_tgkill) {
	on_siginfo(SIGUSR1, record, 0);
	OK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
	EQ(hits, 1);
	EQ(info.si_code, SI_TKILL);
	EQ(info.si_pid, getpid());
}

CASE(sigqueueinfo_forgery_refused) {
	CHILD(p) for (;;) pause();
	siginfo_t si = {.si_code = SI_USER};
	ERR(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si), EPERM);
	si.si_code = SI_TKILL;
	ERR(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si), EPERM);
	si.si_code = SI_QUEUE;
	OK(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si));
	KILLED(p, SIGUSR1);
}

CASE(kill_errors) {
	ERR(kill(getpid(), 65), EINVAL);
	ERR(kill(getpid(), -1), EINVAL);
	ERR(kill(99999999, 0), ESRCH);
	ERR(kill(-99999999, 0), ESRCH);
	ERR(syscall(SYS_tgkill, getpid(), -1, 0), EINVAL);
	ERR(syscall(SYS_tgkill, -1, getpid(), 0), EINVAL);
	ERR(syscall(SYS_tgkill, 1, getpid(), 0), ESRCH);
	OK(kill(getpid(), 0));
	OK(kill(0, 0));
}

CASE(kill_group) {
	int fds[2];
	OK(pipe(fds));
	pid_t p[3];
	for (int i = 0; i < 3; i++) {
		p[i] = OK(fork());
		if (p[i] == 0) {
			OK(setpgid(0, i ? p[0] : 0));
			writen(fds[1], "x", 1);
			for (;;) pause();
		}
		char c;
		readn(fds[0], &c, 1);
	}
	OK(kill(-p[0], SIGTERM));
	for (int i = 0; i < 3; i++) KILLED(p[i], SIGTERM);
	ERR(kill(-p[0], 0), ESRCH);
}

CASE(kill_without_permission) {
	if (geteuid()) SKIP("needs root");
	pid_t me = getpid();
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		ERR(kill(me, 0), EPERM);
		ERR(kill(me, SIGTERM), EPERM);
		ERR(syscall(SYS_tgkill, me, me, SIGTERM), EPERM);
		OK(kill(getpid(), 0));
	}
	JOIN(p);
}

CASE(sigcont_allowed_within_session) {
	if (geteuid()) SKIP("needs root");
	pid_t me = getpid();
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		OK(kill(me, SIGCONT));
	}
	JOIN(p);
}

CASE(ignored_signals_are_dropped) {
	on_signal(SIGUSR1, SIG_IGN, 0);
	OK(raise(SIGUSR1));
	sigset_t s = sigs(SIGUSR1, 0), p;
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	OK(sigpending(&p));
	on_signal(SIGUSR1, SIG_IGN, 0); // setting "ignore" drops what is pending
	OK(sigpending(&p));
	EQ(sigismember(&p, SIGUSR1), 0);
}

CASE(default_ignored_do_nothing) {
	OK(raise(SIGCHLD));
	OK(raise(SIGURG));
	OK(raise(SIGWINCH));
	OK(raise(SIGCONT));
}

CASE(sigsuspend_swaps_mask) {
	on_signal(SIGUSR1, count, 0);
	sigset_t s = sigs(SIGUSR1, 0), none, m;
	sigemptyset(&none);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	ERR(sigsuspend(&none), EINTR);
	EQ(hits, 1);
	OK(sigprocmask(SIG_BLOCK, NULL, &m));
	EQ(sigismember(&m, SIGUSR1), 1);
}

CASE(sigwait_family) {
	sigset_t s = sigs(SIGUSR1, SIGUSR2, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	struct timespec zero = {0, 0}, some = {0, 20000000}, bad = {0, 1000000000};
	siginfo_t si;
	ERR(sigtimedwait(&s, &si, &zero), EAGAIN);
	ERR(sigtimedwait(&s, &si, &some), EAGAIN);
	ERR(sigtimedwait(&s, &si, &bad), EINVAL);
	OK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 5}));
	EQ(sigtimedwait(&s, &si, &some), SIGUSR2);
	EQ(si.si_value.sival_int, 5);
	EQ(si.si_code, SI_QUEUE);
	CHILD(p) {
		settle(getppid());
		kill(getppid(), SIGUSR1);
	}
	int sig;
	PT(sigwait(&s, &sig));
	EQ(sig, SIGUSR1);
	JOIN(p);
}

CASE(sigtimedwait_is_interrupted_by_others) {
	on_signal(SIGUSR2, count, SA_RESTART);
	sigset_t s = sigs(SIGUSR1, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	CHILD(p) {
		settle(getppid());
		kill(getppid(), SIGUSR2);
	}
	ERR(sigwaitinfo(&s, NULL), EINTR);
	EQ(hits, 1);
	JOIN(p);
}

// poke sends sig to the parent once it sleeps, then writes a byte to fd (if any) 50 ms later.
static pid_t poke(int sig, int fd) {
	pid_t me = getpid(), p = OK(fork());
	if (p) return p;
	settle(me);
	kill(me, sig);
	if (fd >= 0) {
		sleep_ms(50);
		writen(fd, "x", 1);
	}
	_exit(0);
}

CASE(read_restarts) {
	int fds[2];
	OK(pipe(fds));
	on_signal(SIGUSR1, count, SA_RESTART);
	pid_t p = poke(SIGUSR1, fds[1]);
	char c;
	EQ(read(fds[0], &c, 1), 1);
	EQ(hits, 1);
	JOIN(p);
}

CASE(read_is_interrupted) {
	int fds[2];
	OK(pipe(fds));
	on_signal(SIGUSR1, count, 0);
	pid_t p = poke(SIGUSR1, -1);
	char c;
	ERR(read(fds[0], &c, 1), EINTR);
	EQ(hits, 1);
	JOIN(p);
}

CASE(never_restarted_calls) {
	on_signal(SIGUSR1, count, SA_RESTART);
	int fds[2];
	OK(pipe(fds));
	struct pollfd pf = {fds[0], POLLIN, 0};
	pid_t p = poke(SIGUSR1, -1);
	ERR(poll(&pf, 1, -1), EINTR);
	JOIN(p);
	p = poke(SIGUSR1, -1);
	fd_set r;
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	ERR(select(fds[0] + 1, &r, NULL, NULL, NULL), EINTR);
	JOIN(p);
	p = poke(SIGUSR1, -1);
	struct timespec t = {100, 0}, rem = {0, 0};
	ERR(nanosleep(&t, &rem), EINTR);
	CHECK(rem.tv_sec >= 80 && rem.tv_sec < 100);
	JOIN(p);
	p = poke(SIGUSR1, -1);
	ERR(pause(), EINTR);
	JOIN(p);
}

CASE(ignored_signal_does_not_interrupt) {
	int fds[2];
	OK(pipe(fds));
	on_signal(SIGUSR1, SIG_IGN, 0);
	pid_t p = poke(SIGUSR1, fds[1]);
	struct pollfd pf = {fds[0], POLLIN, 0};
	EQ(poll(&pf, 1, -1), 1);
	JOIN(p);
	pid_t q = poke(SIGCHLD, fds[1]);
	char b[2];
	EQ(read(fds[0], b, 1), 1);
	EQ(poll(&pf, 1, -1), 1);
	JOIN(q);
}

CASE(stop_and_continue_resumes_read) {
	int in[2], out[2];
	OK(pipe(in));
	OK(pipe(out));
	CHILD(p) {
		char c;
		EQ(read(in[0], &c, 1), 1);
		writen(out[1], &c, 1);
	}
	settle(p);
	OK(kill(p, SIGSTOP));
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	writen(in[1], "z", 1);
	CHECK(!ready(out[0], POLLIN, 50));
	OK(kill(p, SIGCONT));
	char c;
	readn(out[0], &c, 1);
	EQ(c, 'z');
	JOIN(p);
}

CASE(stop_resumes_nanosleep_and_poll_with_time_left) {
	CHILD(p) {
		long long t0 = now_ms();
		struct timespec t = {0, 300000000};
		OK(nanosleep(&t, NULL));
		CHECK(now_ms() - t0 >= 299);
		EQ(poll(NULL, 0, 100), 0);
	}
	settle(p);
	OK(kill(p, SIGSTOP));
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	OK(kill(p, SIGCONT));
	JOIN(p);
}

CASE(sigcont_clears_stops_and_runs_handler) {
	CHILD(p) {
		on_signal(SIGCONT, count, 0);
		raise(SIGSTOP);
		_exit(hits == 1 ? 0 : 1);
	}
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	OK(kill(p, SIGCONT));
	JOIN(p);
}

CASE(killed_while_stopped) {
	CHILD(p) raise(SIGSTOP);
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	OK(kill(p, SIGTERM)); // waits for the SIGCONT
	EQ(waitpid(p, &st, WNOHANG), 0);
	OK(kill(p, SIGCONT));
	KILLED(p, SIGTERM);
}

CASE(altstack_is_used) {
	static char *base;
	static volatile int on;
	size_t n = 65536;
	base = anon(n);
	void h(int s) {
		char here;
		stack_t ss;
		sigaltstack(NULL, &ss);
		on = (&here > base && &here < base + 65536) + 2 * (ss.ss_flags == SS_ONSTACK);
		stack_t other = {.ss_sp = base, .ss_size = 65536};
		if (sigaltstack(&other, NULL) == -1 && errno == EPERM) on += 4;
	}
	stack_t ss = {.ss_sp = base, .ss_size = n}, old;
	OK(sigaltstack(&ss, &old));
	EQ(old.ss_flags, SS_DISABLE);
	on_signal(SIGUSR1, h, SA_ONSTACK);
	raise(SIGUSR1);
	EQ(on, 7);
	on_signal(SIGUSR1, h, 0);
	raise(SIGUSR1);
	EQ(on, 0);
	OK(sigaltstack(NULL, &old));
	EQ((long)old.ss_sp, (long)base);
	EQ(old.ss_size, n);
	ss.ss_size = 100;
	ERR(sigaltstack(&ss, NULL), ENOMEM);
	ss.ss_flags = 0x55;
	ERR(sigaltstack(&ss, NULL), EINVAL);
	ss.ss_flags = SS_DISABLE;
	OK(sigaltstack(&ss, NULL));
}

CASE(siglongjmp_out_of_handler) {
	static sigjmp_buf env;
	static int n;
	void h(int s) { siglongjmp(env, ++n); }
	on_signal(SIGUSR1, h, 0);
	for (int i = 0; i < 3; i++)
		if (sigsetjmp(env, 1) == 0) {
			raise(SIGUSR1);
			CHECK(!"returned");
		}
	EQ(n, 3);
}

CASE(thread_directed_signals) {
	static pid_t tids[3];
	static volatile pid_t by[3];
	static atomic_int up, done;
	void h(int s) { by[s - SIGRTMIN] = syscall(SYS_gettid); }
	void *body(void *a) {
		tids[(long)a] = syscall(SYS_gettid);
		up++;
		while (!done) usleep(1000);
		return a;
	}
	pthread_t t[3];
	for (long i = 0; i < 3; i++) {
		on_signal(SIGRTMIN + i, h, SA_RESTART);
		PT(pthread_create(&t[i], NULL, body, (void *)i));
	}
	EVENTUALLY(up == 3);
	for (int i = 0; i < 3; i++) PT(pthread_kill(t[i], SIGRTMIN + i));
	for (int i = 0; i < 3; i++) EVENTUALLY(by[i] == tids[i]);
	done = 1;
	for (int i = 0; i < 3; i++) PT(pthread_join(t[i], NULL));
}

CASE(process_signal_goes_to_a_thread_that_lets_it) {
	static volatile pid_t by;
	static atomic_int tid, done;
	void h(int s) { by = syscall(SYS_gettid); }
	void *body(void *a) {
		sigset_t s = sigs(SIGUSR1, 0);
		pthread_sigmask(SIG_UNBLOCK, &s, NULL);
		tid = syscall(SYS_gettid);
		while (!done) usleep(1000);
		return a;
	}
	sigset_t s = sigs(SIGUSR1, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	on_signal(SIGUSR1, h, 0);
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	EVENTUALLY(tid);
	OK(kill(getpid(), SIGUSR1));
	EVENTUALLY(by == tid);
	done = 1;
	PT(pthread_join(t, NULL));
}

CASE(masks_are_per_thread) {
	sigset_t s = sigs(SIGUSR1, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	void *body(void *a) {
		sigset_t m;
		pthread_sigmask(SIG_BLOCK, NULL, &m);
		EQ(sigismember(&m, SIGUSR1), 1); // inherited
		m = sigs(SIGUSR1, 0);
		pthread_sigmask(SIG_UNBLOCK, &m, NULL);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	sigset_t m;
	OK(sigprocmask(SIG_BLOCK, NULL, &m));
	EQ(sigismember(&m, SIGUSR1), 1);
}

CASE(signal_storm_between_processes) {
	static volatile int n;
	void h(int s) { n++; }
	on_signal(SIGRTMIN, h, 0);
	pid_t me = getpid();
	CHILD(p)
	for (int i = 0; i < 500; i++)
		while (sigqueue(me, SIGRTMIN, (union sigval){0}) < 0) {
			EQ(errno, EAGAIN);
			sleep_ms(1);
		}
	EVENTUALLY(n == 500);
	JOIN(p);
}

CASE(signals_hit_a_busy_loop) {
	static volatile int stop;
	void h(int s) { stop = 1; }
	on_signal(SIGALRM, h, 0);
	struct itimerval it = {.it_value = {0, 20000}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	while (!stop);
}

CASE(sigpipe_and_epipe) {
	int fds[2];
	OK(pipe(fds));
	close(fds[0]);
	CHILD(p) { write(fds[1], "x", 1); }
	KILLED(p, SIGPIPE);
	on_signal(SIGPIPE, count, 0);
	ERR(write(fds[1], "x", 1), EPIPE);
	EQ(hits, 1);
}

CASE(queue_limit_is_eagain) {
	CHILD(p) {
		struct rlimit r = {5, 5};
		OK(setrlimit(RLIMIT_SIGPENDING, &r));
		sigset_t s = sigs(SIGRTMIN, 0);
		OK(sigprocmask(SIG_BLOCK, &s, NULL));
		int i = 0;
		while (i < 100000 && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0) i++;
		EQ(errno, EAGAIN);
		CHECK(i <= 5);
		raise(SIGUSR2);
	}
	KILLED(p, SIGUSR2); // plain signals are never refused
}

CASE(several_handlers_at_one_moment) {
	on_signal(SIGUSR1, note, 0);
	on_signal(SIGUSR2, note, 0);
	on_signal(SIGRTMIN, note, 0);
	sigset_t s = sigs(SIGUSR1, SIGUSR2, SIGRTMIN, 0), none = sigs(0);
	for (int i = 0; i < 3; i++) {
		n_order = 0;
		OK(sigprocmask(SIG_BLOCK, &s, NULL));
		raise(SIGRTMIN), raise(SIGUSR2), raise(SIGUSR1);
		EQ(n_order, 0);
		OK(sigprocmask(SIG_SETMASK, &none, NULL));
		EQ(n_order, 3); // the frames stack up: the last one built runs first
		EQ(order[0], SIGRTMIN);
		EQ(order[1], SIGUSR2);
		EQ(order[2], SIGUSR1);
	}
}
