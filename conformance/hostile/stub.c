// What code in a guest can do with the stub's own instructions: jump to its system call instruction with any number, jump
// anywhere into it, write over every page it shares with the Sentry. Nothing but the process that does it may be harmed.
//
//   stub reach      prints the numbers of the host calls that pass from inside the stub
//   stub jumps      jumps to every offset of the stub's text, with registers full of rubbish
//   stub scribble   writes over the shared pages while other threads make calls
//   stub entries    int 0x80, sysenter, x32 numbers, vsyscall page, wrgsbase
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

// child runs f in a process of its own and gives its wait status, -1 if it hangs.
static int child(void (*f)(long), long arg) {
	pid_t pid = fork();
	if (pid == 0) {
		f(arg);
		_exit(0);
	}
	if (pid < 0) return -2;
	for (int i = 0; i < 2000; i++) {
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
	for (long i = 0; i < 20; i++) child(scribble_one, i);
	puts("scribbled");
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
	if (!strcmp(what, "entries")) return entries();
	return 2;
}
