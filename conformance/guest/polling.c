// poll, ppoll, select, pselect and epoll.
#include "case.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>

static int p[2];
static void mk(void) { OK(pipe(p)); }
static int add(int ep, int fd, uint32_t ev, uint64_t data) {
	struct epoll_event e = {.events = ev, .data.u64 = data};
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

CASE(poll_timeout_and_zero) {
	mk();
	struct pollfd f = {p[0], POLLIN, 7};
	long long t = now_ms();
	EQ(poll(&f, 1, 60), 0);
	CHECK(now_ms() - t >= 59);
	EQ(f.revents, 0);
	EQ(poll(NULL, 0, 1), 0);
}

CASE(poll_bad_and_ignored_descriptors) {
	struct pollfd f[3] = {{99, POLLIN, 0}, {-1, POLLIN, 5}, {0, 0, 0}};
	EQ(poll(f, 2, -1), 1);
	EQ(f[0].revents, POLLNVAL);
	EQ(f[1].revents, 0);
	ERR(poll((void *)8, 1, 0), EFAULT);
	struct rlimit r;
	OK(getrlimit(RLIMIT_NOFILE, &r));
	ERR(poll(f, r.rlim_cur + 1, 0), EINVAL);
}

CASE(poll_regular_file_is_always_ready) {
	spew("f", "");
	int fd = OK(open("f", O_RDWR));
	struct pollfd f = {fd, POLLIN | POLLOUT | POLLPRI, 0};
	EQ(poll(&f, 1, -1), 1);
	EQ(f.revents, POLLIN | POLLOUT);
}

CASE(poll_wakes_on_data) {
	mk();
	CHILD(c) {
		settle(getppid());
		writen(p[1], "x", 1);
	}
	struct pollfd f = {p[0], POLLIN, 0};
	EQ(poll(&f, 1, -1), 1);
	JOIN(c);
}

CASE(poll_same_descriptor_twice) {
	mk();
	writen(p[1], "x", 1);
	struct pollfd f[2] = {{p[0], POLLIN, 0}, {p[0], POLLIN | POLLRDNORM, 0}};
	EQ(poll(f, 2, 0), 2);
	EQ(f[1].revents, POLLIN | POLLRDNORM);
}

CASE(ppoll_mask) {
	static volatile int n;
	void h(int s) { n++; }
	on_signal(SIGUSR1, h, 0);
	sigset_t s = sigs(SIGUSR1, 0), none;
	sigemptyset(&none);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	struct timespec t = {5, 0};
	EQ(n, 0);
	ERR(ppoll(NULL, 0, &t, &none), EINTR);
	EQ(n, 1);
	sigset_t m;
	OK(sigprocmask(SIG_BLOCK, NULL, &m));
	EQ(sigismember(&m, SIGUSR1), 1);
	t = (struct timespec){0, 1000000000};
	ERR(ppoll(NULL, 0, &t, NULL), EINVAL);
	t = (struct timespec){-1, 0};
	ERR(ppoll(NULL, 0, &t, NULL), EINVAL);
}

CASE(select_sets) {
	mk();
	fd_set r, w, e;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	FD_SET(p[0], &e);
	struct timeval t = {5, 0};
	EQ(select(p[1] + 1, &r, &w, &e, &t), 1);
	EQ(FD_ISSET(p[0], &r), 0);
	CHECK(FD_ISSET(p[1], &w));
	EQ(FD_ISSET(p[0], &e), 0);
	writen(p[1], "x", 1);
	FD_SET(p[0], &r);
	EQ(select(p[1] + 1, &r, &w, NULL, &t), 2);
	CHECK(FD_ISSET(p[0], &r));
}

CASE(select_timeout_counts_down) {
	mk();
	fd_set r;
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	struct timeval t = {0, 50000};
	EQ(select(p[0] + 1, &r, NULL, NULL, &t), 0);
	EQ(t.tv_sec * 1000000 + t.tv_usec, 0);
	EQ(FD_ISSET(p[0], &r), 0);
	t = (struct timeval){100, 0};
	writen(p[1], "x", 1);
	FD_SET(p[0], &r);
	EQ(select(p[0] + 1, &r, NULL, NULL, &t), 1);
	CHECK(t.tv_sec >= 90 && t.tv_sec < 100);
}

CASE(select_errors) {
	fd_set r;
	FD_ZERO(&r);
	FD_SET(50, &r);
	struct timeval t = {0, 0};
	ERR(select(51, &r, NULL, NULL, &t), EBADF);
	ERR(select(-1, NULL, NULL, NULL, &t), EINVAL);
	t.tv_sec = -1;
	ERR(select(0, NULL, NULL, NULL, &t), EINVAL);
	t = (struct timeval){0, 1000};
	EQ(select(0, NULL, NULL, NULL, &t), 0);
}

CASE(pselect_mask_and_unchanged_timeout) {
	struct timespec t = {0, 20000000};
	EQ(pselect(0, NULL, NULL, NULL, &t, NULL), 0);
	EQ(t.tv_nsec, 20000000);
	on_signal(SIGUSR1, nothing, SA_RESTART);
	sigset_t s = sigs(SIGUSR1, 0), none;
	sigemptyset(&none);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	t.tv_sec = 5;
	ERR(pselect(0, NULL, NULL, NULL, &t, &none), EINTR);
}

CASE(epoll_level) {
	mk();
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));
	EQ(fcntl(ep, F_GETFD), FD_CLOEXEC);
	OK(add(ep, p[0], EPOLLIN, 0x123456789abcdef));
	struct epoll_event e[4];
	EQ(epoll_wait(ep, e, 4, 0), 0);
	writen(p[1], "xy", 2);
	for (int i = 0; i < 3; i++) {
		EQ(epoll_wait(ep, e, 4, 1000), 1);
		EQ(e[0].events, EPOLLIN);
		EQ(e[0].data.u64, 0x123456789abcdef);
	}
	char b[2];
	readn(p[0], b, 2);
	EQ(epoll_wait(ep, e, 4, 0), 0);
	close(p[1]);
	EQ(epoll_wait(ep, e, 4, 0), 1);
	EQ(e[0].events, EPOLLHUP);
}

CASE(epoll_edge) {
	mk();
	int ep = OK(epoll_create1(0));
	OK(add(ep, p[0], EPOLLIN | EPOLLET, 1));
	struct epoll_event e;
	writen(p[1], "x", 1);
	EQ(epoll_wait(ep, &e, 1, 1000), 1);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	writen(p[1], "y", 1);
	EQ(epoll_wait(ep, &e, 1, 1000), 1); // new data, new edge
	EQ(epoll_wait(ep, &e, 1, 0), 0);
}

CASE(epoll_oneshot) {
	mk();
	int ep = OK(epoll_create1(0));
	OK(add(ep, p[0], EPOLLIN | EPOLLONESHOT, 1));
	struct epoll_event e;
	writen(p[1], "x", 1);
	EQ(epoll_wait(ep, &e, 1, 1000), 1);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	e.events = EPOLLIN | EPOLLONESHOT;
	e.data.u64 = 9;
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	EQ(epoll_wait(ep, &e, 1, 1000), 1);
	EQ(e.data.u64, 9);
}

CASE(epoll_ctl_errors) {
	mk();
	int ep = OK(epoll_create1(0));
	struct epoll_event e = {.events = EPOLLIN};
	ERR(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e), ENOENT);
	ERR(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), ENOENT);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), EEXIST);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, 99, &e), EBADF);
	ERR(epoll_ctl(99, EPOLL_CTL_ADD, p[0], &e), EBADF);
	ERR(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e), EINVAL);
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e), EINVAL);
	ERR(epoll_ctl(ep, 9, p[0], &e), EINVAL);
	spew("f", "");
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, OK(open("f", O_RDONLY)), &e), EPERM);
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], (void *)8), EFAULT);
	ERR(epoll_wait(ep, &e, 0, 0), EINVAL);
	ERR(epoll_wait(ep, &e, -1, 0), EINVAL);
	ERR(epoll_wait(p[0], &e, 1, 0), EINVAL);
	ERR(epoll_wait(99, &e, 1, 0), EBADF);
	ERR(epoll_create(0), EINVAL);
	ERR(epoll_create1(1), EINVAL);
}

CASE(epoll_closed_descriptor_leaves) {
	mk();
	int ep = OK(epoll_create1(0)), q = OK(dup(p[0]));
	OK(add(ep, p[0], EPOLLIN, 5));
	writen(p[1], "x", 1);
	OK(close(p[0]));
	struct epoll_event e;
	EQ(epoll_wait(ep, &e, 1, 0), 1); // the description lives by its duplicate
	OK(close(q));
	EQ(epoll_wait(ep, &e, 1, 0), 0);
}

CASE(epoll_many_are_fair) {
	int ep = OK(epoll_create1(0)), fd[20], seen[20] = {};
	for (int i = 0; i < 20; i++) {
		fd[i] = OK(eventfd(1, 0));
		OK(add(ep, fd[i], EPOLLIN, i));
	}
	for (int k = 0; k < 10; k++) {
		struct epoll_event e[4];
		int n = OK(epoll_wait(ep, e, 4, 0));
		EQ(n, 4);
		for (int i = 0; i < n; i++) seen[e[i].data.u64]++;
	}
	for (int i = 0; i < 20; i++) CHECK(seen[i] >= 1);
}

CASE(epoll_nested) {
	mk();
	int in = OK(epoll_create1(0)), out = OK(epoll_create1(0));
	OK(add(in, p[0], EPOLLIN, 1));
	OK(add(out, in, EPOLLIN, 2));
	struct epoll_event e;
	EQ(epoll_wait(out, &e, 1, 0), 0);
	writen(p[1], "x", 1);
	EQ(epoll_wait(out, &e, 1, 1000), 1);
	EQ(e.data.u64, 2);
	CHECK(ready(in, POLLIN, 0));
	ERR(add(in, out, EPOLLIN, 3), ELOOP);
}

CASE(epoll_wakes_waiter_from_other_thread) {
	static int ep, ev;
	ep = OK(epoll_create1(0));
	ev = OK(eventfd(0, 0));
	void *body(void *a) {
		sleep_ms(30);
		add(ep, ev, EPOLLIN, 3); // added while someone waits
		sleep_ms(30);
		uint64_t one = 1;
		writen(ev, &one, 8);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	struct epoll_event e;
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	EQ(e.data.u64, 3);
	PT(pthread_join(t, NULL));
}

CASE(epoll_out_and_hup_on_socket) {
	int s[2], ep = OK(epoll_create1(0));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(add(ep, s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1));
	struct epoll_event e;
	EQ(epoll_wait(ep, &e, 1, 0), 1);
	EQ(e.events, EPOLLOUT);
	OK(shutdown(s[1], SHUT_WR));
	EQ(epoll_wait(ep, &e, 1, 0), 1);
	EQ(e.events, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	close(s[1]);
	EQ(epoll_wait(ep, &e, 1, 0), 1);
	EQ(e.events & (EPOLLHUP | EPOLLIN), EPOLLHUP | EPOLLIN);
}

CASE(epoll_pwait_mask) {
	int ep = OK(epoll_create1(0));
	struct epoll_event e;
	on_signal(SIGUSR1, nothing, SA_RESTART);
	sigset_t s = sigs(SIGUSR1, 0), none;
	sigemptyset(&none);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	OK(raise(SIGUSR1));
	EQ(epoll_wait(ep, &e, 1, 10), 0);
	ERR(epoll_pwait(ep, &e, 1, 5000, &none), EINTR);
	struct timespec t = {0, 5000000};
	EQ(syscall(SYS_epoll_pwait2, ep, &e, 1, &t, NULL, 8), 0);
	t.tv_nsec = -1;
	ERR(syscall(SYS_epoll_pwait2, ep, &e, 1, &t, NULL, 8), EINVAL);
}

CASE(epoll_exclusive_rules) {
	mk();
	int ep = OK(epoll_create1(0));
	OK(add(ep, p[0], EPOLLIN | EPOLLEXCLUSIVE, 1));
	struct epoll_event e = {.events = EPOLLIN};
	ERR(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e), EINVAL);
	ERR(add(ep, p[1], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1), EINVAL);
}

CASE(epoll_inherited_by_fork) {
	mk();
	int ep = OK(epoll_create1(0));
	OK(add(ep, p[0], EPOLLIN, 4));
	CHILD(c) {
		struct epoll_event e;
		EQ(epoll_wait(ep, &e, 1, 10000), 1);
		EQ(e.data.u64, 4);
	}
	writen(p[1], "x", 1);
	JOIN(c);
}
