// Many closes and duplicates of descriptors by one process: what a kernel may do faster, and must not do differently.
#include "case.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/inotify.h>

// warm closes and duplicates a directory's descriptor many times, and gives it.
static int warm(void) {
	int d = OK(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (int i = 0; i < 40; i++)
		OK(close(OK(dup(d))));
	return d;
}

CASE(lowest_number) {
	int d = warm();
	EQ(d, 3);
	for (int i = 0; i < 30; i++) {
		EQ(dup(d), 4);
		EQ(fcntl(d, F_DUPFD, 0), 5);
		EQ(fcntl(d, F_DUPFD_CLOEXEC, 8), 8);
		EQ(fcntl(4, F_DUPFD, 5), 6);
		EQ(fcntl(8, F_GETFD), FD_CLOEXEC);
		EQ(fcntl(6, F_GETFD), 0);
		OK(fcntl(6, F_SETFD, FD_CLOEXEC));
		EQ(fcntl(6, F_GETFD), FD_CLOEXEC);
		OK(fcntl(6, F_SETFD, FD_CLOEXEC));
		OK(fcntl(6, F_SETFD, 0));
		EQ(fcntl(6, F_GETFD), 0);
		OK(close(5));
		EQ(open("/", O_RDONLY), 5);
		OK(close(4));
		EQ(open("f", O_CREAT | O_RDWR, 0600), 4);
		OK(close(4)), OK(close(5)), OK(close(6)), OK(close(8));
		EQ(nfds(), 4);
	}
}

CASE(closed_is_closed) {
	int d = warm();
	char b[64];
	for (int i = 0; i < 30; i++) {
		int e = OK(dup(d));
		OK(close(e));
		ERR(close(e), EBADF);
		e = OK(dup(d));
		OK(close(e));
		ERR(fcntl(e, F_GETFD), EBADF);
		ERR(fcntl(e, F_DUPFD, 0), EBADF);
		ERR(dup(e), EBADF);
		e = OK(dup(d));
		OK(close(e));
		ERR(read(e, b, 1), EBADF);
		struct stat st;
		e = OK(dup(d));
		OK(close(e));
		ERR(fstat(e, &st), EBADF);
		e = OK(dup(d));
		OK(close(e));
		ERR(openat(e, "x", O_RDONLY), EBADF);
		ERR(close(-1), EBADF);
		ERR(close(1000), EBADF);
		ERR(fcntl(d, F_DUPFD, -1), EINVAL);
		ERR(fcntl(d, 999), EINVAL);
		OK(fstat(d, &st));
	}
}

CASE(pipes_end_at_once) {
	int d = warm(), p[2];
	atomic_int *w = shared(4096);
	OK(pipe2(p, O_NONBLOCK));
	CHILD(c) {
		char x;
		OK(close(p[1]));
		until(w, 1);
		EQ(read(p[0], &x, 1), 0);
	}
	OK(close(OK(dup(d))));
	OK(close(p[1]));
	atomic_store(w, 1);
	JOIN(c);
}

CASE(locks_end_at_once) {
	int d = warm();
	atomic_int *w = shared(4096);
	spew("l", "");
	CHILD(c) {
		int l = OK(open("l", O_RDONLY));
		for (int i = 0; i < 40; i++) {
			until(w, 2 * i + 1);
			OK(flock(l, LOCK_EX | LOCK_NB));
			OK(flock(l, LOCK_UN));
			atomic_store(w, 2 * i + 2);
		}
	}
	for (int i = 0; i < 40; i++) {
		int l = OK(open("l", O_RDONLY));
		OK(flock(l, LOCK_EX | LOCK_NB));
		OK(close(OK(dup(d))));
		OK(close(l));
		atomic_store(w, 2 * i + 1);
		until(w, 2 * i + 2);
	}
	JOIN(c);
}

CASE(others_see_the_table) {
	int d = warm();
	atomic_int *w = shared(4096);
	pid_t me = getpid();
	CHILD(c) {
		char path[64], link[256];
		for (int i = 0; i < 40; i++) {
			until(w, 2 * i + 1);
			snprintf(path, sizeof path, "/proc/%d/fd/9", me);
			if (i % 2)
				OK(readlink(path, link, sizeof link));
			else
				ERR(readlink(path, link, sizeof link), ENOENT);
			atomic_store(w, 2 * i + 2);
		}
	}
	for (int i = 0; i < 40; i++) {
		for (int k = 0; k < 20; k++)
			OK(close(OK(dup(d))));
		if (i % 2)
			EQ(fcntl(d, F_DUPFD, 9), 9);
		else if (i)
			OK(close(9));
		atomic_store(w, 2 * i + 1);
		until(w, 2 * i + 2);
	}
	JOIN(c);
}

CASE(close_is_told_of) {
	int d = warm();
	atomic_int *w = shared(4096);
	spew("f", "x");
	CHILD(c) {
		int n = OK(inotify_init());
		OK(inotify_add_watch(n, "f", IN_CLOSE_NOWRITE));
		for (int i = 0; i < 40; i++) {
			char b[4096];
			atomic_store(w, 2 * i + 1);
			CHECK(read(n, b, sizeof b) > 0);
			EQ(((struct inotify_event *)b)->mask, IN_CLOSE_NOWRITE);
			atomic_store(w, 2 * i + 2);
		}
	}
	for (int i = 0; i < 40; i++) {
		OK(close(OK(dup(d))));
		while (atomic_load(w) < 2 * i + 1)
			sched_yield();
		OK(close(OK(open("f", O_RDONLY))));
		while (atomic_load(w) < 2 * i + 2) // no call: the event must come by itself
			;
	}
	JOIN(c);
}

static void *numbers_thread(void *arg) {
	int *fd = arg;
	char b[1];
	ERR(read(fd[0], b, 1), EBADF);
	EQ(fcntl(fd[1], F_GETFD), 0);
	OK(close(fd[1]));
	fd[1] = OK(dup(fd[2]));
	return NULL;
}

CASE(threads_share_the_table) {
	int d = warm();
	for (int i = 0; i < 20; i++) {
		int fd[3] = {20, OK(fcntl(d, F_DUPFD, 21)), d};
		pthread_t t;
		OK(close(OK(fcntl(d, F_DUPFD, 20))));
		PT(pthread_create(&t, NULL, numbers_thread, fd));
		PT(pthread_join(t, NULL));
		struct stat st;
		ERR(fstat(21, &st), EBADF);
		OK(fstat(fd[1], &st));
		OK(close(fd[1]));
		for (int k = 0; k < 30; k++)
			OK(close(OK(dup(d))));
	}
}

HELPER(open_numbers) {
	struct stat st;
	int n = 0;
	for (int i = 3; i < 40; i++)
		n += fstat(i, &st) == 0;
	return n;
}

CASE(exec_closes_what_is_marked) {
	int d = warm();
	for (int i = 0; i < 5; i++) {
		EQ(fcntl(d, F_DUPFD_CLOEXEC, 10), 10);
		EQ(fcntl(d, F_DUPFD, 12), 12);
		EQ(fcntl(d, F_DUPFD, 14), 14);
		OK(close(14));
		CHILD(c) {
			for (int k = 0; k < 20; k++)
				OK(close(OK(dup(d))));
			EQ(fcntl(d, F_DUPFD, 16), 16);
			char *args[] = {"self", "--helper", "open_numbers", NULL};
			execv("/proc/self/exe", args);
			_exit(99);
		}
		EXITS(c, 2);
		OK(close(10)), OK(close(12));
	}
}

CASE(limit_of_numbers) {
	int d = warm();
	struct rlimit r = {10, 10};
	OK(setrlimit(RLIMIT_NOFILE, &r));
	for (int i = 0; i < 20; i++) {
		EQ(fcntl(d, F_DUPFD, 4), 4);
		ERR(fcntl(d, F_DUPFD, 10), EINVAL);
		EQ(fcntl(d, F_DUPFD, 9), 9);
		ERR(fcntl(d, F_DUPFD, 9), EMFILE);
		OK(close(9)), OK(close(4));
	}
}

CASE(executable_while_read) {
	int d = warm();
	spew("p", "#!/bin/sh\nexit 0\n");
	OK(chmod("p", 0755));
	for (int i = 0; i < 10; i++) {
		int w = OK(open("p", O_WRONLY));
		OK(close(OK(dup(d))));
		OK(close(w));
		CHILD(c) {
			char *args[] = {"p", NULL};
			execv("p", args);
			_exit(9);
		}
		JOIN(c);
	}
}

CASE(directory_read_again) {
	warm();
	spew("a", ""), spew("b", "");
	for (int i = 0; i < 40; i++) {
		char b[4096];
		int d = OK(open(".", O_RDONLY | O_DIRECTORY)), e = OK(dup(d));
		long n = OK(syscall(SYS_getdents64, d, b, sizeof b));
		CHECK(n > 0);
		EQ(syscall(SYS_getdents64, d, b, sizeof b), 0);
		EQ(syscall(SYS_getdents64, e, b, sizeof b), 0);
		OK(lseek(d, 0, SEEK_SET));
		EQ(syscall(SYS_getdents64, d, b, sizeof b), n);
		OK(lseek(e, 0, SEEK_SET));
		EQ(syscall(SYS_getdents64, d, b, sizeof b), n);
		EQ(syscall(SYS_getdents64, d, b, sizeof b), 0);
		OK(close(d)), OK(close(e));
		for (int k = 0; k < 20; k++)
			OK(close(OK(dup(0))));
	}
	atomic_int *w = shared(4096);
	for (int i = 0; i < 10; i++) {
		warm();
		char b[4096];
		int d = OK(open(".", O_RDONLY | O_DIRECTORY));
		atomic_store(w, 0);
		CHILD(c) {
			until(w, 1);
			OK(lseek(d, 0, SEEK_SET));
			OK(fcntl(d, F_SETFL, O_NONBLOCK));
			atomic_store(w, 2);
		}
		long n = OK(syscall(SYS_getdents64, d, b, sizeof b));
		int fl = OK(fcntl(d, F_GETFL));
		OK(lseek(d, 0, SEEK_SET));
		EQ(syscall(SYS_getdents64, d, b, sizeof b), n);
		atomic_store(w, 1);
		while (atomic_load(w) != 2)
			;
		EQ(syscall(SYS_getdents64, d, b, sizeof b), n);
		EQ(fcntl(d, F_GETFL), fl | O_NONBLOCK);
		JOIN(c);
		OK(close(d));
	}
}

CASE(flags_of_duplicates) {
	int d = warm();
	for (int i = 0; i < 30; i++) {
		int e = OK(dup(d)), fl = OK(fcntl(e, F_GETFL));
		EQ(fl, fcntl(d, F_GETFL));
		OK(fcntl(e, F_SETFL, O_NONBLOCK));
		EQ(fcntl(d, F_GETFL), fl | O_NONBLOCK);
		OK(fcntl(d, F_SETFL, 0));
		EQ(fcntl(e, F_GETFL), fl);
		OK(close(e));
		for (int k = 0; k < 20; k++)
			OK(close(OK(dup(d))));
	}
}
