// mount and umount of tmpfs, proc and binds; chroot; pivot and the rights they need. The harness gives natively run cases a
// mount namespace of their own.
#include "case.h"
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/statfs.h>

static void need(void) {
	need_cap(CAP_SYS_ADMIN, "CAP_SYS_ADMIN");
	if (getenv("CONFORM_SHARED_MOUNTS")) SKIP("the mounts of the host itself");
}

CASE(tmpfs) {
	need();
	OK(mkdir("m", 0755));
	spew("m/hidden", "");
	OK(mount("none", "m", "tmpfs", 0, "size=1m,mode=0711"));
	struct stat st;
	OK(stat("m", &st));
	EQ(st.st_mode & 07777, 0711);
	ERR(access("m/hidden", F_OK), ENOENT);
	spew("m/f", "on tmpfs");
	STR(slurp("m/f"), "on tmpfs");
	struct statfs sf;
	OK(statfs("m", &sf));
	EQ(sf.f_type, 0x01021994);
	EQ(sf.f_blocks * sf.f_bsize, 1 << 20);
	ERR(rmdir("m"), EBUSY);
	ERR(rename("m", "n"), EBUSY);
	CHECK(strstr(slurp("/proc/self/mounts"), "/m tmpfs "));
	OK(umount("m"));
	OK(access("m/hidden", F_OK));
	CHECK(!strstr(slurp("/proc/self/mounts"), "/m tmpfs "));
}

CASE(tmpfs_is_full) {
	need();
	OK(mkdir("m", 0755));
	OK(mount("none", "m", "tmpfs", 0, "size=64k"));
	int fd = OK(open("m/f", O_CREAT | O_WRONLY, 0644));
	char *b = calloc(1, 100000);
	EQ(write(fd, b, 100000), 65536);
	ERR(write(fd, b, 1), ENOSPC);
	OK(ftruncate(fd, 0));
	OK(lseek(fd, 0, SEEK_SET));
	EQ(write(fd, b, 10), 10);
	OK(close(fd));
	OK(umount("m"));
}

CASE(busy_and_lazy) {
	need();
	OK(mkdir("m", 0755));
	OK(mount("none", "m", "tmpfs", 0, ""));
	int fd = OK(open("m/f", O_CREAT | O_RDWR, 0644));
	ERR(umount("m"), EBUSY);
	OK(umount2("m", MNT_DETACH));
	EQ(write(fd, "x", 1), 1); // alive as long as it is open
	ERR(umount("m"), EINVAL);
}

CASE(bind) {
	need();
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	spew("a/f", "1");
	OK(mount("a", "b", NULL, MS_BIND, NULL));
	STR(slurp("b/f"), "1");
	spew("b/g", "2");
	STR(slurp("a/g"), "2");
	ERR(rename("a/f", "b/h"), EXDEV);
	ERR(link("a/f", "b/h"), EXDEV);
	OK(umount("b"));
	ERR(access("b/f", F_OK), ENOENT);
}

CASE(bind_of_a_file) {
	need();
	spew("a", "A");
	spew("b", "B");
	OK(mount("a", "b", NULL, MS_BIND, NULL));
	STR(slurp("b"), "A");
	ERR(unlink("b"), EBUSY);
	OK(umount("b"));
	STR(slurp("b"), "B");
	OK(mkdir("d", 0755));
	ERR(mount("a", "d", NULL, MS_BIND, NULL), ENOTDIR);
}

CASE(read_only) {
	need();
	OK(mkdir("m", 0755));
	OK(mount("none", "m", "tmpfs", 0, ""));
	spew("m/f", "x");
	OK(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	ERR(open("m/f", O_WRONLY), EROFS);
	ERR(open("m/g", O_CREAT | O_WRONLY, 0644), EROFS);
	ERR(mkdir("m/d", 0755), EROFS);
	ERR(unlink("m/f"), EROFS);
	ERR(chmod("m/f", 0600), EROFS);
	ERR(access("m/f", W_OK), EROFS);
	STR(slurp("m/f"), "x");
	OK(umount("m"));
}

CASE(read_only_bind) {
	need();
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mount("a", "b", NULL, MS_BIND, NULL));
	OK(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	ERR(open("b/f", O_CREAT | O_WRONLY, 0644), EROFS);
	spew("a/f", ""); // the other side may
	OK(umount("b"));
}

CASE(noexec_nosuid_nodev) {
	need();
	OK(mkdir("m", 0755));
	OK(mount("none", "m", "tmpfs", MS_NOEXEC | MS_NODEV, ""));
	spew("m/s", "#!/bin/sh\n");
	OK(chmod("m/s", 0755));
	char *a[] = {"s", NULL};
	ERR(execv("m/s", a), EACCES);
	if (mknod("m/null", S_IFCHR | 0666, 0x103) == 0) ERR(open("m/null", O_RDWR), EACCES);
	OK(umount("m"));
}

CASE(proc_again) {
	need();
	OK(mkdir("p", 0755));
	OK(mount("proc", "p", "proc", 0, NULL));
	char b[30] = "";
	OK(readlink("p/self", b, 30));
	EQ(atoi(b), getpid());
	OK(umount("p"));
}

CASE(mount_errors) {
	need();
	OK(mkdir("m", 0755));
	ERR(mount("none", "no", "tmpfs", 0, ""), ENOENT);
	ERR(mount("none", "m", "no-such-fs", 0, ""), ENODEV);
	ERR(mount("no", "m", NULL, MS_BIND, NULL), ENOENT);
	ERR(mount("none", "m", "tmpfs", 0, "nonsense=1"), EINVAL);
	ERR(umount("m"), EINVAL);
	ERR(umount("no"), ENOENT);
	ERR(umount2("m", 0x1000), EINVAL);
	ERR(mount("none", (char *)8, "tmpfs", 0, ""), EFAULT);
}

CASE(dotdot_crosses_mounts) {
	need();
	OK(mkdir("m", 0755));
	spew("f", "outside");
	OK(mount("none", "m", "tmpfs", 0, ""));
	OK(chdir("m"));
	STR(slurp("../f"), "outside");
	char b[PATH_MAX];
	CHECK(getcwd(b, sizeof b));
	STR(strrchr(b, '/'), "/m");
	OK(chdir(".."));
	OK(umount("m"));
}

CASE(stacked) {
	need();
	OK(mkdir("m", 0755));
	OK(mount("none", "m", "tmpfs", 0, ""));
	spew("m/first", "");
	OK(mount("none", "m", "tmpfs", 0, ""));
	ERR(access("m/first", F_OK), ENOENT);
	OK(umount("m"));
	OK(access("m/first", F_OK));
	OK(umount("m"));
}

CASE(move) {
	need();
	OK(mkdir("h", 0755));
	OK(mount("none", "h", "tmpfs", 0, ""));
	OK(mount(NULL, "h", NULL, MS_PRIVATE, NULL));
	OK(mkdir("h/a", 0755));
	OK(mkdir("h/b", 0755));
	OK(mount("none", "h/a", "tmpfs", 0, ""));
	spew("h/a/f", "");
	OK(mount("h/a", "h/b", NULL, MS_MOVE, NULL));
	OK(access("h/b/f", F_OK));
	ERR(access("h/a/f", F_OK), ENOENT);
	OK(umount("h/b"));
	OK(umount("h"));
}

CASE(chroot_confines) {
	need_cap(CAP_SYS_CHROOT, "CAP_SYS_CHROOT");
	OK(mkdir("r", 0755));
	OK(mkdir("r/etc", 0755));
	spew("r/etc/f", "inside");
	OK(symlink("/etc/f", "r/abs"));
	OK(symlink("../../../etc/f", "r/etc/up"));
	CHILD(p) {
		OK(chroot("r"));
		OK(chdir("/"));
		STR(slurp("/etc/f"), "inside");
		STR(slurp("/abs"), "inside");
		STR(slurp("/etc/up"), "inside");
		STR(slurp("/../../etc/f"), "inside");
		char b[100];
		CHECK(getcwd(b, sizeof b));
		STR(b, "/");
		ERR(access("/proc/version", F_OK), ENOENT);
	}
	JOIN(p);
	CHILD(q) {
		OK(chroot("r")); // without chdir: the directory is outside
		char b[PATH_MAX];
		OK(syscall(SYS_getcwd, b, sizeof b));
		MEM(b, "(unreachable)", 13);
		STR(slurp("r/etc/f"), "inside");
	}
	JOIN(q);
	spew("file", "");
	ERR(chroot("file"), ENOTDIR);
	ERR(chroot("no"), ENOENT);
}

CASE(chroot_runs_a_static_program) {
	need_cap(CAP_SYS_CHROOT, "CAP_SYS_CHROOT");
	if (access("/bin/busybox", X_OK)) SKIP("no busybox");
	OK(mkdir("r", 0755));
	size_t n;
	char *bb = slurpn("/bin/busybox", &n);
	int fd = OK(open("r/sh", O_CREAT | O_WRONLY, 0755));
	writen(fd, bb, n);
	OK(close(fd));
	CHILD(p) {
		OK(chroot("r"));
		OK(chdir("/"));
		execl("/sh", "sh", "-c", "cd / && test -f /sh && exit 6", NULL);
	}
	int st;
	EQ(waitpid(p, &st, 0), p);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 0) SKIP("busybox is not static here");
	CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 6);
}

CASE(pivot_root_errors) {
	need();
	OK(mkdir("m", 0755));
	ERR(syscall(SYS_pivot_root, "no", "no"), ENOENT);
	OK(syscall(SYS_pivot_root, "m", "m") == -1 && (errno == EINVAL || errno == EBUSY) ? 0 : -1);
}

// tree mounts a tmpfs at t with t/a/x, t/b and t/c, and makes it private.
static void tree(void) {
	need();
	OK(mkdir("t", 0755));
	OK(mount("none", "t", "tmpfs", 0, ""));
	OK(mount(NULL, "t", NULL, MS_PRIVATE, NULL));
	for (const char **d = (const char *[]){"t/a", "t/b", "t/c", "t/d", NULL}; *d; d++)
		OK(mkdir(*d, 0755));
	OK(mount("none", "t/a", "tmpfs", 0, ""));
	OK(mkdir("t/a/x", 0755));
	OK(mkdir("t/a/y", 0755));
}

// tmp mounts a tmpfs with a file in it.
static void tmp(const char *where) {
	char f[100];
	OK(mount("none", where, "tmpfs", 0, ""));
	snprintf(f, sizeof f, "%s/f", where);
	spew(f, "");
}
#define SEEN(d) OK(access(d "/f", F_OK))
#define UNSEEN(d) ERR(access(d "/f", F_OK), ENOENT)

CASE(propagation_among_peers) {
	tree();
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/b", NULL, MS_BIND, NULL));
	tmp("t/a/x");
	SEEN("t/b/x");
	tmp("t/b/y");
	SEEN("t/a/y");
	OK(mkdir("t/a/x/deep", 0755)); // what was propagated is a peer itself
	tmp("t/b/x/deep");
	SEEN("t/a/x/deep");
	OK(umount("t/a/x/deep"));
	UNSEEN("t/b/x/deep");
	OK(umount("t/b/x"));
	UNSEEN("t/a/x");
	ERR(mount("t/a/y", "t/c", NULL, MS_MOVE, NULL), EINVAL);
	OK(umount2("t", MNT_DETACH));
}

CASE(propagation_to_slaves) {
	tree();
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/b", NULL, MS_BIND, NULL));
	OK(mount(NULL, "t/b", NULL, MS_SLAVE, NULL));
	OK(mount("t/b", "t/c", NULL, MS_BIND, NULL)); // a slave of the same master
	tmp("t/a/x");
	SEEN("t/b/x");
	SEEN("t/c/x");
	tmp("t/b/y");
	UNSEEN("t/a/y");
	UNSEEN("t/c/y");
	OK(umount("t/a/x"));
	UNSEEN("t/b/x");
	UNSEEN("t/c/x");
	OK(umount2("t", MNT_DETACH));
}

CASE(propagation_through_a_shared_slave) {
	tree();
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/b", NULL, MS_BIND, NULL));
	OK(mount(NULL, "t/b", NULL, MS_SLAVE, NULL));
	OK(mount(NULL, "t/b", NULL, MS_SHARED, NULL));
	OK(mount("t/b", "t/c", NULL, MS_BIND, NULL));
	char *info = slurp("/proc/self/mountinfo"), *b = strstr(info, "/t/b ");
	CHECK(b && strstr(b, " shared:") < strchr(b, '\n') && strstr(b, " master:") < strchr(b, '\n'));
	tmp("t/a/x");
	SEEN("t/b/x");
	SEEN("t/c/x");
	tmp("t/c/y");
	SEEN("t/b/y");
	UNSEEN("t/a/y");
	OK(umount("t/b/x")); // goes from c, and stays on a
	UNSEEN("t/c/x");
	SEEN("t/a/x");
	OK(umount2("t", MNT_DETACH));
}

CASE(propagation_ends_with_private) {
	tree();
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/b", NULL, MS_BIND, NULL));
	OK(mount("t/a", "t/c", NULL, MS_BIND, NULL));
	OK(mount(NULL, "t/b", NULL, MS_PRIVATE, NULL));
	tmp("t/a/x");
	UNSEEN("t/b/x");
	SEEN("t/c/x");
	ERR(mount(NULL, "t/d", NULL, MS_PRIVATE, NULL), EINVAL); // no mount there
	OK(mount(NULL, "t/b", NULL, MS_UNBINDABLE, NULL));
	ERR(mount("t/b", "t/d", NULL, MS_BIND, NULL), EINVAL);
	OK(umount2("t", MNT_DETACH));
}

CASE(propagation_of_a_part) {
	tree();
	OK(mkdir("t/a/x/in", 0755));
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a/x", "t/b", NULL, MS_BIND, NULL)); // shows x alone
	tmp("t/a/y");
	tmp("t/a/x/in");
	SEEN("t/b/in");
	OK(umount("t/b/in"));
	UNSEEN("t/a/x/in");
	SEEN("t/a/y");
	// A bind brings what hangs below it, to the peers too.
	tmp("t/c");
	OK(mkdir("t/c/sub", 0755));
	tmp("t/c/sub");
	OK(mount("t/c", "t/b/in", NULL, MS_BIND | MS_REC, NULL));
	SEEN("t/a/x/in");
	SEEN("t/a/x/in/sub");
	OK(umount2("t/a/x/in", MNT_DETACH));
	UNSEEN("t/b/in");
	OK(umount2("t", MNT_DETACH));
}

CASE(propagated_mounts_that_are_busy) {
	tree();
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/b", NULL, MS_BIND, NULL));
	tmp("t/a/x");
	int fd = OK(open("t/b/x/f", O_RDONLY));
	ERR(umount("t/a/x"), EBUSY);
	SEEN("t/a/x");
	close(fd);
	OK(umount("t/a/x"));
	UNSEEN("t/b/x");
	OK(umount2("t", MNT_DETACH));
}

CASE(mounts_are_limited) {
	tree();
	int max = atoi(slurp("/proc/sys/fs/mount-max"));
	OK(mount(NULL, "t/a", NULL, MS_SHARED, NULL));
	OK(mount("t/a", "t/a/x", NULL, MS_BIND, NULL)); // each doubles what is there
	int n = 1, e = 0;
	for (; n < 30 && !e; n++) e = mount("t/a", "t/a/y", NULL, MS_BIND | MS_REC, NULL) ? errno : 0;
	EQ(e, ENOSPC);
	int lines = 0;
	for (char *i = slurp("/proc/self/mountinfo"); (i = strchr(i, '\n')); i++) lines++;
	CHECK(lines > 60 && lines <= max);
	OK(mount("none", "t/c", "tmpfs", 0, ""));
	OK(umount2("t", MNT_DETACH));
}
