// Calls that the C library has other ways for, by their numbers: those of the time before the at calls and their newest forms.
#include "case.h"
#include <linux/mount.h>
#include <sys/timex.h>
#include <sys/xattr.h>
#include <utime.h>

CASE(utime_and_futimesat) {
	struct stat s;
	spew("f", "x");
	OK(syscall(SYS_utime, "f", &(struct utimbuf){5, 7}));
	OK(stat("f", &s));
	EQ(s.st_atime, 5);
	EQ(s.st_mtime, 7);
	OK(syscall(SYS_utime, "f", NULL));
	OK(stat("f", &s));
	CHECK(s.st_mtime > 1000000);
	ERR(syscall(SYS_utime, "none", NULL), ENOENT);
	ERR(syscall(SYS_utime, "f", 8), EFAULT);
	OK(syscall(SYS_futimesat, AT_FDCWD, "f", (struct timeval[2]){{9, 500000}, {11, 999999}}));
	OK(stat("f", &s));
	EQ(s.st_atim.tv_nsec, 500000000);
	EQ(s.st_mtim.tv_nsec, 999999000);
	ERR(syscall(SYS_futimesat, AT_FDCWD, "f", (struct timeval[2]){{9, 1000000}, {11, 0}}), EINVAL);
	ERR(syscall(SYS_futimesat, 99, "f", NULL), EBADF);
}

CASE(at_calls) {
	OK(mkdir("d", 0755));
	int d = OK(open("d", O_RDONLY | O_DIRECTORY)), file = OK(open("plain", O_CREAT | O_RDWR, 0644));
	struct stat s;
	char to[16] = "";
	spew("d/a", "x");
	OK(syscall(SYS_renameat, d, "a", d, "b"));
	ERR(syscall(SYS_renameat, d, "a", d, "b"), ENOENT);
	ERR(syscall(SYS_renameat, file, "a", d, "b"), ENOTDIR);
	OK(syscall(SYS_symlinkat, "b", d, "l"));
	EQ(OK(readlinkat(d, "l", to, sizeof to)), 1);
	ERR(syscall(SYS_symlinkat, "b", d, "l"), EEXIST);
	ERR(syscall(SYS_symlinkat, "", d, "m"), ENOENT);
	ERR(syscall(SYS_symlinkat, "b", 99, "m"), EBADF);
	OK(syscall(SYS_mknodat, d, "p", S_IFIFO | 0640, 0));
	OK(fstatat(d, "p", &s, 0));
	EQ(s.st_mode, S_IFIFO | 0640);
	ERR(syscall(SYS_mknodat, d, "p", S_IFIFO | 0640, 0), EEXIST);
	ERR(syscall(SYS_mknodat, file, "p", S_IFREG | 0640, 0), ENOTDIR);
}

#define SYS_fchmodat2_ 452
CASE(fchmodat2_flags) {
	struct stat s;
	spew("f", "x");
	OK(symlink("f", "l"));
	if (syscall(SYS_fchmodat2_, AT_FDCWD, "f", 0600, 0) < 0 && errno == ENOSYS) case_skip("fchmodat2 is of Linux 6.6");
	OK(syscall(SYS_fchmodat2_, AT_FDCWD, "l", 0640, 0));
	OK(stat("f", &s));
	EQ(s.st_mode & 07777, 0640);
	int fd = OK(open("f", O_PATH));
	OK(syscall(SYS_fchmodat2_, fd, "", 0604, AT_EMPTY_PATH));
	OK(stat("f", &s));
	EQ(s.st_mode & 07777, 0604);
	ERR(syscall(SYS_fchmodat2_, fd, "", 0604, 0), ENOENT);
	OK(syscall(SYS_fchmodat2_, AT_FDCWD, "f", 0600, AT_SYMLINK_NOFOLLOW));
	ERR(syscall(SYS_fchmodat2_, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
	ERR(syscall(SYS_fchmodat2_, AT_FDCWD, "f", 0600, 1), EINVAL);
}

CASE(attributes_of_links) {
	char list[64];
	spew("f", "x");
	OK(symlink("f", "l"));
	if (setxattr("f", "user.a", "1", 1, 0) < 0 && errno == EOPNOTSUPP) case_skip("a file system without user attributes");
	EQ(OK(syscall(SYS_llistxattr, "f", NULL, 0)), 7);
	EQ(OK(syscall(SYS_llistxattr, "f", list, sizeof list)), 7);
	ERR(syscall(SYS_llistxattr, "f", list, 3), ERANGE);
	EQ(OK(syscall(SYS_llistxattr, "l", list, sizeof list)), 0);
	ERR(syscall(SYS_lremovexattr, "l", "user.a"), EPERM);
	OK(syscall(SYS_lremovexattr, "f", "user.a"));
	ERR(syscall(SYS_lremovexattr, "f", "user.a"), ENODATA);
}

CASE(io_priorities) {
	CHECK(OK(syscall(SYS_ioprio_get, 1, 0)) >= 0);
	OK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
	EQ(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | 6);
	EQ(syscall(SYS_ioprio_get, 1, getpid()), 2 << 13 | 6);
	OK(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
	ERR(syscall(SYS_ioprio_set, 1, 0, 5 << 13), EINVAL);
	ERR(syscall(SYS_ioprio_set, 9, 0, 2 << 13), EINVAL);
	ERR(syscall(SYS_ioprio_get, 9, 0), EINVAL);
	ERR(syscall(SYS_ioprio_set, 1, 0x3fffffff, 2 << 13), ESRCH);
	ERR(syscall(SYS_ioprio_get, 1, 0x3fffffff), ESRCH);
}

static volatile sig_atomic_t value;
static void queued(int sig, siginfo_t *si, void *uc) { value = si->si_code == SI_QUEUE ? si->si_value.sival_int : -1; }
CASE(queued_to_a_thread) {
	on_siginfo(SIGUSR1, queued, 0);
	siginfo_t si = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
	si.si_value.sival_int = 77;
	OK(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, &si));
	EQ(value, 77);
	ERR(syscall(SYS_rt_tgsigqueueinfo, getpid(), 0x3fffffff, SIGUSR1, &si), ESRCH);
	ERR(syscall(SYS_rt_tgsigqueueinfo, getppid(), syscall(SYS_gettid), SIGUSR1, &si), ESRCH);
	ERR(syscall(SYS_rt_tgsigqueueinfo, 0, syscall(SYS_gettid), SIGUSR1, &si), EINVAL);
	ERR(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), 99, &si), EINVAL);
	ERR(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, 8), EFAULT);
}

CASE(clock_is_only_read) {
	struct timex tx = {.modes = 0};
	CHECK(OK(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &tx)) >= 0);
	CHECK(tx.time.tv_sec > 1000000);
	CHECK(tx.tick > 0);
	ERR(syscall(SYS_clock_adjtime, 99, &tx), EINVAL);
	ERR(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx), EOPNOTSUPP);
	ERR(syscall(SYS_clock_adjtime, CLOCK_REALTIME, 8), EFAULT);
}

CASE(pkey_mprotect_without_a_key) {
	char *p = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	OK(syscall(SYS_pkey_mprotect, p, 4096, PROT_NONE, -1));
	CHECK(!readable(p));
	OK(syscall(SYS_pkey_mprotect, p, 4096, PROT_READ, -1));
	CHECK(readable(p));
	ERR(syscall(SYS_pkey_mprotect, p + 1, 4096, PROT_READ, -1), EINVAL);
	ERR(syscall(SYS_pkey_mprotect, p, 4096, PROT_READ, 99), EINVAL);
	OK(munmap(p + 4096, 4096));
	ERR(syscall(SYS_pkey_mprotect, p, 8192, PROT_READ, -1), ENOMEM);
}

CASE(mount_setattr_arguments) {
	struct mount_attr a = {0};
	char big[128] = {0};
	if (syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &a, 0) < 0 && errno == EPERM) case_skip("it takes CAP_SYS_ADMIN");
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &a, 0), EINVAL);
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &a, 31), EINVAL);
	OK(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &a, 32));
	OK(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, big, 64));
	big[40] = 1;
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, big, 64), E2BIG);
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 1, &a, 32), EINVAL);
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, 8, 32), EFAULT);
	a.attr_set = 1ull << 60;
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &a, 32), EINVAL);
	a.attr_set = MOUNT_ATTR_RDONLY;
	ERR(syscall(SYS_mount_setattr, AT_FDCWD, "none", 0, &a, 32), ENOENT);
	ERR(syscall(SYS_mount_setattr, 99, "x", 0, &a, 32), EBADF);
}

CASE(nothing_to_restart) { ERR(syscall(SYS_restart_syscall), EINTR); }
