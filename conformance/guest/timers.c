// Clocks, sleeping, alarm, interval timers, POSIX timers, times.
#include "case.h"
#include <sys/times.h>
#include <sys/timex.h>

static volatile int hits;
static siginfo_t info;
static void h(int s) { hits++; }
static void hi(int s, siginfo_t *si, void *c) {
	hits++;
	info = *si;
}
static long long ns(clockid_t c) {
	struct timespec t;
	OK(clock_gettime(c, &t));
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void burn(long ms) {
	for (long long end = ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000LL; ns(CLOCK_PROCESS_CPUTIME_ID) < end;);
}

CASE(clocks_move_forward) {
	int ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	for (int i = 0; i < LEN(ids); i++) {
		long long a = ns(ids[i]), b = ns(ids[i]);
		CHECK(b >= a);
		struct timespec r;
		OK(clock_getres(ids[i], &r));
		EQ(r.tv_sec, 0);
		EQ(r.tv_nsec, 1);
	}
	CHECK(ns(CLOCK_REALTIME) > 1600000000LL * 1000000000);
	CHECK(ns(CLOCK_BOOTTIME) >= ns(CLOCK_MONOTONIC) - 1000000000);
}

CASE(coarse_clocks_follow) {
	long long d = ns(CLOCK_MONOTONIC) - ns(CLOCK_MONOTONIC_COARSE);
	CHECK(d > -1000000000LL && d < 1000000000LL);
	d = ns(CLOCK_REALTIME) - ns(CLOCK_REALTIME_COARSE);
	CHECK(d > -1000000000LL && d < 1000000000LL);
}

CASE(real_call_agrees_with_vdso) {
	struct timespec a, b;
	OK(clock_gettime(CLOCK_MONOTONIC, &a));
	OK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &b));
	long long d = (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec;
	CHECK(d >= 0 && d < 2000000000LL);
	struct timeval tv;
	OK(syscall(SYS_gettimeofday, &tv, NULL));
	CHECK(labs(tv.tv_sec - time(NULL)) <= 2);
	CHECK(labs(syscall(SYS_time, NULL) - time(NULL)) <= 2);
}

CASE(clock_errors) {
	struct timespec t;
	ERR(syscall(SYS_clock_gettime, 99, &t), EINVAL);
	ERR(syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, 8), EFAULT);
	ERR(syscall(SYS_clock_getres, 99, &t), EINVAL);
	t = (struct timespec){0, 1000000000};
	ERR(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL), EINVAL);
	t.tv_nsec = 0;
	ERR(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP);
	ERR(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t), EINVAL);
}

CASE(nanosleep_sleeps) {
	long long a = ns(CLOCK_MONOTONIC);
	struct timespec t = {0, 30000000}, bad = {0, -1};
	OK(nanosleep(&t, NULL));
	CHECK(ns(CLOCK_MONOTONIC) - a >= 30000000);
	ERR(nanosleep(&bad, NULL), EINVAL);
	ERR(nanosleep((void *)8, NULL), EFAULT);
}

CASE(absolute_sleep) {
	struct timespec t;
	OK(clock_gettime(CLOCK_MONOTONIC, &t));
	long long want = t.tv_sec * 1000000000LL + t.tv_nsec + 30000000;
	t = (struct timespec){want / 1000000000, want % 1000000000};
	PT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
	CHECK(ns(CLOCK_MONOTONIC) >= want);
	t.tv_sec = 0; // long past, and not before the boot: a VM may be younger than a minute
	PT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
	OK(clock_gettime(CLOCK_REALTIME, &t));
	t.tv_sec -= 1;
	PT(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
}

CASE(alarm_replaces_and_returns) {
	EQ(alarm(100), 0);
	unsigned left = alarm(50);
	CHECK(left >= 99 && left <= 100);
	left = alarm(0);
	CHECK(left >= 49 && left <= 50);
	EQ(alarm(0), 0);
}

CASE(alarm_kills_by_default) {
	CHILD(p) {
		struct itimerval it = {.it_value = {0, 30000}};
		OK(setitimer(ITIMER_REAL, &it, NULL));
		for (;;) pause();
	}
	KILLED(p, SIGALRM);
}

CASE(itimer_real_repeats) {
	on_siginfo(SIGALRM, hi, SA_RESTART);
	struct itimerval it = {{0, 10000}, {0, 10000}}, got;
	OK(setitimer(ITIMER_REAL, &it, NULL));
	EVENTUALLY(hits >= 3);
	EQ(info.si_code, SI_KERNEL);
	OK(getitimer(ITIMER_REAL, &got));
	EQ(got.it_interval.tv_usec, 10000);
	CHECK(got.it_value.tv_usec > 0 && got.it_value.tv_usec <= 10000);
	it = (struct itimerval){};
	OK(setitimer(ITIMER_REAL, &it, &got));
	int n = hits;
	sleep_ms(40);
	CHECK(hits <= n + 1);
}

CASE(itimer_virtual_and_prof) {
	on_signal(SIGVTALRM, h, 0);
	struct itimerval it = {.it_value = {0, 20000}};
	OK(setitimer(ITIMER_VIRTUAL, &it, NULL));
	sleep_ms(50);
	EQ(hits, 0); // sleeping does not count
	for (long long end = now_ms() + 10000; !hits && now_ms() < end;);
	EQ(hits, 1);
	on_signal(SIGPROF, h, 0);
	OK(setitimer(ITIMER_PROF, &it, NULL));
	for (long long end = now_ms() + 10000; hits < 2 && now_ms() < end;);
	EQ(hits, 2);
}

CASE(itimer_errors) {
	struct itimerval it = {.it_value = {0, 1000000}};
	ERR(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
	it.it_value.tv_usec = 1;
	ERR(setitimer(7, &it, NULL), EINVAL);
	ERR(getitimer(7, &it), EINVAL);
	ERR(setitimer(ITIMER_REAL, (void *)8, NULL), EFAULT);
}

CASE(posix_timer_signal) {
	on_siginfo(SIGRTMIN, hi, 0);
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
	timer_t t;
	OK(timer_create(CLOCK_MONOTONIC, &se, &t));
	struct itimerspec s = {.it_value = {0, 20000000}}, got;
	OK(timer_settime(t, 0, &s, NULL));
	EVENTUALLY(hits == 1);
	EQ(info.si_code, SI_TIMER);
	EQ(info.si_value.sival_int, 77);
	EQ(info.si_overrun, 0);
	OK(timer_gettime(t, &got));
	EQ(got.it_value.tv_sec + got.it_value.tv_nsec, 0);
	OK(timer_delete(t));
	ERR(syscall(SYS_timer_delete, 12345), EINVAL);
}

CASE(posix_timer_overrun) {
	sigset_t b = sigs(SIGRTMIN, 0);
	OK(sigprocmask(SIG_BLOCK, &b, NULL));
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	timer_t t;
	OK(timer_create(CLOCK_MONOTONIC, &se, &t));
	struct itimerspec s = {{0, 5000000}, {0, 5000000}};
	OK(timer_settime(t, 0, &s, NULL));
	sleep_ms(60);
	siginfo_t si;
	EQ(sigwaitinfo(&b, &si), SIGRTMIN);
	CHECK(si.si_overrun >= 8);
	EQ(timer_getoverrun(t), si.si_overrun);
}

CASE(posix_timer_default_and_none) {
	on_siginfo(SIGALRM, hi, 0);
	timer_t t, n;
	OK(timer_create(CLOCK_REALTIME, NULL, &t));
	struct itimerspec s = {.it_value = {0, 10000000}}, got;
	OK(timer_settime(t, 0, &s, NULL));
	EVENTUALLY(hits == 1);
	struct sigevent se = {.sigev_notify = SIGEV_NONE};
	OK(timer_create(CLOCK_MONOTONIC, &se, &n));
	s.it_value.tv_sec = 100;
	OK(timer_settime(n, 0, &s, NULL));
	OK(timer_gettime(n, &got));
	CHECK(got.it_value.tv_sec >= 90);
	se.sigev_notify = 77;
	ERR(timer_create(CLOCK_MONOTONIC, &se, &t), EINVAL);
	ERR(timer_create(77, NULL, &t), EINVAL);
}

CASE(posix_timer_thread_target) {
	static volatile pid_t by;
	void hh(int s) { by = syscall(SYS_gettid); }
	on_signal(SIGRTMIN + 1, hh, 0);
	void *body(void *a) {
		struct sigevent se = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
		se._sigev_un._tid = syscall(SYS_gettid);
		timer_t t;
		OK(timer_create(CLOCK_MONOTONIC, &se, &t));
		struct itimerspec s = {.it_value = {0, 10000000}};
		OK(timer_settime(t, 0, &s, NULL));
		EVENTUALLY(by);
		EQ(by, syscall(SYS_gettid));
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
}

CASE(posix_timer_absolute) {
	on_signal(SIGUSR1, h, 0);
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t t;
	OK(timer_create(CLOCK_MONOTONIC, &se, &t));
	struct itimerspec s = {};
	OK(clock_gettime(CLOCK_MONOTONIC, &s.it_value));
	OK(timer_settime(t, TIMER_ABSTIME, &s, NULL)); // already past
	EVENTUALLY(hits == 1);
}

CASE(posix_timers_go_at_exec_and_fork) {
	timer_t t;
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	OK(timer_create(CLOCK_MONOTONIC, &se, &t));
	CHILD(p) {
		struct itimerspec s = {.it_value = {0, 1}};
		ERR(timer_settime(t, 0, &s, NULL), EINVAL);
	}
	JOIN(p);
	CHILD(q) {
		OK(timer_create(CLOCK_MONOTONIC, &se, &t));
		struct itimerspec s = {.it_value = {1, 0}}; // a busy machine's exec takes less
		OK(timer_settime(t, 0, &s, NULL));
		execl("/bin/sleep", "sleep", "1.3", NULL);
	}
	JOIN(q);
}

CASE(cpu_time_clocks) {
	long long a = ns(CLOCK_PROCESS_CPUTIME_ID), b = ns(CLOCK_THREAD_CPUTIME_ID);
	burn(30);
	CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - a >= 30000000);
	CHECK(ns(CLOCK_THREAD_CPUTIME_ID) - b >= 20000000);
	a = ns(CLOCK_PROCESS_CPUTIME_ID);
	sleep_ms(60);
	CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - a < 40000000);
}

CASE(cpu_clock_of_child) {
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		burn(30);
		writen(f[1], "x", 1);
		for (;;) pause();
	}
	char c;
	readn(f[0], &c, 1);
	clockid_t id;
	PT(clock_getcpuclockid(p, &id));
	CHECK(ns(id) >= 25000000);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
	EQ(clock_getcpuclockid(99999999, &id), ESRCH);
}

CASE(times_and_clock) {
	struct tms t;
	CHECK(times(&t) != (clock_t)-1);
	burn(60);
	OK(times(&t));
	CHECK(t.tms_utime + t.tms_stime >= 4);
	CHILD(p) burn(60);
	JOIN(p);
	OK(times(&t));
	CHECK(t.tms_cutime + t.tms_cstime >= 3);
	CHECK(clock() >= 50000);
	EQ(sysconf(_SC_CLK_TCK), 100);
}

CASE(cpu_limit_sends_xcpu) {
	CHILD(p) {
		struct rlimit r = {1, 5};
		OK(setrlimit(RLIMIT_CPU, &r));
		for (;;);
	}
	KILLED(p, SIGXCPU);
}

CASE(adjtimex_reads) {
	struct timex t = {};
	long r = adjtimex(&t);
	CHECK(r >= 0 && r <= 5);
	CHECK(t.tick > 0);
}
