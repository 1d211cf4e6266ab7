// Small writes to a pipe in a row, by one thread: what a kernel may do faster, and must not do differently.
#include "case.h"
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

// row writes n bytes one by one: a, b, c ….
static void row(int fd, int n) {
	for (int i = 0; i < n; i++) {
		char c = 'a' + i % 26;
		EQ(write(fd, &c, 1), 1);
	}
}

static void took(int fd, int n) {
	char b[512];
	readn(fd, b, n);
	for (int i = 0; i < n; i++)
		EQ(b[i], 'a' + i % 26);
}

CASE(seen_by_others_at_once) {
	int p[2];
	atomic_int *w = shared(4096);
	OK(pipe2(p, O_NONBLOCK));
	CHILD(c) {
		for (int i = 1; i <= 600; i++) {
			char x;
			int n = -1;
			until(w, i);
			struct pollfd f = {p[0], POLLIN, 0};
			if (i % 3 == 0) {
				EQ(poll(&f, 1, 0), 1);
				EQ(f.revents, POLLIN);
			} else if (i % 3 == 1) {
				OK(ioctl(p[0], FIONREAD, &n));
				EQ(n, 1);
			}
			EQ(read(p[0], &x, 1), 1);
			EQ(x, (char)i);
			ERR(read(p[0], &x, 1), EAGAIN);
			atomic_store(w + 16, i);
		}
	}
	for (int i = 1; i <= 600; i++) {
		char x = i;
		EQ(write(p[1], &x, 1), 1);
		atomic_store(w, i);
		until(w + 16, i);
	}
	JOIN(c);
}

CASE(sleeper_is_woken_by_who_goes_on) {
	int p[2];
	atomic_int *w = shared(4096);
	OK(pipe(p));
	CHILD(c) {
		int e = OK(epoll_create1(0));
		struct epoll_event ev = {.events = EPOLLIN};
		OK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
		for (int i = 1; i <= 100; i++) {
			char x;
			if (i % 2)
				EQ(epoll_wait(e, &ev, 1, -1), 1);
			EQ(read(p[0], &x, 1), 1);
			atomic_store(w, i);
		}
	}
	for (int i = 1; i <= 100; i++) {
		EQ(write(p[1], "x", 1), 1);
		while (atomic_load(w) != i) // no call: the sleeper must come by itself
			;
	}
	JOIN(c);
}

CASE(reader_closes) {
	int p[2];
	OK(pipe(p));
	signal(SIGPIPE, SIG_IGN);
	row(p[1], 20);
	OK(close(p[0]));
	ERR(write(p[1], "x", 1), EPIPE);
	OK(pipe(p));
	atomic_int *w = shared(4096);
	CHILD(c) {
		signal(SIGPIPE, SIG_DFL);
		row(p[1], 20);
		close(p[0]);
		until(w, 1);
		if (write(p[1], "x", 1))
			_exit(3);
	}
	OK(close(p[0]));
	atomic_store(w, 1);
	KILLED(c, SIGPIPE);
}

CASE(number_means_another_pipe) {
	int p[2], q[2];
	OK(pipe(p));
	row(p[1], 20);
	OK(pipe(q));
	OK(dup2(q[1], p[1]));
	row(p[1], 10);
	took(p[0], 20);
	took(q[0], 10);
	OK(close(p[1]));
	char x;
	EQ(read(p[0], &x, 1), 0);
	EQ(dup(q[0]), p[1]);
	ERR(write(p[1], "x", 1), EBADF);
	OK(close(p[1]));
	ERR(write(p[1], "x", 1), EBADF);
}

static int swap_from, swap_to;
static atomic_int swap_go;

static void *swapper(void *arg) {
	until(&swap_go, 1);
	OK(dup2(swap_from, swap_to));
	atomic_store(&swap_go, 2);
	return arg;
}

CASE(thread_changes_the_number) {
	for (int i = 0; i < 50; i++) {
		int p[2], q[2];
		pthread_t t;
		OK(pipe(p));
		OK(pipe(q));
		swap_from = q[1], swap_to = p[1];
		atomic_store(&swap_go, 0);
		PT(pthread_create(&t, NULL, swapper, NULL));
		row(p[1], 20);
		atomic_store(&swap_go, 1);
		int n = 0;
		while (atomic_load(&swap_go) != 2 && n++ < 200)
			OK(write(p[1], "x", 1));
		until(&swap_go, 2);
		int before = 0, after = 0;
		OK(ioctl(p[0], FIONREAD, &before));
		row(p[1], 3);
		PT(pthread_join(t, NULL));
		OK(ioctl(p[0], FIONREAD, &after));
		EQ(after, before);
		OK(ioctl(q[0], FIONREAD, &after));
		CHECK(after >= 3);
		for (int k = 0; k < 2; k++)
			OK(close(p[k])), OK(close(q[k]));
	}
}

CASE(fills_as_far) {
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	char b[300] = "";
	size_t n = 0;
	ssize_t r;
	while ((r = write(p[1], b, sizeof b)) > 0)
		n += r;
	EQ(errno, EAGAIN);
	EQ(n, 16 * (4096 / 300) * 300);
	int have = 0;
	OK(ioctl(p[0], FIONREAD, &have));
	EQ(have, n);
	struct pollfd f = {p[1], POLLOUT, 0};
	EQ(poll(&f, 1, 0), 0);
}

CASE(small_pipe) {
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	EQ(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
	row(p[1], 20);
	char b[300] = "";
	int n = 20;
	ssize_t r;
	while ((r = write(p[1], b, sizeof b)) > 0)
		n += r;
	EQ(n, 20 + 13 * 300);
	took(p[0], 20);
}

CASE(two_writers_in_order) {
	int p[2];
	atomic_int *w = shared(4096);
	OK(pipe(p));
	row(p[1], 20);
	CHILD(c) {
		until(w, 1);
		writen(p[1], "B", 1);
		atomic_store(w, 2);
	}
	row(p[1], 3);
	writen(p[1], "A", 1);
	atomic_store(w, 1);
	until(w, 2);
	writen(p[1], "C", 1);
	took(p[0], 20);
	took(p[0], 3);
	char b[3];
	readn(p[0], b, 3);
	MEM(b, "ABC", 3);
	JOIN(c);
}

CASE(killed_behind_a_write) {
	int p[2];
	OK(pipe(p));
	for (int i = 0; i < 20; i++) {
		CHILD(c) {
			row(p[1], 20);
			raise(SIGKILL);
		}
		KILLED(c, SIGKILL);
		took(p[0], 20);
	}
	CHILD(d) {
		row(p[1], 20);
		char *args[] = {"true", NULL};
		execv("/bin/true", args);
		execv("/usr/bin/true", args);
		_exit(1);
	}
	JOIN(d);
	took(p[0], 20);
}

CASE(forks_behind_a_write) {
	int p[2];
	OK(pipe(p));
	row(p[1], 20);
	CHILD(c) {
		took(p[0], 20);
		row(p[1], 20);
	}
	JOIN(c);
	took(p[0], 20);
	row(p[1], 20);
	took(p[0], 20);
}

CASE(lengths_and_bad_buffers) {
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	row(p[1], 20);
	took(p[0], 20);
	char b[1000] = "", *end = (char *)anon(2 * 4096) + 4096;
	OK(munmap(end, 4096));
	static const int sizes[] = {1, 511, 512, 513, 1000};
	for (int i = 0; i < 5; i++) {
		EQ(write(p[1], b, sizes[i]), sizes[i]);
		readn(p[0], b, sizes[i]);
	}
	EQ(write(p[1], NULL, 0), 0);
	ERR(syscall(SYS_write, p[1], NULL, 1), EFAULT);
	ERR(write(p[1], end, 1), EFAULT);
	ERR(write(p[1], end - 10, 20), EFAULT);
	ERR(write(p[1], (void *)-4096, 1), EFAULT);
	EQ(write(p[1], end - 10, 10), 10);
	readn(p[0], b, 10);
	ERR(read(p[0], b, 1), EAGAIN);
}

CASE(packets_begin) {
	int p[2];
	OK(pipe(p));
	row(p[1], 20);
	OK(fcntl(p[1], F_SETFL, O_DIRECT));
	char b[64];
	EQ(read(p[0], b, 64), 20);
	row(p[1], 2);
	EQ(read(p[0], b, 64), 1);
	EQ(read(p[0], b, 64), 1);
}

CASE(filter_begins) {
	int p[2];
	OK(pipe(p));
	row(p[1], 20);
	struct sock_filter f[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, p[1], 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBUSY),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {6, f};
	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
	ERR(write(p[1], "x", 1), EBUSY);
	took(p[0], 20);
}
