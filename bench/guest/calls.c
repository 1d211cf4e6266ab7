// calls: what single calls cost, in µs, one line per kind: "name value". Each loop checks its own answers; a wrong one ends
// the program with status 1.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static void wrong(const char *what) {
	printf("wrong answer: %s\n", what);
	exit(1);
}
#define WANT(e)               \
	do {                  \
		if (!(e)) wrong(#e); \
	} while (0)
#define BENCH(name, n, code)                                         \
	do {                                                         \
		for (int i = 0; i < (n) / 10 + 3; i++) { code; }     \
		double t0 = now();                                   \
		for (int i = 0; i < (n); i++) { code; }              \
		printf("%s %.4f\n", name, (now() - t0) / (n));       \
		fflush(stdout);                                      \
	} while (0)

static void *same(void *p) { return p; }
static void reap(pid_t p) {
	int st;
	WANT(p > 0 && waitpid(p, &st, 0) == p && WIFEXITED(st) && WEXITSTATUS(st) == 7);
}

int main(int argc, char **argv) {
	if (argc > 1 && !strcmp(argv[1], "exit")) return 7;
	int zero = open("/dev/zero", O_RDONLY);
	char b[1] = {9};
	struct stat st;
	struct timespec ts = {0, 0};
	pid_t me = getpid();
	BENCH("getpid", 50000, WANT(syscall(SYS_getpid) == me));
	BENCH("gettid", 50000, WANT(syscall(SYS_gettid) == me));
	BENCH("clock_gettime", 50000, WANT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts) == 0 && ts.tv_sec > 0));
	BENCH("read", 50000, WANT(read(zero, b, 1) == 1 && b[0] == 0));
	BENCH("fstat", 50000, WANT(fstat(zero, &st) == 0 && S_ISCHR(st.st_mode)));
	BENCH("stat", 50000, WANT(stat("/usr/bin/env", &st) == 0 && S_ISREG(st.st_mode)));
	BENCH("open+close", 5000, { int f = open("/usr/bin/env", O_RDONLY); WANT(f >= 0 && close(f) == 0); });
	BENCH("mmap+munmap", 5000, { void *p = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); WANT(p != MAP_FAILED && munmap(p, 4096) == 0); });
	BENCH("fork+exit+wait", 500, {
		pid_t p = fork();
		if (p == 0) _exit(7);
		reap(p);
	});
	BENCH("fork+exec+wait", 200, {
		pid_t p = fork();
		if (p == 0) { execl("/proc/self/exe", "calls", "exit", (char *)0); _exit(1); }
		reap(p);
	});
	BENCH("thread", 1000, {
		pthread_t t;
		void *r;
		WANT(pthread_create(&t, 0, same, &st) == 0 && pthread_join(t, &r) == 0 && r == &st);
	});
	/* both on one CPU: between two, the host's own figure is the wake of an idle one */
	cpu_set_t all, one;
	WANT(sched_getaffinity(0, sizeof all, &all) == 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all)) {
			CPU_SET(i, &one);
			break;
		}
	WANT(sched_setaffinity(0, sizeof one, &one) == 0);
	int to[2], from[2];
	WANT(pipe(to) == 0 && pipe(from) == 0);
	pid_t echo = fork();
	if (echo == 0) {
		close(to[1]);
		while (read(to[0], b, 1) == 1) WANT(write(from[1], b, 1) == 1);
		_exit(7);
	}
	BENCH("pipe round trip", 10000, { b[0] = i; WANT(write(to[1], b, 1) == 1 && read(from[0], b, 1) == 1 && b[0] == (char)i); });
	close(to[1]);
	reap(echo);
	WANT(sched_setaffinity(0, sizeof all, &all) == 0);
	double t0 = now();
	char *m = mmap(0, 64 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	WANT(m != MAP_FAILED);
	for (int i = 0; i < 64 << 20; i += 4096) m[i] = 1;
	printf("64 MB of page faults %.1f\n", now() - t0);
	return 0;
}
