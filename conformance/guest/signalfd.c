// signalfd: reading signals from a descriptor.
#include "case.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>

static int make(int flags) {
	sigset_t s = sigs(SIGUSR1, SIGUSR2, SIGRTMIN, SIGCHLD, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	return OK(signalfd(-1, &s, flags));
}

CASE(reads_a_signal) {
	int fd = make(0);
	EQ(fcntl(fd, F_GETFD), 0);
	OK(kill(getpid(), SIGUSR1));
	struct signalfd_siginfo si;
	EQ(sizeof si, 128);
	EQ(read(fd, &si, sizeof si), 128);
	EQ(si.ssi_signo, SIGUSR1);
	EQ(si.ssi_code, SI_USER);
	EQ(si.ssi_pid, getpid());
	EQ(si.ssi_uid, getuid());
	sigset_t p;
	OK(sigpending(&p));
	EQ(sigismember(&p, SIGUSR1), 0);
}

CASE(flags) {
	int fd = make(SFD_CLOEXEC | SFD_NONBLOCK);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	struct signalfd_siginfo si;
	ERR(read(fd, &si, sizeof si), EAGAIN);
	ERR(read(fd, &si, 127), EINVAL);
	sigset_t s = sigs(SIGUSR1, 0);
	ERR(signalfd(-1, &s, 0x1), EINVAL);
	ERR(signalfd(0, &s, 0), EINVAL);
	ERR(signalfd(99, &s, 0), EBADF);
	ERR(write(fd, &si, sizeof si), EINVAL);
}

CASE(several_in_one_read) {
	int fd = make(0);
	for (int i = 0; i < 3; i++) OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i + 10}));
	OK(kill(getpid(), SIGUSR2));
	struct signalfd_siginfo si[8];
	EQ(read(fd, si, sizeof si), 4 * 128);
	EQ(si[0].ssi_signo, SIGUSR2);
	for (int i = 0; i < 3; i++) {
		EQ(si[i + 1].ssi_signo, SIGRTMIN);
		EQ(si[i + 1].ssi_int, i + 10);
		EQ(si[i + 1].ssi_code, SI_QUEUE);
	}
}

CASE(polls) {
	int fd = make(0);
	CHECK(!ready(fd, POLLIN, 0));
	OK(raise(SIGUSR1));
	CHECK(ready(fd, POLLIN, 0));
	struct signalfd_siginfo si;
	EQ(read(fd, &si, sizeof si), 128);
	CHECK(!ready(fd, POLLIN, 0));
}

CASE(blocking_read_wakes) {
	int fd = make(0);
	pid_t me = getpid();
	CHILD(p) {
		settle(me);
		kill(me, SIGUSR2);
	}
	struct signalfd_siginfo si;
	EQ(read(fd, &si, sizeof si), 128);
	if (si.ssi_signo == SIGCHLD) EQ(read(fd, &si, sizeof si), 128);
	EQ(si.ssi_signo, SIGUSR2);
	EQ(si.ssi_pid, p);
	JOIN(p);
}

CASE(poll_wakes) {
	int fd = make(0);
	pid_t me = getpid();
	CHILD(p) {
		settle(me);
		kill(me, SIGUSR2);
	}
	CHECK(ready(fd, POLLIN, 10000));
	JOIN(p);
}

CASE(child_exit_is_described) {
	int fd = make(0);
	CHILD(p) { _exit(44); }
	struct signalfd_siginfo si;
	EQ(read(fd, &si, sizeof si), 128);
	EQ(si.ssi_signo, SIGCHLD);
	EQ(si.ssi_code, CLD_EXITED);
	EQ(si.ssi_pid, p);
	EQ(si.ssi_status, 44);
	EXITS(p, 44);
}

CASE(mask_can_be_changed) {
	int fd = make(SFD_NONBLOCK);
	sigset_t s = sigs(SIGUSR2, 0);
	EQ(signalfd(fd, &s, 0), fd);
	OK(raise(SIGUSR1));
	struct signalfd_siginfo si;
	ERR(read(fd, &si, sizeof si), EAGAIN);
	OK(raise(SIGUSR2));
	EQ(read(fd, &si, sizeof si), 128);
	EQ(si.ssi_signo, SIGUSR2);
}

CASE(epoll_on_signalfd) {
	int fd = make(0), ep = OK(epoll_create1(0));
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 77}, got;
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	EQ(epoll_wait(ep, &got, 1, 0), 0);
	OK(kill(getpid(), SIGUSR1));
	EQ(epoll_wait(ep, &got, 1, 5000), 1);
	EQ(got.data.u64, 77);
}

CASE(kill_and_stop_are_left_out) {
	sigset_t s = sigs(SIGKILL, SIGSTOP, 0);
	int fd = OK(signalfd(-1, &s, 0));
	char path[64];
	sprintf(path, "/proc/self/fdinfo/%d", fd);
	char *t = slurp(path);
	CHECK(strstr(t, "sigmask:\t0000000000000000"));
}

CASE(belongs_to_the_reader) {
	int fd = make(SFD_NONBLOCK);
	CHILD(p) {
		struct signalfd_siginfo si;
		OK(raise(SIGUSR1));
		EQ(read(fd, &si, sizeof si), 128);
		EQ(si.ssi_pid, getpid());
	}
	JOIN(p);
	struct signalfd_siginfo si;
	EQ(read(fd, &si, sizeof si), 128);
	EQ(si.ssi_signo, SIGCHLD);
	ERR(read(fd, &si, sizeof si), EAGAIN);
}
