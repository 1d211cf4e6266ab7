// stat, statx, chmod, chown, utimens, access, umask, statfs, getcwd, readlink.
#include "case.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <grp.h>

static struct stat st_;
static struct stat *st(const char *p) {
	OK(lstat(p, &st_));
	return &st_;
}

CASE(stat_of_file) {
	spew("f", "12345");
	struct stat s;
	OK(stat("f", &s));
	EQ(s.st_mode, S_IFREG | 0644);
	EQ(s.st_size, 5);
	EQ(s.st_nlink, 1);
	EQ(s.st_uid, geteuid());
	EQ(s.st_gid, getegid());
	CHECK(s.st_blksize >= 512);
	CHECK(s.st_ino != 0);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK(labs(s.st_mtime - now.tv_sec) < 60);
	int fd = OK(open("f", O_RDONLY));
	struct stat t;
	OK(fstat(fd, &t));
	EQ(t.st_ino, s.st_ino);
	EQ(t.st_dev, s.st_dev);
}

CASE(stat_of_other_kinds) {
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	OK(mkfifo("p", 0640));
	OK(symlink("target", "l"));
	EQ(st("d")->st_mode, S_IFDIR | 0755);
	CHECK(st_.st_nlink == 3 || st_.st_nlink == 1);
	EQ(st("p")->st_mode, S_IFIFO | 0640);
	EQ(st("l")->st_mode, S_IFLNK | 0777);
	EQ(st_.st_size, 6);
	ERR(stat("l", &st_), ENOENT);
	OK(stat("/dev/null", &st_));
	EQ(st_.st_mode & S_IFMT, S_IFCHR);
	EQ(st_.st_rdev, makedev(1, 3));
	int fds[2];
	OK(pipe(fds));
	OK(fstat(fds[0], &st_));
	EQ(st_.st_mode & S_IFMT, S_IFIFO);
}

CASE(stat_errors) {
	ERR(stat("no", &st_), ENOENT);
	ERR(stat("", &st_), ENOENT);
	spew("f", "");
	ERR(stat("f/x", &st_), ENOTDIR);
	ERR(stat("f/", &st_), ENOTDIR);
	ERR(fstat(99, &st_), EBADF);
	ERR(syscall(SYS_stat, "f", 8), EFAULT);
	ERR(syscall(SYS_stat, 8, &st_), EFAULT);
	ERR(fstatat(AT_FDCWD, "f", &st_, 0x8000), EINVAL);
	OK(fstatat(0, "", &st_, AT_EMPTY_PATH));
	OK(fstatat(AT_FDCWD, "", &st_, AT_EMPTY_PATH));
	CHECK(S_ISDIR(st_.st_mode));
}

CASE(statx_fields) {
	spew("f", "abc");
	struct statx x = {};
	OK(statx(AT_FDCWD, "f", AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS | STATX_BTIME, &x));
	EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
	EQ(x.stx_size, 3);
	EQ(x.stx_mode, S_IFREG | 0644);
	EQ(x.stx_nlink, 1);
	EQ(x.stx_ino, st("f")->st_ino);
	EQ(makedev(x.stx_dev_major, x.stx_dev_minor), st_.st_dev);
	EQ(x.stx_mtime.tv_sec, st_.st_mtime);
	EQ(x.stx_mtime.tv_nsec, st_.st_mtim.tv_nsec);
	OK(symlink("f", "l"));
	OK(statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x));
	CHECK(S_ISLNK(x.stx_mode));
	int fd = OK(open("f", O_RDONLY));
	OK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
	EQ(x.stx_size, 3);
	ERR(statx(fd, "", 0, STATX_SIZE, &x), ENOENT);
	ERR(statx(AT_FDCWD, "f", 0x40000, STATX_SIZE, &x), EINVAL);
	ERR(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &x), EINVAL);
	ERR(statx(AT_FDCWD, "f", 0, 0x80000000, &x), EINVAL);
	ERR(syscall(SYS_statx, AT_FDCWD, "f", 0, STATX_SIZE, 8), EFAULT);
}

CASE(chmod_rules) {
	spew("f", "");
	OK(chmod("f", 0600));
	EQ(st("f")->st_mode, S_IFREG | 0600);
	OK(chmod("f", 0177777));
	EQ(st("f")->st_mode & 07777, 07777);
	int fd = OK(open("f", O_RDONLY));
	OK(fchmod(fd, 0711));
	EQ(st("f")->st_mode & 07777, 0711);
	OK(symlink("f", "l"));
	OK(chmod("l", 0644));
	EQ(st("f")->st_mode & 07777, 0644);
	EQ(st("l")->st_mode & 07777, 0777);
	OK(fchmodat(AT_FDCWD, "f", 0640, 0));
	ERR(chmod("no", 0), ENOENT);
	ERR(fchmod(99, 0), EBADF);
	ERR(chmod((char *)8, 0), EFAULT);
	int p = OK(open("f", O_PATH));
	ERR(fchmod(p, 0600), EBADF);
}

CASE(chown_by_root) {
	if (!has_cap(0)) SKIP("needs CAP_CHOWN");
	spew("f", "");
	OK(chmod("f", 06755));
	OK(chown("f", 1234, 4321));
	EQ(st("f")->st_uid, 1234);
	EQ(st_.st_gid, 4321);
	EQ(st_.st_mode & 07777, 0755); // set-id bits go
	OK(chown("f", -1, 77));
	EQ(st("f")->st_uid, 1234);
	EQ(st_.st_gid, 77);
	OK(symlink("f", "l"));
	OK(lchown("l", 5, 6));
	EQ(st("l")->st_uid, 5);
	EQ(st("f")->st_uid, 1234);
	OK(chown("l", 9, 9));
	EQ(st("f")->st_uid, 9);
	int fd = OK(open("f", O_RDONLY));
	OK(fchown(fd, 10, 11));
	OK(fchownat(fd, "", 12, 13, AT_EMPTY_PATH));
	EQ(st("f")->st_uid, 12);
	ERR(chown("no", 1, 1), ENOENT);
	ERR(fchownat(AT_FDCWD, "f", 1, 1, 0x8000), EINVAL);
}

CASE(owner_rules_for_a_user) {
	if (geteuid()) SKIP("needs root");
	spew("mine", "");
	spew("roots", "");
	OK(chown("mine", 65534, 65534));
	OK(chmod("mine", 06755));
	CHILD(p) {
		gid_t g[1] = {1000};
		OK(setgroups(1, g));
		OK(setresgid(65534, 65534, 65534));
		OK(setresuid(65534, 65534, 65534));
		ERR(chmod("roots", 0777), EPERM);
		ERR(chown("roots", 65534, -1), EPERM);
		OK(chmod("mine", 0644));
		ERR(chown("mine", 0, -1), EPERM);
		ERR(chown("mine", -1, 5), EPERM);
		OK(chown("mine", -1, 1000)); // one of its groups
		OK(chmod("mine", 02644));
		OK(chown("mine", -1, 65534));
		OK(chmod("mine", 02755));
		struct stat s;
		OK(stat("mine", &s));
		EQ(s.st_mode & 07777, 02755);
		ERR(utimensat(AT_FDCWD, "roots", NULL, 0), EACCES);
		struct timespec t[2] = {{1, 0}, {2, 0}};
		ERR(utimensat(AT_FDCWD, "roots", t, 0), EPERM);
		OK(utimensat(AT_FDCWD, "mine", t, 0));
	}
	JOIN(p);
}

CASE(write_clears_set_id_bits) {
	if (geteuid()) SKIP("needs root");
	spew("f", "x");
	OK(chmod("f", 06777));
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		int fd = OK(open("f", O_WRONLY));
		writen(fd, "y", 1);
	}
	JOIN(p);
	EQ(st("f")->st_mode & 07777, 0777);
}

CASE(permission_bits_for_a_user) {
	if (geteuid()) SKIP("needs root");
	spew("none", "");
	spew("group", "");
	spew("other", "");
	spew("own", "");
	OK(chmod("none", 0700));
	OK(chmod("group", 0040));
	OK(chmod("other", 0704));
	OK(chmod("own", 0077));
	OK(chown("group", 0, 1000));
	OK(chown("own", 65534, 65534));
	OK(mkdir("closed", 0700));
	spew("closed/f", "");
	OK(mkdir("x", 0711));
	spew("x/f", "");
	OK(mkdir("r", 0744));
	spew("r/f", "");
	CHILD(p) {
		gid_t g[1] = {1000};
		OK(setgroups(1, g));
		OK(setresgid(65534, 65534, 65534));
		OK(setresuid(65534, 65534, 65534));
		ERR(open("none", O_RDONLY), EACCES);
		OK(open("group", O_RDONLY));
		ERR(open("group", O_WRONLY), EACCES);
		OK(open("other", O_RDONLY));
		ERR(open("other", O_RDWR), EACCES);
		ERR(open("own", O_RDONLY), EACCES); // the owner's bits alone count
		ERR(open("closed/f", O_RDONLY), EACCES);
		ERR(stat("closed/f", &st_), EACCES);
		ERR(open("closed", O_RDONLY), EACCES);
		ERR(chdir("closed"), EACCES);
		OK(open("x/f", O_RDONLY));
		ERR(open("x", O_RDONLY), EACCES);
		OK(open("r", O_RDONLY));
		ERR(open("r/f", O_RDONLY), EACCES);
		ERR(open("r/new", O_CREAT | O_WRONLY, 0644), EACCES);
		ERR(mkdir("x/d", 0755), EACCES);
		ERR(unlink("x/f"), EACCES);
		ERR(rename("x/f", "x/g"), EACCES);
		ERR(truncate("none", 0), EACCES);
		ERR(access("none", R_OK), EACCES);
		OK(access("none", F_OK));
		OK(access("group", R_OK));
	}
	JOIN(p);
}

CASE(sticky_directory) {
	if (geteuid()) SKIP("needs root");
	OK(mkdir("t", 0));
	OK(chmod("t", 01777));
	spew("t/roots", "");
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		ERR(unlink("t/roots"), EPERM);
		ERR(rename("t/roots", "t/x"), EPERM);
		spew("t/mine", "");
		ERR(rename("t/mine", "t/roots"), EPERM);
		OK(unlink("t/mine"));
	}
	JOIN(p);
}

CASE(setgid_directory) {
	if (geteuid()) SKIP("needs root");
	OK(mkdir("d", 0755));
	OK(chown("d", 0, 1234));
	OK(chmod("d", 02755));
	spew("d/f", "");
	OK(mkdir("d/e", 0755));
	EQ(st("d/f")->st_gid, 1234);
	EQ(st("d/e")->st_gid, 1234);
	EQ(st_.st_mode & 07777, 02755);
}

CASE(access_uses_real_ids) {
	if (geteuid()) SKIP("needs root");
	spew("f", "");
	OK(chmod("f", 0600));
	CHILD(p) {
		OK(setresuid(65534, 0, 0));
		ERR(access("f", R_OK), EACCES);
		OK(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
		OK(open("f", O_RDONLY));
	}
	JOIN(p);
}

CASE(access_by_root) {
	if (geteuid()) SKIP("needs root");
	spew("f", "");
	OK(chmod("f", 0));
	OK(access("f", R_OK | W_OK));
	ERR(access("f", X_OK), EACCES);
	OK(chmod("f", 0001));
	OK(access("f", X_OK));
	ERR(access("f", 8), EINVAL);
	ERR(access("no", F_OK), ENOENT);
	ERR(syscall(SYS_faccessat2, AT_FDCWD, "f", 0, 0x8000), EINVAL);
	OK(syscall(SYS_faccessat2, 0, "", R_OK, AT_EMPTY_PATH));
}

CASE(utimens_sets_times) {
	spew("f", "");
	struct timespec t[2] = {{1000000, 123456789}, {2000000, 987654321}};
	OK(utimensat(AT_FDCWD, "f", t, 0));
	EQ(st("f")->st_atim.tv_sec, 1000000);
	EQ(st_.st_atim.tv_nsec, 123456789);
	EQ(st_.st_mtim.tv_sec, 2000000);
	EQ(st_.st_mtim.tv_nsec, 987654321);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "f", t, 0));
	EQ(st("f")->st_atim.tv_sec, 1000000);
	CHECK(labs(st_.st_mtime - time(NULL)) < 60);
	t[0].tv_nsec = 1000000000;
	ERR(utimensat(AT_FDCWD, "f", t, 0), EINVAL);
	int fd = OK(open("f", O_RDONLY));
	t[0] = t[1] = (struct timespec){77, 0};
	OK(futimens(fd, t));
	EQ(st("f")->st_mtime, 77);
	OK(symlink("f", "l"));
	t[1].tv_sec = 99;
	OK(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
	EQ(st("l")->st_mtime, 99);
	EQ(st("f")->st_mtime, 77);
	ERR(utimensat(AT_FDCWD, "no", t, 0), ENOENT);
	struct timeval tv[2] = {{5, 6}, {7, 8}};
	OK(utimes("f", tv));
	EQ(st("f")->st_mtim.tv_nsec, 8000);
}

CASE(times_move_by_themselves) {
	spew("f", "x");
	OK(mkdir("d", 0755));
	struct timespec t[2] = {{1000, 0}, {1000, 0}};
	OK(utimensat(AT_FDCWD, "f", t, 0));
	OK(utimensat(AT_FDCWD, "d", t, 0));
	time_t c = st("f")->st_ctime;
	CHECK(labs(c - time(NULL)) < 60);
	int fd = OK(open("f", O_WRONLY));
	EQ(st("f")->st_mtime, 1000);
	writen(fd, "y", 1);
	CHECK(st("f")->st_mtime > 1000);
	spew("d/new", "");
	CHECK(st("d")->st_mtime > 1000);
	OK(utimensat(AT_FDCWD, "d", t, 0));
	OK(unlink("d/new"));
	CHECK(st("d")->st_mtime > 1000);
}

CASE(umask_is_masked) {
	EQ(umask(07777), 022);
	EQ(umask(0), 0777);
}

CASE(statfs_answers) {
	struct statfs s;
	OK(statfs(".", &s));
	CHECK(s.f_bsize > 0 && s.f_blocks > 0 && s.f_namelen == 255);
	OK(statfs("/proc", &s));
	EQ(s.f_type, 0x9fa0);
	OK(statfs("/dev/shm", &s));
	EQ(s.f_type, 0x01021994);
	OK(fstatfs(0, &s));
	ERR(statfs("no", &s), ENOENT);
	ERR(fstatfs(99, &s), EBADF);
	struct statvfs v;
	OK(statvfs(".", &v));
	EQ(v.f_namemax, 255);
}

CASE(getcwd_rules) {
	char a[PATH_MAX], b[PATH_MAX];
	CHECK(getcwd(a, sizeof a));
	CHECK(a[0] == '/');
	EQ(syscall(SYS_getcwd, b, sizeof b), strlen(a) + 1);
	STR(a, b);
	ERR(syscall(SYS_getcwd, b, 3), ERANGE);
	ERR(syscall(SYS_getcwd, 8, 300), EFAULT);
	OK(mkdir("gone", 0755));
	OK(chdir("gone"));
	OK(rmdir("../gone"));
	ERR(syscall(SYS_getcwd, b, sizeof b), ENOENT);
	ERR(open("x", O_CREAT | O_WRONLY, 0644), ENOENT);
	ERR(mkdir("x", 0755), ENOENT);
	OK(chdir(".."));
	CHECK(getcwd(b, sizeof b));
	STR(a, b);
}

CASE(chdir_rules) {
	OK(mkdir("d", 0755));
	spew("f", "");
	OK(symlink("d", "l"));
	ERR(chdir("f"), ENOTDIR);
	ERR(chdir("no"), ENOENT);
	ERR(chdir(""), ENOENT);
	ERR(fchdir(OK(open("f", O_RDONLY))), ENOTDIR);
	ERR(fchdir(99), EBADF);
	OK(chdir("l"));
	char b[PATH_MAX];
	CHECK(getcwd(b, sizeof b));
	STR(strrchr(b, '/'), "/d");
	OK(rename("../d", "../e"));
	CHECK(getcwd(b, sizeof b));
	STR(strrchr(b, '/'), "/e");
}

CASE(readlink_rules) {
	OK(symlink("0123456789", "l"));
	spew("f", "");
	char b[20];
	memset(b, '#', 20);
	EQ(readlink("l", b, 20), 10);
	EQ(b[10], '#');
	EQ(readlink("l", b, 4), 4);
	ERR(readlink("f", b, 20), EINVAL);
	ERR(readlink("no", b, 20), ENOENT);
	ERR(readlink("l", b, 0), EINVAL);
	ERR(readlink("l", (char *)8, 5), EFAULT);
	ERR(readlink(".", b, 5), EINVAL);
}

CASE(mknod_rules) {
	OK(mknod("f", S_IFREG | 0640, 0));
	EQ(st("f")->st_mode, S_IFREG | 0640);
	OK(mknod("p", S_IFIFO | 0600, 0));
	OK(mknod("s", S_IFSOCK | 0600, 0));
	EQ(st("s")->st_mode & S_IFMT, S_IFSOCK);
	ERR(open("s", O_RDONLY), ENXIO);
	ERR(mknod("f", S_IFREG, 0), EEXIST);
	ERR(mknod("x", S_IFDIR | 0755, 0), EPERM);
	ERR(mknod("x", 0170000, 0), EINVAL);
	OK(mknod("plain", 0600, 0));
	EQ(st("plain")->st_mode & S_IFMT, S_IFREG);
}
