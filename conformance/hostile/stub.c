// What code in a guest can do with the stub's own instructions: jump to its system call instruction with any number, jump
// anywhere into it, write over every page it shares with the Sentry. Nothing but the process that does it may be harmed.
//
//   stub reach      prints the numbers of the host calls that pass from inside the stub
//   stub jumps      jumps to every offset of the stub's text, with registers full of rubbish
//   stub scribble   writes over the shared pages while other threads make calls
//   stub requeue    moves sleeping threads of the Sentry to futexes of the guest's own, while a bystander goes on
//   stub arguments  prints what passes of arguments that must not
//   stub loans      writes over what is lent to the stub, a pipe's room and a table of descriptors, while both are used
//   stub stays      prints after which execs the process's stub memory is the old program's still
//   stub entries    int 0x80, sysenter, x32 numbers, vsyscall page, wrgsbase
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STUB 0x7ff000000000ul
#define TEXT 0x10000ul
#define SLOTS 0x7ff100000000ul
#define PRIV 0x7ff010000000ul

static uint64_t seed = 88172645463325252ul;
static uint64_t rnd(void) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; }

// The stub's sys6(nr, a…f): mov %rdi,%rax; mov %rsi,%rdi; …; syscall; ret.
static long (*find_sys6(void))(long, ...) {
	static const unsigned char code[] = {0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8};
	return (long (*)(long, ...))memmem((void *)STUB, 0x2000, code, sizeof code);
}

static int patience = 2000;
// child runs f in a process of its own and gives its wait status, -1 if it hangs.
static int child(void (*f)(long), long arg) {
	pid_t pid = fork();
	if (pid == 0) {
		f(arg);
		_exit(0);
	}
	if (pid < 0) return -2;
	for (int i = 0; i < patience; i++) {
		int status;
		if (waitpid(pid, &status, WNOHANG) == pid) return status;
		usleep(i < 100 ? 200 : 2000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return -1;
}

static void call(long nr) {
	long (*sys6)(long, ...) = find_sys6();
	sys6(nr, 0L, 0L, 0L, 0L, 0L, 0L);
	_exit(0);
}

static int reach(void) {
	if (!find_sys6()) return puts("no stub here"), 2;
	for (long nr = 0; nr < 480; nr++) {
		int st = child(call, nr);
		if (st == -2) return puts("cannot fork"), 2;
		if (!(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL)) printf("%ld\n", nr);
	}
	return 0;
}

static void jump(long off) {
	register uint64_t target __asm__("r11") = STUB + off;
	__asm__ volatile("movq %1, %%rax; movq %2, %%rbx; movq %3, %%rcx; movq %4, %%rdx; movq %5, %%rsi; movq %6, %%rdi; jmp *%0"
			 :: "r"(target), "r"(rnd() & 0x1ff), "r"(rnd()), "r"(rnd()), "r"(rnd()), "r"(SLOTS + (rnd() & 0xffff)), "r"(PRIV)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi");
	__builtin_unreachable();
}

static int jumps(void) {
	int hangs = 0, n = 0;
	for (long off = 0; off < 0x2c00; off += 7, n++) {
		alarm(60);
		seed ^= off * 0x9e3779b97f4a7c15ul;
		hangs += child(jump, off) == -1;
	}
	printf("jumps %d, ended by SIGKILL after a hang %d\n", n, hangs);
	return 0;
}

static volatile int stop;
static void *scribbler(void *arg) {
	(void)arg;
	while (!stop) {
		volatile uint32_t *p = (uint32_t *)(SLOTS + (rnd() % 4) * 0x20000 + (rnd() & 0x1ffc));
		*p = rnd();
	}
	return NULL;
}
static void *caller(void *arg) {
	(void)arg;
	char b[64];
	while (!stop) {
		struct timespec ts = {0, 1000};
		nanosleep(&ts, NULL);
		if (getcwd(b, sizeof b)) {}
		void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p != MAP_FAILED) munmap(p, 8192);
	}
	return NULL;
}
static void scribble_one(long s) {
	seed += s * 7919;
	pthread_t t[3];
	pthread_create(&t[0], NULL, caller, NULL);
	pthread_create(&t[1], NULL, caller, NULL);
	pthread_create(&t[2], NULL, scribbler, NULL);
	struct timespec ts = {0, 50000000};
	nanosleep(&ts, NULL);
	stop = 1;
	_exit(0);
}
static int scribble(void) {
	int hung = 0;
	patience = 400; // most hang, by their own doing, and spin
	for (long i = 0; i < 20; i++) hung += child(scribble_one, i) == -1;
	printf("scribbled 20, ended by SIGKILL after a hang %d\n", hung);
	return 0;
}

// requeue_one moves whatever sleeps on the words of this process's slots to a word of its own, again and again, while other
// threads compute, sleep and make calls; then it ends in one of several ways, or hangs.
static uint32_t mine[8];
static void *spinner(void *arg) {
	(void)arg;
	for (volatile long i = 0; !stop; i++) {}
	return NULL;
}
static void move_sleepers(int cmp) {
	long (*sys6)(long, ...) = find_sys6();
	for (int i = 0; i < 8; i++) { // the process has four threads
		uint32_t *turn = (uint32_t *)(SLOTS + i * 0x20000ul);
		for (uint32_t val = 0; val < (cmp ? 4 : 1); val++) sys6(202L, turn, cmp ? 4L : 3L, 0L, 0x7fffffffL, &mine[i], (long)val);
	}
}
static void requeue_one(long kind) {
	pthread_t t[3];
	pthread_create(&t[0], NULL, spinner, NULL);
	pthread_create(&t[1], NULL, caller, NULL);
	pthread_create(&t[2], NULL, spinner, NULL);
	usleep(20000);
	for (int i = 0; i < 50; i++) move_sleepers(kind & 1);
	switch (kind) {
	case 0: _exit(3);                                   // another thread's call ends the process
	case 1: kill(getpid(), SIGKILL);                    // by a signal of its own
	case 2: *(volatile int *)0 = 1;                     // by a fault
	case 3: for (;;) move_sleepers(kind & 1);           // by its parent
	case 4: stop = 1; for (int i = 0; i < 3; i++) pthread_join(t[i], NULL); _exit(3);
	case 5: execl("/proc/self/exe", "stub", "nothing", (char *)NULL);
	case 6: if (fork() == 0) { move_sleepers(kind & 1); _exit(0); } _exit(3);
	}
	for (;;) pause();
}

// A bystander answers each byte; it must go on, whatever its siblings do.
static int requeue(void) {
	int to[2], from[2], ended = 0, hung = 0;
	char b = 'x';
	if (!find_sys6()) return puts("no stub here"), 2;
	if (pipe(to) || pipe(from)) return 2;
	pid_t other = fork();
	if (other == 0) {
		close(to[1]);
		close(from[0]);
		while (read(to[0], &b, 1) == 1) if (write(from[1], &b, 1) != 1) _exit(1);
		_exit(0);
	}
	patience = 250;
	for (long kind = 0; kind < 7; kind++) {
		int st = child(requeue_one, kind);
		if (st == -2) return puts("cannot fork"), 2;
		st == -1 ? hung++ : ended++;
		alarm(150);
		for (int i = 0; i < 20; i++) if (write(to[1], &b, 1) != 1 || read(from[0], &b, 1) != 1) return puts("the bystander was harmed"), 3;
		alarm(0);
	}
	close(to[1]);
	int status;
	if (waitpid(other, &status, 0) != other || status != 0) return printf("the bystander ended with %#x\n", status), 3;
	printf("requeued %d, ended by SIGKILL after a hang %d\n", ended + hung, hung);
	return 0;
}

// Arguments that must end who tries them: each is tried by a process of its own.
static const struct { const char *what; long nr, a[6]; } bad[] = {
	{"clone CLONE_NEWUSER", 56, {0x10000000 | 17}}, {"clone CLONE_NEWNS", 56, {0x00020000 | 17}}, {"clone CLONE_NEWPID", 56, {0x20000000 | 17}},
	{"clone CLONE_NEWNET", 56, {0x40000000 | 17}}, {"clone CLONE_NEWIPC", 56, {0x08000000 | 17}}, {"clone CLONE_NEWUTS", 56, {0x04000000 | 17}},
	{"clone CLONE_NEWCGROUP", 56, {0x02000000 | 17}}, {"clone CLONE_INTO_CGROUP", 56, {0x200000000 | 0x8000 | 17}},
	{"clone without CLONE_PARENT", 56, {17}}, {"clone without a signal", 56, {0x8000}}, {"clone with another signal", 56, {0x8000 | 9}},
	{"clone CLONE_PTRACE", 56, {0x2000 | 0x8000 | 17}}, {"clone CLONE_UNTRACED", 56, {0x800000 | 0x8000 | 17}},
	{"clone CLONE_PIDFD", 56, {0x1000 | 0x8000 | 17}}, {"clone CLONE_IO", 56, {0x80000000 | 0x8000 | 17}},
	{"clone CLONE_VM alone", 56, {0x100 | 0x8000 | 17}}, {"clone CLONE_SETTLS", 56, {0x80000 | 0x8000 | 17}},
	{"clone CLONE_CLEAR_SIGHAND", 56, {0x100000000 | 0x8000 | 17}}, {"clone high bits", 56, {1l << 40 | 0x8000 | 17}},
	{"prctl PR_SET_DUMPABLE", 157, {4, 1}}, {"prctl PR_SET_KEEPCAPS", 157, {8, 1}}, {"prctl PR_SET_NAME", 157, {15, (long)"x"}},
	{"prctl PR_SET_SECCOMP", 157, {22, 1}}, {"prctl PR_CAPBSET_DROP", 157, {24, 0}}, {"prctl PR_SET_SECUREBITS", 157, {28, 0}},
	{"prctl PR_SET_MM", 157, {35, 1, 4096}}, {"prctl PR_SET_CHILD_SUBREAPER", 157, {36, 1}}, {"prctl PR_SET_NO_NEW_PRIVS", 157, {38, 1}},
	{"prctl PR_CAP_AMBIENT", 157, {47, 4}}, {"prctl PR_SET_SPECULATION_CTRL", 157, {53, 0, 2}}, {"prctl PR_SET_SYSCALL_USER_DISPATCH", 157, {59, 0}},
	{"prctl PR_SCHED_CORE", 157, {62, 1}}, {"prctl PR_SET_VMA", 157, {0x53564d41, 0}}, {"prctl PR_SET_PTRACER", 157, {0x59616d61, -1}},
	{"prctl PR_SET_PDEATHSIG, high bits", 157, {1l << 32 | 1, 9}}, {"prctl PR_SET_PDEATHSIG of none", 157, {1, 0}},
	{"prctl PR_SET_PDEATHSIG of SIGCHLD", 157, {1, 17}},
	{"futex FUTEX_LOCK_PI", 202, {(long)mine, 6}}, {"futex FUTEX_UNLOCK_PI", 202, {(long)mine, 7}}, {"futex FUTEX_TRYLOCK_PI", 202, {(long)mine, 8}},
	{"futex FUTEX_WAIT_REQUEUE_PI", 202, {(long)mine, 11, 0, 0, (long)mine}}, {"futex FUTEX_CMP_REQUEUE_PI", 202, {(long)mine, 12, 1, 0, (long)mine}},
	{"futex FUTEX_LOCK_PI2", 202, {(long)mine, 13}}, {"futex FUTEX_FD", 202, {(long)mine, 2}}, {"futex a flag of bit 9", 202, {(long)mine, 0x201}},
	{"mmap MAP_HUGETLB", 9, {0, 4096, 0, 0x40022, -1}}, {"mmap MAP_LOCKED", 9, {0, 4096, 0, 0x2022, -1}}, {"mmap MAP_GROWSDOWN", 9, {0, 4096, 0, 0x122, -1}},
	{"mmap MAP_SYNC", 9, {0, 4096, 0, 0x80023, -1}}, {"mmap flag bit 25", 9, {0, 4096, 0, 0x2000022, -1}}, {"mmap high bits", 9, {0, 4096, 0, 1l << 32 | 0x22, -1}},
	{"madvise MADV_HWPOISON", 28, {0, 0, 100}}, {"madvise MADV_SOFT_OFFLINE", 28, {0, 0, 101}}, {"madvise MADV_MERGEABLE", 28, {0, 0, 12}},
	{"madvise MADV_COLLAPSE", 28, {0, 0, 25}}, {"rseq a flag of bit 1", 334, {(long)mine, 32, 2}}, {"rseq high bits", 334, {(long)mine, 32, 1l << 32}},
};
static void tried(long i) {
	find_sys6()(bad[i].nr, bad[i].a[0], bad[i].a[1], bad[i].a[2], bad[i].a[3], bad[i].a[4], bad[i].a[5]);
	_exit(0);
}
static int arguments(void) {
	if (!find_sys6()) return puts("no stub here"), 2;
	int n = sizeof bad / sizeof *bad;
	for (long i = 0; i < n; i++) {
		int st = child(tried, i);
		if (st == -2) return puts("cannot fork"), 2;
		if (!(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL)) printf("passed: %s: status %#x\n", bad[i].what, st);
	}
	printf("tried %d\n", n);
	return 0;
}

// What is lent: words of struct slot (stub/layout.h), and struct fds behind the data. A process that shares the memory, but
// has descriptors of its own, writes over them, so that the table stays lent.
enum { FD_TAIL = 140, MASK = 144, LOAN = 160, POSTED = 164, DROP_LO = 168, FD_LENT = 184, FD_HEAD = 188, FDS = 0x8c00, POST = 0x8e00 };
static int lent[2];
static int lies(void *arg) {
	static const int words[] = {FD_TAIL, MASK, MASK + 4, LOAN, POSTED, DROP_LO, DROP_LO + 4, DROP_LO + 8, DROP_LO + 12, FD_LENT, FD_HEAD};
	static const uint32_t some[] = {0, 1, 2, 4, 15, 16, 17, 64, 0x1ff, 0x200, 0x201, 0x7fffffff, 0xffffffff};
	long kind = (long)arg;
	for (long n = 0; n < 1000000; n++) {
		char *slot = (char *)SLOTS + rnd() % 2 * 0x20000;
		volatile uint32_t *p = (uint32_t *)(slot + words[rnd() % (sizeof words / sizeof *words)]);
		switch (kind % 4 ? kind % 4 : rnd() % 4) {
		case 0: *p = rnd() & 1 ? some[rnd() % 13] : rnd(); break;
		case 1: // operations, and that they were done
			((volatile uint32_t *)(slot + FDS + 64))[rnd() % 16] = (1 + rnd() % 2) | (rnd() & 0xff) << 8 | (rnd() & 0xff) << 16 | (rnd() & 1) << 24;
			*(volatile uint32_t *)(slot + FD_HEAD) += rnd() % 20;
			break;
		case 2: // bytes, and that they were accepted
			((volatile char *)(slot + POST))[rnd() % 512] = rnd();
			*(volatile uint32_t *)(slot + POSTED) = some[rnd() % 13];
			*(volatile uint32_t *)(slot + LOAN) = lent[1] + 1;
			break;
		case 3: // states and flags
			((volatile unsigned char *)(slot + FDS))[rnd() % 64] = rnd();
			((volatile uint32_t *)(slot + FDS + 128))[rnd() % 65] = rnd();
			*(volatile uint32_t *)(slot + FD_LENT) = 1;
			break;
		}
	}
	_exit(0);
}
static void borrower(long kind) {
	static char stack[65536];
	char b[4096];
	seed += kind * 7919;
	alarm(2);
	int dir = open("/", O_RDONLY | O_DIRECTORY), file = open("/proc/self/exe", O_RDONLY);
	for (int i = 0; i < 40; i++) close(dup(i & 1 ? dir : file));
	for (int i = 0; i < 40; i++) if (write(lent[1], b, 1) != 1) _exit(1);
	pid_t other = clone(lies, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)kind);
	if (other < 0) _exit(2);
	for (int i = 0; i < 1500; i++) {
		int d = dup(dir);
		if (write(lent[1], b, 1 + i % 512) < 0 && errno != EAGAIN) {}
		fcntl(d, F_GETFL);
		fcntl(d, F_GETFD);
		lseek(dir, 0, SEEK_SET);
		while (syscall(SYS_getdents64, dir, b, sizeof b) > 0) {}
		close(d);
		close(open("/", O_RDONLY | O_DIRECTORY));
	}
	if (kind & 4) execl("/proc/self/exe", "stub", "nothing", (char *)NULL);
	if (kind & 8) kill(getpid(), SIGKILL);
	kill(other, SIGKILL);
	_exit(0);
}

// look has the Sentry settle what the borrower's stub has left, from another task.
static void look(pid_t pid) {
	char b[8192];
	snprintf(b, sizeof b, "/proc/%d/fd", pid);
	DIR *d = opendir(b);
	if (d) {
		while (readdir(d)) {}
		closedir(d);
	}
	struct pollfd f = {lent[0], POLLIN, 0};
	poll(&f, 1, 0);
	while (read(lent[0], b, sizeof b) > 0) {}
}
static int loans(void) {
	int own[2], hung = 0;
	char b = 'x', c = 0;
	if (pipe(own)) return 2;
	for (long kind = 0; kind < 16; kind++) {
		if (pipe2(lent, O_NONBLOCK)) return 2;
		pid_t pid = fork();
		if (pid == 0) borrower(kind);
		int status, done = 0;
		for (int i = 0; i < 3000 && !done; i++) {
			alarm(60);
			look(pid);
			done = waitpid(pid, &status, WNOHANG) == pid;
			usleep(200);
		}
		if (!done) {
			hung++;
			kill(pid, SIGKILL);
			if (waitpid(pid, &status, 0) != pid) return puts("it cannot be ended"), 3;
		}
		close(lent[1]);
		look(getpid());
		close(lent[0]);
		for (int i = 0; i < 600; i++) // and own loans are as ever
			if (write(own[1], &b, 1) != 1 || read(own[0], &c, 1) != 1 || c != b++) return puts("the bystander was harmed"), 3;
	}
	printf("lent 16, ended by SIGKILL after a hang %d\n", hung);
	return 0;
}

// marker is memory of the thread's stub that nothing uses, and an exec in place does not clear.
static volatile uint64_t *marker(void) {
	uint64_t gs;
	__asm__ volatile("rdgsbase %0" : "=r"(gs));
	return (uint64_t *)(gs + 2048);
}
static const char *unreadable;
static void mark_and_exec(long kind) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	const char *path = "/proc/self/exe";
	*marker() = 0x6d61726b;
	switch (kind) {
	case 1: // root gets back what it gave up
		if (syscall(SYS_capget, &h, d)) _exit(1);
		if (!d[0].permitted) _exit(12);
		d[0].permitted &= d[0].permitted - 1;
		d[0].effective = d[0].permitted;
		d[0].inheritable = 0;
		if (syscall(SYS_capset, &h, d)) _exit(2);
		break;
	case 2: // a program that the caller may not read
		if (setresuid(1000, 1000, 1000)) _exit(3);
		path = unreadable;
		break;
	case 3: // fewer rights: it may stay
		if (setresuid(1000, 1000, 1000)) _exit(3);
		break;
	}
	execl(path, "stub", "marked", (char *)NULL);
	_exit(4);
}
static int stays(const char *self) {
	static const char *what[] = {"the same rights", "a capability more", "unreadable", "fewer rights"};
	char b[65536], copy[] = "/tmp/unreadable";
	int in = open("/proc/self/exe", O_RDONLY), out = open(copy, O_WRONLY | O_CREAT | O_EXCL, 0711), n;
	while ((n = read(in, b, sizeof b)) > 0) if (write(out, b, n) != n) return 2;
	close(out);
	unreadable = copy;
	for (long kind = 0; kind < 4; kind++) {
		if (kind && geteuid() != 0) continue;
		int st = child(mark_and_exec, kind);
		int code = WIFEXITED(st) ? WEXITSTATUS(st) : -1;
		printf("%s: %s\n", what[kind], code == 10 ? "stays" : code == 11 ? "new" : code == 12 ? "no capabilities" : "failed");
	}
	unlink(copy);
	return 0;
}

static void entry(long kind) {
	switch (kind) {
	case 0: {
		long r;
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); // getpid
		_exit(r > 0 ? 1 : 0);
	}
	case 1: {
		long r;
		__asm__ volatile("syscall" : "=a"(r) : "a"(0x40000000L + 39) : "rcx", "r11", "memory"); // x32 getpid
		_exit(r == -ENOSYS ? 0 : 1);
	}
	case 2:
		((long (*)(void *))0xffffffffff600400ul)(NULL); // vsyscall time
		_exit(0);
	case 3:
		__asm__ volatile("wrgsbase %0" :: "r"(0xdead0000ul));
		for (int i = 0; i < 100; i++) getppid();
		_exit(0);
	case 4:
		munmap((void *)STUB, 1ul << 33);
		for (int i = 0; i < 100; i++) getppid();
		_exit(0);
	case 5:
		mmap((void *)SLOTS, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		mprotect((void *)STUB, TEXT, PROT_READ | PROT_WRITE);
		for (int i = 0; i < 100; i++) getppid();
		_exit(0);
	}
}
static int entries(void) {
	for (long i = 0; i < 6; i++) printf("entry %ld: status %#x\n", i, child(entry, i));
	return 0;
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "reach")) return reach();
	if (!strcmp(what, "jumps")) return jumps();
	if (!strcmp(what, "scribble")) return scribble();
	if (!strcmp(what, "requeue")) return requeue();
	if (!strcmp(what, "arguments")) return arguments();
	if (!strcmp(what, "entries")) return entries();
	if (!strcmp(what, "loans")) return loans();
	if (!strcmp(what, "stays")) return stays(argv[0]);
	if (!strcmp(what, "marked")) return *marker() == 0x6d61726b ? 10 : 11;
	return 2;
}
