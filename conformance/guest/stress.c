// Many things at once: threads that fork and map, signals in the thick of it, storms of files and descriptors.
#include "case.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static void crew(int n, void *(*body)(void *)) {
	pthread_t t[16];
	for (long i = 0; i < n; i++) PT(pthread_create(&t[i], NULL, body, (void *)i));
	for (int i = 0; i < n; i++) PT(pthread_join(t[i], NULL));
}

CASE(threads_fork) {
	void *body(void *a) {
		for (int i = 0; i < 25; i++) {
			pid_t p = OK(fork());
			if (p == 0) _exit((long)a * 10 + i % 10);
			EXITS(p, (long)a * 10 + i % 10);
		}
		return a;
	}
	crew(4, body);
}

CASE(threads_fork_and_exec) {
	void *body(void *a) {
		for (int i = 0; i < 8; i++) {
			pid_t p = OK(fork());
			if (p == 0) {
				execl("/bin/true", "true", NULL);
				_exit(99);
			}
			JOIN(p);
		}
		return a;
	}
	crew(4, body);
}

CASE(threads_map_and_unmap) {
	void *body(void *a) {
		for (int i = 0; i < 500; i++) {
			size_t n = (1 + (i * 7 + (long)a) % 32) * PAGE;
			char *p = anon(n);
			for (size_t k = 0; k < n; k += PAGE) p[k] = i;
			if (i % 3 == 0) OK(mprotect(p, PAGE, PROT_READ));
			for (size_t k = 0; k < n; k += PAGE) EQ(p[k], (char)i);
			OK(munmap(p, n));
		}
		return a;
	}
	crew(4, body);
}

CASE(map_while_forking) {
	static atomic_int done;
	void *mapper(void *a) {
		while (!done) {
			char *p = anon(16 * PAGE);
			memset(p, 1, 16 * PAGE);
			munmap(p, 16 * PAGE);
		}
		return a;
	}
	pthread_t t[2];
	for (int i = 0; i < 2; i++) PT(pthread_create(&t[i], NULL, mapper, NULL));
	for (int i = 0; i < 40; i++) {
		CHILD(p) {
			char *q = anon(PAGE);
			q[0] = 1;
		}
		JOIN(p);
	}
	done = 1;
	for (int i = 0; i < 2; i++) PT(pthread_join(t[i], NULL));
}

CASE(signals_while_calling) {
	// a timer interrupts calls of every kind; none may be lost or answer wrongly
	static volatile int n;
	void h(int s) { n++; }
	on_signal(SIGALRM, h, SA_RESTART);
	struct itimerval it = {{0, 1000}, {0, 1000}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	int f[2];
	OK(pipe(f));
	spew("f", "abc");
	for (long long end = now_ms() + 700; now_ms() < end;) {
		char b[8];
		struct stat st;
		writen(f[1], "xyz", 3);
		readn(f[0], b, 3);
		MEM(b, "xyz", 3);
		OK(stat("f", &st));
		EQ(st.st_size, 3);
		char *p = anon(PAGE);
		p[0] = 1;
		OK(munmap(p, PAGE));
		int fd = OK(open("f", O_RDONLY));
		EQ(read(fd, b, 8), 3);
		OK(close(fd));
	}
	CHECK(n > 20);
}

CASE(signals_while_forking) {
	static volatile int n;
	void h(int s) { n++; }
	on_signal(SIGALRM, h, SA_RESTART);
	struct itimerval it = {{0, 2000}, {0, 2000}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	for (int i = 0; i < 60; i++) {
		CHILD(p) {}
		JOIN(p);
	}
	CHECK(n >= 0);
}

CASE(signals_between_threads_while_calling) {
	static pthread_t t[3];
	static atomic_int done, got;
	void h(int s) { got++; }
	on_signal(SIGUSR1, h, SA_RESTART);
	void *body(void *a) {
		int f[2];
		OK(pipe(f));
		while (!done) {
			char b[4];
			writen(f[1], "abcd", 4);
			readn(f[0], b, 4);
			MEM(b, "abcd", 4);
		}
		return a;
	}
	for (int i = 0; i < 3; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (int i = 0; i < 600; i++) {
		PT(pthread_kill(t[i % 3], SIGUSR1));
		if (i % 20 == 0) sleep_ms(1);
	}
	EVENTUALLY(got > 3);
	done = 1;
	for (int i = 0; i < 3; i++) PT(pthread_join(t[i], NULL));
}

CASE(descriptor_table_race) {
	void *body(void *a) {
		for (int i = 0; i < 500; i++) {
			int fd = OK(open("/dev/null", O_RDWR)), d = OK(dup(fd));
			EQ(write(d, "x", 1), 1);
			OK(close(fd));
			OK(close(d));
		}
		return a;
	}
	crew(4, body);
	EQ(nfds(), 3);
}

CASE(close_during_blocking_read) {
	static int f[2];
	OK(pipe(f));
	static atomic_int tid;
	void *body(void *a) {
		char c;
		tid = syscall(SYS_gettid);
		EQ(read(f[0], &c, 1), 1); // goes on with the open file it started on
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	EVENTUALLY(tid);
	settle(tid);
	int r = OK(dup(f[0]));
	OK(close(f[0]));
	writen(f[1], "x", 1);
	PT(pthread_join(t, NULL));
	(void)r;
}

CASE(files_created_by_threads) {
	void *body(void *a) {
		char n[40], m[40];
		for (int i = 0; i < 100; i++) {
			sprintf(n, "t%ld-%d", (long)a, i);
			sprintf(m, "r%ld-%d", (long)a, i);
			spew(n, "data");
			OK(rename(n, m));
			if (i % 2) OK(unlink(m));
		}
		return a;
	}
	crew(4, body);
	int left = 0;
	for (long t = 0; t < 4; t++)
		for (int i = 0; i < 100; i++) {
			char m[40];
			sprintf(m, "r%ld-%d", t, i);
			left += access(m, F_OK) == 0;
		}
	EQ(left, 200);
}

CASE(rename_race_in_one_directory) {
	spew("a", "1");
	spew("b", "2");
	void *body(void *x) {
		for (int i = 0; i < 200; i++) {
			if ((long)x & 1) rename("a", "b");
			else rename("b", "a");
		}
		return x;
	}
	crew(4, body);
	CHECK((access("a", F_OK) == 0) + (access("b", F_OK) == 0) == 1);
}

CASE(pipeline_of_processes) {
	int in[2], prev;
	OK(pipe(in));
	prev = in[0];
	for (int i = 0; i < 12; i++) {
		int f[2];
		OK(pipe(f));
		pid_t p = OK(fork());
		if (p == 0) {
			close(in[1]);
			close(f[0]);
			char b[4096];
			for (ssize_t n; (n = read(prev, b, sizeof b)) > 0;) {
				for (ssize_t k = 0; k < n; k++) b[k]++;
				writen(f[1], b, n);
			}
			_exit(0);
		}
		close(prev);
		close(f[1]);
		prev = f[0];
	}
	CHILD(w) {
		char *b = calloc(1, 300000);
		writen(in[1], b, 300000);
	}
	close(in[1]);
	char *b = malloc(300000), c;
	readn(prev, b, 300000);
	for (int i = 0; i < 300000; i++) EQ(b[i], 12);
	EQ(read(prev, &c, 1), 0);
	while (wait(NULL) > 0);
}

CASE(kill_storm) {
	pid_t p[20];
	for (int r = 0; r < 5; r++) {
		for (int i = 0; i < 20; i++) {
			p[i] = OK(fork());
			if (p[i] == 0)
				for (char b[64];;) {
					int fd = open("/proc/self/stat", O_RDONLY);
					if (fd >= 0) read(fd, b, 64), close(fd);
				}
		}
		for (int i = 0; i < 20; i++) OK(kill(p[i], i % 2 ? SIGKILL : SIGTERM));
		for (int i = 0; i < 20; i++) KILLED(p[i], i % 2 ? SIGKILL : SIGTERM);
	}
}

CASE(exit_while_threads_block) {
	for (int i = 0; i < 20; i++) {
		CHILD(p) {
			void *body(void *a) {
				if ((long)a % 3 == 0) pause();
				if ((long)a % 3 == 1) poll(NULL, 0, -1);
				for (;;) getppid();
				return a;
			}
			pthread_t t;
			for (long k = 0; k < 6; k++) PT(pthread_create(&t, NULL, body, (void *)k));
			if (i % 2) usleep(1000);
			_exit(i);
		}
		EXITS(p, i);
	}
}

CASE(epoll_with_many_threads) {
	static int ep, ev;
	static atomic_int got;
	ep = OK(epoll_create1(0));
	ev = OK(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK));
	struct epoll_event e = {.events = EPOLLIN};
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
	void *body(void *a) {
		while (got < 400) {
			struct epoll_event x;
			uint64_t v;
			if (OK(epoll_wait(ep, &x, 1, 50)) == 1 && read(ev, &v, 8) == 8) got++;
		}
		return a;
	}
	pthread_t t[4];
	for (int i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (int i = 0; i < 400; i++) {
		uint64_t one = 1;
		writen(ev, &one, 8);
	}
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
	EQ(got, 400);
}

CASE(socketpair_echo_by_many) {
	void *body(void *a) {
		int s[2];
		OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		pid_t p = OK(fork());
		if (p == 0) {
			close(s[0]);
			char b[256];
			for (ssize_t n; (n = read(s[1], b, sizeof b)) > 0;) writen(s[1], b, n);
			_exit(0);
		}
		close(s[1]);
		for (int i = 0; i < 200; i++) {
			char b[100], c[100];
			memset(b, i + (long)a, 100);
			writen(s[0], b, 100);
			readn(s[0], c, 100);
			MEM(b, c, 100);
		}
		shutdown(s[0], SHUT_RDWR);
		close(s[0]);
		JOIN(p);
		return a;
	}
	crew(4, body);
}

CASE(deep_recursion_in_thread) {
	void *body(void *a) {
		int f(int n) {
			volatile char b[500];
			b[0] = n;
			return n ? f(n - 1) + b[0] - b[0] : 0;
		}
		EQ(f(5000), 0);
		return a;
	}
	crew(4, body);
}

CASE(memory_comes_back) {
	for (int i = 0; i < 20; i++) {
		CHILD(p) {
			char *m = anon(40 << 20);
			memset(m, 1, 40 << 20);
		}
		JOIN(p);
	}
}

CASE(shared_counter_across_processes) {
	atomic_int *n = shared(PAGE);
	pid_t p[8];
	for (int i = 0; i < 8; i++) {
		p[i] = OK(fork());
		if (p[i]) continue;
		for (int k = 0; k < 100000; k++) (*n)++;
		_exit(0);
	}
	for (int i = 0; i < 8; i++) JOIN(p[i]);
	EQ(*n, 800000);
}

CASE(fork_and_new_code_while_a_thread_blocks) {
	// fresh call sites, forks and exits must not wait for a thread that sleeps in a read
	static int f[2];
	OK(pipe(f));
	void *body(void *a) {
		char c;
		EQ(read(f[0], &c, 1), 1);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	sleep_ms(20);
	unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
	for (int i = 0; i < 30; i++) {
		unsigned char *p = anon(PAGE);
		memcpy(p + 16 * i, code, sizeof code);
		OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		for (int k = 0; k < 3; k++) EQ(((int (*)(void))(p + 16 * i))(), getppid());
		CHILD(q) EQ(((int (*)(void))(p + 16 * i))(), getppid());
		JOIN(q);
	}
	writen(f[1], "x", 1);
	PT(pthread_join(t, NULL));
}
