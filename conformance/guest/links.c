// link, symlink, unlink, rmdir, mkdir, rename and renameat2.
#include "case.h"

static struct stat st_;
static struct stat *st(const char *p) {
	OK(lstat(p, &st_));
	return &st_;
}
static int rename2(const char *a, const char *b, unsigned flags) { return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags); }

CASE(hard_links) {
	spew("a", "x");
	OK(link("a", "b"));
	EQ(st("a")->st_nlink, 2);
	ino_t i = st_.st_ino;
	EQ(st("b")->st_ino, i);
	int fd = OK(open("b", O_WRONLY | O_APPEND));
	writen(fd, "y", 1);
	STR(slurp("a"), "xy");
	OK(unlink("a"));
	EQ(st("b")->st_nlink, 1);
	STR(slurp("b"), "xy");
}

CASE(link_errors) {
	spew("a", "");
	OK(mkdir("d", 0755));
	ERR(link("a", "a"), EEXIST);
	ERR(link("no", "b"), ENOENT);
	ERR(link("a", "no/b"), ENOENT);
	ERR(link("a", "a/b"), ENOTDIR);
	ERR(link("d", "e"), EPERM);
	ERR(link("a", "d"), EEXIST);
	ERR(link("a", "new/"), ENOENT);
	ERR(link("a", ""), ENOENT);
	ERR(linkat(AT_FDCWD, "a", AT_FDCWD, "b", 0x8000), EINVAL);
	struct stat here, shm;
	OK(stat(".", &here));
	OK(stat("/dev/shm", &shm));
	if (here.st_dev != shm.st_dev) ERR(link("a", "/dev/shm/conform-link"), EXDEV);
}

CASE(link_of_symlink) {
	spew("a", "");
	OK(symlink("a", "l"));
	OK(link("l", "hl"));
	CHECK(S_ISLNK(st("hl")->st_mode));
	OK(linkat(AT_FDCWD, "l", AT_FDCWD, "ha", AT_SYMLINK_FOLLOW));
	CHECK(S_ISREG(st("ha")->st_mode));
	EQ(st("a")->st_nlink, 2);
}

CASE(symlink_rules) {
	OK(symlink("any thing / at all", "l"));
	char b[40] = "";
	EQ(readlink("l", b, 40), 18);
	STR(b, "any thing / at all");
	ERR(symlink("x", "l"), EEXIST);
	ERR(symlink("", "e"), ENOENT);
	ERR(symlink("x", "no/l"), ENOENT);
	OK(mkdir("d", 0755));
	spew("d/f", "q");
	OK(symlink("d", "ld"));
	STR(slurp("ld/f"), "q");
	OK(symlink("../d/f", "d/rel"));
	STR(slurp("ld/rel"), "q");
	char big[5000];
	memset(big, 'x', 4999);
	big[4999] = 0;
	ERR(symlink(big, "big"), ENAMETOOLONG);
	OK(unlink("l"));
	ERR(rmdir("ld"), ENOTDIR);
}

CASE(unlink_rules) {
	spew("f", "");
	OK(mkdir("d", 0755));
	ERR(unlink("d"), EISDIR);
	ERR(unlink("no"), ENOENT);
	ERR(unlink("f/"), ENOTDIR);
	ERR(unlink("f/x"), ENOTDIR);
	ERR(unlink(""), ENOENT);
	ERR(unlink("."), EISDIR);
	ERR(unlinkat(AT_FDCWD, "f", 0x1000), EINVAL);
	ERR(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
	OK(unlink("f"));
	ERR(unlink("f"), ENOENT);
	OK(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
}

CASE(rmdir_rules) {
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	ERR(rmdir("d"), ENOTEMPTY);
	ERR(rmdir("d/e/."), EINVAL);
	ERR(rmdir("d/e/.."), ENOTEMPTY);
	ERR(rmdir("no"), ENOENT);
	spew("f", "");
	ERR(rmdir("f"), ENOTDIR);
	ERR(rmdir("/"), EBUSY);
	OK(rmdir("d/e/"));
	OK(rmdir("d"));
}

CASE(mkdir_rules) {
	spew("f", "");
	OK(mkdir("d", 0755));
	ERR(mkdir("d", 0755), EEXIST);
	ERR(mkdir("f", 0755), EEXIST);
	ERR(mkdir("f/x", 0755), ENOTDIR);
	ERR(mkdir("no/x", 0755), ENOENT);
	ERR(mkdir(".", 0755), EEXIST);
	ERR(mkdir("", 0755), ENOENT);
	ERR(mkdir("/", 0755), EEXIST);
	OK(symlink("nowhere", "l"));
	ERR(mkdir("l", 0755), EEXIST);
	umask(077);
	OK(mkdir("m", 0777));
	EQ(st("m")->st_mode & 07777, 0700);
}

CASE(rename_replaces) {
	spew("a", "A");
	spew("b", "B");
	ino_t i = st("a")->st_ino;
	int old = OK(open("b", O_RDONLY));
	OK(rename("a", "b"));
	EQ(st("b")->st_ino, i);
	STR(slurp("b"), "A");
	ERR(stat("a", &st_), ENOENT);
	char c;
	EQ(read(old, &c, 1), 1);
	EQ(c, 'B');
	OK(fstat(old, &st_));
	EQ(st_.st_nlink, 0);
}

CASE(rename_same_file_does_nothing) {
	spew("a", "A");
	OK(link("a", "b"));
	OK(rename("a", "b"));
	EQ(st("a")->st_nlink, 2);
	OK(rename("a", "a"));
	STR(slurp("a"), "A");
}

CASE(rename_directories) {
	OK(mkdir("a", 0755));
	spew("a/f", "x");
	OK(mkdir("b", 0755));
	OK(rename("a", "b")); // over an empty one
	STR(slurp("b/f"), "x");
	OK(mkdir("c", 0755));
	spew("c/full", "");
	ERR(rename("b", "c"), ENOTEMPTY);
	spew("file", "");
	ERR(rename("b", "file"), ENOTDIR);
	ERR(rename("file", "b"), EISDIR);
	ERR(rename("b", "b/inside"), EINVAL);
	OK(mkdir("b/sub", 0755));
	ERR(rename("b/sub", "b/sub/deep/er"), ENOENT);
	ERR(rename("b/sub", "b"), ENOTEMPTY);
	OK(rename("b/sub", "top"));
	ERR(rename("b", "."), EBUSY);
	ERR(rename(".", "b"), EBUSY);
	ERR(rename("no", "x"), ENOENT);
	ERR(rename("", "x"), ENOENT);
	ERR(rename("file/", "x"), ENOTDIR);
	OK(rename("top/", "top2/"));
}

CASE(rename_moves_dotdot) {
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mkdir("a/x", 0755));
	OK(rename("a/x", "b/x"));
	ino_t i = st("b")->st_ino;
	EQ(st("b/x/..")->st_ino, i);
	CHECK(st("a")->st_nlink <= 2);
}

CASE(rename_across_file_systems) {
	spew("a", "");
	ERR(rename("a", "/proc/a"), EXDEV);
	char to[60];
	struct stat here, shm;
	OK(stat(".", &here));
	OK(stat("/dev/shm", &shm));
	sprintf(to, "/dev/shm/conform-%d", getpid());
	if (here.st_dev != shm.st_dev) ERR(rename("a", to), EXDEV);
}

CASE(rename_of_symlink_itself) {
	spew("a", "A");
	OK(symlink("a", "l"));
	OK(rename("l", "m"));
	CHECK(S_ISLNK(st("m")->st_mode));
	spew("b", "B");
	OK(rename("b", "m"));
	CHECK(S_ISREG(st("m")->st_mode));
	STR(slurp("a"), "A");
}

CASE(rename_noreplace) {
	spew("a", "A");
	spew("b", "B");
	ERR(rename2("a", "b", RENAME_NOREPLACE), EEXIST);
	OK(rename2("a", "c", RENAME_NOREPLACE));
	STR(slurp("c"), "A");
	ERR(rename2("b", "c", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
	ERR(rename2("b", "c", 0x80), EINVAL);
}

CASE(rename_exchange) {
	spew("a", "A");
	OK(mkdir("d", 0755));
	spew("d/in", "I");
	OK(rename2("a", "d", RENAME_EXCHANGE));
	STR(slurp("a/in"), "I");
	STR(slurp("d"), "A");
	ERR(rename2("a", "no", RENAME_EXCHANGE), ENOENT);
}

CASE(open_directory_survives_removal) {
	OK(mkdir("d", 0755));
	int d = OK(open("d", O_RDONLY | O_DIRECTORY));
	OK(rmdir("d"));
	ERR(openat(d, "f", O_CREAT | O_WRONLY, 0644), ENOENT);
	OK(fstat(d, &st_));
	EQ(st_.st_nlink, 0);
	char path[40], link[PATH_MAX] = "";
	sprintf(path, "/proc/self/fd/%d", d);
	OK(readlink(path, link, sizeof link));
	CHECK(strstr(link, " (deleted)"));
}

CASE(names_with_odd_bytes) {
	const char *names[] = {"sp ace", "new\nline", "\xff\xfe", "ünï", "-dash", "...", "*", "a\\b"};
	for (int i = 0; i < LEN(names); i++) {
		spew(names[i], "1");
		OK(stat(names[i], &st_));
	}
	for (int i = 0; i < LEN(names); i++) OK(unlink(names[i]));
}

CASE(deep_tree) {
	char cwd[PATH_MAX];
	for (int i = 0; i < 100; i++) {
		OK(mkdir("d", 0755));
		OK(chdir("d"));
	}
	CHECK(getcwd(cwd, sizeof cwd));
	CHECK(strlen(cwd) >= 200);
	spew("f", "deep");
	for (int i = 0; i < 100; i++) OK(chdir(".."));
	char path[400] = "";
	for (int i = 0; i < 100; i++) strcat(path, "d/");
	strcat(path, "f");
	STR(slurp(path), "deep");
}

CASE(replace_by_rename_is_atomic) {
	spew("f", "aaaaaaaaaa");
	CHILD(p) {
		for (int i = 0; i < 300; i++) {
			spew("t", i % 2 ? "aaaaaaaaaa" : "bbbbbbbbbb");
			OK(rename("t", "f"));
		}
	}
	int st;
	while (waitpid(p, &st, WNOHANG) == 0) {
		char *s = slurp("f");
		EQ(strlen(s), 10);
		for (int i = 1; i < 10; i++) EQ(s[i], s[0]);
		free(s);
	}
	EQ(st, 0);
}

CASE(excl_creation_has_one_winner) {
	int fds[2];
	OK(pipe(fds));
	for (int r = 0; r < 20; r++) {
		char name[20];
		sprintf(name, "lock%d", r);
		pid_t p[4];
		for (int i = 0; i < 4; i++) {
			p[i] = OK(fork());
			if (p[i]) continue;
			if (open(name, O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0) writen(fds[1], "w", 1);
			else EQ(errno, EEXIST);
			_exit(0);
		}
		for (int i = 0; i < 4; i++) JOIN(p[i]);
		char b[8];
		EQ(read(fds[0], b, 8), 1);
	}
}
