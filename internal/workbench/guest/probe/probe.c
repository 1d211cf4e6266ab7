/*
 * The workbench's guest program: what single kernel services cost, seen from
 * inside a container. It checks every result it gets; a wrong one ends it with
 * a line "WRONG ..." and exit status 3, so that a wall which answers fast but
 * wrongly shows as a failure.
 *
 * Output: one line "NAME NANOSECONDS" per figure (or NAME BYTES-PER-SECOND).
 * Usage: probe calls|processes|pipes|faults MILLISECONDS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double budget_ns;

static void wrong(const char *what, long got)
{
	printf("WRONG %s: got %ld (%s)\n", what, got, strerror(errno));
	fflush(stdout);
	_exit(3);
}

static double now(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_MONOTONIC, &t))
		wrong("clock_gettime", -1);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* measure runs f in batches until the budget is spent and prints the median
 * batch's cost of one call: a batch that a neighbour disturbed does not count
 * more than any other. */
static void measure(const char *name, void (*f)(long n))
{
	enum { MAX = 200 };
	double batch[MAX], t, end;
	long n = 1;
	int k = 0;

	f(1);
	for (;;) { /* find a batch of at least a fortieth of the budget */
		t = now();
		f(n);
		t = now() - t;
		if (t > budget_ns / 40 || n > 1 << 24)
			break;
		n *= t * 8 < budget_ns / 40 ? 4 : 2;
	}
	end = now() + budget_ns;
	do {
		t = now();
		f(n);
		batch[k++] = (now() - t) / n;
	} while (k < MAX && (now() < end || k < 3));
	qsort(batch, k, sizeof batch[0], by_value);
	printf("%s %.2f\n", name, batch[k / 2]);
	fflush(stdout);
}

/* calls */

static pid_t self, parent;
static int zero_fd;

static void c_getpid(long n)
{
	while (n--)
		if (getpid() != self)
			wrong("getpid", getpid());
}

static void c_getppid(long n)
{
	while (n--)
		if (getppid() != parent)
			wrong("getppid", getppid());
}

static void c_raw(long n)
{
	while (n--)
		if (syscall(SYS_getppid) != parent)
			wrong("syscall(getppid)", -1);
}

static void c_clock(long n)
{
	struct timespec a, b = { 0, 0 };
	while (n--) {
		if (clock_gettime(CLOCK_MONOTONIC, &a))
			wrong("clock_gettime", -1);
		if (a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec))
			wrong("a clock that went back", a.tv_nsec);
		b = a;
	}
}

static void c_read(long n)
{
	char c;
	while (n--) {
		c = 1;
		if (read(zero_fd, &c, 1) != 1 || c != 0)
			wrong("read /dev/zero", c);
	}
}

static void c_fstat(long n)
{
	struct stat st;
	while (n--)
		if (fstat(zero_fd, &st) || !S_ISCHR(st.st_mode))
			wrong("fstat", st.st_mode);
}

static void c_stat(long n)
{
	struct stat st;
	while (n--)
		if (stat("/usr/bin", &st) || !S_ISDIR(st.st_mode))
			wrong("stat /usr/bin", st.st_mode);
}

static void c_open(long n)
{
	while (n--) {
		int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
		if (fd < 0 || close(fd))
			wrong("open /etc/passwd", fd);
	}
}

static void c_mmap(long n)
{
	while (n--) {
		void *p = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || munmap(p, 4096))
			wrong("mmap", -1);
	}
}

static void calls(void)
{
	self = getpid();
	parent = getppid();
	zero_fd = open("/dev/zero", O_RDONLY);
	if (zero_fd < 0)
		wrong("open /dev/zero", -1);
	measure("getpid", c_getpid);
	measure("getppid", c_getppid);
	measure("syscall", c_raw);
	measure("clock_gettime", c_clock);
	measure("read", c_read);
	measure("fstat", c_fstat);
	measure("stat", c_stat);
	measure("open_close", c_open);
	measure("mmap_munmap", c_mmap);
}

/* processes */

static void reap(pid_t pid, int want)
{
	int st;
	if (waitpid(pid, &st, 0) != pid || !WIFEXITED(st) || WEXITSTATUS(st) != want)
		wrong("wait for a child", st);
}

static void p_fork(long n)
{
	while (n--) {
		int want = n & 63;
		pid_t pid = fork();
		if (pid < 0)
			wrong("fork", pid);
		if (pid == 0)
			_exit(want);
		reap(pid, want);
	}
}

static void p_exec(long n)
{
	char *argv[] = { "true", 0 };
	while (n--) {
		pid_t pid;
		int e = posix_spawn(&pid, "/bin/true", 0, 0, argv, environ);
		if (e)
			wrong("posix_spawn /bin/true", e);
		reap(pid, 0);
	}
}

static void *give_back(void *p)
{
	return p;
}

static void p_thread(long n)
{
	while (n--) {
		pthread_t t;
		void *got;
		int e = pthread_create(&t, 0, give_back, &t);
		if (e || pthread_join(t, &got) || got != &t)
			wrong("pthread_create", e);
	}
}

static void processes(void)
{
	measure("fork_exit_wait", p_fork);
	measure("spawn_exec_wait", p_exec);
	measure("thread_create_join", p_thread);
}

/* pipes */

static int ping[2], pong[2];

static void echo_child(void)
{
	char c;
	close(ping[1]);
	close(pong[0]);
	while (read(ping[0], &c, 1) == 1) {
		c++;
		if (write(pong[1], &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void p_round(long n)
{
	while (n--) {
		char c = n, want = c + 1;
		if (write(ping[1], &c, 1) != 1 || read(pong[0], &c, 1) != 1 || c != want)
			wrong("pipe round trip", c);
	}
}

enum { CHUNK = 64 << 10 };

static void stream(void)
{
	static unsigned char buf[CHUNK];
	unsigned long long seen = 0;
	double start = now(), took;
	int p[2];
	pid_t pid;
	long got, i;

	if (pipe(p))
		wrong("pipe", -1);
	pid = fork();
	if (pid < 0)
		wrong("fork", pid);
	if (pid == 0) {
		close(p[0]);
		for (i = 0; i < CHUNK; i++)
			buf[i] = i * 7;
		do /* whole chunks only, and one at least */
			for (i = 0; i < CHUNK; i += got)
				if ((got = write(p[1], buf + i, CHUNK - i)) <= 0)
					wrong("write to a pipe", got);
		while (now() - start < budget_ns);
		_exit(0);
	}
	close(p[1]);
	while ((got = read(p[0], buf, CHUNK)) > 0) {
		/* the first and last byte of what came must be those that were sent */
		if (buf[0] != (unsigned char)((seen % CHUNK) * 7) ||
		    buf[got - 1] != (unsigned char)(((seen + got - 1) % CHUNK) * 7))
			wrong("bytes through a pipe", seen);
		seen += got;
	}
	took = now() - start;
	reap(pid, 0);
	if (got < 0 || seen % CHUNK || seen == 0)
		wrong("bytes through a pipe", seen);
	printf("pipe_stream %.0f\n", seen / (took / 1e9));
}

static void pipes(void)
{
	pid_t pid;
	if (pipe(ping) || pipe(pong))
		wrong("pipe", -1);
	pid = fork();
	if (pid < 0)
		wrong("fork", pid);
	if (pid == 0)
		echo_child();
	close(ping[0]);
	close(pong[1]);
	measure("pipe_round_trip", p_round);
	close(ping[1]);
	reap(pid, 0);
	stream();
}

/* faults */

enum { AREA = 64 << 20, PAGE = 4096 };

static void touch(long n)
{
	while (n--) {
		long i;
		char *p = mmap(0, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			wrong("mmap of 64 MB", -1);
		madvise(p, AREA, MADV_NOHUGEPAGE);
		for (i = 0; i < AREA; i += PAGE) {
			if (p[i])
				wrong("a fresh page that is not zero", p[i]);
			p[i] = 1;
		}
		if (munmap(p, AREA))
			wrong("munmap", -1);
	}
}

static void faults(void)
{
	measure("faults_64MB", touch);
}

int main(int argc, char **argv)
{
	budget_ns = argc > 2 ? atof(argv[2]) * 1e6 : 0;
	if (budget_ns < 1e6 || budget_ns > 1e12) {
		fprintf(stderr, "usage: probe calls|processes|pipes|faults MILLISECONDS\n");
		return 2;
	}
	if (!strcmp(argv[1], "calls"))
		calls();
	else if (!strcmp(argv[1], "processes"))
		processes();
	else if (!strcmp(argv[1], "pipes"))
		pipes();
	else if (!strcmp(argv[1], "faults"))
		faults();
	else {
		fprintf(stderr, "probe: no such set of measurements: %s\n", argv[1]);
		return 2;
	}
	puts("done");
	return 0;
}
