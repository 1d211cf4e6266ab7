// pipe, pipe2, fifos: buffering, end of file, EPIPE, atomicity, sizes.
#include "case.h"
#include <sys/socket.h>
#include <sys/uio.h>

CASE(both_ends) {
	int p[2];
	OK(pipe(p));
	EQ(p[0], 3);
	EQ(p[1], 4);
	EQ(fcntl(p[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	EQ(fcntl(p[1], F_GETFL) & O_ACCMODE, O_WRONLY);
	char c;
	ERR(write(p[0], "x", 1), EBADF);
	ERR(read(p[1], &c, 1), EBADF);
}

CASE(flags) {
	int p[2];
	OK(pipe2(p, O_CLOEXEC | O_NONBLOCK));
	EQ(fcntl(p[0], F_GETFD), FD_CLOEXEC);
	EQ(fcntl(p[1], F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	char c;
	ERR(read(p[0], &c, 1), EAGAIN);
	ERR(pipe2(p, O_RDONLY | O_CREAT), EINVAL);
	ERR(syscall(SYS_pipe2, 8, 0), EFAULT);
	EQ(nfds(), 5);
}

CASE(eof_when_last_writer_closes) {
	int p[2];
	OK(pipe(p));
	int w = OK(dup(p[1]));
	writen(p[1], "ab", 2);
	OK(close(p[1]));
	char b[4];
	EQ(read(p[0], b, 1), 1);
	OK(close(w));
	EQ(read(p[0], b, 4), 1);
	EQ(read(p[0], b, 4), 0);
	EQ(read(p[0], b, 4), 0);
}

CASE(capacity_and_full) {
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	EQ(fcntl(p[1], F_GETPIPE_SZ), 65536);
	char b[4096] = "";
	size_t n = 0;
	for (ssize_t r; (r = write(p[1], b, sizeof b)) > 0;) n += r;
	EQ(errno, EAGAIN);
	EQ(n, 65536);
	CHECK(!ready(p[1], POLLOUT, 0));
	EQ(read(p[0], b, 4096), 4096);
	CHECK(ready(p[1], POLLOUT, 0));
	int q;
	OK(syscall(SYS_ioctl, p[0], 0x541b, &q));
	EQ(q, 61440);
}

CASE(set_size) {
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	EQ(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
	char b[5000] = "";
	EQ(write(p[1], b, 5000), 4096);
	EQ(fcntl(p[0], F_SETPIPE_SZ, 100000), 131072);
	EQ(fcntl(p[0], F_GETPIPE_SZ), 131072);
	EQ(write(p[1], b, 5000), 5000);
	ERR(fcntl(p[0], F_SETPIPE_SZ, 4096), EBUSY);
	ERR(fcntl(p[0], F_SETPIPE_SZ, -1), EINVAL);
	ERR(fcntl(0, F_GETPIPE_SZ), EBADF);
}

CASE(small_writes_are_whole) {
	// up to PIPE_BUF: all or nothing
	int p[2];
	OK(pipe2(p, O_NONBLOCK));
	OK(fcntl(p[1], F_SETPIPE_SZ, 8192));
	char b[4096] = "";
	EQ(write(p[1], b, 4096), 4096);
	EQ(write(p[1], b, 2000), 2000);
	ERR(write(p[1], b, 4000), EAGAIN);
}

CASE(writes_of_many_processes_do_not_mix) {
	int p[2];
	OK(pipe(p));
	pid_t k[4];
	for (int i = 0; i < 4; i++) {
		k[i] = OK(fork());
		if (k[i]) continue;
		char b[1000];
		memset(b, 'a' + i, 1000);
		for (int j = 0; j < 100; j++) EQ(write(p[1], b, 1000), 1000);
		_exit(0);
	}
	close(p[1]);
	char b[1000];
	for (int i = 0; i < 400; i++) {
		readn(p[0], b, 1000);
		for (int j = 1; j < 1000; j++) EQ(b[j], b[0]);
	}
	EQ(read(p[0], b, 1), 0);
	for (int i = 0; i < 4; i++) JOIN(k[i]);
}

CASE(large_write_blocks_until_read) {
	int p[2];
	OK(pipe(p));
	size_t n = 1 << 20;
	CHILD(c) {
		char *b = malloc(n);
		for (size_t i = 0; i < n; i++) b[i] = i * 31;
		EQ(write(p[1], b, n), n);
	}
	close(p[1]);
	char *b = malloc(n + 1);
	readn(p[0], b, n);
	for (size_t i = 0; i < n; i++) EQ(b[i], (char)(i * 31));
	EQ(read(p[0], b, 1), 0);
	JOIN(c);
}

CASE(read_takes_what_is_there) {
	int p[2];
	OK(pipe(p));
	writen(p[1], "one", 3);
	writen(p[1], "two", 3);
	char b[10] = "";
	EQ(read(p[0], b, 10), 6);
	STR(b, "onetwo");
}

CASE(blocking_write_broken_by_close) {
	int p[2];
	OK(pipe(p));
	CHILD(c) {
		on_signal(SIGPIPE, SIG_IGN, 0);
		close(p[0]);
		char *b = calloc(1, 200000);
		ssize_t n = write(p[1], b, 200000);
		CHECK((n > 0 && n < 200000) || (n == -1 && errno == EPIPE));
		ERR(write(p[1], b, 1), EPIPE);
	}
	settle(c);
	close(p[0]);
	JOIN(c);
}

CASE(write_interrupted_part_way) {
	int p[2];
	OK(pipe(p));
	CHILD(c) {
		on_signal(SIGALRM, nothing, 0);
		struct itimerval it = {{0, 30000}, {0, 30000}};
		OK(setitimer(ITIMER_REAL, &it, NULL));
		char *b = calloc(1, 200000);
		EQ(write(p[1], b, 200000), 65536);
		ERR(write(p[1], b, 1), EINTR);
	}
	JOIN(c);
}

CASE(poll_states) {
	int p[2];
	OK(pipe(p));
	struct pollfd f[2] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}};
	EQ(poll(f, 2, 0), 1);
	EQ(f[0].revents, 0);
	EQ(f[1].revents, POLLOUT);
	writen(p[1], "x", 1);
	EQ(poll(f, 2, 0), 2);
	EQ(f[0].revents, POLLIN);
	close(p[1]);
	EQ(poll(f, 1, 0), 1);
	EQ(f[0].revents, POLLIN | POLLHUP);
	char c;
	EQ(read(p[0], &c, 1), 1);
	EQ(poll(f, 1, 0), 1);
	EQ(f[0].revents, POLLHUP);
	int q[2];
	OK(pipe(q));
	close(q[0]);
	struct pollfd g = {q[1], POLLOUT, 0};
	EQ(poll(&g, 1, 0), 1);
	EQ(g.revents, POLLOUT | POLLERR);
}

CASE(packet_mode) {
	int p[2];
	OK(pipe2(p, O_DIRECT));
	writen(p[1], "first", 5);
	writen(p[1], "second", 6);
	char b[10] = "";
	EQ(read(p[0], b, 3), 3);
	EQ(read(p[0], b, 10), 6); // the rest of the first is gone
	MEM(b, "second", 6);
}

CASE(proc_name_and_reopen) {
	int p[2];
	OK(pipe(p));
	char path[40], link[40] = "", want[40];
	struct stat st;
	OK(fstat(p[0], &st));
	sprintf(path, "/proc/self/fd/%d", p[0]);
	OK(readlink(path, link, 40));
	sprintf(want, "pipe:[%lu]", st.st_ino);
	STR(link, want);
	sprintf(path, "/dev/fd/%d", p[1]);
	int w = OK(open(path, O_WRONLY));
	writen(w, "z", 1);
	char c;
	EQ(read(p[0], &c, 1), 1);
}

CASE(fifo_carries_data_between_processes) {
	OK(mkfifo("f", 0600));
	CHILD(c) {
		int w = OK(open("f", O_WRONLY));
		for (int i = 0; i < 100; i++) writen(w, &i, sizeof i);
	}
	int r = OK(open("f", O_RDONLY)), v;
	for (int i = 0; i < 100; i++) {
		readn(r, &v, sizeof v);
		EQ(v, i);
	}
	EQ(read(r, &v, 1), 0);
	JOIN(c);
	CHILD(d) {
		int w = OK(open("f", O_WRONLY));
		writen(w, "again", 5);
	}
	JOIN(d);
	char b[6] = "";
	readn(r, b, 5); // a reader goes on with the next writer
	STR(b, "again");
}

CASE(sigio_on_pipe) {
	int p[2];
	OK(pipe(p));
	static volatile int n;
	void h(int s) { n++; }
	on_signal(SIGIO, h, SA_RESTART);
	OK(fcntl(p[0], F_SETOWN, getpid()));
	EQ(fcntl(p[0], F_GETOWN), getpid());
	OK(fcntl(p[0], F_SETFL, O_ASYNC));
	writen(p[1], "x", 1);
	EVENTUALLY(n);
}

CASE(ping_pong) {
	int a[2], b[2];
	OK(pipe(a));
	OK(pipe(b));
	CHILD(c) {
		char x;
		for (int i = 0; i < 2000; i++) {
			readn(a[0], &x, 1);
			writen(b[1], &x, 1);
		}
	}
	for (int i = 0; i < 2000; i++) {
		char x = i, y;
		writen(a[1], &x, 1);
		readn(b[0], &y, 1);
		EQ(y, x);
	}
	JOIN(c);
}

CASE(zero_length) {
	int p[2];
	OK(pipe(p));
	EQ(write(p[1], NULL, 0), 0);
	EQ(read(p[0], NULL, 0), 0);
	close(p[0]);
	EQ(write(p[1], "", 0), 0);
}

// The last page of what hole(n) gives is not there.
static char *hole(int pages) {
	char *p = anon((pages + 1) * PAGE);
	OK(munmap(p + pages * PAGE, PAGE));
	return p + pages * PAGE;
}

CASE(bad_buffer_takes_nothing) {
	int p[2];
	char b[64];
	OK(pipe(p));
	char *end = hole(1);
	writen(p[1], "0123456789", 10);
	for (int i = 0; i < 20; i++) ERR(read(p[0], end, 10), EFAULT);
	ERR(read(p[0], end - 4, 10), EFAULT); // the piece does not fit, and stays whole
	ERR(read(p[0], "const", 5), EFAULT);
	struct iovec v[2] = {{b, 3}, {end, 10}};
	ERR(readv(p[0], v, 2), EFAULT);
	EQ(read(p[0], b, sizeof b), 10);
	MEM(b, "0123456789", 10);
	OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
	ERR(read(p[0], end, 10), EAGAIN);
	close(p[1]);
	EQ(read(p[0], end, 10), 0); // the end is no fault
}

CASE(buffer_longer_than_its_mapping) {
	int p[2];
	OK(pipe(p));
	char *end = hole(1);
	writen(p[1], "0123456789", 10);
	EQ(read(p[0], end - 16, 1 << 20), 10);
	MEM(end - 16, "0123456789", 10);
}

CASE(bad_buffer_of_a_stream_socket) {
	int s[2];
	char b[64];
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	char *end = hole(1);
	writen(s[1], "0123456789", 10);
	for (int i = 0; i < 20; i++) ERR(read(s[0], end, 10), EFAULT);
	ERR(recv(s[0], end, 10, 0), EFAULT);
	struct iovec v = {end, 10};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	ERR(recvmsg(s[0], &m, 0), EFAULT);
	EQ(recv(s[0], b, sizeof b, 0), 10);
	MEM(b, "0123456789", 10);
	ERR(recv(s[0], end, 10, MSG_DONTWAIT), EAGAIN);
	close(s[1]);
	EQ(recv(s[0], end, 10, 0), 0);
}
