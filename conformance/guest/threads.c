// Threads as glibc uses them: creation, joins, mutexes, conditions, barriers, cancellation, TLS, rseq, membarrier.
#include "case.h"
#include <linux/membarrier.h>
#include <semaphore.h>
#include <sys/prctl.h>

CASE(create_and_join) {
	void *body(void *a) { return (void *)((long)a * 2); }
	pthread_t t[20];
	for (long i = 0; i < 20; i++) PT(pthread_create(&t[i], NULL, body, (void *)i));
	for (long i = 0; i < 20; i++) {
		void *r;
		PT(pthread_join(t[i], &r));
		EQ((long)r, i * 2);
	}
}

CASE(many_short_threads) {
	static atomic_int n;
	void *body(void *a) { n++; return a; }
	for (int i = 0; i < 500; i++) {
		pthread_t t;
		PT(pthread_create(&t, NULL, body, NULL));
		PT(pthread_join(t, NULL));
	}
	EQ(n, 500);
}

CASE(a_hundred_at_once) {
	static pthread_barrier_t b;
	PT(pthread_barrier_init(&b, NULL, 101));
	void *body(void *a) {
		pthread_barrier_wait(&b);
		return a;
	}
	pthread_t t[100];
	for (int i = 0; i < 100; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	char *s = slurp("/proc/self/status"), *l = strstr(s, "Threads:");
	CHECK(l);
	EQ(atoi(l + 8), 101);
	pthread_barrier_wait(&b);
	for (int i = 0; i < 100; i++) PT(pthread_join(t[i], NULL));
}

CASE(tids_differ_pid_is_one) {
	static pid_t tid[2], pid[2];
	void *body(void *a) {
		tid[(long)a] = syscall(SYS_gettid);
		pid[(long)a] = getpid();
		return a;
	}
	pthread_t t[2];
	for (long i = 0; i < 2; i++) PT(pthread_create(&t[i], NULL, body, (void *)i));
	for (int i = 0; i < 2; i++) PT(pthread_join(t[i], NULL));
	EQ(pid[0], getpid());
	EQ(pid[1], getpid());
	CHECK(tid[0] != tid[1] && tid[0] != getpid());
}

CASE(mutex_contention) {
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	static int n;
	void *body(void *a) {
		for (int i = 0; i < 20000; i++) {
			pthread_mutex_lock(&m);
			n++;
			pthread_mutex_unlock(&m);
		}
		return a;
	}
	pthread_t t[4];
	for (int i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
	EQ(n, 80000);
}

CASE(condition_ping_pong) {
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	static int turn;
	void *body(void *a) {
		for (int i = 0; i < 1000; i++) {
			pthread_mutex_lock(&m);
			while (turn != 1) pthread_cond_wait(&c, &m);
			turn = 0;
			pthread_cond_signal(&c);
			pthread_mutex_unlock(&m);
		}
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&m);
		while (turn != 0) pthread_cond_wait(&c, &m);
		turn = 1;
		pthread_cond_signal(&c);
		pthread_mutex_unlock(&m);
	}
	PT(pthread_join(t, NULL));
}

CASE(condition_times_out) {
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	struct timespec t;
	OK(clock_gettime(CLOCK_REALTIME, &t));
	t.tv_nsec += 30000000;
	if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
	PT(pthread_mutex_lock(&m));
	EQ(pthread_cond_timedwait(&c, &m, &t), ETIMEDOUT);
	PT(pthread_mutex_unlock(&m));
	PT(pthread_mutex_lock(&m));
	EQ(pthread_mutex_timedlock(&m, &t), ETIMEDOUT);
}

CASE(broadcast_wakes_all) {
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	static int go, up;
	void *body(void *a) {
		pthread_mutex_lock(&m);
		up++;
		while (!go) pthread_cond_wait(&c, &m);
		pthread_mutex_unlock(&m);
		return a;
	}
	pthread_t t[8];
	for (int i = 0; i < 8; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (;;) {
		pthread_mutex_lock(&m);
		if (up == 8) break;
		pthread_mutex_unlock(&m);
		sleep_ms(1);
	}
	go = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < 8; i++) PT(pthread_join(t[i], NULL));
}

CASE(process_shared_semaphore) {
	sem_t *s = shared(PAGE);
	OK(sem_init(s, 1, 0));
	CHILD(p) for (int i = 0; i < 100; i++) OK(sem_post(s));
	for (int i = 0; i < 100; i++) OK(sem_wait(s));
	JOIN(p);
	ERR(sem_trywait(s), EAGAIN);
	struct timespec t = {1, 0};
	ERR(sem_timedwait(s, &t), ETIMEDOUT);
}

CASE(named_semaphore) {
	char name[40];
	sprintf(name, "/conform-sem-%d", getpid());
	sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
	CHECK(s != SEM_FAILED);
	CHILD(p) {
		sem_t *q = sem_open(name, 0);
		CHECK(q != SEM_FAILED);
		OK(sem_post(q));
	}
	OK(sem_wait(s));
	JOIN(p);
	OK(sem_unlink(name));
}

CASE(process_shared_mutex_and_condition) {
	struct sh { pthread_mutex_t m; pthread_cond_t c; int v; } *s = shared(PAGE);
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_mutexattr_init(&ma);
	pthread_condattr_init(&ca);
	PT(pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED));
	PT(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
	PT(pthread_mutex_init(&s->m, &ma));
	PT(pthread_cond_init(&s->c, &ca));
	CHILD(p) {
		pthread_mutex_lock(&s->m);
		while (s->v < 100) pthread_cond_wait(&s->c, &s->m);
		pthread_mutex_unlock(&s->m);
	}
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&s->m);
		s->v++;
		pthread_cond_signal(&s->c);
		pthread_mutex_unlock(&s->m);
	}
	JOIN(p);
}

CASE(rwlock_and_once) {
	static pthread_rwlock_t l = PTHREAD_RWLOCK_INITIALIZER;
	static pthread_once_t o = PTHREAD_ONCE_INIT;
	static int a, b;
	static atomic_int inits;
	void init(void) { inits++; }
	void *body(void *x) {
		pthread_once(&o, init);
		for (int i = 0; i < 2000; i++) {
			if (x) {
				pthread_rwlock_wrlock(&l);
				a++, b++;
			} else {
				pthread_rwlock_rdlock(&l);
				if (a != b) case_fail(__FILE__, __LINE__, "torn");
			}
			pthread_rwlock_unlock(&l);
		}
		return x;
	}
	pthread_t t[4];
	for (long i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, (void *)(i & 1)));
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
	EQ(a, 4000);
	EQ(inits, 1);
}

CASE(cancellation_of_blocked_read) {
	static int f[2];
	OK(pipe(f));
	static atomic_int tid;
	void *body(void *a) {
		char c;
		tid = syscall(SYS_gettid);
		read(f[0], &c, 1);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	EVENTUALLY(tid);
	settle(tid);
	PT(pthread_cancel(t));
	void *r;
	PT(pthread_join(t, &r));
	CHECK(r == PTHREAD_CANCELED);
}

static __thread int tls = 5;
CASE(thread_local_storage) {
	void *body(void *a) {
		EQ(tls, 5);
		tls = (long)a;
		sched_yield();
		EQ(tls, (long)a);
		return a;
	}
	pthread_t t[4];
	for (long i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, (void *)(i + 100)));
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
	EQ(tls, 5);
	CHILD(p) EQ(tls, 5);
	JOIN(p);
}

CASE(arch_prctl_bases) {
	unsigned long fs = 0;
	OK(syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &fs));
	unsigned long self;
	asm("mov %%fs:0x10, %0" : "=r"(self));
	EQ(fs, self);
	ERR(syscall(SYS_arch_prctl, 0x9999, 0), EINVAL);
	ERR(syscall(SYS_arch_prctl, 0x1002, 0xffff800000000000), EPERM);
}

CASE(setuid_reaches_all_threads) {
	if (geteuid()) SKIP("needs root");
	static pthread_barrier_t b;
	PT(pthread_barrier_init(&b, NULL, 2));
	void *body(void *a) {
		pthread_barrier_wait(&b);
		pthread_barrier_wait(&b);
		EQ(geteuid(), 65534);
		return a;
	}
	CHILD(p) {
		pthread_t t;
		PT(pthread_create(&t, NULL, body, NULL));
		pthread_barrier_wait(&b);
		OK(setuid(65534)); // glibc signals every thread
		pthread_barrier_wait(&b);
		PT(pthread_join(t, NULL));
	}
	JOIN(p);
}

CASE(raw_credentials_are_per_thread) {
	if (geteuid()) SKIP("needs root");
	void *body(void *a) {
		OK(syscall(SYS_setresuid, 65534, 65534, 65534));
		EQ(syscall(SYS_geteuid), 65534);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	EQ(syscall(SYS_geteuid), 0);
}

CASE(unshare_files_in_thread) {
	void *body(void *a) {
		OK(syscall(SYS_unshare, CLONE_FILES));
		OK(close(0));
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	OK(fcntl(0, F_GETFD));
}

CASE(names) {
	char b[20] = "";
	PT(pthread_setname_np(pthread_self(), "fifteen-letters"));
	PT(pthread_getname_np(pthread_self(), b, sizeof b));
	STR(b, "fifteen-letters");
	STR(slurp("/proc/thread-self/comm"), "fifteen-letters\n");
	static pid_t tid;
	static pthread_barrier_t bar;
	PT(pthread_barrier_init(&bar, NULL, 2));
	void *body(void *a) {
		tid = syscall(SYS_gettid);
		prctl(PR_SET_NAME, "worker");
		pthread_barrier_wait(&bar);
		pthread_barrier_wait(&bar);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	pthread_barrier_wait(&bar);
	char path[60];
	sprintf(path, "/proc/self/task/%d/comm", tid);
	STR(slurp(path), "worker\n");
	pthread_barrier_wait(&bar);
	PT(pthread_join(t, NULL));
}

CASE(membarrier_commands) {
	long q = OK(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0));
	if (q & MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
		CHILD(p) {
			ERR(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
			OK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
			OK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
		}
		JOIN(p);
	}
	if (q & MEMBARRIER_CMD_GLOBAL) OK(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
	ERR(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
	ERR(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 77, 0), EINVAL);
}

CASE(rseq_registered_or_absent) {
	// glibc registered its own area, or the kernel has no rseq; a second area is refused either way
	static struct { uint32_t v[8]; } area __attribute__((aligned(32)));
	long r = syscall(SYS_rseq, &area, 32, 0, 0x53053053);
	CHECK(r == 0 || errno == ENOSYS || errno == EINVAL || errno == EBUSY);
	if (r == 0) OK(syscall(SYS_rseq, &area, 32, 1, 0x53053053));
	unsigned cpu = 999;
	OK(syscall(SYS_getcpu, &cpu, NULL, NULL));
	CHECK(cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
	CHECK(sched_getcpu() >= 0);
}

CASE(stack_size_and_guard) {
	pthread_attr_t a;
	PT(pthread_attr_init(&a));
	PT(pthread_attr_setstacksize(&a, 1 << 20));
	void *body(void *x) {
		volatile char big[800000];
		for (int i = 0; i < 800000; i += PAGE) big[i] = 1;
		return (void *)(long)big[0];
	}
	pthread_t t;
	PT(pthread_create(&t, &a, body, NULL));
	void *r;
	PT(pthread_join(t, &r));
	EQ((long)r, 1);
}

CASE(thread_limit_is_eagain) {
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(54321, 54321, 54321));
		struct rlimit r = {5, 5};
		OK(setrlimit(RLIMIT_NPROC, &r));
		void *body(void *a) {
			pause();
			return a;
		}
		int n = 0, e = 0;
		for (pthread_t t; n < 50 && !(e = pthread_create(&t, NULL, body, NULL)); n++);
		EQ(e, EAGAIN);
		CHECK(n <= 4);
		if (fork() >= 0) case_fail(__FILE__, __LINE__, "fork beyond the limit");
		EQ(errno, EAGAIN);
	}
	JOIN(p);
}

CASE(detached_threads_end) {
	static atomic_int n;
	void *body(void *a) {
		pthread_detach(pthread_self());
		n++;
		return a;
	}
	for (int i = 0; i < 100; i++) {
		pthread_t t;
		PT(pthread_create(&t, NULL, body, NULL));
	}
	EVENTUALLY(n == 100);
	EVENTUALLY(({
		char *s = slurp("/proc/self/status");
		int k = atoi(strstr(s, "Threads:") + 8);
		free(s);
		k;
	}) == 1);
}

CASE(malloc_in_threads) {
	void *body(void *a) {
		unsigned x = (long)a;
		void *p[64] = {};
		for (int i = 0; i < 5000; i++) {
			x = x * 1103515245 + 12345;
			int k = x >> 10 & 63;
			free(p[k]);
			size_t n = x >> 16 & 0x3fff;
			p[k] = memset(malloc(n + 1), k, n);
		}
		for (int i = 0; i < 64; i++) free(p[i]);
		return a;
	}
	pthread_t t[4];
	for (long i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, (void *)i));
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
}

CASE(threads_of_a_child_that_a_thread_forked) {
	static atomic_int n;
	void *count(void *a) {
		n++;
		return a;
	}
	void *forker(void *a) {
		CHILD(c) {
			pthread_t t[3];
			for (int i = 0; i < 3; i++) PT(pthread_create(&t[i], NULL, count, NULL));
			for (int i = 0; i < 3; i++) PT(pthread_join(t[i], NULL));
			EQ(n, 3);
			CHILD(d) {
				pthread_t u;
				PT(pthread_create(&u, NULL, count, NULL));
				PT(pthread_join(u, NULL));
				EQ(n, 4);
			}
			JOIN(d);
		}
		JOIN(c);
		return a;
	}
	pthread_t t[2];
	for (int i = 0; i < 2; i++) {
		PT(pthread_create(&t[i], NULL, forker, NULL));
		PT(pthread_join(t[i], NULL));
	}
}
