// pidfds: open, poll, send signals, wait, getfd.
#include "case.h"
#include <sys/epoll.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
static int pidfd(pid_t p, unsigned flags) { return syscall(SYS_pidfd_open, p, flags); }
static int sendsig(int fd, int sig, siginfo_t *si) { return syscall(SYS_pidfd_send_signal, fd, sig, si, 0); }
static pid_t sleeper(void) {
	pid_t p = OK(fork());
	if (p == 0)
		for (;;) pause();
	return p;
}

CASE(open_and_flags) {
	int fd = OK(pidfd(getpid(), 0));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	int n = OK(pidfd(getpid(), O_NONBLOCK));
	CHECK(fcntl(n, F_GETFL) & O_NONBLOCK);
	ERR(pidfd(99999999, 0), ESRCH);
	ERR(pidfd(0, 0), EINVAL);
	ERR(pidfd(-1, 0), EINVAL);
	ERR(pidfd(getpid(), 0x2), EINVAL);
}

CASE(polls_at_exit) {
	pid_t p = sleeper();
	int fd = OK(pidfd(p, 0));
	CHECK(!ready(fd, POLLIN, 30));
	OK(kill(p, SIGKILL));
	CHECK(ready(fd, POLLIN, 10000));
	KILLED(p, SIGKILL);
	CHECK(ready(fd, POLLIN, 0));
}

CASE(epoll_at_exit) {
	pid_t p = sleeper();
	int fd = OK(pidfd(p, 0)), ep = OK(epoll_create1(0));
	struct epoll_event e = {.events = EPOLLIN};
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	OK(kill(p, SIGTERM));
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	KILLED(p, SIGTERM);
}

CASE(send_signal) {
	pid_t p = sleeper();
	int fd = OK(pidfd(p, 0));
	OK(sendsig(fd, 0, NULL));
	ERR(sendsig(fd, 99, NULL), EINVAL);
	ERR(sendsig(0, 0, NULL), EBADF);
	OK(sendsig(fd, SIGTERM, NULL));
	KILLED(p, SIGTERM);
	ERR(sendsig(fd, 0, NULL), ESRCH);
}

CASE(send_signal_with_info) {
	static volatile int got;
	void h(int s, siginfo_t *si, void *c) { got = si->si_value.sival_int; }
	on_siginfo(SIGUSR1, h, 0);
	int fd = OK(pidfd(getpid(), 0));
	siginfo_t si = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
	si.si_value.sival_int = 9;
	OK(sendsig(fd, SIGUSR1, &si));
	EQ(got, 9);
	ERR(sendsig(fd, SIGUSR2, &si), EINVAL);
}

CASE(waitid_by_pidfd) {
	pid_t p = OK(fork());
	if (p == 0) _exit(5);
	int fd = OK(pidfd(p, 0));
	siginfo_t si;
	OK(waitid(P_PIDFD, fd, &si, WEXITED));
	EQ(si.si_pid, p);
	EQ(si.si_status, 5);
	ERR(waitid(P_PIDFD, fd, &si, WEXITED), ECHILD);
	ERR(waitid(P_PIDFD, 0, &si, WEXITED), EBADF);
	pid_t q = sleeper();
	int n = OK(pidfd(q, O_NONBLOCK));
	ERR(waitid(P_PIDFD, n, &si, WEXITED), EAGAIN);
	OK(kill(q, SIGKILL));
	KILLED(q, SIGKILL);
}

CASE(getfd_copies) {
	int fds[2];
	OK(pipe(fds));
	int sync[2];
	OK(pipe(sync));
	pid_t p = OK(fork());
	if (p == 0) {
		OK(dup2(fds[1], 50));
		writen(sync[1], "x", 1);
		for (;;) pause();
	}
	char c;
	readn(sync[0], &c, 1);
	int fd = OK(pidfd(p, 0)), g = OK(syscall(SYS_pidfd_getfd, fd, 50, 0));
	EQ(fcntl(g, F_GETFD), FD_CLOEXEC);
	writen(g, "via", 3);
	char b[4] = "";
	readn(fds[0], b, 3);
	STR(b, "via");
	ERR(syscall(SYS_pidfd_getfd, fd, 77, 0), EBADF);
	ERR(syscall(SYS_pidfd_getfd, fd, 50, 1), EINVAL);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(fdinfo_names_the_pid) {
	int fd = OK(pidfd(getpid(), 0));
	char path[50], want[50];
	sprintf(path, "/proc/self/fdinfo/%d", fd);
	sprintf(want, "Pid:\t%d\n", getpid());
	CHECK(strstr(slurp(path), want));
}

CASE(not_readable) {
	int fd = OK(pidfd(getpid(), 0));
	char c;
	ERR(read(fd, &c, 1), EINVAL);
}

CASE(of_reaped_zombie) {
	pid_t p = OK(fork());
	if (p == 0) _exit(0);
	siginfo_t si;
	OK(waitid(P_PID, p, &si, WEXITED | WNOWAIT));
	int fd = OK(pidfd(p, 0));
	CHECK(ready(fd, POLLIN, 0));
	JOIN(p);
	ERR(pidfd(p, 0), ESRCH);
}

struct slot { uint32_t efd, tfd, toff; };
static long kcmp(pid_t a, pid_t b, int type, unsigned long i, unsigned long j) { return syscall(SYS_kcmp, a, b, type, i, j); }

CASE(kcmp_files) {
	pid_t me = getpid();
	int fd = OK(open("f", O_CREAT | O_RDWR, 0600)), same = OK(dup(fd)), other = OK(open("f", O_RDONLY));
	EQ(kcmp(me, me, 0, fd, same), 0);
	long r = OK(kcmp(me, me, 0, fd, other));
	CHECK(r == 1 || r == 2);
	EQ(kcmp(me, me, 0, other, fd), 3 - r);
	ERR(kcmp(me, me, 0, fd, 999), EBADF);
	ERR(kcmp(me, 99999999, 0, fd, fd), ESRCH);
	ERR(kcmp(me, me, 99, 0, 0), EINVAL);
	pid_t p = sleeper();
	EQ(kcmp(me, p, 0, fd, same), 0);
	CHECK(OK(kcmp(me, p, 1, 0, 0)) != 0); // KCMP_VM
	CHECK(OK(kcmp(me, p, 2, 0, 0)) != 0); // KCMP_FILES
	EQ(kcmp(p, p, 1, 0, 0), 0);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(kcmp_epoll) {
	pid_t me = getpid();
	int a[2], b[2], ep = OK(epoll_create1(0));
	OK(pipe(a));
	OK(pipe(b));
	struct epoll_event e = {.events = EPOLLIN};
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, a[0], &e));
	struct slot s = {ep, a[0], 0};
	EQ(kcmp(me, me, 7, a[0], (unsigned long)&s), 0);
	CHECK(OK(kcmp(me, me, 7, b[0], (unsigned long)&s)) != 0);
	s.toff = 1;
	ERR(kcmp(me, me, 7, a[0], (unsigned long)&s), ENOENT);
	s = (struct slot){ep, b[0], 0};
	ERR(kcmp(me, me, 7, a[0], (unsigned long)&s), ENOENT);
	ERR(kcmp(me, me, 7, 999, (unsigned long)&s), EBADF);
	s.efd = 999;
	ERR(kcmp(me, me, 7, a[0], (unsigned long)&s), EBADF);
	s.efd = a[0];
	ERR(kcmp(me, me, 7, a[0], (unsigned long)&s), EINVAL);
	ERR(kcmp(me, me, 7, a[0], 8), EFAULT);
	// The same number twice: what it led to before goes on being watched.
	int old = OK(dup(a[0]));
	OK(dup2(b[0], a[0]));
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, a[0], &e));
	int hits[2] = {0, 0};
	for (unsigned i = 0; i < 2; i++) {
		s = (struct slot){ep, a[0], i};
		hits[0] += OK(kcmp(me, me, 7, old, (unsigned long)&s)) == 0;
		hits[1] += OK(kcmp(me, me, 7, b[0], (unsigned long)&s)) == 0;
	}
	EQ(hits[0], 1);
	EQ(hits[1], 1);
}
