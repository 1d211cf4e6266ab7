// seccomp_unotify(2): calls that a listener decides about.
#include "case.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define LISTENER SECCOMP_FILTER_FLAG_NEW_LISTENER

// listen_to makes a filter of this thread's that asks about nr.
static int listen_to(int nr, int flags) {
	struct sock_filter f[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {4, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
static void need(void) {
	unsigned a = SECCOMP_RET_USER_NOTIF;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a)) SKIP("seccomp's listeners are not offered");
}
static struct seccomp_notif recv_from(int l) {
	struct seccomp_notif n;
	memset(&n, 0, sizeof n);
	OK(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n));
	return n;
}
static int reply(int l, uint64_t id, long val, int error, unsigned flags) {
	struct seccomp_notif_resp r = {.id = id, .val = val, .error = error, .flags = flags};
	return ioctl(l, SECCOMP_IOCTL_NOTIF_SEND, &r);
}
static bool valid(int l, uint64_t id) { return ioctl(l, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }
static int add(int l, uint64_t id, int fd, int newfd, unsigned flags, unsigned fdflags) {
	struct seccomp_notif_addfd a = {.id = id, .flags = flags, .srcfd = fd, .newfd = newfd, .newfd_flags = fdflags};
	return ioctl(l, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
}

// A target is a thread that has a listener for nr, and then runs a body.
struct target {
	int nr, flags;
	void (*body)(struct target *);
	atomic_int listener, tid;
	pthread_t thread;
	long result;
	int error;
};
static void *run_target(void *v) {
	struct target *t = v;
	t->tid = syscall(SYS_gettid);
	t->listener = OK(listen_to(t->nr, LISTENER | t->flags));
	t->body(t);
	return NULL;
}
static int begin(struct target *t) {
	t->listener = -1;
	PT(pthread_create(&t->thread, NULL, run_target, t));
	EVENTUALLY(t->listener >= 0);
	return t->listener;
}
static void end(struct target *t) { PT(pthread_join(t->thread, NULL)); }
static void ask(struct target *t) {
	t->result = syscall(t->nr, 11, 22, 33);
	t->error = t->result == -1 ? errno : 0;
}

CASE(sizes) {
	need();
	uint16_t s[4] = {0, 0, 0, 7};
	OK(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, s));
	EQ(s[0], sizeof(struct seccomp_notif));
	EQ(s[1], sizeof(struct seccomp_notif_resp));
	EQ(s[2], sizeof(struct seccomp_data));
	EQ(s[3], 7);
	ERR(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 1, s), EINVAL);
	ERR(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, 8), EFAULT);
}

CASE(flags_that_do_not_go_together) {
	need();
	ERR(listen_to(SYS_acct, LISTENER | SECCOMP_FILTER_FLAG_TSYNC), EINVAL);
	ERR(listen_to(SYS_acct, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), EINVAL);
	ERR(listen_to(SYS_acct, 64), EINVAL);
	int l = OK(listen_to(SYS_acct, LISTENER | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
	EQ(fcntl(l, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(l, F_GETFL) & O_ACCMODE, O_RDWR);
}

CASE(value_error_and_what_is_asked) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	EQ(n.pid, t.tid);
	EQ(n.flags, 0);
	EQ(n.data.nr, SYS_getppid);
	EQ(n.data.args[0], 11);
	EQ(n.data.args[2], 33);
	CHECK(n.data.instruction_pointer);
	OK(reply(l, n.id, 1234567890123, 0, 0));
	end(&t);
	EQ(t.result, 1234567890123);
	struct target u = {.nr = SYS_getppid, .body = ask};
	l = begin(&u);
	n = recv_from(l);
	OK(reply(l, n.id, 0, -ENOTTY, 0));
	end(&u);
	EQ(u.result, -1);
	EQ(u.error, ENOTTY);
	struct target v = {.nr = SYS_getppid, .body = ask}; // the error counts; it need not be one
	l = begin(&v);
	n = recv_from(l);
	OK(reply(l, n.id, 5, 77, 0));
	end(&v);
	EQ(v.result, 77);
}

CASE(continued) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	ERR(reply(l, n.id, 1, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE), EINVAL);
	ERR(reply(l, n.id, 0, -1, SECCOMP_USER_NOTIF_FLAG_CONTINUE), EINVAL);
	ERR(reply(l, n.id, 0, 0, 2), EINVAL);
	OK(reply(l, n.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
	end(&t);
	EQ(t.result, getppid());
}

static char where[64];
static void make_there(struct target *t) {
	t->result = syscall(SYS_mkdir, where, 0755);
	t->error = errno;
}
CASE(a_continued_call_sees_changed_memory) {
	need();
	strcpy(where, "before");
	struct target t = {.nr = SYS_mkdir, .body = make_there};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	EQ(n.data.args[0], (uintptr_t)where);
	strcpy(where, "after");
	OK(reply(l, n.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
	end(&t);
	EQ(t.result, 0);
	OK(access("after", F_OK));
	ERR(access("before", F_OK), ENOENT);
}

CASE(bad_requests) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	struct seccomp_notif n;
	memset(&n, 0, sizeof n);
	n.flags = 1;
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n), EINVAL);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, 8), EFAULT);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_SEND, 8), EFAULT);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_ID_VALID, 8), EFAULT);
	ERR(ioctl(l, FIONREAD, &n), EINVAL);
	ERR(ioctl(l, 0x2177, &n), EINVAL);
	char b[8];
	ERR(read(l, b, 8), EINVAL);
	ERR(write(l, b, 8), EINVAL);
	ERR(lseek(l, 0, SEEK_SET), ESPIPE);
	n = recv_from(l);
	CHECK(valid(l, n.id));
	CHECK(!valid(l, n.id + 1));
	uint64_t id = n.id;
	OK(ioctl(l, SECCOMP_IOR(2, uint64_t), &id)); // as older programs spell it
	ERR(reply(l, n.id + 1, 0, 0, 0), ENOENT);
	OK(reply(l, n.id, 0, 0, 0));
	end(&t);
	CHECK(!valid(l, n.id));
	ERR(reply(l, n.id, 0, 0, 0), ENOENT);
}

static void woken(int s) {}
CASE(receiving_when_nobody_is_left) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	OK(reply(l, n.id, 0, 0, 0));
	end(&t);
	on_signal(SIGALRM, woken, 0); // a kernel that waits for ever is told by EINTR
	alarm(5);
	memset(&n, 0, sizeof n);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n), ENOENT);
	alarm(0);
}

CASE(a_fault_gives_the_notification_back) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, p), EFAULT);
	struct seccomp_notif n = recv_from(l);
	OK(reply(l, n.id, 3, 0, 0));
	end(&t);
	EQ(t.result, 3);
}

static short events(int fd, int ms) {
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	OK(poll(&p, 1, ms));
	return p.revents;
}
static atomic_int go;
static void ask_later(struct target *t) {
	until(&go, 1);
	ask(t);
	until(&go, 2);
}
CASE(readiness) {
	need();
	struct target t = {.nr = SYS_getppid, .body = ask_later};
	int l = begin(&t), ep = OK(epoll_create1(0));
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e));
	EQ(events(l, 0), 0);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	go = 1;
	EQ(events(l, 10000), POLLIN);
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	EQ(e.events, EPOLLIN);
	struct seccomp_notif n = recv_from(l);
	EQ(events(l, 10000), POLLOUT);
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	EQ(e.events, EPOLLOUT);
	OK(reply(l, n.id, 0, 0, 0));
	EVENTUALLY(events(l, 0) == 0);
	go = 2;
	EVENTUALLY(events(l, 10000) == POLLHUP);
	end(&t);
	EQ(epoll_wait(ep, &e, 1, 10000), 1);
	EQ(e.events, EPOLLHUP);
}

CASE(a_received_one_waits_for_a_child_too) {
	need();
	int l = OK(listen_to(SYS_getppid, LISTENER));
	CHILD(p) {
		EQ(syscall(SYS_getppid), 42);
		CHILD(q) EQ(syscall(SYS_getppid), 43); // inherited
		JOIN(q);
	}
	struct seccomp_notif n = recv_from(l);
	EQ(n.pid, p);
	OK(reply(l, n.id, 42, 0, 0));
	uint64_t first = n.id;
	n = recv_from(l);
	CHECK((pid_t)n.pid != p);
	EQ(n.id, first + 1);
	OK(reply(l, n.id, 43, 0, 0));
	JOIN(p);
}

CASE(without_a_listener) {
	need();
	CHILD(p) {
		OK(listen_to(SYS_getppid, 0));
		ERR(syscall(SYS_getppid), ENOSYS);
	}
	JOIN(p);
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	recv_from(l);
	close(l);
	end(&t);
	EQ(t.error, ENOSYS);
	struct target u = {.nr = SYS_getppid, .body = ask};
	l = begin(&u);
	CHECK(ready(l, POLLIN, 10000));
	close(l);
	end(&u);
	EQ(u.error, ENOSYS);
}

CASE(one_listener_in_a_chain) {
	need();
	int l = OK(listen_to(SYS_getppid, LISTENER));
	ERR(listen_to(SYS_acct, LISTENER), EBUSY);
	int m = OK(dup(1)); // nothing was left behind
	EQ(m, l + 1);
	close(l);
	ERR(syscall(SYS_getppid), ENOSYS);
	OK(listen_to(SYS_acct, LISTENER));
}

static void handler(int s) {
	(void)s;
	go = 7;
}
CASE(a_signal_interrupts) {
	need();
	on_signal(SIGUSR1, handler, 0);
	struct target t = {.nr = SYS_getppid, .body = ask};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	settle(t.tid);
	PT(pthread_kill(t.thread, SIGUSR1));
	end(&t);
	EQ(t.error, EINTR);
	CHECK(!valid(l, n.id));
	ERR(reply(l, n.id, 0, 0, 0), ENOENT);
	on_signal(SIGUSR1, handler, SA_RESTART);
	struct target u = {.nr = SYS_getppid, .body = ask};
	l = begin(&u);
	n = recv_from(l);
	go = 0;
	settle(u.tid);
	PT(pthread_kill(u.thread, SIGUSR1));
	EVENTUALLY(go == 7);
	struct seccomp_notif again = recv_from(l); // the same call, asked anew
	EQ(again.id, n.id + 1);
	CHECK(!valid(l, n.id));
	OK(reply(l, again.id, 6, 0, 0));
	end(&u);
	EQ(u.result, 6);
}

CASE(a_signal_before_it_is_received) {
	need();
	on_signal(SIGUSR1, handler, 0);
	struct target t = {.nr = SYS_getppid, .body = ask_later, .flags = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV};
	int l = begin(&t);
	go = 1;
	CHECK(ready(l, POLLIN, 10000));
	settle(t.tid);
	PT(pthread_kill(t.thread, SIGUSR1));
	EVENTUALLY(go == 7);
	EVENTUALLY(events(l, 0) == 0);
	struct seccomp_notif n;
	memset(&n, 0, sizeof n);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n), ENOENT);
	go = 2;
	end(&t);
	EQ(t.error, EINTR);
}

CASE(only_what_kills_interrupts_a_received_one) {
	need();
	on_signal(SIGUSR1, handler, 0);
	struct target t = {.nr = SYS_getppid, .body = ask, .flags = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV};
	int l = begin(&t);
	struct seccomp_notif n = recv_from(l);
	go = 0;
	settle(t.tid);
	PT(pthread_kill(t.thread, SIGUSR1));
	sleep_ms(20);
	EQ(go, 0);
	CHECK(valid(l, n.id));
	OK(reply(l, n.id, 8, 0, 0));
	end(&t);
	EQ(t.result, 8);
	EQ(go, 7);
	l = OK(listen_to(SYS_getppid, LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV));
	CHILD(p) syscall(SYS_getppid);
	n = recv_from(l);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
	CHECK(!valid(l, n.id));
}

CASE(a_stop_asks_again) {
	need();
	int l = OK(listen_to(SYS_getppid, LISTENER));
	CHILD(p) EQ(syscall(SYS_getppid), 9);
	struct seccomp_notif n = recv_from(l);
	OK(kill(p, SIGSTOP));
	int st;
	EQ(waitpid(p, &st, WUNTRACED), p);
	CHECK(WIFSTOPPED(st));
	CHECK(!valid(l, n.id));
	OK(kill(p, SIGCONT));
	n = recv_from(l);
	OK(reply(l, n.id, 9, 0, 0));
	JOIN(p);
}

CASE(a_descriptor_is_added) {
	need();
	spew("f", "hello");
	int l = OK(listen_to(SYS_getppid, LISTENER));
	CHILD(p) {
		close(l);
		int fd = syscall(SYS_getppid);
		char b[6] = "";
		readn(fd, b, 5);
		STR(b, "hello");
		EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
		EQ(fcntl(50, F_GETFD), 0);
		EQ(lseek(50, 0, SEEK_CUR), 5); // one description
		int sent = syscall(SYS_getppid);
		EQ(sent, fd + 1);
		EQ(fcntl(sent, F_GETFD), 0);
		EQ(syscall(SYS_getppid), 60);
		OK(fcntl(60, F_GETFD));
	}
	int f = OK(open("f", O_RDONLY));
	struct seccomp_notif n = recv_from(l);
	int fd = OK(add(l, n.id, f, 0, 0, O_CLOEXEC));
	EQ(fd, l);
	EQ(add(l, n.id, f, 50, SECCOMP_ADDFD_FLAG_SETFD, 0), 50);
	EQ(add(l, n.id, l, 50, SECCOMP_ADDFD_FLAG_SETFD, 0), 50); // in its place
	EQ(add(l, n.id, f, 50, SECCOMP_ADDFD_FLAG_SETFD, 0), 50);
	OK(reply(l, n.id, fd, 0, 0));
	n = recv_from(l);
	EQ(add(l, n.id, f, 0, SECCOMP_ADDFD_FLAG_SEND, 0), fd + 1);
	CHECK(!valid(l, n.id));
	n = recv_from(l);
	EQ(add(l, n.id, f, 60, SECCOMP_ADDFD_FLAG_SEND | SECCOMP_ADDFD_FLAG_SETFD, O_CLOEXEC), 60);
	JOIN(p);
}

CASE(descriptors_that_cannot_be_added) {
	need();
	int l = OK(listen_to(SYS_getppid, LISTENER));
	CHILD(p) {
		struct rlimit few = {10, 10};
		OK(setrlimit(RLIMIT_NOFILE, &few));
		while (dup(1) >= 0);
		EQ(syscall(SYS_getppid), 5);
	}
	int f = OK(open("/dev/null", O_RDONLY)), o = OK(open("/dev/null", O_PATH));
	struct seccomp_notif n = recv_from(l);
	ERR(add(l, n.id, f, 0, 4, 0), EINVAL);
	ERR(add(l, n.id, f, 0, 0, O_NONBLOCK), EINVAL);
	ERR(add(l, n.id, f, 7, 0, 0), EINVAL);
	ERR(add(l, n.id, 99, 0, 0, 0), EBADF);
	ERR(add(l, n.id, o, 0, 0, 0), EBADF);
	ERR(add(l, n.id + 1, f, 0, 0, 0), ENOENT);
	ERR(add(l, n.id, f, 0, 0, 0), EMFILE);
	ERR(add(l, n.id, f, 0, SECCOMP_ADDFD_FLAG_SEND, 0), EMFILE);
	ERR(add(l, n.id, f, 10, SECCOMP_ADDFD_FLAG_SETFD, 0), EBADF);
	ERR(ioctl(l, SECCOMP_IOW(3, char[16]), &n), EINVAL);
	ERR(ioctl(l, SECCOMP_IOCTL_NOTIF_ADDFD, 8), EFAULT);
	struct {
		struct seccomp_notif_addfd a;
		uint64_t more;
	} big = {.a = {.id = n.id, .srcfd = f}, .more = 1};
	ERR(ioctl(l, SECCOMP_IOW(3, big), &big), E2BIG);
	CHECK(valid(l, n.id)); // it still waits
	OK(reply(l, n.id, 5, 0, 0));
	JOIN(p);
}

CASE(the_strictest_answer_is_asked_first) {
	need();
	int l = OK(listen_to(SYS_getppid, LISTENER));
	CHILD(p) {
		OK(listen_to(SYS_getppid, 0)); // newer, the same answer, without a listener
		ERR(syscall(SYS_getppid), ENOSYS);
		struct sock_filter e[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
					  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
		struct sock_fprog f = {4, e};
		OK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f));
		ERR(syscall(SYS_getppid), EDOM);
	}
	JOIN(p);
	EQ(events(l, 0), 0);
}

CASE(it_has_a_name) {
	need();
	int l = OK(listen_to(SYS_acct, LISTENER));
	char p[64], b[64];
	snprintf(p, sizeof p, "/proc/self/fd/%d", l);
	b[OK(readlink(p, b, 63))] = 0;
	STR(b, "anon_inode:seccomp notify");
	snprintf(p, sizeof p, "/proc/self/fdinfo/%d", l);
	CHECK(strstr(slurp(p), "flags:\t02000002\n"));
	struct stat st;
	OK(fstat(l, &st));
	EQ(st.st_mode, 0600);
}

CASE(many_at_once) {
	need();
	enum { N = 8, ROUNDS = 50 };
	int l = OK(listen_to(SYS_getppid, LISTENER));
	pid_t c[N];
	for (int i = 0; i < N; i++)
		if (!(c[i] = OK(fork()))) {
			for (int r = 0; r < ROUNDS; r++) EQ(syscall(SYS_getppid, i, r), i * 1000 + r);
			_exit(0);
		}
	for (int i = 0; i < N * ROUNDS; i++) {
		struct seccomp_notif n = recv_from(l);
		OK(reply(l, n.id, n.data.args[0] * 1000 + n.data.args[1], 0, 0));
	}
	for (int i = 0; i < N; i++) JOIN(c[i]);
}

CASE(two_listen) {
	need();
	static int l;
	l = OK(listen_to(SYS_getppid, LISTENER));
	void *answer(void *a) {
		for (;;) {
			struct seccomp_notif n;
			memset(&n, 0, sizeof n);
			if (ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n)) return a;
			reply(l, n.id, 1, 0, 0);
		}
	}
	CHILD(p) { // the listeners are outside the filter's users: the parent is one itself, so they are ended by exit
		pthread_t x, y;
		PT(pthread_create(&x, NULL, answer, NULL));
		PT(pthread_create(&y, NULL, answer, NULL));
		CHILD(q) for (int i = 0; i < 100; i++) EQ(syscall(SYS_getppid), 1);
		JOIN(q);
		_exit(0);
	}
	JOIN(p);
}
