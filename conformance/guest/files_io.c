// read, write and their vector and positioned forms, lseek, truncate, fallocate, holes, sync.
#include "case.h"

static int file(const char *text) {
	spew("f", text);
	return OK(open("f", O_RDWR));
}
static off_t size(int fd) {
	struct stat st;
	OK(fstat(fd, &st));
	return st.st_size;
}

CASE(read_write_move_the_offset) {
	int fd = file("");
	EQ(write(fd, "hello", 5), 5);
	EQ(lseek(fd, 0, SEEK_CUR), 5);
	EQ(lseek(fd, 1, SEEK_SET), 1);
	char b[10] = "";
	EQ(read(fd, b, 10), 4);
	STR(b, "ello");
	EQ(read(fd, b, 10), 0);
	EQ(read(fd, b, 0), 0);
	EQ(write(fd, b, 0), 0);
}

CASE(rw_errors) {
	int fd = file("x");
	ERR(read(99, NULL, 0), EBADF);
	ERR(read(-1, NULL, 0), EBADF);
	ERR(write(99, NULL, 0), EBADF);
	ERR(read(fd, (void *)8, 1), EFAULT);
	ERR(write(fd, (void *)8, 1), EFAULT);
	int d = OK(open(".", O_RDONLY));
	char c;
	ERR(read(d, &c, 1), EISDIR);
	ERR(write(d, &c, 1), EBADF);
	EQ(lseek(fd, 0, SEEK_CUR), 0);
}

CASE(partial_fault) {
	// the good part counts
	char *p = anon(2 * PAGE);
	OK(munmap(p + PAGE, PAGE));
	int fd = file("");
	memset(p, 'a', PAGE);
	ssize_t n = write(fd, p + PAGE - 100, 200);
	CHECK(n == 100 || (n == -1 && errno == EFAULT));
	int fds[2];
	OK(pipe(fds));
	writen(fds[1], p, 50);
	EQ(read(fds[0], p + PAGE - 50, 100), 50);
}

CASE(seek_rules) {
	int fd = file("0123456789");
	EQ(lseek(fd, -3, SEEK_END), 7);
	EQ(lseek(fd, 5, SEEK_CUR), 12);
	ERR(lseek(fd, -1, SEEK_SET), EINVAL);
	ERR(lseek(fd, -11, SEEK_END), EINVAL);
	EQ(lseek(fd, 0, SEEK_CUR), 12);
	ERR(lseek(fd, 0, 99), EINVAL);
	int fds[2];
	OK(pipe(fds));
	ERR(lseek(fds[0], 0, SEEK_CUR), ESPIPE);
	ERR(pread(fds[0], fds, 1, 0), ESPIPE);
	ERR(pwrite(fds[1], fds, 1, 0), ESPIPE);
	char c;
	EQ(lseek(fd, 1L << 40, SEEK_SET), 1L << 40);
	EQ(read(fd, &c, 1), 0);
	ERR(lseek(fd, LONG_MAX, SEEK_CUR), EINVAL);
}

CASE(write_past_the_end_leaves_zeros) {
	int fd = file("ab");
	EQ(pwrite(fd, "z", 1, 10000), 1);
	EQ(size(fd), 10001);
	char b[10001];
	EQ(pread(fd, b, sizeof b, 0), 10001);
	for (int i = 2; i < 10000; i++) EQ(b[i], 0);
	EQ(b[10000], 'z');
}

CASE(positioned) {
	int fd = file("0123456789");
	char b[4] = "";
	EQ(pread(fd, b, 3, 4), 3);
	STR(b, "456");
	EQ(pread(fd, b, 3, 9), 1);
	EQ(pread(fd, b, 3, 10), 0);
	EQ(pwrite(fd, "XY", 2, 3), 2);
	EQ(lseek(fd, 0, SEEK_CUR), 0);
	STR(slurp("f"), "012XY56789");
	ERR(pread(fd, b, 1, -1), EINVAL);
	ERR(pwrite(fd, b, 1, -1), EINVAL);
}

CASE(vectors) {
	int fd = file("");
	struct iovec w[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}};
	EQ(writev(fd, w, 3), 7);
	char x[2], y[10] = "";
	struct iovec r[2] = {{x, 2}, {y, 10}};
	EQ(preadv(fd, r, 2, 1), 6);
	MEM(x, "bc", 2);
	STR(y, "defg");
	EQ(pwritev(fd, w, 3, 7), 7);
	STR(slurp("f"), "abcdefgabcdefg");
	EQ(lseek(fd, 0, SEEK_SET), 0);
	EQ(readv(fd, r, 2), 12);
	EQ(lseek(fd, 0, SEEK_CUR), 12);
}

CASE(vector_errors) {
	int fd = file("12345");
	struct iovec v[2] = {{(void *)8, 5}, {NULL, 0}};
	ERR(readv(fd, v, 1), EFAULT);
	ERR(readv(fd, v, -1), EINVAL);
	ERR(writev(fd, v, 1025), EINVAL);
	EQ(readv(fd, v, 0), 0);
	ERR(readv(fd, (void *)8, 1), EFAULT);
	char b[4];
	struct iovec bad[2] = {{b, 4}, {b, (size_t)-1}};
	ERR(readv(fd, bad, 2), EINVAL);
}

CASE(many_vectors) {
	int fd = file("");
	struct iovec v[1024];
	for (int i = 0; i < 1024; i++) v[i] = (struct iovec){"xyz", 3};
	EQ(writev(fd, v, 1024), 3072);
	EQ(size(fd), 3072);
}

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
CASE(pwritev2_noappend) {
	int fd = file("abc");
	struct iovec v = {"Z", 1};
	if (pwritev2(fd, &v, 1, 0, RWF_NOAPPEND) < 0 && errno == EOPNOTSUPP) SKIP("no RWF_NOAPPEND before Linux 6.9");
	STR(slurp("f"), "Zbc");
	OK(fcntl(fd, F_SETFL, O_APPEND));
	EQ(pwritev2(fd, &v, 1, 1, RWF_NOAPPEND), 1);
	STR(slurp("f"), "ZZc");
	EQ(lseek(fd, 2, SEEK_SET), 2);
	EQ(pwritev2(fd, &v, 1, -1, RWF_NOAPPEND), 1);
	STR(slurp("f"), "ZZZ");
	EQ(lseek(fd, 0, SEEK_CUR), 3);
	EQ(pwritev2(fd, &v, 1, 0, 0), 1);
	STR(slurp("f"), "ZZZZ");
	ERR(pwritev2(fd, &v, 1, 0, RWF_APPEND | RWF_NOAPPEND), EINVAL);
}

CASE(pwritev2_flags) {
	int fd = file("abc");
	struct iovec v = {"Z", 1};
	EQ(pwritev2(fd, &v, 1, 0, RWF_APPEND), 1);
	STR(slurp("f"), "abcZ");
	EQ(pwritev2(fd, &v, 1, -1, RWF_DSYNC), 1); // at the offset
	STR(slurp("f"), "ZbcZ");
	EQ(lseek(fd, 0, SEEK_CUR), 1);
	ERR(pwritev2(fd, &v, 1, 0, 0x1000000), EOPNOTSUPP);
	int fds[2];
	OK(pipe(fds));
	char b;
	struct iovec r = {&b, 1};
	ERR(preadv2(fds[0], &r, 1, -1, RWF_NOWAIT), EAGAIN);
}

CASE(big_transfers) {
	size_t n = 9 << 20;
	char *a = anon(n), *b = anon(n);
	for (size_t i = 0; i < n; i++) a[i] = i * 7 + (i >> 12);
	int fd = file("");
	writen(fd, a, n);
	EQ(size(fd), n);
	EQ(pread(fd, b, n, 0), n);
	MEM(a, b, n);
	EQ(pread(fd, b, n, 12345), n - 12345);
	MEM(a + 12345, b, n - 12345);
}

CASE(length_is_capped) {
	int fd = OK(open("/dev/zero", O_RDONLY)), nul = OK(open("/dev/null", O_WRONLY));
	char *p = OK(mmap(NULL, 3UL << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	EQ(write(nul, p, 3UL << 30), 0x7ffff000);
	ERR(read(fd, p, (size_t)-1), EFAULT);
}

CASE(ftruncate_rules) {
	int fd = file("hello");
	OK(ftruncate(fd, 2));
	STR(slurp("f"), "he");
	OK(ftruncate(fd, 5));
	char b[5];
	EQ(pread(fd, b, 5, 0), 5);
	MEM(b, "he\0\0\0", 5);
	ERR(ftruncate(fd, -1), EINVAL);
	int r = OK(open("f", O_RDONLY)), fds[2];
	ERR(ftruncate(r, 0), EINVAL);
	OK(pipe(fds));
	ERR(ftruncate(fds[1], 0), EINVAL);
	ERR(ftruncate(99, 0), EBADF);
	OK(lseek(fd, 100, SEEK_SET));
	OK(ftruncate(fd, 0));
	EQ(lseek(fd, 0, SEEK_CUR), 100);
}

CASE(truncate_rules) {
	spew("f", "hello");
	OK(truncate("f", 1));
	STR(slurp("f"), "h");
	ERR(truncate("no", 1), ENOENT);
	ERR(truncate(".", 1), EISDIR);
	ERR(truncate("f/x", 1), ENOTDIR);
	ERR(truncate("f", -1), EINVAL);
	OK(symlink("f", "l"));
	OK(truncate("l", 0));
	STR(slurp("f"), "");
}

CASE(fallocate_basic) {
	int fd = file("abc");
	OK(fallocate(fd, 0, 0, 8192));
	EQ(size(fd), 8192);
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 8192, 8192));
	EQ(size(fd), 8192);
	struct stat st;
	OK(fstat(fd, &st));
	CHECK(st.st_blocks >= 32);
	ERR(fallocate(fd, 0, -1, 10), EINVAL);
	ERR(fallocate(fd, 0, 0, 0), EINVAL);
	ERR(fallocate(fd, 0x1000, 0, 10), EOPNOTSUPP);
	ERR(fallocate(OK(open("f", O_RDONLY)), 0, 0, 10), EBADF);
	int fds[2];
	OK(pipe(fds));
	ERR(fallocate(fds[1], 0, 0, 10), ESPIPE);
	ERR(fallocate(OK(open("/dev/null", O_WRONLY)), 0, 0, 10), ENODEV);
	PT(posix_fallocate(fd, 0, 20000));
	EQ(size(fd), 20000);
}

CASE(punch_hole) {
	int fd = file("");
	char *b = malloc(5 * PAGE);
	memset(b, 'x', 5 * PAGE);
	writen(fd, b, 5 * PAGE);
	ERR(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 10, 2 * PAGE));
	EQ(size(fd), 5 * PAGE);
	EQ(pread(fd, b, 5 * PAGE, 0), 5 * PAGE);
	EQ(b[PAGE + 9], 'x');
	EQ(b[PAGE + 10], 0);
	EQ(b[3 * PAGE + 9], 0);
	EQ(b[3 * PAGE + 10], 'x');
}

CASE(seek_data_and_hole) {
	int fd = file("");
	OK(ftruncate(fd, 1 << 20));
	EQ(pwrite(fd, "d", 1, 512 << 10), 1);
	OK(fsync(fd));
	off_t d = OK(lseek(fd, 0, SEEK_DATA));
	CHECK(d == 512 << 10 || d == 0); // a file system that knows no holes answers the offset itself
	off_t h = OK(lseek(fd, 512 << 10, SEEK_HOLE));
	CHECK(h > 512 << 10 && h <= 1 << 20);
	ERR(lseek(fd, 1 << 20, SEEK_DATA), ENXIO);
	ERR(lseek(fd, 2 << 20, SEEK_HOLE), ENXIO);
	int g = OK(open("g", O_RDWR | O_CREAT, 0644));
	writen(g, "full", 4);
	EQ(lseek(g, 1, SEEK_DATA), 1);
	EQ(lseek(g, 0, SEEK_HOLE), 4);
}

CASE(sparse_file_uses_few_blocks) {
	int fd = file("");
	OK(ftruncate(fd, 1L << 30));
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_size, 1L << 30);
	CHECK(st.st_blocks < 100);
	char c = 1;
	EQ(pread(fd, &c, 1, 1 << 29), 1);
	EQ(c, 0);
}

CASE(file_size_limit) {
	CHILD(p) {
		struct rlimit r = {1000, 1000};
		on_signal(SIGXFSZ, SIG_IGN, 0);
		OK(setrlimit(RLIMIT_FSIZE, &r));
		int fd = file("");
		char b[2000] = "";
		EQ(write(fd, b, 2000), 1000);
		ERR(write(fd, b, 1), EFBIG);
		ERR(ftruncate(fd, 1001), EFBIG);
		OK(ftruncate(fd, 1000));
		on_signal(SIGXFSZ, SIG_DFL, 0);
		write(fd, b, 1);
	}
	KILLED(p, SIGXFSZ);
}

CASE(sync_family) {
	int fd = file("x"), fds[2];
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(syncfs(fd));
	OK(fsync(OK(open(".", O_RDONLY))));
	OK(pipe(fds));
	ERR(fsync(fds[0]), EINVAL);
	ERR(fsync(99), EBADF);
	OK(sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE));
	ERR(sync_file_range(fd, -1, 1, 0), EINVAL);
	ERR(sync_file_range(fds[0], 0, 1, 0), ESPIPE);
}

CASE(fadvise_and_readahead) {
	int fd = file("x"), fds[2];
	PT(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	PT(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	EQ(posix_fadvise(fd, 0, 0, 99), EINVAL);
	OK(pipe(fds));
	EQ(posix_fadvise(fds[0], 0, 0, 0), ESPIPE);
	EQ(posix_fadvise(99, 0, 0, 0), EBADF);
	OK(readahead(fd, 0, 100));
	ERR(readahead(fds[0], 0, 100), EINVAL);
}

CASE(concurrent_appends_do_not_tear) {
	spew("f", "");
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = OK(fork());
		if (p[i]) continue;
		int fd = OK(open("f", O_WRONLY | O_APPEND));
		char line[50];
		memset(line, 'a' + i, 49);
		line[49] = '\n';
		for (int k = 0; k < 200; k++) writen(fd, line, 50);
		_exit(0);
	}
	for (int i = 0; i < 4; i++) JOIN(p[i]);
	char *s = slurp("f");
	EQ(strlen(s), 4 * 200 * 50);
	for (int i = 0; i < 800; i++)
		for (int k = 1; k < 49; k++) EQ(s[i * 50 + k], s[i * 50]);
}

CASE(shared_offset_between_processes) {
	int fd = file("");
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = OK(fork());
		if (p[i]) continue;
		for (int k = 0; k < 200; k++) writen(fd, "0123456789", 10);
		_exit(0);
	}
	for (int i = 0; i < 4; i++) JOIN(p[i]);
	EQ(size(fd), 8000); // no write on the same place
}

CASE(unlinked_file_lives) {
	int fd = file("data");
	OK(unlink("f"));
	char b[5] = "";
	EQ(read(fd, b, 5), 4);
	writen(fd, "more", 4);
	EQ(size(fd), 8);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 0);
	char path[40], link[PATH_MAX] = "";
	sprintf(path, "/proc/self/fd/%d", fd);
	OK(readlink(path, link, sizeof link));
	CHECK(strstr(link, "/f (deleted)"));
}

CASE(o_direct_or_einval) {
	int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);
	if (fd < 0) {
		EQ(errno, EINVAL);
		return;
	}
	char *p = anon(PAGE);
	memset(p, 'd', PAGE);
	EQ(write(fd, p, PAGE), PAGE);
	EQ(pread(fd, p, PAGE, 0), PAGE);
	EQ(p[5], 'd');
}

CASE(ioctls_on_files) {
	int fd = file("12345");
	int n = 0;
	OK(lseek(fd, 2, SEEK_SET));
	OK(syscall(SYS_ioctl, fd, 0x541b /* FIONREAD */, &n));
	EQ(n, 3);
	ERR(syscall(SYS_ioctl, fd, 0x5401 /* TCGETS */, &n), ENOTTY);
	ERR(syscall(SYS_ioctl, 99, 0x5401, &n), EBADF);
	OK(syscall(SYS_ioctl, fd, 0x5451 /* FIOCLEX */, 0));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	OK(syscall(SYS_ioctl, fd, 0x5450 /* FIONCLEX */, 0));
	EQ(fcntl(fd, F_GETFD), 0);
	n = 1;
	OK(syscall(SYS_ioctl, fd, 0x5421 /* FIONBIO */, &n));
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	EQ(isatty(fd), 0);
}
