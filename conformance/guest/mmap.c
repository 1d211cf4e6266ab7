// mmap, munmap, mprotect, mremap, brk, mincore, mlock, msync, madvise on anonymous memory and files.
#include "case.h"
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

// perms gives the rights that /proc/self/maps shows at p ("rw-p"), or "" when nothing is mapped there.
static char *perms(void *p) {
	static char out[5];
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f);
	char line[5000];
	out[0] = 0;
	while (fgets(line, sizeof line, f)) {
		unsigned long a, b;
		char r[5];
		if (sscanf(line, "%lx-%lx %4s", &a, &b, r) == 3 && a <= (unsigned long)p && (unsigned long)p < b) strcpy(out, r);
	}
	fclose(f);
	return out;
}
static int file(size_t n) {
	int fd = OK(open("f", O_RDWR | O_CREAT | O_TRUNC, 0644));
	OK(ftruncate(fd, n));
	return fd;
}

CASE(anonymous_is_zero) {
	char *p = OK(mmap(NULL, 10 * PAGE, RW, ANON, -1, 0));
	EQ((long)p % PAGE, 0);
	for (int i = 0; i < 10 * PAGE; i++) EQ(p[i], 0);
	STR(perms(p), "rw-p");
	OK(munmap(p, 10 * PAGE));
	EQ(readable(p), 0);
}

CASE(mmap_errors) {
	ERR(mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
	ERR(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
	ERR(mmap((void *)1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
	ERR(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
	ERR(mmap(NULL, PAGE, RW, MAP_PRIVATE, 0, 100), EINVAL);
	ERR(mmap(NULL, 1UL << 60, RW, ANON, -1, 0), ENOMEM);
	int fds[2];
	OK(pipe(fds));
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fds[0], 0), ENODEV);
	int d = OK(open(".", O_RDONLY));
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, d, 0), ENODEV);
	ERR(mmap((void *)0xfffffffffffff000, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	ERR(mmap(NULL, -PAGE, RW, ANON, -1, 0), ENOMEM);
}

CASE(mmap_access_errors) {
	spew("f", "x");
	int r = OK(open("f", O_RDONLY)), w = OK(open("f", O_WRONLY)), p = OK(open("f", O_PATH));
	ERR(mmap(NULL, PAGE, RW, MAP_SHARED, r, 0), EACCES);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, w, 0), EACCES);
	ERR(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, w, 0), EACCES);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, p, 0), EBADF);
	OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, r, 0));
	char *m = OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r, 0));
	ERR(mprotect(m, PAGE, RW), EACCES);
}

CASE(fixed_replaces) {
	char *p = anon(3 * PAGE);
	memset(p, 'a', 3 * PAGE);
	EQ((long)mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0), (long)(p + PAGE));
	EQ(p[PAGE - 1], 'a');
	EQ(p[PAGE], 0);
	EQ(p[2 * PAGE], 'a');
}

CASE(fixed_noreplace) {
	char *p = anon(2 * PAGE);
	ERR(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	OK(munmap(p, PAGE));
	EQ((long)mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), (long)p);
}

CASE(hint_is_honoured_when_free) {
	char *p = anon(16 * PAGE);
	OK(munmap(p, 16 * PAGE));
	EQ((long)mmap(p + 4 * PAGE, PAGE, RW, ANON, -1, 0), (long)(p + 4 * PAGE));
	CHECK(mmap(p + 4 * PAGE, PAGE, RW, ANON, -1, 0) != p + 4 * PAGE);
}

CASE(low_32_bit) {
	char *p = OK(mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0));
	CHECK((unsigned long)p < 1UL << 31);
	p[0] = 1;
}

CASE(large_noreserve) {
	char *p = OK(mmap(NULL, 64UL << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	OK(mprotect(p + (32UL << 30), PAGE, RW));
	p[32UL << 30] = 1;
	OK(munmap(p, 64UL << 30));
}

CASE(munmap_rules) {
	char *p = anon(4 * PAGE);
	ERR(munmap(p + 1, PAGE), EINVAL);
	ERR(munmap(p, 0), EINVAL);
	OK(munmap(p + PAGE, 1)); // rounded up
	EQ(readable(p + PAGE), 0);
	EQ(readable(p + 2 * PAGE), 1);
	OK(munmap(p, 4 * PAGE)); // over a hole
	OK(munmap(p, 4 * PAGE)); // nothing there
	ERR(munmap((void *)0xffff800000000000, PAGE), EINVAL);
}

CASE(mprotect_rules) {
	char *p = anon(4 * PAGE);
	OK(mprotect(p + PAGE, PAGE, PROT_READ));
	STR(perms(p), "rw-p");
	STR(perms(p + PAGE), "r--p");
	OK(mprotect(p + 2 * PAGE, PAGE, PROT_NONE));
	STR(perms(p + 2 * PAGE), "---p");
	EQ(readable(p + 2 * PAGE), 0);
	OK(mprotect(p + 3 * PAGE, PAGE, PROT_READ | PROT_EXEC));
	STR(perms(p + 3 * PAGE), "r-xp");
	ERR(mprotect(p + 1, PAGE, RW), EINVAL);
	OK(mprotect(p, 0, RW));
	ERR(mprotect(p, PAGE, 0x40), EINVAL);
	OK(munmap(p + 2 * PAGE, PAGE));
	ERR(mprotect(p, 4 * PAGE, RW), ENOMEM);
	STR(perms(p + PAGE), "rw-p"); // what came before the hole is changed
}

CASE(write_then_execute) {
	unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
	unsigned char *p = anon(PAGE);
	memcpy(p, code, sizeof code);
	OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	EQ(((int (*)(void))p)(), 42);
	OK(mprotect(p, PAGE, RW));
	p[1] = 43;
	OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	EQ(((int (*)(void))p)(), 43);
}

CASE(writable_and_executable_makes_a_call) {
	// mov $SYS_getppid,%eax; syscall; ret: in memory that can be written, then changed under the kernel's feet
	unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
	unsigned char *p = OK(mmap(NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0));
	memcpy(p, code, sizeof code);
	for (int i = 0; i < 50; i++) EQ(((int (*)(void))p)(), getppid());
	memcpy(p, code, sizeof code);
	p[1] = SYS_getpid;
	for (int i = 0; i < 50; i++) EQ(((int (*)(void))p)(), getpid());
}

CASE(private_file_mapping) {
	spew("f", "hello world");
	int fd = OK(open("f", O_RDWR));
	char *p = OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
	OK(close(fd));
	MEM(p, "hello world\0\0", 13);
	p[0] = 'J';
	STR(slurp("f"), "hello world");
	EQ(p[0], 'J');
}

CASE(shared_file_mapping_is_the_file) {
	int fd = file(2 * PAGE);
	char *p = OK(mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0)), b[8] = "";
	memcpy(p + PAGE - 2, "abcd", 4);
	EQ(pread(fd, b, 4, PAGE - 2), 4);
	MEM(b, "abcd", 4);
	EQ(pwrite(fd, "WXYZ", 4, 100), 4);
	MEM(p + 100, "WXYZ", 4);
	char *q = OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE));
	MEM(q, "cd", 2);
	OK(msync(p, 2 * PAGE, MS_SYNC));
	CHILD(c) {
		p[0] = 'C';
		int g = OK(open("f", O_RDONLY));
		char x;
		EQ(read(g, &x, 1), 1);
		EQ(x, 'C');
	}
	JOIN(c);
	EQ(p[0], 'C');
}

CASE(mapping_of_offset_and_tail) {
	int fd = file(3 * PAGE + 100);
	EQ(pwrite(fd, "tail", 4, 3 * PAGE), 4);
	char *p = OK(mmap(NULL, 100, RW, MAP_SHARED, fd, 3 * PAGE));
	MEM(p, "tail", 4);
	p[200] = 'x'; // beyond the end, within the page: not in the file
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_size, 3 * PAGE + 100);
	OK(ftruncate(fd, 4 * PAGE));
}

CASE(mapping_outlives_unlink) {
	int fd = file(PAGE);
	char *p = OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
	OK(unlink("f"));
	OK(close(fd));
	p[5] = 7;
	EQ(p[5], 7);
}

CASE(growing_a_file_under_a_mapping) {
	int fd = file(0);
	char *p = OK(mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0));
	OK(ftruncate(fd, 4 * PAGE));
	p[3 * PAGE] = 'z';
	char c;
	EQ(pread(fd, &c, 1, 3 * PAGE), 1);
	EQ(c, 'z');
}

CASE(write_from_own_mapping) {
	int fd = file(2 * PAGE);
	char *p = OK(mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0));
	memset(p, 'q', PAGE);
	EQ(pwrite(fd, p, PAGE, PAGE), PAGE);
	EQ(p[2 * PAGE - 1], 'q');
	EQ(pread(fd, p + PAGE, 10, 0), 10);
}

CASE(shared_anonymous_across_fork) {
	int *p = shared(PAGE);
	CHILD(c) { p[3] = 33; }
	JOIN(c);
	EQ(p[3], 33);
	STR(perms(p), "rw-s");
}

CASE(mremap_grow_shrink) {
	char *p = anon(4 * PAGE);
	p[0] = 1, p[4 * PAGE - 1] = 2;
	char *q = OK(mremap(p, 4 * PAGE, 2000 * PAGE, MREMAP_MAYMOVE));
	EQ(q[0], 1);
	EQ(q[4 * PAGE - 1], 2);
	EQ(q[1999 * PAGE], 0);
	EQ((long)mremap(q, 2000 * PAGE, PAGE, 0), (long)q);
	EQ(readable(q + PAGE), 0);
}

CASE(mremap_in_place_blocked) {
	char *p = anon(3 * PAGE);
	OK(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	ERR(mremap(p, PAGE, 3 * PAGE, 0), ENOMEM);
}

CASE(mremap_fixed_and_errors) {
	char *p = anon(2 * PAGE), *dst = anon(4 * PAGE);
	memset(p, 'm', 2 * PAGE);
	EQ((long)mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, dst + PAGE), (long)(dst + PAGE));
	EQ(dst[PAGE], 'm');
	EQ(dst[0], 0);
	EQ(readable(p), 0);
	ERR(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE), EFAULT);
	ERR(mremap(dst + 1, PAGE, PAGE, 0), EINVAL);
	ERR(mremap(dst, PAGE, 0, 0), EINVAL);
	ERR(mremap(dst, PAGE, PAGE, MREMAP_FIXED, dst), EINVAL);
	ERR(mremap(dst, PAGE, PAGE, 0x80), EINVAL);
}

CASE(mremap_of_file_mapping) {
	int fd = file(8 * PAGE);
	EQ(pwrite(fd, "end", 3, 7 * PAGE), 3);
	char *p = OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
	p[0] = 'f';
	p = OK(mremap(p, PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	EQ(p[0], 'f');
	MEM(p + 7 * PAGE, "end", 3);
}

CASE(mremap_dontunmap) {
	char *p = anon(PAGE);
	p[0] = 9;
	char *q = OK(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | 4, NULL));
	EQ(q[0], 9);
	EQ(p[0], 0);
}

CASE(brk_moves) {
	char *b = sbrk(0);
	OK(sbrk(10 * PAGE));
	memset(b, 'b', 10 * PAGE);
	EQ((long)sbrk(0), (long)b + 10 * PAGE);
	OK(sbrk(-5 * PAGE));
	EQ(readable(b + 4 * PAGE), 1);
	OK(sbrk(5 * PAGE));
	EQ(b[9 * PAGE], 0); // fresh pages
	EQ(syscall(SYS_brk, 1), (long)b + 10 * PAGE); // refused: the break as it is
	char *e = sbrk(100);
	EQ((long)sbrk(0), (long)e + 100); // not rounded
}

CASE(mincore_works) {
	char *p = anon(4 * PAGE);
	unsigned char v[4];
	p[PAGE] = 1;
	OK(mincore(p, 4 * PAGE, v));
	EQ(v[1] & 1, 1);
	EQ(v[2] & 1, 0);
	OK(munmap(p + 2 * PAGE, PAGE));
	ERR(mincore(p, 4 * PAGE, v), ENOMEM);
	ERR(mincore(p + 1, PAGE, v), EINVAL);
	ERR(mincore(p, PAGE, (void *)8), EFAULT);
}

CASE(madvise_dontneed_zeroes) {
	char *p = anon(3 * PAGE);
	memset(p, 'x', 3 * PAGE);
	OK(madvise(p + PAGE, PAGE, MADV_DONTNEED));
	EQ(p[0], 'x');
	EQ(p[PAGE], 0);
	EQ(p[2 * PAGE], 'x');
	spew("f", "file");
	int fd = OK(open("f", O_RDONLY));
	char *q = OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
	q[0] = 'F';
	OK(madvise(q, PAGE, MADV_DONTNEED));
	EQ(q[0], 'f');
}

static void *drops_stack(void *arg) {
	char *low = arg;
	for (int i = 0; i < 40; i++) {
		memset(low + PAGE, 'x', 3 * PAGE);
		OK(madvise(low + 2 * PAGE, PAGE, MADV_DONTNEED));
		EQ(low[PAGE], 'x');
		EQ(low[2 * PAGE], 0);
		EQ(low[3 * PAGE], 'x');
		ERR(madvise(low + 1, PAGE, MADV_DONTNEED), EINVAL);
		OK(madvise(low, 0, MADV_DONTNEED));
		OK(madvise(low + PAGE, 1, MADV_DONTNEED));
		EQ(low[PAGE], 0);
		ERR(madvise(low - PAGE, 3 * PAGE, MADV_DONTNEED), ENOMEM); // a hole in front, and yet
		EQ(low[PAGE], 0);
		ERR(madvise(low, -PAGE, MADV_DONTNEED), EINVAL);
	}
	memset(low + PAGE, 'x', PAGE);
	OK(mlock(low + PAGE, PAGE));
	ERR(madvise(low + PAGE, PAGE, MADV_DONTNEED), EINVAL);
	EQ(low[PAGE], 'x');
	OK(munlock(low + PAGE, PAGE));
	OK(madvise(low + PAGE, PAGE, MADV_DONTNEED));
	EQ(low[PAGE], 0);
	return NULL;
}

CASE(thread_drops_pages_of_its_stack) {
	pthread_attr_t a;
	pthread_t t;
	char *p = (char *)anon(65 * PAGE) + PAGE;
	OK(munmap(p - PAGE, PAGE));
	PT(pthread_attr_init(&a));
	PT(pthread_attr_setstack(&a, p, 64 * PAGE));
	PT(pthread_create(&t, &a, drops_stack, p));
	PT(pthread_join(t, NULL));
}

CASE(madvise_errors) {
	char *p = anon(2 * PAGE);
	ERR(madvise(p + 1, PAGE, MADV_NORMAL), EINVAL);
	ERR(madvise(p, PAGE, 9999), EINVAL);
	OK(madvise(p, PAGE, MADV_WILLNEED));
	OK(madvise(p, PAGE, MADV_RANDOM));
	OK(madvise(p, PAGE, MADV_FREE));
	OK(madvise(p, PAGE, MADV_DONTFORK));
	OK(madvise(p, 0, MADV_DONTNEED));
	OK(munmap(p, 2 * PAGE));
	ERR(madvise(p, PAGE, MADV_DONTNEED), ENOMEM);
}

CASE(madvise_dontfork_wipeonfork) {
	char *p = anon(PAGE), *q = anon(PAGE);
	p[0] = q[0] = 1;
	OK(madvise(p, PAGE, MADV_DONTFORK));
	OK(madvise(q, PAGE, MADV_WIPEONFORK));
	CHILD(c) {
		EQ(readable(p), 0);
		EQ(q[0], 0);
	}
	JOIN(c);
	EQ(p[0] + q[0], 2);
}

CASE(madvise_remove_punches) {
	int fd = OK(memfd_create("m", 0));
	OK(ftruncate(fd, 2 * PAGE));
	char *p = OK(mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0));
	memset(p, 'x', 2 * PAGE);
	OK(madvise(p, PAGE, MADV_REMOVE));
	EQ(p[0], 0);
	EQ(p[PAGE], 'x');
}

CASE(mlock_family) {
	char *p = anon(2 * PAGE);
	OK(mlock(p, 2 * PAGE));
	OK(munlock(p, 2 * PAGE));
	OK(syscall(SYS_mlock2, p, PAGE, 1));
	ERR(syscall(SYS_mlock2, p, PAGE, 8), EINVAL);
	OK(munlockall());
	ERR(mlockall(0), EINVAL);
	ERR(mlockall(8), EINVAL);
	OK(munmap(p, 2 * PAGE));
	ERR(mlock(p, PAGE), ENOMEM);
}

CASE(msync_rules) {
	char *p = anon(2 * PAGE);
	OK(msync(p, PAGE, MS_SYNC));
	OK(msync(p, PAGE, MS_ASYNC | MS_INVALIDATE));
	ERR(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	ERR(msync(p + 1, PAGE, MS_SYNC), EINVAL);
	ERR(msync(p, PAGE, 0x80), EINVAL);
	OK(munmap(p + PAGE, PAGE));
	ERR(msync(p, 2 * PAGE, MS_SYNC), ENOMEM);
}

CASE(address_space_limit) {
	CHILD(c) {
		struct rlimit r = {256 << 20, 256 << 20};
		OK(setrlimit(RLIMIT_AS, &r));
		ERR(mmap(NULL, 300 << 20, RW, ANON, -1, 0), ENOMEM);
		OK(mmap(NULL, 10 << 20, RW, ANON, -1, 0));
		CHECK(malloc(400 << 20) == NULL);
	}
	JOIN(c);
}

CASE(data_limit) {
	CHILD(c) {
		struct rlimit r = {32 << 20, 32 << 20};
		OK(setrlimit(RLIMIT_DATA, &r));
		ERR(mmap(NULL, 64 << 20, RW, ANON, -1, 0), ENOMEM);
		ERR(sbrk(64 << 20), ENOMEM);
		OK(mmap(NULL, 64 << 20, PROT_READ, ANON, -1, 0));
	}
	JOIN(c);
}

CASE(maps_merge_and_split) {
	int lines(void) {
		char *s = slurp("/proc/self/maps");
		int n = 0;
		for (; *s; s++) n += *s == '\n';
		return n;
	}
	char *p = OK(mmap(NULL, 64 * PAGE, PROT_NONE, ANON, -1, 0));
	int before = lines();
	OK(mprotect(p + 10 * PAGE, PAGE, RW));
	CHECK(lines() >= before + 2);
	OK(mprotect(p + 10 * PAGE, PAGE, PROT_NONE));
	CHECK(lines() <= before + 2);
}

CASE(dev_zero_mappings) {
	int fd = OK(open("/dev/zero", O_RDWR));
	char *p = OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
	p[0] = 1;
	char *q = OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
	EQ(q[0], 0);
	CHILD(c) { q[1] = 4; }
	JOIN(c);
	EQ(q[1], 4);
}

CASE(noexec_file_and_populate) {
	int fd = file(4 * PAGE);
	char *p = OK(mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, 0));
	unsigned char v[4];
	OK(mincore(p, 4 * PAGE, v));
	EQ(v[3] & 1, 1);
	OK(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
}

CASE(shared_validate) {
	int fd = file(PAGE);
	OK(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE, fd, 0));
	ERR(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0), EOPNOTSUPP);
}

CASE(growsdown_stack) {
	char *p = OK(mmap(NULL, 64 * PAGE, PROT_NONE, ANON, -1, 0));
	OK(munmap(p, 64 * PAGE));
	char *top = OK(mmap(p + 63 * PAGE, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
	top[0] = 1;
}

CASE(pkey_calls_answer) {
	int k = pkey_alloc(0, 0);
	CHECK(k > 0 || (k == -1 && (errno == ENOSPC || errno == ENOSYS || errno == EINVAL)));
	if (k > 0) OK(pkey_free(k));
}

CASE(process_vm_own) {
	char a[20] = "source", b[20] = "";
	struct iovec l = {b, 7}, r = {a, 7};
	EQ(syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 0), 7);
	STR(b, "source");
	strcpy(b, "target");
	EQ(syscall(SYS_process_vm_writev, getpid(), &l, 1, &r, 1, 0), 7);
	STR(a, "target");
	r.iov_base = (void *)8;
	ERR(syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 0), EFAULT);
	ERR(syscall(SYS_process_vm_readv, 99999999, &l, 1, &r, 1, 0), ESRCH);
	ERR(syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 1), EINVAL);
}

CASE(process_vm_child) {
	static char buf[100] = "parent";
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		strcpy(buf, "child");
		writen(fds[1], "x", 1);
		for (;;) pause();
	}
	char c, out[10] = "";
	readn(fds[0], &c, 1);
	struct iovec l = {out, 6}, r = {buf, 6};
	EQ(process_vm_readv(p, &l, 1, &r, 1, 0), 6);
	STR(out, "child");
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
	STR(buf, "parent");
}
