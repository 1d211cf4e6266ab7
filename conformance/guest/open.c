// open, openat, openat2, creat, dup and descriptor flags.
#include "case.h"
#include <sys/statvfs.h>
#include <linux/openat2.h>

static long openat2_(int dfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
	struct open_how h = {flags, mode, resolve};
	return syscall(SYS_openat2, dfd, path, &h, sizeof h);
}
static mode_t mode_of(const char *path) {
	struct stat st;
	OK(lstat(path, &st));
	return st.st_mode;
}

CASE(lowest_descriptor) {
	EQ(open("/dev/null", O_RDONLY), 3);
	EQ(open("/dev/null", O_RDONLY), 4);
	EQ(dup(0), 5);
	OK(close(3));
	EQ(dup(0), 3);
	EQ(open("/dev/null", O_RDONLY), 6);
}

CASE(creat_modes_and_umask) {
	umask(027);
	OK(open("a", O_CREAT | O_WRONLY, 0666));
	EQ(mode_of("a"), S_IFREG | 0640);
	umask(0);
	OK(creat("b", 07777));
	EQ(mode_of("b"), S_IFREG | 07777);
	OK(mkdir("d", 01777));
	EQ(mode_of("d"), S_IFDIR | 01777);
	OK(open("a", O_CREAT | O_WRONLY, 0777));
	EQ(mode_of("a"), S_IFREG | 0640); // an old file keeps its mode
}

CASE(new_read_only_file_is_writable_by_its_maker) {
	int fd = OK(open("f", O_CREAT | O_RDWR, 0));
	EQ(write(fd, "x", 1), 1);
	EQ(mode_of("f"), S_IFREG);
}

CASE(excl) {
	OK(open("f", O_CREAT | O_EXCL, 0644));
	ERR(open("f", O_CREAT | O_EXCL, 0644), EEXIST);
	OK(symlink("nowhere", "l"));
	ERR(open("l", O_CREAT | O_EXCL, 0644), EEXIST);
	OK(open("l", O_CREAT | O_WRONLY, 0644)); // made through the link
	EQ(mode_of("nowhere"), S_IFREG | 0644);
}

CASE(path_errors) {
	ERR(open("", O_RDONLY), ENOENT);
	ERR(open("no", O_RDONLY), ENOENT);
	ERR(open("no/x", O_CREAT, 0644), ENOENT);
	spew("f", "");
	ERR(open("f/x", O_RDONLY), ENOTDIR);
	ERR(open("f/", O_RDONLY), ENOTDIR);
	ERR(open("f/.", O_RDONLY), ENOTDIR);
	ERR(open("new/", O_CREAT | O_WRONLY, 0644), EISDIR);
	ERR(open(".", O_WRONLY), EISDIR);
	ERR(open(".", O_RDWR), EISDIR);
	ERR(open(".", O_CREAT | O_RDONLY, 0644), EISDIR);
	ERR(open("f", O_DIRECTORY), ENOTDIR);
	ERR(open((char *)8, O_RDONLY), EFAULT);
	char big[4200];
	memset(big, 'a', sizeof big);
	big[256] = 0;
	ERR(open(big, O_CREAT, 0644), ENAMETOOLONG);
	big[255] = 0;
	OK(open(big, O_CREAT, 0644));
	memset(big, '/', 4199);
	big[4199] = 0;
	ERR(open(big, O_RDONLY), ENAMETOOLONG);
	big[4095] = 0;
	OK(open(big, O_RDONLY));
}

CASE(symlink_loops_and_depth) {
	OK(symlink("b", "a"));
	OK(symlink("a", "b"));
	ERR(open("a", O_RDONLY), ELOOP);
	ERR(open("a", O_CREAT | O_RDWR, 0644), ELOOP);
	spew("l0", "end");
	char x[20], y[20];
	for (int i = 1; i <= 41; i++) {
		sprintf(x, "l%d", i - 1);
		sprintf(y, "l%d", i);
		OK(symlink(x, y));
	}
	OK(open("l40", O_RDONLY));
	ERR(open("l41", O_RDONLY), ELOOP);
}

CASE(nofollow) {
	spew("f", "");
	OK(symlink("f", "l"));
	ERR(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
	int fd = OK(open("l", O_PATH | O_NOFOLLOW));
	struct stat st;
	OK(fstat(fd, &st));
	CHECK(S_ISLNK(st.st_mode));
	char b[8] = "";
	EQ(readlinkat(fd, "", b, 8), 1);
	OK(mkdir("d", 0755));
	OK(symlink("d", "ld"));
	spew("d/x", "");
	OK(open("ld/x", O_RDONLY | O_NOFOLLOW)); // only the last part counts
	ERR(open("ld", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
	OK(open("ld/", O_RDONLY | O_NOFOLLOW));
}

CASE(trunc) {
	spew("f", "12345");
	OK(open("f", O_WRONLY | O_TRUNC));
	struct stat st;
	OK(stat("f", &st));
	EQ(st.st_size, 0);
	OK(open("/dev/null", O_WRONLY | O_TRUNC | O_CREAT, 0644));
}

CASE(append) {
	spew("f", "123");
	int fd = OK(open("f", O_RDWR | O_APPEND)), g = OK(open("f", O_WRONLY));
	EQ(lseek(fd, 0, SEEK_CUR), 0);
	writen(fd, "45", 2);
	EQ(lseek(fd, 0, SEEK_CUR), 5);
	EQ(lseek(fd, 0, SEEK_SET), 0);
	EQ(pwrite(g, "ab", 2, 5), 2);
	writen(fd, "6", 1);
	STR(slurp("f"), "12345ab6");
	EQ(pwrite(fd, "Z", 1, 0), 1); // Linux: pwrite appends as well
	STR(slurp("f"), "12345ab6Z");
}

CASE(access_modes) {
	spew("f", "data");
	char c = 'x';
	int r = OK(open("f", O_RDONLY)), w = OK(open("f", O_WRONLY));
	ERR(write(r, &c, 1), EBADF);
	ERR(read(w, &c, 1), EBADF);
	EQ(fcntl(r, F_GETFL) & O_ACCMODE, O_RDONLY);
	EQ(fcntl(w, F_GETFL) & O_ACCMODE, O_WRONLY);
	int rw = OK(open("f", O_RDWR | O_NONBLOCK | O_APPEND));
	EQ(fcntl(rw, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR | O_NONBLOCK | O_APPEND);
	int n = OK(open("f", 3)); // neither reads nor writes
	ERR(read(n, &c, 1), EBADF);
	ERR(write(n, &c, 1), EBADF);
}

CASE(o_path) {
	spew("f", "data");
	int fd = OK(open("f", O_PATH | O_RDWR | O_CREAT));
	char c;
	ERR(read(fd, &c, 1), EBADF);
	ERR(fchmod(fd, 0600), EBADF);
	ERR(lseek(fd, 0, SEEK_SET), EBADF);
	ERR(ftruncate(fd, 0), EBADF);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_size, 4);
	EQ(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
	OK(dup(fd));
	int d = OK(open(".", O_PATH));
	OK(openat(d, "f", O_RDONLY));
	OK(fchdir(d));
	char path[40];
	sprintf(path, "/proc/self/fd/%d", fd);
	int g = OK(open(path, O_RDONLY));
	EQ(read(g, &c, 1), 1);
	ERR(open("gone", O_PATH | O_CREAT, 0644), ENOENT);
}

CASE(tmpfile) {
	int fd = OK(open(".", O_TMPFILE | O_RDWR, 0640));
	writen(fd, "temp", 4);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 0);
	EQ(st.st_mode, S_IFREG | 0640);
	char path[40];
	sprintf(path, "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	STR(slurp("named"), "temp");
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 1);
	ERR(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	int x = OK(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	sprintf(path, "/proc/self/fd/%d", x);
	ERR(linkat(AT_FDCWD, path, AT_FDCWD, "n2", AT_SYMLINK_FOLLOW), ENOENT);
}

CASE(at_family) {
	OK(mkdir("d", 0755));
	spew("d/f", "in");
	int d = OK(open("d", O_RDONLY | O_DIRECTORY)), f = OK(open("d/f", O_RDONLY));
	OK(openat(d, "f", O_RDONLY));
	OK(openat(d, "../d/f", O_RDONLY));
	ERR(openat(f, "f", O_RDONLY), ENOTDIR);
	ERR(openat(99, "f", O_RDONLY), EBADF);
	OK(openat(99, "/dev/null", O_RDONLY));
	OK(mkdirat(d, "e", 0700));
	OK(unlinkat(d, "e", AT_REMOVEDIR));
	OK(openat(d, "made", O_CREAT | O_WRONLY, 0600));
	EQ(mode_of("d/made"), S_IFREG | 0600);
	OK(rename("d", "moved"));
	OK(openat(d, "f", O_RDONLY)); // the descriptor follows
}

CASE(dup_family) {
	int fd = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	int g = OK(dup(fd));
	EQ(fcntl(g, F_GETFD), 0);
	EQ(dup2(fd, 100), 100);
	EQ(dup2(fd, fd), fd);
	ERR(dup2(99, 99), EBADF);
	ERR(dup2(fd, -1), EBADF);
	ERR(dup2(fd, 5000), EBADF);
	ERR(dup3(fd, fd, 0), EINVAL);
	ERR(dup3(fd, 101, O_NONBLOCK), EINVAL);
	EQ(dup3(fd, 101, O_CLOEXEC), 101);
	EQ(fcntl(101, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(fd, F_DUPFD, 200), 200);
	EQ(fcntl(fd, F_DUPFD, 200), 201);
	EQ(fcntl(fd, F_DUPFD_CLOEXEC, 200), 202);
	EQ(fcntl(202, F_GETFD), FD_CLOEXEC);
	ERR(fcntl(fd, F_DUPFD, 5000), EINVAL);
	ERR(fcntl(fd, F_DUPFD, -1), EINVAL);
	ERR(dup(99), EBADF);
}

CASE(dup_shares_offset_and_status_flags) {
	spew("f", "abcdef");
	int fd = OK(open("f", O_RDWR)), g = OK(dup(fd)), h = OK(open("f", O_RDWR));
	char c;
	readn(fd, &c, 1);
	EQ(lseek(g, 0, SEEK_CUR), 1);
	EQ(lseek(h, 0, SEEK_CUR), 0);
	OK(fcntl(g, F_SETFL, O_APPEND | O_NONBLOCK));
	EQ(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
	EQ(fcntl(h, F_GETFL) & O_APPEND, 0);
	OK(fcntl(fd, F_SETFL, O_RDONLY | O_CREAT)); // the access mode stays
	EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	EQ(fcntl(fd, F_GETFL) & O_APPEND, 0);
}

CASE(nofile_limit) {
	struct rlimit r;
	OK(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = 20;
	OK(setrlimit(RLIMIT_NOFILE, &r));
	int n = 0;
	while (open("/dev/null", O_RDONLY) >= 0) n++;
	EQ(errno, EMFILE);
	EQ(n, 17);
	ERR(dup(0), EMFILE);
	int fds[2];
	ERR(pipe(fds), EMFILE);
	OK(close(10));
	ERR(pipe(fds), EMFILE); // one place is not enough, and it stays free
	EQ(dup(0), 10);
}

CASE(close_and_close_range) {
	ERR(close(99), EBADF);
	ERR(close(-1), EBADF);
	for (int i = 10; i < 20; i++) OK(dup2(0, i));
	OK(syscall(SYS_close_range, 12, 14, 0));
	ERR(fcntl(12, F_GETFD), EBADF);
	ERR(fcntl(14, F_GETFD), EBADF);
	OK(fcntl(15, F_GETFD));
	OK(syscall(SYS_close_range, 16, 17, 4)); // CLOEXEC
	EQ(fcntl(16, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(18, F_GETFD), 0);
	ERR(syscall(SYS_close_range, 5, 4, 0), EINVAL);
	ERR(syscall(SYS_close_range, 4, 5, 1), EINVAL);
	OK(syscall(SYS_close_range, 10, ~0u, 0));
	ERR(fcntl(19, F_GETFD), EBADF);
}

CASE(openat2_resolve) {
	OK(mkdir("r", 0755));
	OK(mkdir("r/s", 0755));
	spew("r/s/f", "x");
	spew("out", "x");
	OK(symlink("s", "r/link"));
	OK(symlink("/s/f", "r/abs"));
	OK(symlink("../out", "r/up"));
	int d = OK(open("r", O_RDONLY | O_DIRECTORY));
	OK(openat2_(d, "s/f", O_RDONLY, 0, 0));
	OK(openat2_(d, "s/../s/f", O_RDONLY, 0, RESOLVE_BENEATH));
	ERR(openat2_(d, "../out", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	ERR(openat2_(d, "up", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	ERR(openat2_(d, "/dev/null", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	OK(openat2_(d, "/s/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
	OK(openat2_(d, "abs", O_RDONLY, 0, RESOLVE_IN_ROOT));
	OK(openat2_(d, "../../s/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
	ERR(openat2_(d, "up", O_RDONLY, 0, RESOLVE_IN_ROOT), ENOENT);
	ERR(openat2_(d, "link/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), ELOOP);
	OK(openat2_(d, "link/f", O_RDONLY, 0, RESOLVE_BENEATH));
	ERR(openat2_(AT_FDCWD, "/proc/self/fd/0", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS), ELOOP);
	ERR(openat2_(AT_FDCWD, "/proc/version", O_RDONLY, 0, RESOLVE_NO_XDEV), EXDEV);
}

CASE(openat2_strict_arguments) {
	ERR(openat2_(AT_FDCWD, ".", O_RDONLY, 0644, 0), EINVAL);
	ERR(openat2_(AT_FDCWD, ".", O_RDONLY | (1ULL << 40), 0, 0), EINVAL);
	ERR(openat2_(AT_FDCWD, ".", O_RDONLY, 0, 0x1000), EINVAL);
	ERR(openat2_(AT_FDCWD, ".", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
	ERR(openat2_(AT_FDCWD, "f", O_CREAT | O_RDWR, 0200000, 0), EINVAL);
	struct open_how h = {};
	ERR(syscall(SYS_openat2, AT_FDCWD, ".", &h, 8), EINVAL);
	struct { struct open_how h; uint64_t x; } big = {.x = 1};
	ERR(syscall(SYS_openat2, AT_FDCWD, ".", &big, sizeof big), E2BIG);
	big.x = 0;
	OK(syscall(SYS_openat2, AT_FDCWD, ".", &big, sizeof big));
}

CASE(trailing_and_double_slashes) {
	OK(mkdir("d", 0755));
	spew("d/f", "x");
	OK(open("./d//f", O_RDONLY));
	OK(open("d/./../d/f", O_RDONLY));
	OK(open("d///", O_RDONLY));
	ERR(open("d/f/..", O_RDONLY), ENOTDIR);
	ERR(mkdir("d/", 0755), EEXIST);
	OK(mkdir("e/", 0755));
}

CASE(large_descriptor_numbers) {
	struct rlimit r;
	OK(getrlimit(RLIMIT_NOFILE, &r));
	int top = r.rlim_max > 4096 ? 4000 : r.rlim_max - 1;
	r.rlim_cur = top + 1;
	OK(setrlimit(RLIMIT_NOFILE, &r));
	EQ(dup2(0, top), top);
	CHILD(p) OK(fcntl(top, F_GETFD));
	JOIN(p);
	OK(close(top));
}

CASE(fifo_open) {
	OK(mkfifo("p", 0600));
	ERR(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
	int r = OK(open("p", O_RDONLY | O_NONBLOCK)), w = OK(open("p", O_WRONLY | O_NONBLOCK));
	writen(w, "x", 1);
	char c;
	EQ(read(r, &c, 1), 1);
	OK(open("p", O_RDWR));
}

CASE(fifo_open_waits_for_the_other_side) {
	OK(mkfifo("p", 0600));
	CHILD(c) {
		settle(getppid());
		int w = OK(open("p", O_WRONLY));
		writen(w, "hi", 2);
	}
	int r = OK(open("p", O_RDONLY));
	char b[4];
	readn(r, b, 2);
	EQ(read(r, b, 1), 0);
	JOIN(c);
}

CASE(device_without_driver) {
	if (geteuid()) SKIP("only root makes device nodes");
	if (mknod("dev", S_IFCHR | 0600, (240 << 8) | 99) < 0) {
		EQ(errno, EPERM); // a file system without device nodes, as those of other users' namespaces
		return;
	}
	struct statvfs v;
	OK(statvfs(".", &v));
	ERR(open("dev", O_RDWR), v.f_flag & ST_NODEV ? EACCES : ENXIO);
}
