// Directories: getdents64, seekdir, many entries, what changes while they are read.
#include "case.h"
#include <dirent.h>

struct ent { uint64_t ino; int64_t off; unsigned short len; unsigned char type; char name[]; };
static long dents(int fd, void *b, size_t n) { return syscall(SYS_getdents64, fd, b, n); }
static int count(const char *path) {
	DIR *d = opendir(path);
	CHECK(d);
	int n = 0;
	while (readdir(d)) n++;
	closedir(d);
	return n;
}

CASE(empty_has_two) { EQ(count("."), 2); }

CASE(types_and_inodes) {
	spew("file", "");
	OK(mkdir("dir", 0755));
	OK(symlink("x", "link"));
	OK(mkfifo("fifo", 0600));
	DIR *d = opendir(".");
	CHECK(d);
	int seen = 0;
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		OK(lstat(e->d_name, &st));
		if (strcmp(e->d_name, "..")) EQ(e->d_ino, st.st_ino);
		EQ(e->d_type, IFTODT(st.st_mode));
		seen++;
	}
	EQ(seen, 6);
	closedir(d);
}

CASE(record_layout) {
	spew("a", "");
	spew("longer-name", "");
	char b[4096];
	int fd = OK(open(".", O_RDONLY | O_DIRECTORY)), n = 0, offs = 0;
	long r = OK(dents(fd, b, sizeof b));
	for (long i = 0; i < r;) {
		struct ent *e = (struct ent *)(b + i);
		EQ(e->len % 8, 0);
		CHECK(e->len >= 19 + strlen(e->name) + 1);
		offs += e->off != 0;
		i += e->len;
		n++;
	}
	EQ(n, 4);
	CHECK(offs >= 3);
	EQ(dents(fd, b, sizeof b), 0);
	EQ(lseek(fd, 0, SEEK_SET), 0);
	EQ(dents(fd, b, sizeof b), r);
}

CASE(getdents_errors) {
	char b[1000];
	spew("f", "");
	int f = OK(open("f", O_RDONLY)), d = OK(open(".", O_RDONLY)), p = OK(open(".", O_PATH));
	ERR(dents(f, b, 1000), ENOTDIR);
	ERR(dents(99, b, 1000), EBADF);
	ERR(dents(p, b, 1000), EBADF);
	ERR(dents(d, b, 10), EINVAL);
	ERR(dents(d, (void *)8, 1000), EFAULT);
}

CASE(small_buffers_lose_nothing) {
	char name[30];
	for (int i = 0; i < 60; i++) {
		sprintf(name, "file-%03d", i);
		spew(name, "");
	}
	int fd = OK(open(".", O_RDONLY)), n = 0;
	char b[64], seen[60] = "";
	for (long r; (r = OK(dents(fd, b, sizeof b))) > 0;)
		for (long i = 0; i < r;) {
			struct ent *e = (struct ent *)(b + i);
			int k;
			if (sscanf(e->name, "file-%d", &k) == 1) {
				EQ(seen[k], 0);
				seen[k] = 1;
			}
			n++;
			i += e->len;
		}
	EQ(n, 62);
}

CASE(many_entries) {
	char name[60];
	for (int i = 0; i < 3000; i++) {
		sprintf(name, "a-rather-long-name-of-a-file-%d", i);
		OK(mknod(name, S_IFREG | 0600, 0));
	}
	EQ(count("."), 3002);
	for (int i = 0; i < 3000; i += 2) {
		sprintf(name, "a-rather-long-name-of-a-file-%d", i);
		OK(unlink(name));
	}
	EQ(count("."), 1502);
}

CASE(telldir_seekdir) {
	char name[20];
	for (int i = 0; i < 20; i++) {
		sprintf(name, "f%d", i);
		spew(name, "");
	}
	DIR *d = opendir(".");
	CHECK(d);
	for (int i = 0; i < 7; i++) CHECK(readdir(d));
	long at = telldir(d);
	char want[256];
	strcpy(want, readdir(d)->d_name);
	while (readdir(d));
	seekdir(d, at);
	STR(readdir(d)->d_name, want);
	rewinddir(d);
	int n = 0;
	while (readdir(d)) n++;
	EQ(n, 22);
}

CASE(removing_while_reading) {
	char name[20];
	for (int i = 0; i < 500; i++) {
		sprintf(name, "f%d", i);
		spew(name, "");
	}
	DIR *d = opendir(".");
	CHECK(d);
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] == 'f') {
			OK(unlink(e->d_name));
			n++;
		}
	closedir(d);
	EQ(n, 500); // `rm -r` counts on it
	EQ(count("."), 2);
}

CASE(adding_while_reading_ends) {
	char name[20];
	DIR *d = opendir(".");
	CHECK(d);
	int n = 0;
	while (readdir(d) && n < 2000) {
		sprintf(name, "n%d", n++);
		if (n < 500) spew(name, "");
	}
	CHECK(n < 2000);
}

CASE(rewind_sees_new_entries) {
	DIR *d = opendir(".");
	CHECK(d);
	while (readdir(d));
	spew("new", "");
	rewinddir(d);
	int n = 0;
	while (readdir(d)) n++;
	EQ(n, 3);
}

CASE(two_descriptors_read_on_their_own) {
	spew("a", "");
	DIR *d = opendir("."), *e = opendir(".");
	CHECK(d && e);
	while (readdir(d));
	CHECK(readdir(e));
	closedir(d);
	closedir(e);
}

CASE(dot_and_dotdot) {
	OK(mkdir("d", 0755));
	struct stat a, b;
	OK(stat("d/..", &a));
	OK(stat(".", &b));
	EQ(a.st_ino, b.st_ino);
	OK(stat("/..", &a));
	OK(stat("/", &b));
	EQ(a.st_ino, b.st_ino);
	DIR *d = opendir("d");
	CHECK(d);
	ino_t dot = 0, dotdot = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (!strcmp(e->d_name, ".")) dot = e->d_ino;
		if (!strcmp(e->d_name, "..")) dotdot = e->d_ino;
	}
	OK(stat("d", &a));
	EQ(dot, a.st_ino);
	OK(stat(".", &a));
	EQ(dotdot, a.st_ino);
}

CASE(scandir_sorted) {
	spew("b", "");
	spew("a", "");
	spew("c", "");
	struct dirent **l;
	EQ(scandir(".", &l, NULL, alphasort), 5);
	STR(l[2]->d_name, "a");
	STR(l[4]->d_name, "c");
}

CASE(usr_bin_is_listed) {
	CHECK(count("/usr/bin") > 100);
	CHECK(count("/") > 8);
	CHECK(count("/proc") > 10);
	CHECK(count("/dev") > 5);
}

CASE(entries_after_rename) {
	OK(mkdir("d", 0755));
	spew("d/x", "");
	OK(rename("d/x", "d/y"));
	DIR *d = opendir("d");
	CHECK(d);
	int x = 0, y = 0;
	for (struct dirent *e; (e = readdir(d));) x += !strcmp(e->d_name, "x"), y += !strcmp(e->d_name, "y");
	EQ(x, 0);
	EQ(y, 1);
}

// A directory that is gone still knows the one it stood in, be that gone too.
CASE(dotdot_of_removed) {
	struct stat a, b, st;
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(mkdir("a/b/c", 0755));
	OK(stat("a", &a));
	OK(stat("a/b", &b));
	int top = OK(open(".", O_PATH));
	OK(chdir("a/b/c"));
	OK(unlinkat(top, "a/b/c", AT_REMOVEDIR));
	OK(stat("..", &st));
	EQ(st.st_ino, b.st_ino);
	OK(mkdir("../d", 0755));
	OK(unlinkat(top, "a/b/d", AT_REMOVEDIR));
	OK(unlinkat(top, "a/b", AT_REMOVEDIR));
	OK(stat("..", &st));
	EQ(st.st_ino, b.st_ino);
	ERR(mkdir("../d", 0755), ENOENT);
	ERR(stat("../none", &st), ENOENT);
	OK(unlinkat(top, "a", AT_REMOVEDIR));
	OK(stat("../..", &st));
	EQ(st.st_ino, a.st_ino);
	ERR(open("../../f", O_CREAT | O_WRONLY, 0644), ENOENT);
	OK(mkdir("../../../e", 0755));
	OK(unlinkat(top, "e", AT_REMOVEDIR));
}
