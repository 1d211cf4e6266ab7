// Rarely used flags of much used calls, and which error comes first where there are several.
#include "case.h"
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#undef statx

static void *const bad = (void *)8;
static int f, ro, wo, dir, path, p[2];
static void files(void) {
	f = OK(open("f", O_CREAT | O_RDWR, 0644));
	writen(f, "hello world", 11);
	ro = OK(open("f", O_RDONLY)), wo = OK(open("f", O_WRONLY));
	OK(mkdir("d", 0755));
	dir = OK(open("d", O_RDONLY)), path = OK(open("f", O_PATH));
	OK(symlink("f", "l"));
	OK(symlink("nope", "dangling"));
	OK(pipe2(p, O_NONBLOCK));
}

CASE(o_direct_is_for_files) {
	files();
	OK(mkfifo("fifo", 0644));
	ERR(open("/dev/null", O_RDONLY | O_DIRECT), EINVAL);
	ERR(open("d", O_RDONLY | O_DIRECT), EINVAL);
	ERR(open("fifo", O_RDWR | O_DIRECT), EINVAL);
	ERR(open("/proc/self/stat", O_RDONLY | O_DIRECT), EINVAL);
	int n = OK(open("/dev/null", O_RDWR)), s = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(fcntl(n, F_SETFL, O_DIRECT), EINVAL);
	ERR(fcntl(dir, F_SETFL, O_DIRECT), EINVAL);
	ERR(fcntl(s, F_SETFL, O_DIRECT), EINVAL);
	ERR(fcntl(OK(epoll_create1(0)), F_SETFL, O_DIRECT), EINVAL);
	OK(fcntl(p[1], F_SETFL, O_DIRECT)); // packets
	CHECK(fcntl(p[1], F_GETFL) & O_DIRECT);
}

CASE(fcntl_hints_and_queries) {
	files();
	uint64_t hint = 9;
	OK(fcntl(f, F_GET_RW_HINT, &hint));
	EQ(hint, 0);
	hint = 99;
	ERR(fcntl(f, F_SET_RW_HINT, &hint), EINVAL);
	hint = RWH_WRITE_LIFE_MEDIUM;
	OK(fcntl(f, F_SET_RW_HINT, &hint));
	hint = 0;
	OK(fcntl(ro, F_GET_RW_HINT, &hint)); // the file's
	EQ(hint, RWH_WRITE_LIFE_MEDIUM);
	ERR(fcntl(f, F_SET_RW_HINT, bad), EFAULT);
	int created = fcntl(f, 1028 /* F_CREATED_QUERY */);
	if (created < 0) return; // before Linux 6.12
	EQ(created, 1);
	EQ(fcntl(ro, 1028), 0);
	EQ(fcntl(OK(open("f", O_CREAT | O_RDWR, 0644)), 1028), 0);
	EQ(fcntl(OK(dup(f)), 1028), 1);
}

CASE(fcntl_errors) {
	files();
	ERR(fcntl(f, F_DUPFD, -1), EINVAL);
	ERR(fcntl(f, F_DUPFD, 1 << 30), EINVAL);
	ERR(fcntl(999, 1234), EBADF);
	ERR(fcntl(f, 1234), EINVAL);
	ERR(fcntl(path, 1234), EBADF);
	struct flock k = {.l_type = 9};
	ERR(fcntl(f, F_SETLK, &k), EINVAL);
	k = (struct flock){.l_type = F_RDLCK, .l_whence = 9};
	ERR(fcntl(f, F_SETLK, &k), EINVAL);
	k = (struct flock){.l_type = F_RDLCK, .l_start = -1};
	ERR(fcntl(f, F_SETLK, &k), EINVAL);
	k = (struct flock){.l_type = F_RDLCK};
	ERR(fcntl(wo, F_SETLK, &k), EBADF);
	k.l_pid = 1;
	ERR(fcntl(f, F_OFD_SETLK, &k), EINVAL);
	k = (struct flock){.l_type = F_UNLCK};
	ERR(fcntl(f, F_GETLK, &k), EINVAL);
	ERR(fcntl(f, F_SETLK, bad), EFAULT);
	ERR(fcntl(f, F_SETOWN, INT_MIN), EINVAL);
	ERR(fcntl(f, F_SETSIG, 65), EINVAL);
	ERR(fcntl(f, F_SETSIG, -1), EINVAL);
	EQ(fcntl(p[0], F_SETPIPE_SZ, 1), 4096);
	EQ(fcntl(p[0], F_SETPIPE_SZ, 5000), 8192);
	ERR(fcntl(p[0], F_SETPIPE_SZ, -1), EINVAL);
	ERR(fcntl(f, F_GETPIPE_SZ), EBADF);
	ERR(fcntl(f, F_NOTIFY, 1), ENOTDIR);
	ERR(dup3(f, f, 0), EINVAL);
	ERR(dup3(999, 999, 0), EINVAL);
	ERR(dup2(999, 999), EBADF);
	ERR(dup3(f, 91, 1), EINVAL);
	ERR(dup3(999, 1 << 30, 0), EBADF);
	ERR(flock(f, 0), EINVAL);
	ERR(flock(f, LOCK_SH | LOCK_EX), EINVAL);
	ERR(flock(path, LOCK_SH), EBADF);
	ERR(syscall(SYS_close_range, 5, 4, 0), EINVAL);
	ERR(syscall(SYS_close_range, 200, 300, 9), EINVAL);
}

static int open2(const char *name, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size) {
	struct open_how h = {flags, mode, resolve};
	int fd = syscall(SYS_openat2, AT_FDCWD, name, &h, size);
	return fd < 0 ? fd : close(fd);
}
CASE(openat2_errors) {
	files();
	ERR(open2("f", O_RDONLY, 0644, 0, 24), EINVAL);
	ERR(open2("f", O_RDONLY | 0x40000000, 0, 0, 24), EINVAL);
	ERR(open2("f", O_CREAT, 010000, 0, 24), EINVAL);
	ERR(open2("f", O_RDONLY, 0, 0, 16), EINVAL);
	ERR(open2("f", O_RDONLY, 0, 0, 4097), E2BIG);
	ERR(open2("f", O_RDONLY, 0, 0x100, 24), EINVAL);
	ERR(open2("f", O_PATH | O_RDWR, 0, 0, 24), EINVAL);
	ERR(open2("f", O_PATH | O_CREAT, 0, 0, 24), EINVAL);
	ERR(open2("f", O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH, 24), EINVAL);
	ERR(open2("l", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, 24), ELOOP);
	OK(open2("l", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS, 24));
	ERR(open2("../f", O_RDONLY, 0, RESOLVE_BENEATH, 24), EXDEV);
	ERR(open2("/f", O_RDONLY, 0, RESOLVE_BENEATH, 24), EXDEV);
	OK(open2("/f", O_RDONLY, 0, RESOLVE_IN_ROOT, 24));
	OK(open2("../../f", O_RDONLY, 0, RESOLVE_IN_ROOT, 24));
	ERR(open2("/proc/self", O_RDONLY, 0, RESOLVE_NO_XDEV, 24), EXDEV);
	ERR(open2("/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS, 24), ELOOP);
	ERR(syscall(SYS_openat2, AT_FDCWD, "f", bad, 24), EFAULT);
	ERR(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	ERR(open("l", O_CREAT | O_EXCL, 0644), EEXIST);
	ERR(open("dangling", O_CREAT | O_EXCL, 0644), EEXIST);
	ERR(open("nn/", O_CREAT | O_RDWR, 0644), EISDIR);
	ERR(open("f", O_TMPFILE | O_RDONLY, 0644), EINVAL);
	ERR(open("", O_RDONLY), ENOENT);
}

CASE(path_descriptors_refuse) {
	files();
	char b[16];
	ERR(read(path, b, 1), EBADF);
	ERR(fchmod(path, 0644), EBADF);
	ERR(fchown(path, -1, -1), EBADF);
	ERR(ioctl(path, FIONREAD, b), EBADF);
	ERR(fgetxattr(path, "user.x", b, 1), EBADF);
	ERR(fsync(path), EBADF);
	ERR(ftruncate(path, 1), EBADF);
	ERR(lseek(path, 0, SEEK_SET), EBADF);
	ERR(fcntl(path, F_SETFL, 0), EBADF);
	ERR(fcntl(path, F_GETOWN), EBADF);
	CHECK(fcntl(path, F_GETFL) & O_PATH);
	ERR(fchdir(path), ENOTDIR);
	ERR(fallocate(path, 0, 0, 1), EBADF);
	ERR(copy_file_range(path, NULL, f, NULL, 1, 0), EBADF);
	ERR(futimens(path, NULL), EBADF);
	ERR(syncfs(path), EBADF);
	ERR(openat(path, "x", O_RDONLY), ENOTDIR);
	EQ(poll(&(struct pollfd){.fd = path, .events = POLLIN}, 1, 0), 1);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, path, 0) == MAP_FAILED ? -1 : 0, EBADF);
	int link = OK(open("l", O_PATH | O_NOFOLLOW));
	EQ(readlinkat(link, "", b, sizeof b), 1);
	ERR(readlinkat(path, "", b, sizeof b), ENOENT);
}

CASE(reading_and_writing) {
	files();
	char b[16];
	struct iovec v = {b, 1}, neg = {b, -1};
	ERR(read(wo, bad, 1), EBADF);
	ERR(write(ro, bad, 1), EBADF);
	ERR(read(dir, b, 1), EISDIR);
	ERR(pread(f, b, 1, -1), EINVAL);
	ERR(pread(p[0], b, 1, 0), ESPIPE);
	ERR(pread(p[0], b, 1, -1), EINVAL);
	ERR(readv(f, &v, -1), EINVAL);
	ERR(readv(f, &v, 1025), EINVAL);
	ERR(readv(f, bad, 1), EFAULT);
	EQ(readv(f, bad, 0), 0);
	ERR(readv(f, &neg, 1), EINVAL);
	ERR(preadv(f, &v, 1, -1), EINVAL);
	ERR(preadv2(f, &v, 1, 0, 0x1000), EOPNOTSUPP);
	ERR(lseek(f, -1, SEEK_SET), EINVAL);
	ERR(lseek(f, 0, 9), EINVAL);
	ERR(lseek(p[0], 0, SEEK_SET), ESPIPE);
	ERR(lseek(f, 100, SEEK_DATA), ENXIO);
	ERR(lseek(f, -1, SEEK_DATA), ENXIO);
	ERR(ftruncate(f, -1), EINVAL);
	ERR(ftruncate(ro, 1), EINVAL);
	ERR(ftruncate(p[1], 1), EINVAL);
	ERR(truncate("d", 1), EISDIR);
	ERR(fallocate(f, 0, 0, 0), EINVAL);
	ERR(fallocate(f, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
	ERR(fallocate(ro, 0, 0, 1), EBADF);
	ERR(fallocate(p[1], 0, 0, 1), ESPIPE);
	EQ(posix_fadvise(f, 0, 0, 99), EINVAL);
	ERR(sync_file_range(f, 0, 0, 8), EINVAL);
	ERR(fsync(p[0]), EINVAL);
	ERR(copy_file_range(f, NULL, f, NULL, 1, 1), EINVAL);
	ERR(copy_file_range(dir, NULL, f, NULL, 1, 0), EISDIR);
	ERR(copy_file_range(wo, NULL, f, NULL, 1, 0), EBADF);
	int end = OK(open("f", O_WRONLY | O_APPEND));
	ERR(copy_file_range(f, NULL, end, NULL, 1, 0), EBADF);
	ERR(sendfile(end, ro, NULL, 1), EINVAL);
	ERR(splice(f, NULL, wo, NULL, 1, 0), EINVAL);
	EQ(splice(999, NULL, 998, NULL, 0, 0), 0);
	ERR(splice(f, NULL, p[1], NULL, 1, 0xff), EINVAL);
	ERR(tee(f, p[1], 1, 0), EINVAL);
	ERR(vmsplice(f, &v, 1, 0), EBADF);
}

CASE(names_and_times) {
	files();
	struct statx x;
	ERR(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000, &x), EINVAL);
	ERR(syscall(SYS_statx, AT_FDCWD, "f", AT_STATX_SYNC_TYPE, 0x7ff, &x), EINVAL);
	ERR(syscall(SYS_statx, AT_FDCWD, "", 0, 0x7ff, &x), ENOENT);
	ERR(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, bad), EFAULT);
	OK(syscall(SYS_statx, f, "", AT_EMPTY_PATH, STATX_SIZE, &x));
	EQ(x.stx_size, 11);
	CHECK(x.stx_mask & STATX_SIZE);
	ERR(access("f", 8), EINVAL);
	ERR(rename("d", "d/x"), EINVAL);
	ERR(rename("f", "d"), EISDIR);
	ERR(rename("d", "f"), ENOTDIR);
	ERR(rename("f", "."), EBUSY);
	ERR(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", RENAME_EXCHANGE), ENOENT);
	ERR(renameat2(AT_FDCWD, "f", AT_FDCWD, "l", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	ERR(renameat2(AT_FDCWD, "f", AT_FDCWD, "l", 8), EINVAL);
	ERR(rmdir("."), EINVAL);
	ERR(rmdir("d/.."), ENOTEMPTY);
	ERR(unlink("f/"), ENOTDIR);
	ERR(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
	ERR(unlinkat(AT_FDCWD, "f", 1), EINVAL);
	ERR(mkdir("dangling", 0755), EEXIST);
	ERR(symlink("", "e"), ENOENT);
	ERR(symlink("a", "nn/"), ENOENT);
	char b[8];
	ERR(readlink("l", b, 0), EINVAL);
	ERR(readlink("f", b, 8), EINVAL);
	ERR(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 1), EINVAL);
	struct timespec t[2] = {{0, -1}, {0, 0}};
	ERR(utimensat(AT_FDCWD, "f", t, 0), EINVAL);
	t[0].tv_nsec = t[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "nope", t, 0)); // nothing to do, nowhere to look
	ERR(syscall(SYS_getcwd, b, 1), ERANGE);
	ERR(syscall(SYS_getdents64, dir, b, 8), EINVAL);
	ERR(syscall(SYS_getdents64, f, b, 8), ENOTDIR);
	OK(rmdir("d"));
	char e[256];
	ERR(syscall(SYS_getdents64, dir, e, sizeof e), ENOENT);
	ERR(openat(dir, "x", O_CREAT | O_RDWR, 0644), ENOENT);
}

CASE(memory) {
	files();
	OK(ftruncate(f, 8192));
	char *a = anon(5 * PAGE), *s = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f, 0), *r = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	OK(munmap(a + 3 * PAGE, PAGE));
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x80000 /* MAP_SYNC */, f, 0) == MAP_FAILED ? -1 : 0, EOPNOTSUPP);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED ? -1 : 0, EACCES);
	ERR(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0, EACCES);
	ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0) == MAP_FAILED ? -1 : 0, ENODEV);
	ERR(madvise(a, PAGE, MADV_REMOVE), EINVAL);
	CHECK(madvise(s, PAGE, MADV_REMOVE) == 0 || errno == EACCES); // it is not mapped for writing, but could be: Linux 6.7
	ERR(madvise(r, PAGE, MADV_REMOVE), EACCES);
	ERR(madvise(s, PAGE, MADV_FREE), EINVAL);
	ERR(madvise(s, PAGE, MADV_WIPEONFORK), EINVAL);
	ERR(madvise(a, 5 * PAGE, MADV_DONTNEED), ENOMEM);
	ERR(madvise(a + 1, PAGE, MADV_NORMAL), EINVAL);
	ERR(madvise(a, 0, 99), EINVAL);
	a[0] = 1;
	if (madvise(a, PAGE, 24 /* MADV_DONTNEED_LOCKED */) == 0) EQ(a[0], 0); // Linux 5.18
	ERR(mprotect(r, PAGE, PROT_WRITE), EACCES);
	ERR(mprotect(a, 5 * PAGE, PROT_READ), ENOMEM);
	ERR(mprotect(a + 1, PAGE, PROT_READ), EINVAL);
	ERR(msync(a, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	ERR(msync(a, 5 * PAGE, MS_SYNC), ENOMEM);
	ERR(mincore(a + 1, PAGE, bad), EINVAL);
	ERR(mincore(a, PAGE, bad), EFAULT);
	ERR(munmap(a, 0), EINVAL);
	ERR(mremap(a, PAGE, 0, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	ERR(mremap(a, 5 * PAGE, 6 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0, EFAULT);
	ERR(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a) == MAP_FAILED ? -1 : 0, EINVAL);
}

CASE(processes_and_clocks) {
	siginfo_t si = {.si_code = SI_TKILL};
	pid_t c = OK(fork());
	if (!c)
		for (;;) pause();
	ERR(waitpid(-1, NULL, 0x100), EINVAL);
	ERR(wait4(INT_MIN, NULL, 0, NULL), ESRCH);
	ERR(waitid(P_ALL, 0, NULL, 0), EINVAL);
	ERR(waitid(99, 0, NULL, WEXITED), EINVAL);
	ERR(waitid(P_PID, -1, NULL, WEXITED), EINVAL);
	EQ(syscall(SYS_wait4, c, bad, WNOHANG, bad), 0); // nothing to tell
	ERR(kill(c, 65), EINVAL);
	ERR(kill(99999999, 99), ESRCH);
	ERR(syscall(SYS_tgkill, c, 0, 0), EINVAL);
	ERR(syscall(SYS_tgkill, getpid(), c, 0), ESRCH);
	ERR(syscall(SYS_tkill, c, 99), EINVAL);
	ERR(syscall(SYS_rt_sigqueueinfo, c, SIGUSR1, &si), EPERM);
	ERR(syscall(SYS_rt_sigqueueinfo, c, 0, bad), EFAULT);
	ERR(setpgid(c, -1), EINVAL);
	ERR(getpriority(9, 0), EINVAL);
	OK(kill(c, SIGKILL));
	KILLED(c, SIGKILL);
	struct timespec t = {0, -1};
	ERR(nanosleep(&t, NULL), EINVAL);
	ERR(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP);
	ERR(clock_gettime(99, &t), EINVAL);
	ERR(timerfd_create(CLOCK_MONOTONIC, 9), EINVAL);
	ERR(timerfd_create(CLOCK_THREAD_CPUTIME_ID, 0), EINVAL);
	struct itimerspec its = {.it_value = {-1, 0}};
	int tf = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	ERR(timerfd_settime(tf, 9, &its, NULL), EINVAL);
	ERR(timerfd_settime(tf, 0, &its, NULL), EINVAL);
	ERR(syscall(SYS_rt_sigprocmask, 0, NULL, NULL, 4), EINVAL);
	ERR(syscall(SYS_rt_sigprocmask, 9, &si, NULL, 8), EINVAL);
	ERR(syscall(SYS_rt_sigaction, SIGKILL, &si, NULL, 8), EINVAL);
	ERR(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8), EFAULT);
	ERR(syscall(SYS_sched_getaffinity, 0, 7, &si), EINVAL);
	ERR(syscall(SYS_getrandom, &si, 1, 8), EINVAL);
}

CASE(a_pidfd_that_cannot_be_told) {
	int probe = OK(syscall(SYS_pidfd_open, getpid(), 0));
	char l[64], name[64];
	snprintf(l, sizeof l, "/proc/self/fd/%d", probe);
	name[OK(readlink(l, name, 63))] = 0;
	STR(name, "anon_inode:[pidfd]");
	ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, bad, NULL, 0), EFAULT);
	ERR(waitpid(-1, NULL, 0), ECHILD); // no child was made
	EQ(OK(dup(probe)), probe + 1);     // nor a descriptor
	int fd = -1;
	pid_t c = OK(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, NULL, 0));
	if (!c) _exit(fcntl(probe + 2, F_GETFD) == -1 && errno == EBADF ? 3 : 4); // the parent's alone
	EQ(fd, probe + 2);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EXITS(c, 3);
	struct rlimit few = {fd + 1, fd + 1};
	OK(setrlimit(RLIMIT_NOFILE, &few));
	ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, NULL, 0), EMFILE);
	ERR(waitpid(-1, NULL, 0), ECHILD);
}

CASE(waiting) {
	files();
	struct epoll_event e = {.events = EPOLLIN};
	int ep = OK(epoll_create1(0)), ep2 = OK(epoll_create1(0));
	ERR(epoll_create(0), EINVAL);
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, f, &e), EPERM);
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e), EINVAL);
	ERR(epoll_ctl(f, EPOLL_CTL_ADD, p[0], &e), EINVAL);
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], NULL), EFAULT);
	ERR(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e), ENOENT);
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, ep2, &e), EINVAL);
	e.events |= EPOLLONESHOT;
	ERR(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), EINVAL);
	ERR(epoll_wait(ep, &e, 0, 0), EINVAL);
	ERR(epoll_wait(f, &e, 1, 0), EINVAL);
	ERR(poll(bad, 1, 0), EFAULT);
	ERR(syscall(SYS_poll, NULL, 0x7fffffff, 0), EINVAL);
	ERR(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	int in = OK(inotify_init1(IN_NONBLOCK));
	char l[64], name[64];
	snprintf(l, sizeof l, "/proc/self/fd/%d", in);
	name[OK(readlink(l, name, 63))] = 0;
	STR(name, "anon_inode:inotify");
	ERR(inotify_init1(9), EINVAL);
	ERR(inotify_add_watch(in, "f", 0), EINVAL);
	ERR(inotify_add_watch(in, "f", IN_ONLYDIR | IN_ACCESS), ENOTDIR);
	ERR(inotify_add_watch(in, "f", IN_MASK_ADD | IN_MASK_CREATE | IN_ACCESS), EINVAL);
	ERR(inotify_add_watch(f, "f", IN_ACCESS), EINVAL);
	ERR(inotify_rm_watch(in, 99), EINVAL);
	ERR(read(in, l, sizeof l), EAGAIN);
}

#define NS_GET_USERNS 0xb701
#define NS_GET_PARENT 0xb702
#define NS_GET_NSTYPE 0xb703
#define NS_GET_OWNER_UID 0xb704
CASE(namespaces_say_what_they_are) {
	int net = OK(open("/proc/self/ns/net", O_RDONLY)), user = OK(open("/proc/self/ns/user", O_RDONLY)), pid = OK(open("/proc/self/ns/pid", O_RDONLY));
	EQ(ioctl(net, NS_GET_NSTYPE), CLONE_NEWNET);
	EQ(ioctl(user, NS_GET_NSTYPE), CLONE_NEWUSER);
	EQ(ioctl(pid, NS_GET_NSTYPE), CLONE_NEWPID);
	ERR(ioctl(net, NS_GET_PARENT), EINVAL);
	ERR(ioctl(user, NS_GET_PARENT), EPERM);
	uid_t owner = 77;
	ERR(ioctl(net, NS_GET_OWNER_UID, &owner), EINVAL);
	OK(ioctl(user, NS_GET_OWNER_UID, &owner));
	CHECK(owner != 77);
	ERR(ioctl(net, 0xb7ff), ENOTTY);
	int of = ioctl(net, NS_GET_USERNS);
	if (of < 0) { // it belongs to one that is out of sight
		EQ(errno, EPERM);
		return;
	}
	struct stat a, b;
	OK(fstat(of, &a));
	OK(fstat(user, &b));
	EQ(a.st_ino, b.st_ino);
	EQ(fcntl(of, F_GETFD), FD_CLOEXEC);
}
