// futex operations by the raw call, private and shared, requeue, bitsets, PI, robust lists.
#include "case.h"
#include <linux/futex.h>

static long fx(void *a, int op, int val, const void *t, void *b, int val3) { return syscall(SYS_futex, a, op, val, t, b, val3); }
static const struct timespec soon = {0, 30000000}, later = {10, 0};

// waiter: a thread that waits on w (expecting 0) with the operation and reports what came.
struct waiter { int *w; int op, bits; pthread_t t; atomic_int tid; long r; int e; };
static void *wait_body(void *a) {
	struct waiter *x = a;
	x->tid = syscall(SYS_gettid);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec += 10;
	errno = 0;
	x->r = fx(x->w, x->op, 0, (x->op & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET ? &now : &later, NULL, x->bits);
	x->e = errno;
	return a;
}
static void start(struct waiter *x, int *w, int op, int bits) {
	*x = (struct waiter){.w = w, .op = op, .bits = bits};
	PT(pthread_create(&x->t, NULL, wait_body, x));
	EVENTUALLY(x->tid);
	settle(x->tid);
}

CASE(value_differs) {
	int w = 1;
	ERR(fx(&w, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EAGAIN);
	ERR(fx(&w, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN);
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
}

CASE(times_out) {
	int w = 0;
	long long t = now_ms();
	ERR(fx(&w, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), ETIMEDOUT);
	CHECK(now_ms() - t >= 29);
	ERR(fx(&w, FUTEX_WAIT, 0, &soon, NULL, 0), ETIMEDOUT);
	struct timespec past = {1, 0};
	ERR(fx(&w, FUTEX_WAIT_BITSET_PRIVATE, 0, &past, NULL, -1), ETIMEDOUT);
	ERR(fx(&w, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &past, NULL, -1), ETIMEDOUT);
}

CASE(wake_counts) {
	static int w;
	struct waiter x[3];
	for (int i = 0; i < 3; i++) start(&x[i], &w, FUTEX_WAIT_PRIVATE, 0);
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 99, NULL, NULL, 0), 1);
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 99, NULL, NULL, 0), 0);
	for (int i = 0; i < 3; i++) {
		PT(pthread_join(x[i].t, NULL));
		EQ(x[i].r, 0);
	}
}

CASE(bitset) {
	static int w;
	struct waiter a, b;
	start(&a, &w, FUTEX_WAIT_BITSET_PRIVATE, 1);
	start(&b, &w, FUTEX_WAIT_BITSET_PRIVATE, 2);
	EQ(fx(&w, FUTEX_WAKE_BITSET_PRIVATE, 99, NULL, NULL, 4), 0);
	EQ(fx(&w, FUTEX_WAKE_BITSET_PRIVATE, 99, NULL, NULL, 2), 1);
	PT(pthread_join(b.t, NULL));
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 99, NULL, NULL, 0), 1);
	PT(pthread_join(a.t, NULL));
	ERR(fx(&w, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	ERR(fx(&w, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0), EINVAL);
}

CASE(requeue) {
	static int a, b;
	struct waiter x[3];
	for (int i = 0; i < 3; i++) start(&x[i], &a, FUTEX_WAIT_PRIVATE, 0);
	ERR(fx(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &b, 5), EAGAIN);
	EQ(fx(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &b, 0), 3); // one woken, two moved
	EQ(fx(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0);
	EQ(fx(&b, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 2);
	for (int i = 0; i < 3; i++) {
		PT(pthread_join(x[i].t, NULL));
		EQ(x[i].r, 0);
	}
}

CASE(plain_requeue) {
	static int a, b;
	struct waiter x;
	start(&x, &a, FUTEX_WAIT_PRIVATE, 0);
	EQ(fx(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0), 1);
	EQ(fx(&b, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 1);
	PT(pthread_join(x.t, NULL));
}

CASE(wake_op) {
	static int a, b = 5;
	struct waiter x, y;
	start(&x, &a, FUTEX_WAIT_PRIVATE, 0);
	y = (struct waiter){.w = &b};
	// b = 1 by FUTEX_OP_SET; wake on b too when the old value equals 5
	EQ(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 5)), 1);
	EQ(b, 1);
	PT(pthread_join(x.t, NULL));
	b = 0;
	start(&y, &b, FUTEX_WAIT_PRIVATE, 0);
	EQ(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 0)), 1);
	EQ(b, 7);
	PT(pthread_join(y.t, NULL));
	EQ(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_OR, 8, FUTEX_OP_CMP_GT, 100)), 0);
	EQ(b, 15);
}

CASE(private_and_shared_are_apart) {
	static int w;
	struct waiter x;
	start(&x, &w, FUTEX_WAIT_PRIVATE, 0);
	EQ(fx(&w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	PT(pthread_join(x.t, NULL));
	start(&x, &w, FUTEX_WAIT, 0);
	EQ(fx(&w, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
	PT(pthread_join(x.t, NULL));
}

CASE(shared_between_processes) {
	int *w = shared(PAGE);
	CHILD(p) EQ(fx(w, FUTEX_WAIT, 0, &later, NULL, 0), 0);
	settle(p);
	EVENTUALLY(fx(w, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
	JOIN(p);
}

CASE(shared_by_file_at_two_addresses) {
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	OK(ftruncate(fd, 2 * PAGE));
	int *a = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE));
	CHILD(p) {
		int *b = OK(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		EQ(fx(b + PAGE / 4 + 3, FUTEX_WAIT, 0, &later, NULL, 0), 0);
	}
	settle(p);
	EVENTUALLY(fx(a + 3, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
	JOIN(p);
}

CASE(errors) {
	int w[2] = {0, 0};
	ERR(fx((char *)w + 1, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), EINVAL);
	ERR(fx((void *)8, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), EFAULT);
	ERR(fx((void *)8, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
	ERR(fx(w, 99, 0, NULL, NULL, 0), ENOSYS);
	ERR(fx(w, FUTEX_WAIT_PRIVATE, 0, (void *)8, NULL, 0), EFAULT);
	struct timespec bad = {0, 1000000000};
	ERR(fx(w, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0), EINVAL);
	ERR(fx(w, FUTEX_CMP_REQUEUE_PRIVATE, -1, (void *)1, &w[1], 0), EINVAL);
	ERR(fx(w, FUTEX_FD, 0, NULL, NULL, 0), ENOSYS);
}

CASE(interrupted) {
	int w = 0;
	on_signal(SIGALRM, nothing, 0);
	struct itimerval it = {{0, 30000}, {0, 30000}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	ERR(fx(&w, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINTR);
	on_signal(SIGALRM, nothing, SA_RESTART);
	struct timespec t = {0, 150000000};
	ERR(fx(&w, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0), EINTR); // with a time limit it is not restarted
}

CASE(pi_lock_unlock) {
	static int w;
	static atomic_int tried;
	int r = fx(&w, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	if (r < 0 && errno == ENOSYS) return; // a kernel built without PI futexes
	EQ(r, 0);
	EQ(w & FUTEX_TID_MASK, syscall(SYS_gettid));
	ERR(fx(&w, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
	void *body(void *a) {
		ERR(fx(&w, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EAGAIN);
		ERR(fx(&w, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EPERM);
		tried = syscall(SYS_gettid);
		EQ(fx(&w, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
		EQ(fx(&w, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	EVENTUALLY(tried);
	settle(tried);
	EQ(fx(&w, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
	PT(pthread_join(t, NULL));
	EQ(w, 0);
}

CASE(pi_mutex_of_glibc) {
	static pthread_mutex_t m;
	static int n;
	pthread_mutexattr_t at;
	PT(pthread_mutexattr_init(&at));
	PT(pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_INHERIT));
	int r = pthread_mutex_init(&m, &at);
	if (r == ENOTSUP) return;
	PT(r);
	void *body(void *a) {
		for (int i = 0; i < 200; i++) {
			PT(pthread_mutex_lock(&m));
			n++;
			PT(pthread_mutex_unlock(&m));
		}
		return a;
	}
	pthread_t t[3];
	for (int i = 0; i < 3; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (int i = 0; i < 3; i++) PT(pthread_join(t[i], NULL));
	EQ(n, 600);
}

CASE(robust_list_calls) {
	struct robust_list_head *h;
	size_t n;
	OK(syscall(SYS_get_robust_list, 0, &h, &n));
	EQ(n, sizeof *h);
	CHECK(h);
	ERR(syscall(SYS_set_robust_list, h, 5), EINVAL);
	ERR(syscall(SYS_get_robust_list, 99999999, &h, &n), ESRCH);
	OK(syscall(SYS_set_robust_list, h, n));
}

static pthread_mutex_t *robust(void *mem) {
	pthread_mutexattr_t at;
	PT(pthread_mutexattr_init(&at));
	PT(pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST));
	PT(pthread_mutexattr_setpshared(&at, PTHREAD_PROCESS_SHARED));
	PT(pthread_mutex_init(mem, &at));
	return mem;
}

CASE(robust_mutex_of_dead_thread) {
	static pthread_mutex_t *m;
	m = robust(shared(PAGE));
	void *body(void *a) {
		PT(pthread_mutex_lock(m));
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	EQ(pthread_mutex_lock(m), EOWNERDEAD);
	PT(pthread_mutex_consistent(m));
	PT(pthread_mutex_unlock(m));
	PT(pthread_mutex_lock(m));
}

CASE(robust_mutex_of_killed_process) {
	pthread_mutex_t *m = robust(shared(PAGE));
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		PT(pthread_mutex_lock(m));
		writen(f[1], "x", 1);
		for (;;) pause();
	}
	char c;
	readn(f[0], &c, 1);
	CHILD(k) {
		sleep_ms(30);
		kill(p, SIGKILL);
	}
	EQ(pthread_mutex_lock(m), EOWNERDEAD); // waits for the death
	PT(pthread_mutex_consistent(m));
	KILLED(p, SIGKILL);
	JOIN(k);
}

CASE(robust_mutex_across_exec) {
	pthread_mutex_t *m = robust(shared(PAGE));
	CHILD(p) {
		PT(pthread_mutex_lock(m));
		execl("/bin/true", "true", NULL);
	}
	JOIN(p);
	EQ(pthread_mutex_lock(m), EOWNERDEAD);
}

CASE(futex_waitv_or_enosys) {
	struct { uint64_t val, uaddr; uint32_t flags, res; } v[2];
	static uint32_t a, b = 1;
	v[0].val = 0, v[0].uaddr = (uintptr_t)&a, v[0].flags = 2 | 128, v[0].res = 0;
	v[1].val = 0, v[1].uaddr = (uintptr_t)&b, v[1].flags = 2 | 128, v[1].res = 0;
	long r = syscall(449, v, 2, 0, NULL, 0);
	CHECK(r == -1 && (errno == EAGAIN || errno == ENOSYS));
}

CASE(clear_child_tid_wakes) {
	int *w = shared(PAGE);
	*w = 1;
	int body(void *a) { return 0; }
	char *stack = anon(65536);
	pid_t q = OK(clone(body, stack + 65536, CLONE_CHILD_CLEARTID | CLONE_VM | SIGCHLD, NULL, NULL, NULL, w));
	for (int v; (v = *(volatile int *)w);)
		if (fx(w, FUTEX_WAIT, v, &later, NULL, 0) < 0) EQ(errno, EAGAIN);
	JOIN(q);
	EQ(syscall(SYS_set_tid_address, w), syscall(SYS_gettid));
}
