// eventfd and timerfd.
#include "case.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

CASE(eventfd_counts) {
	int fd = OK(eventfd(3, 0));
	uint64_t v = 4;
	EQ(write(fd, &v, 8), 8);
	EQ(read(fd, &v, 8), 8);
	EQ(v, 7);
	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	ERR(read(fd, &v, 8), EAGAIN);
}

CASE(eventfd_semaphore) {
	int fd = OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	uint64_t v;
	EQ(read(fd, &v, 8), 8);
	EQ(v, 1);
	EQ(read(fd, &v, 8), 8);
	ERR(read(fd, &v, 8), EAGAIN);
}

CASE(eventfd_errors) {
	int fd = OK(eventfd(0, EFD_NONBLOCK));
	uint64_t v = UINT64_MAX;
	ERR(write(fd, &v, 8), EINVAL);
	ERR(write(fd, &v, 4), EINVAL);
	ERR(read(fd, &v, 4), EINVAL);
	ERR(eventfd(0, 0x10), EINVAL);
	v = UINT64_MAX - 1;
	EQ(write(fd, &v, 8), 8);
	CHECK(!ready(fd, POLLOUT, 0));
	v = 1;
	ERR(write(fd, &v, 8), EAGAIN);
	EQ(read(fd, &v, 8), 8);
	EQ(v, UINT64_MAX - 1);
}

CASE(eventfd_polls) {
	int fd = OK(eventfd(0, 0));
	struct pollfd p = {fd, POLLIN | POLLOUT, 0};
	EQ(poll(&p, 1, 0), 1);
	EQ(p.revents, POLLOUT);
	uint64_t v = 1;
	writen(fd, &v, 8);
	EQ(poll(&p, 1, 0), 1);
	EQ(p.revents, POLLIN | POLLOUT);
}

CASE(eventfd_blocks_and_wakes) {
	int fd = OK(eventfd(0, 0));
	CHILD(c) {
		uint64_t v;
		EQ(read(fd, &v, 8), 8);
		EQ(v, 5);
	}
	settle(c);
	uint64_t v = 5;
	writen(fd, &v, 8);
	JOIN(c);
}

static int timer(int clock, int flags, long first_ms, long every_ms) {
	int fd = OK(timerfd_create(clock, flags));
	struct itimerspec s = {{every_ms / 1000, every_ms % 1000 * 1000000}, {first_ms / 1000, first_ms % 1000 * 1000000}};
	OK(timerfd_settime(fd, 0, &s, NULL));
	return fd;
}

CASE(timerfd_fires_once) {
	long long t = now_ms();
	int fd = timer(CLOCK_MONOTONIC, 0, 40, 0);
	CHECK(!ready(fd, POLLIN, 0));
	uint64_t v;
	EQ(read(fd, &v, 8), 8);
	EQ(v, 1);
	CHECK(now_ms() - t >= 39);
	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	ERR(read(fd, &v, 8), EAGAIN);
}

CASE(timerfd_periodic_counts) {
	int fd = timer(CLOCK_MONOTONIC, TFD_NONBLOCK, 10, 10);
	sleep_ms(65);
	uint64_t v;
	EQ(read(fd, &v, 8), 8);
	CHECK(v >= 6 && v < 2000);
	CHECK(ready(fd, POLLIN, 5000));
}

CASE(timerfd_gettime_and_disarm) {
	int fd = timer(CLOCK_MONOTONIC, TFD_CLOEXEC, 100000, 5000);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	struct itimerspec s, old, zero = {};
	OK(timerfd_gettime(fd, &s));
	CHECK(s.it_value.tv_sec >= 90 && s.it_value.tv_sec < 100);
	EQ(s.it_interval.tv_sec, 5);
	OK(timerfd_settime(fd, 0, &zero, &old));
	CHECK(old.it_value.tv_sec >= 90);
	OK(timerfd_gettime(fd, &s));
	EQ(s.it_value.tv_sec, 0);
	EQ(s.it_value.tv_nsec, 0);
}

CASE(timerfd_absolute) {
	struct timespec now;
	OK(clock_gettime(CLOCK_REALTIME, &now));
	int fd = OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	struct itimerspec s = {.it_value = {now.tv_sec - 5, 0}};
	OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL));
	CHECK(ready(fd, POLLIN, 5000));
	OK(clock_gettime(CLOCK_REALTIME, &now));
	s.it_value = (struct timespec){now.tv_sec + 1000, 0};
	OK(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &s, NULL));
	uint64_t v;
	ERR(read(fd, &v, 8), EAGAIN);
	OK(timerfd_gettime(fd, &s));
	CHECK(s.it_value.tv_sec >= 900 && s.it_value.tv_sec <= 1000);
}

CASE(timerfd_errors) {
	ERR(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
	ERR(timerfd_create(99, 0), EINVAL);
	ERR(timerfd_create(CLOCK_MONOTONIC, 0x10), EINVAL);
	int fd = OK(timerfd_create(CLOCK_BOOTTIME, 0));
	struct itimerspec s = {.it_value = {0, 1000000000}};
	ERR(timerfd_settime(fd, 0, &s, NULL), EINVAL);
	s.it_value.tv_nsec = 1;
	ERR(timerfd_settime(fd, 0x10, &s, NULL), EINVAL);
	ERR(timerfd_settime(0, 0, &s, NULL), EINVAL);
	ERR(timerfd_settime(99, 0, &s, NULL), EBADF);
	ERR(timerfd_settime(fd, 0, (void *)8, NULL), EFAULT);
	uint64_t v;
	ERR(read(fd, &v, 4), EINVAL);
	ERR(write(fd, &v, 8), EINVAL);
}

CASE(timerfd_in_epoll) {
	int fd = timer(CLOCK_MONOTONIC, 0, 30, 0), ep = OK(epoll_create1(0));
	struct epoll_event e = {.events = EPOLLIN};
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
}

CASE(timerfd_shared_by_fork) {
	int fd = timer(CLOCK_MONOTONIC, 0, 30, 0);
	CHILD(c) {
		uint64_t v;
		EQ(read(fd, &v, 8), 8);
	}
	JOIN(c);
	CHECK(!ready(fd, POLLIN, 0));
}

CASE(timerfd_rearm_clears) {
	int fd = timer(CLOCK_MONOTONIC, TFD_NONBLOCK, 1, 0);
	CHECK(ready(fd, POLLIN, 5000));
	struct itimerspec s = {.it_value = {100, 0}};
	OK(timerfd_settime(fd, 0, &s, NULL));
	uint64_t v;
	ERR(read(fd, &v, 8), EAGAIN);
}
