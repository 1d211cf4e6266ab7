// AF_UNIX sockets: stream, datagram, seqpacket, passing descriptors and credentials, names.
#include "case.h"
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int pair[2];
static void mk(int type) { OK(socketpair(AF_UNIX, type, 0, pair)); }
static struct sockaddr_un addr(const char *path) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	return a;
}
#define A(a) ((struct sockaddr *)&(a)), sizeof(a)
static int listener(const char *path, int type) {
	int fd = OK(socket(AF_UNIX, type, 0));
	struct sockaddr_un a = addr(path);
	OK(bind(fd, A(a)));
	if (type != SOCK_DGRAM) OK(listen(fd, 5));
	return fd;
}
static int client(const char *path, int type) {
	int fd = OK(socket(AF_UNIX, type, 0));
	struct sockaddr_un a = addr(path);
	OK(connect(fd, A(a)));
	return fd;
}
static ssize_t send_fds(int s, const int *fds, int n, const char *text) {
	struct iovec v = {(void *)text, strlen(text)};
	char c[CMSG_SPACE(sizeof(int) * 300)] = "";
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	*h = (struct cmsghdr){CMSG_LEN(sizeof(int) * n), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(h), fds, sizeof(int) * n);
	return sendmsg(s, &m, 0);
}
// recv_fds receives into buf and fds; gives how many descriptors came, and the flags.
static int recv_fds(int s, char *buf, size_t len, int *fds, int room, int *flags, int how) {
	struct iovec v = {buf, len};
	char c[CMSG_SPACE(sizeof(int) * 300)];
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = room ? CMSG_LEN(sizeof(int) * room) : 0};
	OK(recvmsg(s, &m, how));
	if (flags) *flags = m.msg_flags;
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (!h) return 0;
	EQ(h->cmsg_level, SOL_SOCKET);
	EQ(h->cmsg_type, SCM_RIGHTS);
	int n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(h), n * sizeof(int));
	return n;
}

CASE(stream_pair) {
	mk(SOCK_STREAM);
	writen(pair[0], "hello", 5);
	writen(pair[0], "world", 5);
	char b[20] = "";
	EQ(read(pair[1], b, 3), 3);
	EQ(read(pair[1], b, 20), 7);
	MEM(b, "loworld", 7);
	writen(pair[1], "back", 4);
	EQ(read(pair[0], b, 20), 4);
	close(pair[0]);
	EQ(read(pair[1], b, 20), 0);
	on_signal(SIGPIPE, SIG_IGN, 0);
	ERR(write(pair[1], "x", 1), EPIPE);
}

CASE(msg_nosignal) {
	mk(SOCK_STREAM);
	close(pair[0]);
	ERR(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	CHILD(p) send(pair[1], "x", 1, 0);
	KILLED(p, SIGPIPE);
}

CASE(type_flags_and_errors) {
	mk(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
	EQ(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
	char c;
	ERR(read(pair[0], &c, 1), EAGAIN);
	ERR(socket(AF_UNIX, 99, 0), EINVAL);
	ERR(socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
	ERR(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
	ERR(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
	ERR(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 8), EFAULT);
	ERR(listen(0, 1), ENOTSOCK);
	ERR(listen(99, 1), EBADF);
}

CASE(dgram_pair_keeps_boundaries) {
	mk(SOCK_DGRAM);
	EQ(send(pair[0], "one", 3, 0), 3);
	EQ(send(pair[0], "", 0, 0), 0);
	EQ(send(pair[0], "three", 5, 0), 5);
	char b[10];
	EQ(recv(pair[1], b, 10, 0), 3);
	EQ(recv(pair[1], b, 10, 0), 0);
	EQ(recv(pair[1], b, 2, MSG_TRUNC), 5);
	ERR(recv(pair[1], b, 10, MSG_DONTWAIT), EAGAIN);
}

CASE(seqpacket) {
	mk(SOCK_SEQPACKET);
	writen(pair[0], "abc", 3);
	writen(pair[0], "defg", 4);
	char b[10];
	EQ(read(pair[1], b, 2), 2);
	EQ(read(pair[1], b, 10), 4);
	close(pair[0]);
	EQ(read(pair[1], b, 10), 0);
	int l = listener("s", SOCK_SEQPACKET), c = client("s", SOCK_SEQPACKET), a = OK(accept(l, NULL, NULL));
	writen(c, "x", 1);
	EQ(read(a, b, 10), 1);
}

CASE(connect_accept) {
	int l = listener("s", SOCK_STREAM);
	CHILD(p) {
		int c = client("s", SOCK_STREAM);
		writen(c, "ping", 4);
		char b[4];
		readn(c, b, 4);
		MEM(b, "pong", 4);
	}
	struct sockaddr_un a;
	socklen_t n = sizeof a;
	int s = OK(accept4(l, (struct sockaddr *)&a, &n, SOCK_CLOEXEC));
	EQ(n, sizeof(sa_family_t)); // the client has no name
	EQ(a.sun_family, AF_UNIX);
	EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
	char b[4];
	readn(s, b, 4);
	writen(s, "pong", 4);
	JOIN(p);
}

CASE(names_of_sockets) {
	int l = listener("name", SOCK_STREAM), c = client("name", SOCK_STREAM);
	struct sockaddr_un a = {};
	socklen_t n = sizeof a;
	OK(getsockname(l, (struct sockaddr *)&a, &n));
	STR(a.sun_path, "name");
	EQ(n, 2 + 5);
	n = sizeof a;
	OK(getpeername(c, (struct sockaddr *)&a, &n));
	STR(a.sun_path, "name");
	n = sizeof a;
	OK(getsockname(c, (struct sockaddr *)&a, &n));
	EQ(n, 2);
	n = 3;
	OK(getsockname(l, (struct sockaddr *)&a, &n));
	EQ(n, 7);
	ERR(getpeername(l, (struct sockaddr *)&a, &n), ENOTCONN);
	struct stat st;
	OK(stat("name", &st));
	CHECK(S_ISSOCK(st.st_mode));
}

CASE(bind_and_connect_errors) {
	struct sockaddr_un a = addr("s");
	int l = listener("s", SOCK_STREAM), fd = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(bind(fd, A(a)), EADDRINUSE);
	a = addr("s2");
	ERR(bind(l, A(a)), EINVAL); // it has a name
	a = addr("no/such");
	ERR(bind(fd, A(a)), ENOENT);
	ERR(connect(fd, A(a)), ENOENT);
	spew("file", "");
	a = addr("file");
	ERR(connect(fd, A(a)), ECONNREFUSED);
	ERR(bind(fd, A(a)), EADDRINUSE);
	close(l);
	a = addr("s");
	ERR(connect(fd, A(a)), ECONNREFUSED);
	ERR(connect(fd, (struct sockaddr *)&a, 1), EINVAL);
	OK(unlink("s"));
	listener("d", SOCK_DGRAM);
	a = addr("d");
	ERR(connect(fd, A(a)), EPROTOTYPE);
	ERR(accept(fd, NULL, NULL), EINVAL);
	ERR(send(fd, "x", 1, 0), ENOTCONN);
}

CASE(abstract_names) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = 2 + 1 + sprintf(a.sun_path + 1, "conform-%d", getpid());
	int l = OK(socket(AF_UNIX, SOCK_STREAM, 0)), c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(bind(l, (struct sockaddr *)&a, n));
	OK(listen(l, 1));
	OK(connect(c, (struct sockaddr *)&a, n));
	int x = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(bind(x, (struct sockaddr *)&a, n), EADDRINUSE);
	ERR(connect(x, (struct sockaddr *)&a, n + 1), ECONNREFUSED); // a longer name is another name
	struct sockaddr_un g = {};
	socklen_t gl = sizeof g;
	OK(getsockname(l, (struct sockaddr *)&g, &gl));
	EQ(gl, n);
	MEM(g.sun_path, a.sun_path, n - 2);
	close(l);
	ERR(connect(x, (struct sockaddr *)&a, n), ECONNREFUSED);
}

CASE(autobind) {
	int s = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	OK(bind(s, (struct sockaddr *)&a, sizeof(sa_family_t)));
	socklen_t n = sizeof a;
	OK(getsockname(s, (struct sockaddr *)&a, &n));
	EQ(n, 2 + 6);
	EQ(a.sun_path[0], 0);
}

CASE(dgram_by_name) {
	int r = listener("r", SOCK_DGRAM), w = listener("w", SOCK_DGRAM);
	struct sockaddr_un a = addr("r"), from = {};
	EQ(sendto(w, "hey", 3, 0, A(a)), 3);
	char b[10];
	socklen_t n = sizeof from;
	EQ(recvfrom(r, b, 10, 0, (struct sockaddr *)&from, &n), 3);
	STR(from.sun_path, "w");
	EQ(n, 4);
	OK(connect(w, A(a)));
	EQ(send(w, "x", 1, 0), 1);
	close(r);
	ERR(send(w, "x", 1, 0), ECONNREFUSED);
	int u = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
	ERR(send(u, "x", 1, 0), ENOTCONN);
}

CASE(pass_descriptor) {
	mk(SOCK_STREAM);
	spew("f", "contents");
	int fd = OK(open("f", O_RDONLY)), got[2] = {-1, -1}, fl;
	EQ(send_fds(pair[0], &fd, 1, "x"), 1);
	close(fd);
	char b[10] = "";
	EQ(recv_fds(pair[1], b, 1, got, 1, &fl, 0), 1);
	EQ(fl & MSG_CTRUNC, 0);
	EQ(fcntl(got[0], F_GETFD), 0);
	EQ(read(got[0], b, 10), 8);
	STR(b, "contents");
}

CASE(pass_many_and_cloexec) {
	mk(SOCK_DGRAM);
	int fds[253], got[300], n;
	for (int i = 0; i < 253; i++) fds[i] = 0;
	EQ(send_fds(pair[0], fds, 253, "many"), 4);
	char b[10];
	n = recv_fds(pair[1], b, 10, got, 253, NULL, MSG_CMSG_CLOEXEC);
	EQ(n, 253);
	EQ(fcntl(got[252], F_GETFD), FD_CLOEXEC);
	int more[254] = {};
	ERR(send_fds(pair[0], more, 254, "x"), EINVAL);
	fds[0] = 999;
	ERR(send_fds(pair[0], fds, 1, "x"), EBADF);
}

CASE(truncated_control) {
	mk(SOCK_DGRAM);
	int fds[2] = {0, 0}, got[2], fl, before = nfds();
	char b[4];
	EQ(send_fds(pair[0], fds, 2, "a"), 1);
	EQ(recv_fds(pair[1], b, 4, got, 1, &fl, 0), 1);
	CHECK(fl & MSG_CTRUNC);
	EQ(send_fds(pair[0], fds, 2, "b"), 1);
	EQ(recv(pair[1], b, 4, 0), 1); // no room at all: they are closed
	EQ(nfds(), before + 1);
}

CASE(descriptors_bound_reads_of_a_stream) {
	mk(SOCK_STREAM);
	int fd = 0, got[2];
	char b[10] = "";
	writen(pair[0], "aa", 2);
	EQ(send_fds(pair[0], &fd, 1, "bb"), 2);
	writen(pair[0], "cc", 2);
	struct iovec v = {b, 10};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t n = recvmsg(pair[1], &m, 0);
	CHECK(n == 2 || n == 4); // never over the descriptors to what follows
	if (n == 2) {
		EQ(recv_fds(pair[1], b, 10, got, 1, NULL, 0), 1);
		OK(fcntl(got[0], F_GETFD));
	}
}

CASE(queued_descriptors_keep_files_open) {
	mk(SOCK_STREAM);
	int p[2];
	OK(pipe(p));
	EQ(send_fds(pair[0], &p[1], 1, "x"), 1);
	close(p[1]);
	CHECK(!ready(p[0], POLLIN | POLLHUP, 30));
	close(pair[0]);
	close(pair[1]);
	char c;
	CHECK(ready(p[0], POLLHUP, 5000)); // gone with the socket
	EQ(read(p[0], &c, 1), 0);
}

CASE(socket_in_its_own_queue) {
	mk(SOCK_STREAM);
	EQ(send_fds(pair[0], pair, 2, "x"), 1);
	int p[2];
	OK(pipe(p));
	EQ(send_fds(pair[0], &p[1], 1, "y"), 1);
	close(p[1]);
	close(pair[0]);
	close(pair[1]); // a cycle: only a collector frees it
	for (int i = 0; i < 50; i++) {
		mk(SOCK_STREAM);
		close(pair[0]);
		close(pair[1]);
	}
}

static struct ucred cred_of(struct msghdr *m) {
	struct ucred u = {0, 0, 0};
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if (h->cmsg_type == SCM_CREDENTIALS) memcpy(&u, CMSG_DATA(h), sizeof u);
	return u;
}

CASE(credentials) {
	mk(SOCK_DGRAM);
	int on = 1;
	OK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	CHILD(p) writen(pair[0], "x", 1);
	char b[4], c[200];
	struct iovec v = {b, 4};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
	EQ(recvmsg(pair[1], &m, 0), 1);
	struct ucred u = cred_of(&m);
	EQ(u.pid, p);
	EQ(u.uid, getuid());
	EQ(u.gid, getgid());
	JOIN(p);
}

CASE(forged_credentials) {
	mk(SOCK_DGRAM);
	struct ucred u = {getppid(), getuid(), getgid()};
	char c[CMSG_SPACE(sizeof u)] = "";
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	*h = (struct cmsghdr){CMSG_LEN(sizeof u), SOL_SOCKET, SCM_CREDENTIALS};
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		u.uid = 0;
		memcpy(CMSG_DATA(h), &u, sizeof u);
		ERR(sendmsg(pair[0], &m, 0), EPERM);
		u = (struct ucred){getpid(), getuid(), getgid()};
		memcpy(CMSG_DATA(h), &u, sizeof u);
		EQ(sendmsg(pair[0], &m, 0), 1);
	}
	JOIN(p);
}

CASE(peer_credentials) {
	mk(SOCK_STREAM);
	struct ucred u;
	socklen_t n = sizeof u;
	OK(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &u, &n));
	EQ(u.pid, getpid());
	EQ(u.uid, getuid());
	int l = listener("s", SOCK_STREAM);
	CHILD(p) {
		int c = client("s", SOCK_STREAM);
		struct ucred w;
		socklen_t k = sizeof w;
		OK(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &w, &k));
		EQ(w.pid, getppid()); // who listens
		char x;
		read(c, &x, 1);
	}
	int a = OK(accept(l, NULL, NULL));
	OK(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &u, &n));
	EQ(u.pid, p);
	writen(a, "x", 1);
	JOIN(p);
}

CASE(shutdown_halves) {
	mk(SOCK_STREAM);
	writen(pair[0], "last", 4);
	OK(shutdown(pair[0], SHUT_WR));
	char b[10];
	EQ(read(pair[1], b, 10), 4);
	EQ(read(pair[1], b, 10), 0);
	writen(pair[1], "still", 5);
	EQ(read(pair[0], b, 10), 5);
	ERR(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(shutdown(pair[1], SHUT_RD));
	ERR(shutdown(pair[0], 9), EINVAL);
}

CASE(peek_and_waitall) {
	mk(SOCK_STREAM);
	writen(pair[0], "abcdef", 6);
	char b[10] = "";
	EQ(recv(pair[1], b, 3, MSG_PEEK), 3);
	EQ(recv(pair[1], b, 2, 0), 2);
	MEM(b, "ab", 2);
	CHILD(p) {
		sleep_ms(30);
		writen(pair[0], "ghij", 4);
	}
	EQ(recv(pair[1], b, 8, MSG_WAITALL), 8);
	MEM(b, "cdefghij", 8);
	JOIN(p);
}

CASE(backlog_and_nonblocking_accept) {
	int l = listener("s", SOCK_STREAM | SOCK_NONBLOCK);
	ERR(accept(l, NULL, NULL), EAGAIN);
	CHECK(!ready(l, POLLIN, 0));
	int c = client("s", SOCK_STREAM);
	CHECK(ready(l, POLLIN, 1000));
	int a = OK(accept(l, NULL, NULL));
	EQ(fcntl(a, F_GETFL) & O_NONBLOCK, 0);
	writen(c, "x", 1);
	OK(listen(l, 0));
	struct sockaddr_un ad = addr("s");
	int fd, n = 0;
	do {
		fd = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
		n++;
	} while (n < 50 && connect(fd, A(ad)) == 0);
	EQ(errno, EAGAIN);
}

CASE(send_buffer_fills_and_drains) {
	mk(SOCK_STREAM | SOCK_NONBLOCK);
	char b[4096] = "";
	size_t n = 0;
	for (ssize_t r; (r = write(pair[0], b, sizeof b)) > 0;) n += r;
	EQ(errno, EAGAIN);
	CHECK(n >= 16384 && n < 10 << 20);
	CHECK(!ready(pair[0], POLLOUT, 0));
	int q = 0;
	OK(ioctl(pair[1], FIONREAD, &q));
	EQ(q, n);
	while (n) n -= OK(read(pair[1], b, sizeof b));
	CHECK(ready(pair[0], POLLOUT, 1000));
}

CASE(options) {
	mk(SOCK_STREAM);
	int v;
	socklen_t n = sizeof v;
	OK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &v, &n));
	EQ(v, SOCK_STREAM);
	OK(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &v, &n));
	EQ(v, AF_UNIX);
	OK(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &v, &n));
	EQ(v, 0);
	OK(getsockopt(pair[0], SOL_SOCKET, SO_ACCEPTCONN, &v, &n));
	EQ(v, 0);
	v = 32768;
	OK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &v, n));
	OK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &v, &n));
	EQ(v, 65536);
	ERR(setsockopt(pair[0], SOL_SOCKET, 9999, &v, n), ENOPROTOOPT);
	ERR(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &v, 1), EINVAL);
	ERR(getsockopt(0, SOL_SOCKET, SO_TYPE, &v, &n), ENOTSOCK);
}

CASE(receive_timeout) {
	mk(SOCK_STREAM);
	struct timeval t = {0, 40000};
	OK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
	char c;
	long long t0 = now_ms();
	ERR(read(pair[0], &c, 1), EAGAIN);
	CHECK(now_ms() - t0 >= 35);
}

CASE(mmsg) {
	mk(SOCK_DGRAM);
	struct iovec v[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
	struct mmsghdr m[3] = {};
	for (int i = 0; i < 3; i++) m[i].msg_hdr.msg_iov = &v[i], m[i].msg_hdr.msg_iovlen = 1;
	EQ(sendmmsg(pair[0], m, 3, 0), 3);
	EQ(m[2].msg_len, 3);
	char b[3][10];
	for (int i = 0; i < 3; i++) v[i] = (struct iovec){b[i], 10};
	EQ(recvmmsg(pair[1], m, 3, MSG_DONTWAIT, NULL), 3);
	EQ(m[1].msg_len, 2);
}

CASE(unlinked_name_lives_on) {
	int l = listener("s", SOCK_STREAM);
	int c = client("s", SOCK_STREAM);
	OK(unlink("s"));
	int a = OK(accept(l, NULL, NULL));
	writen(a, "x", 1);
	char x;
	readn(c, &x, 1);
}

CASE(permission_to_connect) {
	if (geteuid()) SKIP("needs root");
	listener("s", SOCK_STREAM);
	OK(chmod("s", 0600));
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
		struct sockaddr_un a = addr("s");
		ERR(connect(c, A(a)), EACCES);
	}
	JOIN(p);
}
