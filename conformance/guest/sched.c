// Scheduling calls, priorities, affinity, resource limits, prctl.
#include "case.h"
#include <sys/prctl.h>

struct attr { // struct sched_attr, whose header collides with libc's
	uint32_t size, sched_policy;
	uint64_t flags;
	int32_t sched_nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

CASE(yield) { OK(sched_yield()); }

CASE(affinity) {
	cpu_set_t s;
	CPU_ZERO(&s);
	OK(sched_getaffinity(0, sizeof s, &s));
	CHECK(CPU_COUNT(&s) >= 1);
	CHECK(CPU_COUNT(&s) <= sysconf(_SC_NPROCESSORS_CONF));
	CHECK(syscall(SYS_sched_getaffinity, 0, sizeof s, &s) >= 8);
	ERR(syscall(SYS_sched_getaffinity, 0, 3, &s), EINVAL);
	ERR(sched_getaffinity(99999999, sizeof s, &s), ESRCH);
	int first = 0;
	while (!CPU_ISSET(first, &s)) first++;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	OK(sched_setaffinity(0, sizeof one, &one));
	CPU_ZERO(&s);
	OK(sched_getaffinity(0, sizeof s, &s));
	EQ(CPU_COUNT(&s), 1);
	CHECK(CPU_ISSET(first, &s));
	CHILD(p) {
		OK(sched_getaffinity(0, sizeof s, &s));
		EQ(CPU_COUNT(&s), 1);
	}
	JOIN(p);
	CPU_ZERO(&one);
	ERR(sched_setaffinity(0, sizeof one, &one), EINVAL);
}

CASE(policies) {
	EQ(sched_getscheduler(0), SCHED_OTHER);
	struct sched_param sp = {0};
	OK(sched_getparam(0, &sp));
	EQ(sp.sched_priority, 0);
	OK(sched_setscheduler(0, SCHED_BATCH, &sp));
	EQ(sched_getscheduler(0), SCHED_BATCH);
	OK(sched_setscheduler(0, SCHED_OTHER, &sp));
	sp.sched_priority = 5;
	ERR(sched_setscheduler(0, SCHED_OTHER, &sp), EINVAL);
	ERR(sched_setscheduler(0, 99, &sp), EINVAL);
	ERR(sched_getscheduler(99999999), ESRCH);
	ERR(sched_getscheduler(-1), EINVAL);
	EQ(sched_get_priority_max(SCHED_FIFO), 99);
	EQ(sched_get_priority_min(SCHED_FIFO), 1);
	EQ(sched_get_priority_max(SCHED_OTHER), 0);
	ERR(sched_get_priority_max(99), EINVAL);
	struct timespec t;
	OK(sched_rr_get_interval(0, &t));
}

CASE(sched_attr) {
	struct attr a = {};
	OK(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	EQ(a.sched_policy, SCHED_OTHER);
	EQ(a.sched_nice, getpriority(PRIO_PROCESS, 0));
	ERR(syscall(SYS_sched_getattr, 0, &a, 8, 0), EINVAL);
	a.sched_nice = 19;
	a.size = sizeof a;
	OK(syscall(SYS_sched_setattr, 0, &a, 0));
	EQ(getpriority(PRIO_PROCESS, 0), 19);
}

CASE(nice_values) {
	int base = getpriority(PRIO_PROCESS, 0), more = base > 17 ? 19 : base + 2;
	errno = 0;
	EQ(nice(2), more);
	EQ(getpriority(PRIO_PROCESS, 0), more);
	OK(setpriority(PRIO_PROCESS, 0, 100));
	EQ(getpriority(PRIO_PROCESS, 0), 19);
	EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 1);
	CHILD(p) EQ(getpriority(PRIO_PROCESS, 0), 19);
	JOIN(p);
	ERR(setpriority(9, 0, 0), EINVAL);
	ERR(getpriority(PRIO_PROCESS, 99999999), ESRCH);
	EQ(getpriority(PRIO_PGRP, 0), 19);
}

CASE(nice_needs_right_to_go_down) {
	if (geteuid()) SKIP("needs root");
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		ERR(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 1), EACCES);
		OK(setpriority(PRIO_PROCESS, 0, 19));
	}
	JOIN(p);
}

CASE(limits_read_and_set) {
	struct rlimit r, old;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		OK(getrlimit(i, &r));
		CHECK(r.rlim_cur <= r.rlim_max);
	}
	ERR(getrlimit(RLIM_NLIMITS, &r), EINVAL);
	OK(getrlimit(RLIMIT_NOFILE, &old));
	r = (struct rlimit){100, old.rlim_max};
	OK(setrlimit(RLIMIT_NOFILE, &r));
	EQ(sysconf(_SC_OPEN_MAX), 100);
	r = (struct rlimit){101, 100};
	ERR(setrlimit(RLIMIT_NOFILE, &r), EINVAL);
	r = (struct rlimit){50, 50};
	OK(setrlimit(RLIMIT_NOFILE, &r));
	CHILD(p) {
		OK(getrlimit(RLIMIT_NOFILE, &r));
		EQ(r.rlim_max, 50);
	}
	JOIN(p);
	ERR(syscall(SYS_getrlimit, RLIMIT_NOFILE, 8), EFAULT);
}

CASE(raising_a_hard_limit_needs_a_right) {
	if (geteuid()) SKIP("needs root");
	CHILD(p) {
		struct rlimit r = {50, 50};
		OK(setrlimit(RLIMIT_CORE, &r) == 0 || errno == EPERM ? 0 : -1);
		OK(setrlimit(RLIMIT_NOFILE, &r));
		OK(setresuid(65534, 65534, 65534));
		r = (struct rlimit){50, 60};
		ERR(setrlimit(RLIMIT_NOFILE, &r), EPERM);
	}
	JOIN(p);
}

CASE(prlimit_of_child) {
	CHILD(p) for (;;) pause();
	struct rlimit r, n = {33, 44};
	OK(prlimit(p, RLIMIT_NOFILE, &n, NULL));
	OK(prlimit(p, RLIMIT_NOFILE, NULL, &r));
	EQ(r.rlim_cur, 33);
	EQ(r.rlim_max, 44);
	char path[60];
	sprintf(path, "/proc/%d/limits", p);
	char *s = slurp(path), *l = strstr(s, "Max open files");
	CHECK(l);
	int a, b;
	EQ(sscanf(l + 14, "%d %d", &a, &b), 2);
	EQ(a, 33);
	EQ(b, 44);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
	ERR(prlimit(99999999, RLIMIT_NOFILE, NULL, &r), ESRCH);
}

CASE(prctl_name) {
	char b[20] = "";
	OK(prctl(PR_SET_NAME, "a-name-longer-than-15"));
	OK(prctl(PR_GET_NAME, b));
	STR(b, "a-name-longer-t");
	STR(slurp("/proc/self/comm"), "a-name-longer-t\n");
	int fd = OK(open("/proc/self/comm", O_WRONLY));
	writen(fd, "written", 7);
	OK(prctl(PR_GET_NAME, b));
	STR(b, "written");
}

CASE(prctl_flags) {
	EQ(prctl(PR_GET_DUMPABLE), 1);
	OK(prctl(PR_SET_DUMPABLE, 0));
	EQ(prctl(PR_GET_DUMPABLE), 0);
	ERR(prctl(PR_SET_DUMPABLE, 2), EINVAL);
	OK(prctl(PR_SET_DUMPABLE, 1));
	EQ(prctl(PR_GET_KEEPCAPS), 0);
	OK(prctl(PR_SET_KEEPCAPS, 1));
	EQ(prctl(PR_GET_KEEPCAPS), 1);
	ERR(prctl(PR_SET_PDEATHSIG, 99), EINVAL);
	ERR(prctl(9999), EINVAL);
	int v = 0;
	OK(prctl(PR_GET_TSC, &v));
	EQ(v, PR_TSC_ENABLE);
	EQ(prctl(PR_GET_TIMERSLACK), 50000);
	OK(prctl(PR_SET_TIMERSLACK, 1000));
	EQ(prctl(PR_GET_TIMERSLACK), 1000);
}

CASE(no_new_privs) {
	CHILD(p) {
		EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
		ERR(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
		ERR(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
		OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
		CHILD(q) EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
		JOIN(q);
		char *s = slurp("/proc/self/status");
		CHECK(strstr(s, "NoNewPrivs:\t1\n"));
	}
	JOIN(p);
}

CASE(getcpu_is_in_range) {
	unsigned c = 9999, n = 9999;
	OK(syscall(SYS_getcpu, &c, &n, NULL));
	CHECK(c < 4096 && n < 1024);
	ERR(syscall(SYS_getcpu, 8, NULL, NULL), EFAULT);
}
