// POSIX record locks, open-file-description locks and flock.
#include "case.h"
#include <sys/file.h>

static int lk(int fd, int cmd, int type, off_t start, off_t len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}
static struct flock get(int fd, int type, off_t start, off_t len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	OK(fcntl(fd, F_GETLK, &l));
	return l;
}
static int file(void) {
	spew("f", "0123456789");
	return OK(open("f", O_RDWR));
}

CASE(exclusive_between_processes) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_WRLCK, 2, 3));
	pid_t me = getpid();
	CHILD(p) {
		ERR(lk(fd, F_SETLK, F_RDLCK, 4, 1), EAGAIN);
		OK(lk(fd, F_SETLK, F_WRLCK, 5, 1));
		struct flock l = get(fd, F_RDLCK, 0, 0);
		EQ(l.l_type, F_WRLCK);
		EQ(l.l_start, 2);
		EQ(l.l_len, 3);
		EQ(l.l_pid, me);
		l = get(fd, F_WRLCK, 0, 2);
		EQ(l.l_type, F_UNLCK);
	}
	JOIN(p);
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0)); // the child's went with it
}

CASE(shared_locks) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_RDLCK, 0, 0));
	CHILD(p) {
		OK(lk(fd, F_SETLK, F_RDLCK, 0, 5));
		ERR(lk(fd, F_SETLK, F_WRLCK, 0, 5), EAGAIN);
	}
	JOIN(p);
}

CASE(split_and_merge) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(lk(fd, F_SETLK, F_UNLCK, 4, 2));
	CHILD(p) {
		OK(lk(fd, F_SETLK, F_WRLCK, 4, 2));
		ERR(lk(fd, F_SETLK, F_WRLCK, 3, 1), EAGAIN);
		struct flock l = get(fd, F_WRLCK, 6, 0);
		EQ(l.l_start, 6);
		EQ(l.l_len, 4);
	}
	JOIN(p);
	OK(lk(fd, F_SETLK, F_RDLCK, 0, 10)); // downgrade
	CHILD(q) { OK(lk(fd, F_SETLK, F_RDLCK, 0, 0)); }
	JOIN(q);
}

CASE(any_close_drops_them) {
	int fd = file(), g = OK(open("f", O_RDONLY));
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
	OK(close(g));
	CHILD(p) { OK(lk(fd, F_SETLK, F_WRLCK, 0, 0)); }
	JOIN(p);
}

CASE(not_inherited_by_fork_kept_by_exec) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
	CHILD(p) {
		ERR(lk(fd, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
	}
	JOIN(p);
	OK(lk(fd, F_SETLK, F_UNLCK, 0, 0));
	int fds[2];
	OK(pipe2(fds, O_CLOEXEC));
	CHILD(q) {
		OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
		execl("/bin/sleep", "sleep", "60", NULL);
	}
	close(fds[1]);
	char c;
	EQ(read(fds[0], &c, 1), 0);
	ERR(lk(fd, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
	OK(kill(q, SIGKILL));
	KILLED(q, SIGKILL);
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
}

CASE(waiting_lock) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		OK(lk(fd, F_SETLKW, F_WRLCK, 0, 0));
		writen(fds[1], "l", 1);
	}
	CHECK(!ready(fds[0], POLLIN, 60));
	OK(lk(fd, F_SETLK, F_UNLCK, 0, 0));
	CHECK(ready(fds[0], POLLIN, 10000));
	JOIN(p);
}

CASE(waiting_lock_is_interrupted) {
	int fd = file();
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 0));
	CHILD(p) {
		on_signal(SIGALRM, nothing, 0);
		struct itimerval it = {{0, 50000}, {0, 50000}};
		OK(setitimer(ITIMER_REAL, &it, NULL));
		ERR(lk(fd, F_SETLKW, F_WRLCK, 0, 0), EINTR);
	}
	JOIN(p);
}

CASE(deadlock_is_found) {
	int fd = file(), fds[2];
	OK(pipe(fds));
	OK(lk(fd, F_SETLK, F_WRLCK, 0, 1));
	CHILD(p) {
		OK(lk(fd, F_SETLK, F_WRLCK, 1, 1));
		writen(fds[1], "x", 1);
		OK(lk(fd, F_SETLKW, F_WRLCK, 0, 1));
	}
	char c;
	readn(fds[0], &c, 1);
	settle(p);
	sleep_ms(50);
	ERR(lk(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
	OK(lk(fd, F_SETLK, F_UNLCK, 0, 1));
	JOIN(p);
}

CASE(lock_errors) {
	int fd = file(), r = OK(open("f", O_RDONLY)), w = OK(open("f", O_WRONLY));
	ERR(lk(r, F_SETLK, F_WRLCK, 0, 0), EBADF);
	ERR(lk(w, F_SETLK, F_RDLCK, 0, 0), EBADF);
	ERR(lk(fd, F_SETLK, 9, 0, 0), EINVAL);
	ERR(lk(fd, F_SETLK, F_WRLCK, -1, 0), EINVAL);
	ERR(lk(99, F_SETLK, F_WRLCK, 0, 0), EBADF);
	ERR(fcntl(fd, F_SETLK, 8), EFAULT);
	struct flock l = {.l_type = F_WRLCK, .l_whence = 7};
	ERR(fcntl(fd, F_SETLK, &l), EINVAL);
}

CASE(whence_and_negative_length) {
	int fd = file();
	OK(lseek(fd, 5, SEEK_SET));
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 0, .l_len = -2};
	OK(fcntl(fd, F_SETLK, &l)); // bytes 3 and 4
	CHILD(p) {
		OK(lk(fd, F_SETLK, F_WRLCK, 5, 1));
		ERR(lk(fd, F_SETLK, F_WRLCK, 4, 1), EAGAIN);
		ERR(lk(fd, F_SETLK, F_WRLCK, 3, 1), EAGAIN);
		OK(lk(fd, F_SETLK, F_WRLCK, 2, 1));
	}
	JOIN(p);
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -1, .l_len = 1};
	OK(fcntl(fd, F_SETLK, &l));
	CHILD(q) { ERR(lk(fd, F_SETLK, F_WRLCK, 9, 1), EAGAIN); }
	JOIN(q);
}

CASE(lockf_works) {
	int fd = file();
	OK(lockf(fd, F_TLOCK, 4));
	CHILD(p) {
		int g = OK(open("f", O_RDWR));
		ERR(lockf(g, F_TEST, 4), EACCES);
		ERR(lockf(g, F_TLOCK, 4), EAGAIN);
	}
	JOIN(p);
	OK(lockf(fd, F_ULOCK, 4));
}

CASE(ofd_locks) {
	int a = file(), b = OK(open("f", O_RDWR)), c = OK(dup(a));
	OK(lk(a, F_OFD_SETLK, F_WRLCK, 0, 5));
	ERR(lk(b, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN);
	OK(lk(c, F_OFD_SETLK, F_WRLCK, 0, 1));
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	OK(fcntl(b, F_OFD_GETLK, &l));
	EQ(l.l_type, F_WRLCK);
	EQ(l.l_pid, -1);
	OK(close(a));
	ERR(lk(b, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN); // c still holds it
	OK(close(c));
	OK(lk(b, F_OFD_SETLK, F_WRLCK, 0, 1));
	l.l_pid = 5;
	ERR(fcntl(b, F_OFD_SETLK, &l), EINVAL);
}

CASE(ofd_locks_are_inherited) {
	int a = file();
	OK(lk(a, F_OFD_SETLK, F_WRLCK, 0, 0));
	CHILD(p) {
		OK(lk(a, F_OFD_SETLK, F_WRLCK, 0, 0));
		int b = OK(open("f", O_RDWR));
		ERR(lk(b, F_OFD_SETLK, F_WRLCK, 0, 0), EAGAIN);
		ERR(lk(b, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
	}
	JOIN(p);
}

CASE(flock_rules) {
	int a = file(), b = OK(open("f", O_RDONLY)), c = OK(dup(a));
	OK(flock(a, LOCK_EX));
	ERR(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	OK(flock(c, LOCK_EX | LOCK_NB));
	OK(flock(a, LOCK_SH));
	OK(flock(b, LOCK_SH | LOCK_NB));
	ERR(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(flock(b, LOCK_UN));
	OK(flock(a, LOCK_EX | LOCK_NB));
	OK(close(a));
	ERR(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(close(c));
	OK(flock(b, LOCK_EX | LOCK_NB));
	ERR(flock(b, 0), EINVAL);
	ERR(flock(99, LOCK_SH), EBADF);
}

CASE(flock_waits) {
	int a = file();
	OK(flock(a, LOCK_EX));
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		int b = OK(open("f", O_RDONLY));
		OK(flock(b, LOCK_EX));
		writen(fds[1], "x", 1);
	}
	CHECK(!ready(fds[0], POLLIN, 60));
	OK(flock(a, LOCK_UN));
	CHECK(ready(fds[0], POLLIN, 10000));
	JOIN(p);
}

CASE(flock_and_fcntl_do_not_meet) {
	int a = file();
	OK(flock(a, LOCK_EX));
	CHILD(p) {
		int b = OK(open("f", O_RDWR));
		OK(lk(b, F_SETLK, F_WRLCK, 0, 0));
	}
	JOIN(p);
}

CASE(flock_passes_to_child_that_keeps_it) {
	int a = file(), b = OK(open("f", O_RDONLY)), fds[2], go[2];
	OK(pipe(fds));
	OK(pipe(go));
	OK(flock(a, LOCK_EX));
	CHILD(p) {
		char c;
		readn(go[0], &c, 1);
	}
	OK(close(a));
	ERR(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	writen(go[1], "x", 1);
	JOIN(p);
	OK(flock(b, LOCK_EX | LOCK_NB));
}

CASE(counter_under_lock) {
	int *n = shared(PAGE);
	file();
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = OK(fork());
		if (p[i]) continue;
		int fd = OK(open("f", O_RDWR));
		for (int k = 0; k < 50; k++) {
			OK(lk(fd, F_SETLKW, F_WRLCK, 0, 0));
			int v = *(volatile int *)n;
			sched_yield();
			*(volatile int *)n = v + 1;
			OK(lk(fd, F_SETLK, F_UNLCK, 0, 0));
		}
		_exit(0);
	}
	for (int i = 0; i < 4; i++) JOIN(p[i]);
	EQ(*n, 200);
}

CASE(leases_answer) {
	int fd = file();
	long r = fcntl(fd, F_GETLEASE);
	CHECK(r == F_UNLCK || (r == -1 && errno == EINVAL));
}
