// Sockets and epoll instances after many small calls on them: an implementation that has begun to answer those at a
// shorter way must answer everything else as ever. warm makes it begin.
#include "case.h"
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int s[2], ep;
static char b[70000], *bad;
static _Atomic int *flag;

// warm has both ends of s send and receive little.
static void warm_pair(int *p) {
	for (int i = 0; i < 40; i++) {
		EQ(write(p[0], "w", 1), 1);
		EQ(read(p[1], b, sizeof b), 1);
		EQ(write(p[1], "w", 1), 1);
		EQ(read(p[0], b, sizeof b), 1);
	}
}
static void warm(void) {
	flag = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	bad = OK(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	warm_pair(s);
}
static int ctl(int op, int fd, uint32_t ev, uint64_t data) {
	struct epoll_event e = {.events = ev, .data.u64 = data};
	return epoll_ctl(ep, op, fd, &e);
}
// await gives one event's data that comes without waiting, -1 for none.
static long await(void) {
	struct epoll_event e[4];
	int n = OK(epoll_wait(ep, e, 4, 0));
	CHECK(n <= 1);
	return n ? (long)e[0].data.u64 : -1;
}
// warm_ctl makes ep, and has s[1] come and go there; it is in it at last.
static void warm_ctl(void) {
	ep = OK(epoll_create1(0));
	for (int i = 0; i < 40; i++) {
		OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 1));
		OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLOUT, 2));
		OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
	}
	OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 7));
}
static void nonblock(int fd) { OK(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK)); }
// arrive has one byte come to s[1], which epoll has told of.
static void arrive(const char *bytes) {
	EQ(write(s[0], bytes, strlen(bytes)), strlen(bytes));
	EQ(await(), 7);
}
// told is the state in which a server reads: its epoll has told of "abc".
static void told(void) {
	warm();
	warm_ctl();
	for (int i = 0; i < 10; i++) {
		arrive("x");
		EQ(read(s[1], b, sizeof b), 1);
		EQ(await(), -1);
	}
	nonblock(s[1]);
	warm_pair(s);
	arrive("abc");
}
static int outq(int fd) {
	int n;
	OK(ioctl(fd, SIOCOUTQ, &n));
	return n;
}
static int inq(int fd) {
	int n;
	OK(ioctl(fd, FIONREAD, &n));
	return n;
}

CASE(order_of_small_and_large) {
	warm();
	CHILD(p) {
		for (int i = 0; i < 200; i++) {
			memset(b, i, sizeof b);
			int n = i % 3 ? 1 + i % 256 : 5000;
			for (int k = 0; k < n;) k += OK(write(s[0], b + k, n - k));
		}
	}
	close(s[0]);
	for (int i = 0; i < 200; i++)
		for (int n = i % 3 ? 1 + i % 256 : 5000, k; n > 0; n -= k) {
			k = OK(read(s[1], b, n < 100 ? n : 100));
			CHECK(k > 0);
			for (int j = 0; j < k; j++) EQ((unsigned char)b[j], i);
		}
	EQ(read(s[1], b, 1), 0);
	JOIN(p);
}

CASE(what_was_written_is_there) {
	warm();
	EQ(write(s[0], "abc", 3), 3);
	EQ(inq(s[1]), 3);
	CHECK(outq(s[0]) > 0);
	struct pollfd f = {s[1], POLLIN, 0};
	EQ(poll(&f, 1, 0), 1);
	EQ(recv(s[1], b, 10, MSG_PEEK), 3);
	EQ(write(s[0], "de", 2), 2);
	EQ(recv(s[1], b, 10, MSG_PEEK), 5);
	MEM(b, "abcde", 5);
	EQ(read(s[1], b, 1), 1);
	EQ(inq(s[1]), 4);
	EQ(recvfrom(s[1], b, 10, MSG_DONTWAIT, NULL, NULL), 4);
	MEM(b, "bcde", 4);
	EQ(outq(s[0]), 0);
	ERR(recv(s[1], b, 10, MSG_DONTWAIT), EAGAIN);
}

CASE(send_flags) {
	warm();
	for (int i = 0; i < 20; i++) {
		EQ(send(s[0], "ab", 2, i & 1 ? MSG_NOSIGNAL : MSG_DONTWAIT), 2);
		EQ(recv(s[1], b, 10, i & 1 ? 0 : MSG_DONTWAIT), 2);
	}
	ERR(sendto(s[0], "ab", 2, 0, (struct sockaddr *)b, 16), EISCONN);
	ERR(write(s[0], bad, 3), EFAULT);
	EQ(write(s[0], b, 0), 0);
	EQ(write(s[0], "z", 1), 1);
	EQ(inq(s[1]), 1);
}

static volatile sig_atomic_t pipes;
static void on_pipe(int sig) { (void)sig, pipes++; }

CASE(peer_closes) {
	warm();
	signal(SIGPIPE, on_pipe);
	EQ(write(s[0], "abc", 3), 3);
	EQ(write(s[1], "de", 2), 2);
	EQ(read(s[1], b, 9), 3);
	OK(close(s[1]));
	ERR(write(s[0], "x", 1), EPIPE);
	EQ(pipes, 1);
	ERR(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	EQ(pipes, 1);
	EQ(read(s[0], b, 9), 2);
	EQ(read(s[0], b, 9), 0);
}

CASE(peer_closes_with_bytes_unread) {
	warm();
	EQ(write(s[0], "abc", 3), 3);
	OK(close(s[1]));
	ERR(read(s[0], b, 9), ECONNRESET);
	EQ(read(s[0], b, 9), 0);
}

CASE(shutdown_of_either_side) {
	warm();
	signal(SIGPIPE, SIG_IGN);
	EQ(write(s[0], "abc", 3), 3);
	OK(shutdown(s[0], SHUT_WR));
	ERR(write(s[0], "x", 1), EPIPE);
	EQ(read(s[1], b, 9), 3);
	EQ(read(s[1], b, 9), 0);
	EQ(write(s[1], "de", 2), 2);
	OK(shutdown(s[0], SHUT_RD));
	ERR(write(s[1], "x", 1), EPIPE);
	EQ(read(s[0], b, 9), 2);
	EQ(read(s[0], b, 9), 0);
}

static int fill(int fd, bool parts) {
	int n = 0;
	struct iovec v[2] = {{b, 100}, {b, 100}};
	for (ssize_t r; (r = parts ? writev(fd, v, 2) : write(fd, b, 200)) == 200;) n++;
	EQ(errno, EAGAIN);
	return n;
}

CASE(a_full_buffer) {
	warm();
	nonblock(s[0]);
	nonblock(s[1]);
	int n = fill(s[0], false);
	CHECK(n > 10);
	struct pollfd f = {s[0], POLLOUT, 0};
	EQ(poll(&f, 1, 0), 0);
	EQ(fill(s[1], true), n); // and the other way is not shorter
	for (int left = n * 200; left > 0;) left -= OK(read(s[1], b, 777));
	EQ(poll(&f, 1, 0), 1);
	while (read(s[0], b, sizeof b) > 0) {}
	warm_pair(s);
}

CASE(a_small_buffer) {
	warm();
	int size = 5000;
	OK(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
	nonblock(s[0]);
	int n = fill(s[0], false);
	for (int left = n * 200; left > 0;) left -= OK(read(s[1], b, 777));
	EQ(fill(s[0], true), n);
}

CASE(credentials_are_asked_for) {
	warm();
	int on = 1;
	EQ(write(s[0], "a", 1), 1);
	OK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	EQ(read(s[1], b, 9), 1);
	EQ(write(s[0], "b", 1), 1);
	union { struct cmsghdr h; char room[256]; } c;
	struct iovec v = {b, 9};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	EQ(recvmsg(s[1], &m, 0), 1);
	EQ(c.h.cmsg_type, SCM_CREDENTIALS);
	EQ(((struct ucred *)CMSG_DATA(&c.h))->pid, getpid());
	struct ucred u;
	socklen_t len = sizeof u;
	OK(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &u, &len));
	EQ(u.pid, getpid());
}

CASE(descriptors_come_behind) {
	warm();
	EQ(write(s[0], "abc", 3), 3);
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c = {{CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	memcpy(CMSG_DATA(&c.h), &(int){1}, sizeof(int));
	struct iovec v = {"d", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	EQ(sendmsg(s[0], &m, 0), 1);
	EQ(write(s[0], "e", 1), 1);
	v = (struct iovec){b, 3};
	EQ(recvmsg(s[1], &m, 0), 3);
	EQ(m.msg_controllen, 0);
	v = (struct iovec){b, 9};
	m.msg_controllen = sizeof c;
	EQ(recvmsg(s[1], &m, 0), 1);
	EQ(c.h.cmsg_type, SCM_RIGHTS);
	EQ(read(s[1], b, 9), 1);
}

CASE(a_duplicate_goes_on) {
	warm();
	int d = OK(dup(s[0]));
	EQ(write(s[0], "a", 1), 1);
	OK(close(s[0]));
	ERR(write(s[0], "x", 1), EBADF);
	EQ(write(d, "b", 1), 1);
	EQ(read(s[1], b, 9), 2);
	MEM(b, "ab", 2);
	OK(close(d));
	EQ(read(s[1], b, 9), 0);
}

CASE(two_processes_write) {
	warm();
	for (int i = 0; i < 20; i++) {
		EQ(write(s[0], "a", 1), 1);
		CHILD(p) {
			EQ(write(s[0], "b", 1), 1);
		}
		JOIN(p);
		EQ(write(s[0], "c", 1), 1);
		EQ(read(s[1], b, 9), 3);
		MEM(b, "abc", 3);
	}
}

CASE(the_last_words_of_a_process) {
	warm();
	for (int how = 0; how < 3; how++) {
		CHILD(p) {
			warm_pair(s);
			EQ(write(s[0], "abc", 3), 3);
			if (how == 1) kill(getpid(), SIGKILL);
			if (how == 2) execl("/proc/self/exe", "lent", "--helper", "nothing", (char *)NULL);
		}
		OK(waitpid(p, NULL, 0));
		EQ(read(s[1], b, 9), 3);
		ERR(recv(s[1], b, 9, MSG_DONTWAIT), EAGAIN);
	}
}
HELPER(nothing) { return 0; }

CASE(the_writer_computes_on) {
	warm();
	for (int i = 0; i < 20; i++) {
		atomic_store(flag, 0);
		CHILD(p) {
			EQ(read(s[1], b, 9), 1);
			atomic_store(flag, 1);
		}
		EQ(write(s[0], "a", 1), 1);
		for (long long end = now_ms() + 10000; !atomic_load(flag);) CHECK(now_ms() < end); // by the vdso
		JOIN(p);
	}
}

static void *closes(void *fd) { return OK(close((int)(long)fd)), NULL; }
static void *replaces(void *fd) { return OK(dup2(s[1], (int)(long)fd)), NULL; }
static void in_thread(void *(*f)(void *), long arg) {
	pthread_t t;
	PT(pthread_create(&t, NULL, f, (void *)arg));
	PT(pthread_join(t, NULL));
}

CASE(another_thread_closes) {
	warm();
	EQ(write(s[0], "a", 1), 1);
	in_thread(closes, s[0]);
	ERR(write(s[0], "x", 1), EBADF);
	EQ(read(s[1], b, 9), 1);
	EQ(read(s[1], b, 9), 0);
}

CASE(another_thread_puts_something_in_its_place) {
	warm();
	int other[2];
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, other));
	int keep = s[1];
	s[1] = other[0];
	in_thread(replaces, s[0]);
	EQ(write(s[0], "x", 1), 1);
	EQ(read(other[1], b, 9), 1);
	EQ(read(keep, b, 9), 0);
}

CASE(told_and_read) {
	told();
	EQ(read(s[1], b, sizeof b), 3);
	MEM(b, "abc", 3);
	ERR(read(s[1], b, 9), EAGAIN);
	EQ(await(), -1);
	EQ(outq(s[0]), 0);
}

CASE(told_and_more_came) {
	told();
	EQ(write(s[0], "de", 2), 2);
	EQ(inq(s[1]), 5);
	EQ(read(s[1], b, sizeof b), 5);
	MEM(b, "abcde", 5);
	arrive("f");
	CHILD(p) EQ(write(s[0], "g", 1), 1);
	JOIN(p);
	EQ(read(s[1], b, sizeof b), 2);
}

CASE(told_and_read_otherwise) {
	told();
	EQ(read(s[1], b, 1), 1);
	EQ(await(), 7);
	EQ(recv(s[1], b, 9, MSG_PEEK), 2);
	EQ(read(s[1], b, 9), 2);
	MEM(b, "bc", 2);
	arrive("de");
	struct iovec v[2] = {{b, 1}, {b + 1, 5}};
	EQ(readv(s[1], v, 2), 2);
	MEM(b, "de", 2);
	arrive("fg");
	ERR(read(s[1], bad, 9), EFAULT);
	EQ(recvfrom(s[1], b, 9, 0, NULL, NULL), 2);
	arrive("hi");
	int d = OK(dup(s[1]));
	EQ(read(d, b, 9), 2);
	ERR(read(s[1], b, 9), EAGAIN);
	arrive("j");
	OK(close(s[0]));
	EQ(read(s[1], b, 9), 1);
	EQ(read(s[1], b, 9), 0);
}

static void *reads_all(void *want) {
	EQ(read(s[1], b + 100, 100), (long)want);
	return NULL;
}

CASE(told_and_another_reads) {
	told();
	in_thread(reads_all, 3);
	ERR(read(s[1], b, 9), EAGAIN);
	for (int i = 0; i < 20; i++) {
		arrive("ab");
		CHILD(p) EQ(read(s[1], b, 1), 1);
		JOIN(p);
		EQ(read(s[1], b, 9), 1);
		EQ(b[0], 'b');
		arrive("c");
		EQ(read(s[1], b, 9), 1);
		CHILD(q) {
			ERR(read(s[1], b, 9), EAGAIN);
			EQ(inq(s[1]), 0);
		}
		JOIN(q);
	}
}

CASE(told_and_shut) {
	told();
	OK(shutdown(s[0], SHUT_RDWR));
	EQ(read(s[1], b, sizeof b), 3);
	EQ(read(s[1], b, sizeof b), 0);
}

CASE(each_edge) {
	told();
	EQ(read(s[1], b, 9), 3);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLET, 7));
	EQ(await(), -1);
	for (int i = 0; i < 100; i++) {
		arrive("a");
		EQ(await(), -1); // told once
		if (i % 3) EQ(read(s[1], b, sizeof b), 1);
		EQ(await(), -1);
		arrive("b");
		EQ(read(s[1], b, sizeof b), i % 3 ? 1 : 2);
		EQ(await(), -1);
	}
}

CASE(seen_at_once_by_another) {
	warm();
	warm_ctl();
	warm_pair(s);
	for (int i = 0; i < 50; i++) {
		atomic_store(flag, 0);
		CHILD(p) {
			while (!atomic_load(flag)) {}
			EQ(await(), 7);
			EQ(read(s[1], b, 9), 1);
		}
		EQ(write(s[0], "a", 1), 1);
		atomic_store(flag, 1);
		JOIN(p);
	}
}

CASE(ctl_and_its_errors) {
	warm();
	warm_ctl();
	ERR(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 1), EEXIST);
	OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
	ERR(ctl(EPOLL_CTL_DEL, s[1], 0, 0), ENOENT);
	ERR(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN, 0), ENOENT);
	OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 1));
	ERR(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 1), EEXIST);
	ERR(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLEXCLUSIVE, 1), EINVAL);
	ERR(epoll_ctl(ep, EPOLL_CTL_MOD, s[1], (void *)8), EFAULT);
	ERR(epoll_ctl(ep, 9, s[1], (void *)b), EINVAL);
	ERR(ctl(EPOLL_CTL_ADD, 99, EPOLLIN, 1), EBADF);
	ERR(ctl(EPOLL_CTL_ADD, ep, EPOLLIN, 1), EINVAL);
	ERR(ctl(EPOLL_CTL_DEL, s[0], 0, 0), ENOENT);
}

CASE(ctl_and_its_effect) {
	warm();
	warm_ctl();
	arrive("a");
	OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
	EQ(await(), -1);
	OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 0x123456789abcdefl));
	EQ(await(), 0x123456789abcdefl);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLPRI, 9));
	EQ(await(), -1);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLONESHOT, 10));
	EQ(await(), 10);
	EQ(await(), -1);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLONESHOT, 11));
	EQ(await(), 11);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLET, 12));
	EQ(await(), 12);
	EQ(await(), -1);
	OK(ctl(EPOLL_CTL_MOD, s[1], EPOLLOUT, 13));
	EQ(await(), 13);
	for (int i = 0; i < 300; i++) OK(ctl(i & 1 ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s[1], EPOLLIN, i));
	EQ(await(), 299);
}

CASE(ctl_of_descriptors_that_change) {
	warm();
	warm_ctl();
	OK(dup2(s[0], s[1])); // another file: the instance does not have it
	ERR(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN, 1), ENOENT);
	OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 1));
	in_thread(closes, s[1]);
	ERR(ctl(EPOLL_CTL_MOD, s[1], EPOLLIN, 1), EBADF);
	OK(close(s[0]));
	EQ(await(), -1);
	warm();
	warm_ctl();
	int d = OK(dup(ep));
	OK(close(ep));
	ERR(ctl(EPOLL_CTL_DEL, s[1], 0, 0), EBADF);
	ep = d;
	arrive("a");
}

static void *waits(void *want) {
	struct epoll_event e;
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	EQ(e.data.u64, (long)want);
	return NULL;
}

CASE(ctl_while_others_wait) {
	warm();
	warm_ctl();
	EQ(write(s[0], "a", 1), 1);
	for (int i = 0; i < 20; i++) {
		OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
		pthread_t t;
		PT(pthread_create(&t, NULL, waits, (void *)7l));
		if (i & 1) sleep_ms(1);
		OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 7));
		PT(pthread_join(t, NULL));
	}
}

CASE(ctl_of_an_instance_in_others) {
	warm();
	warm_ctl();
	EQ(write(s[0], "a", 1), 1);
	OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
	struct pollfd f = {ep, POLLIN, 0};
	EQ(poll(&f, 1, 0), 0);
	OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLIN, 7));
	EQ(poll(&f, 1, 0), 1);
	int inner = ep;
	warm_ctl();
	OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
	OK(ctl(EPOLL_CTL_ADD, inner, EPOLLIN, 8));
	EQ(await(), 8);
	int outer = ep;
	ep = inner;
	for (int i = 0; i < 60; i++) {
		OK(ctl(i & 1 ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s[1], EPOLLIN, i));
		ep = outer;
		EQ(await(), i & 1 ? 8 : -1);
		ep = inner;
	}
}

CASE(ctl_and_a_fork) {
	warm();
	warm_ctl();
	for (int i = 0; i < 20; i++) {
		OK(ctl(EPOLL_CTL_DEL, s[1], 0, 0));
		CHILD(p) {
			ERR(ctl(EPOLL_CTL_DEL, s[1], 0, 0), ENOENT);
			OK(ctl(EPOLL_CTL_ADD, s[1], EPOLLOUT, 5));
			EQ(await(), 5);
		}
		JOIN(p);
		ERR(ctl(EPOLL_CTL_ADD, s[1], EPOLLOUT, 6), EEXIST);
		EQ(await(), 5);
	}
}
