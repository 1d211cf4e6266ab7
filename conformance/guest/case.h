// case.h: what a guest program is written with.
//
//   CASE(name) { int fd = OK(open("f", O_RDONLY)); EQ(read(fd, b, 1), 1); }
//
// Each case runs in a process of its own: a session leader without a terminal, in an empty directory, with every
// signal at its default, umask 022 and only descriptors 0, 1 and 2 open. A failed check prints where and ends the
// process (also from a thread or a forked child); README.md tells the rest.
#ifndef CASE_H
#define CASE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef void (*case_fn)(void);
typedef int (*helper_fn)(int argc, char **argv);

void case_register(const char *name, case_fn fn);
void helper_register(const char *name, helper_fn fn);
_Noreturn void case_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void case_skip(const char *why);

// CASE(name) { body }: registers and defines one case.
#define CASE(n)                                                                          \
	static void case_##n(void);                                                      \
	__attribute__((constructor)) static void reg_##n(void) { case_register(#n, case_##n); } \
	static void case_##n(void)

// HELPER(name) { body }: what `prog --helper name args…` runs; its return value is the exit status. argv[0] is the first arg.
#define HELPER(n)                                                                          \
	static int helper_##n(int argc, char **argv);                                      \
	__attribute__((constructor)) static void hreg_##n(void) { helper_register(#n, helper_##n); } \
	static int helper_##n(__attribute__((unused)) int argc, __attribute__((unused)) char **argv)

#define CHECK(e) \
	do { if (!(e)) case_fail(__FILE__, __LINE__, "%s", #e); } while (0)

// EQ(a, b): a == b as integers; prints both when not.
#define EQ(a, b)                                                                                   \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_) case_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #a, a_, #b, b_); \
	} while (0)

// OK(call): the call's value, which must not be -1.
#define OK(e)                                                                       \
	({                                                                          \
		errno = 0;                                                          \
		__typeof__(e) r_ = (e);                                             \
		if ((long)r_ == -1) case_fail(__FILE__, __LINE__, "%s failed", #e); \
		r_;                                                                 \
	})

// ERR(call, E): the call must return -1 with errno E.
#define ERR(e, want)                                                                                              \
	do {                                                                                                      \
		errno = 0;                                                                                        \
		long r_ = (long)(e);                                                                              \
		int w_ = (want), e_ = errno;                                                                      \
		if (r_ != -1) case_fail(__FILE__, __LINE__, "%s returned %ld, not error %s (%d)", #e, r_, #want, w_); \
		errno = e_;                                                                                       \
		if (e_ != w_) case_fail(__FILE__, __LINE__, "%s: error is not %s (%d)", #e, #want, w_);           \
	} while (0)

// STR(a, b): equal strings. MEM(a, b, n): equal bytes.
#define STR(a, b)                                                                                            \
	do {                                                                                                 \
		const char *a_ = (a), *b_ = (b);                                                             \
		if (strcmp(a_, b_)) case_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, a_, b_);   \
	} while (0)
#define MEM(a, b, n) \
	do { if (memcmp(a, b, n)) case_fail(__FILE__, __LINE__, "bytes of %s differ from %s", #a, #b); } while (0)

// PT(call): a pthread or posix_ function that returns its error.
#define PT(e)                                                                          \
	do {                                                                           \
		int r_ = (e);                                                          \
		errno = r_;                                                            \
		if (r_) case_fail(__FILE__, __LINE__, "%s returned %d", #e, r_);       \
	} while (0)

#define SKIP(why) case_skip(why)

// CHILD(p) { body }: forks; the child runs body and exits 0. No `break` at the body's top level.
#define CHILD(p)                 \
	pid_t p = OK(fork());    \
	if (p == 0)              \
		for (;; _exit(0))

// How a child ends. EXITS(p, n): exits with n. KILLED(p, sig): by a signal. JOIN(p): exits with 0.
#define EXITS(p, n)                                                                                              \
	do {                                                                                                     \
		pid_t p_ = (p);                                                                                  \
		int st_ = 0, n_ = (int)(n);                                                                      \
		EQ(waitpid(p_, &st_, 0), p_);                                                                    \
		if (!WIFEXITED(st_) || WEXITSTATUS(st_) != n_)                                                   \
			case_fail(__FILE__, __LINE__, "%s ended with status 0x%x, not exit %d", #p, st_, n_);    \
	} while (0)
#define JOIN(p) EXITS(p, 0)
#define KILLED(p, sig)                                                                                          \
	do {                                                                                                    \
		pid_t p_ = (p);                                                                                 \
		int st_ = 0;                                                                                    \
		EQ(waitpid(p_, &st_, 0), p_);                                                                   \
		if (!WIFSIGNALED(st_) || WTERMSIG(st_) != (sig))                                                \
			case_fail(__FILE__, __LINE__, "%s ended with status 0x%x, not %s", #p, st_, #sig);      \
	} while (0)

// EVENTUALLY(cond): cond becomes true within ten seconds.
#define EVENTUALLY(c)                                                                            \
	do {                                                                                     \
		long long end_ = now_ms() + 10000;                                               \
		while (!(c)) {                                                                   \
			if (now_ms() > end_) case_fail(__FILE__, __LINE__, "never came: %s", #c); \
			sleep_ms(1);                                                             \
		}                                                                                \
	} while (0)

#define LEN(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define PAGE 4096

extern char case_self[PATH_MAX]; // this program, absolute

long long now_ms(void); // CLOCK_MONOTONIC
void sleep_ms(int ms);
char proc_state(pid_t pid);               // the letter in /proc/PID/stat; 0 when there is none
void settle(pid_t pid);                   // waits until pid (a thread id too) sleeps, for at most 2 s
bool has_cap(int cap);                    // in the effective set
void need_cap(int cap, const char *name); // skips the case without it
int spew(const char *path, const char *text);     // makes or truncates a file with this content, mode 0644
char *slurp(const char *path);                    // its content, freshly allocated, 0-terminated
char *slurpn(const char *path, size_t *len);
void on_signal(int sig, void (*h)(int), int flags);
void on_siginfo(int sig, void (*h)(int, siginfo_t *, void *), int flags);
void nothing(int sig); // a handler that does nothing
void readn(int fd, void *buf, size_t n);          // exactly n bytes, or the case fails
void writen(int fd, const void *buf, size_t n);
bool ready(int fd, short events, int ms);         // poll: some of events within ms
void *anon(size_t len);                           // private zeroed pages
void until(atomic_int *w, int v);                 // yields, then sleeps, until *w is v
void *shared(size_t len);                         // shared zeroed pages
void helper(const char *name, ...) __attribute__((sentinel)); // execs this program's helper; fails the case if it returns
sigset_t sigs(int sig, ...);                      // sigs(SIGUSR1, SIGUSR2, 0)
int nfds(void);                                   // open descriptors of this process
bool readable(const void *p);                     // whether a byte may be read there (asked through a pipe, no fault)
#endif
