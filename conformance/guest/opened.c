// What is asked right after an open: what a kernel may know already, and must not tell once it is past.
#include "case.h"
#include <dirent.h>
#include <sys/syscall.h>

static bool same(const struct stat *a, const struct stat *b) { return !memcmp(a, b, sizeof *a); }

// list reads all that is left of a directory by calls of size bytes, and gives the number of entries.
static int list(int d, int size) {
	char b[32768];
	int n = 0, k;
	while ((k = OK((int)syscall(SYS_getdents64, d, b, size))) > 0)
		for (int at = 0; at < k; at += *(uint16_t *)(b + at + 16))
			n++;
	return n;
}

// walk has the directory read often enough that its entries may be known when it is opened.
static void walk(const char *dir) {
	for (int i = 0; i < 40; i++) {
		struct stat a, b;
		int d = OK(open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		OK(fstat(d, &a));
		OK(fstatat(AT_FDCWD, dir, &b, AT_SYMLINK_NOFOLLOW));
		CHECK(same(&a, &b));
		list(d, 32768);
		OK(close(d));
	}
}

static void tree(void) {
	OK(mkdir("t", 0755));
	OK(mkdir("t/one", 0711));
	OK(mkdir("t/two", 0700));
	spew("t/file", "12345");
	OK(symlink("one", "t/link"));
	walk("t");
}

CASE(attributes_by_any_way) {
	tree();
	const char *names[] = {"one", "two", "file", "one", "file", "."};
	int t = OK(open("t", O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < 60; i++) {
		struct stat s[5];
		const char *name = names[i % LEN(names)];
		OK(fstatat(t, name, &s[0], 0));
		int d = OK(openat(t, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
		OK(fstat(d, &s[1]));
		OK(fstatat(t, name, &s[2], AT_SYMLINK_NOFOLLOW));
		OK((int)syscall(SYS_newfstatat, d, "", &s[3], AT_EMPTY_PATH));
		OK(fstatat(t, name, &s[4], 0));
		for (int k = 1; k < 5; k++)
			CHECK(same(&s[0], &s[k]));
		OK(fstatat(t, "link", &s[0], AT_SYMLINK_NOFOLLOW));
		CHECK(S_ISLNK(s[0].st_mode));
		OK(close(d));
		ERR(fstat(d, &s[0]), EBADF);
	}
}

CASE(links_are_followed_or_not) {
	tree();
	int t = OK(open("t", O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < 30; i++) {
		struct stat a, b;
		ERR(openat(t, "link", O_RDONLY | O_NOFOLLOW), ELOOP);
		int d = OK(openat(t, "link", O_RDONLY));
		OK(fstatat(t, "link", &a, AT_SYMLINK_NOFOLLOW));
		OK(fstatat(t, "link", &b, 0));
		CHECK(S_ISLNK(a.st_mode) && S_ISDIR(b.st_mode));
		OK(fstat(d, &a));
		CHECK(same(&a, &b));
		OK(close(d));
		ERR(openat(t, "file", O_RDONLY | O_DIRECTORY), ENOTDIR);
		d = OK(openat(t, "one/", O_RDONLY | O_NOFOLLOW));
		OK(fstatat(t, "one", &a, 0));
		OK(fstatat(t, "one/", &b, 0));
		CHECK(same(&a, &b));
		ERR(fstatat(t, "two/none", &a, 0), ENOENT);
		OK(close(d));
	}
}

CASE(numbers_change_hands) {
	tree();
	struct stat s;
	int t = OK(open("t", O_RDONLY | O_DIRECTORY)), u = OK(open("/", O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < 30; i++) {
		int d = OK(openat(t, "one", O_RDONLY | O_NOFOLLOW));
		OK(close(d));
		EQ(dup(u), d); // now it is another directory's
		OK(fstat(d, &s));
		EQ(s.st_mode & 07777, 0755);
		OK(close(d));
		d = OK(openat(t, "one", O_RDONLY | O_NOFOLLOW));
		int k = OK(dup(t));
		OK(close(t));
		EQ(dup(u), t);
		ERR(fstatat(t, "one", &s, 0), ENOENT);
		OK(fstatat(k, "one", &s, 0));
		EQ(s.st_mode & 07777, 0711);
		OK(close(t));
		EQ(dup(k), t);
		OK(close(k)), OK(close(d));
	}
}

CASE(changed_by_another_meanwhile) {
	tree();
	atomic_int *w = shared(4096);
	CHILD(c) {
		for (int i = 0; i < 60; i++) {
			until(w, 2 * i + 1);
			switch (i % 6) {
			case 0: OK(chmod("t/one", 0700 | i)); break;
			case 1: OK(mkdir("t/one/new", 0700)); break;
			case 2: OK(rmdir("t/one/new")); break;
			case 3: OK(rename("t/one", "t/three")), OK(rename("t/two", "t/one")); break;
			case 4: OK(rename("t/one", "t/two")), OK(rename("t/three", "t/one")); break;
			case 5: OK(utimensat(AT_FDCWD, "t/one", (struct timespec[2]){{1, 0}, {i, 0}}, 0)); break;
			}
			atomic_store(w, 2 * i + 2);
		}
	}
	int t = OK(open("t", O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < 60; i++) {
		struct stat a, b;
		walk("t/one");
		int d = OK(openat(t, "one", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		atomic_store(w, 2 * i + 1);
		until(w, 2 * i + 2);
		OK(fstat(d, &a));
		OK(fstatat(t, "one", &b, AT_SYMLINK_NOFOLLOW));
		int n = list(d, 32768);
		switch (i % 6) {
		case 0: EQ(a.st_mode & 07777, 0700 | i); break;
		case 1: EQ(n, 3); break;
		case 2: EQ(n, 2); break;
		case 3: case 4: CHECK(a.st_ino != b.st_ino); break;
		case 5: EQ(a.st_mtime, i); break;
		}
		if (i % 6 != 3 && i % 6 != 4)
			CHECK(same(&a, &b));
		OK(close(d));
	}
	JOIN(c);
}

CASE(read_once_and_in_its_place) {
	tree();
	for (int i = 0; i < 40; i++) {
		struct stat s;
		char path[64];
		int d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		OK(fstat(d, &s));
		int e = OK(dup(d)), want = 6;
		switch (i % 6) {
		case 0: break;
		case 1: // a duplicate shares the place
			EQ(list(e, 32768), want);
			EQ(list(d, 32768), 0);
			OK((int)lseek(e, 0, SEEK_SET));
			break;
		case 2:
			EQ(list(d, 32768), want);
			CHECK(lseek(e, 0, SEEK_CUR) != 0);
			EQ(list(e, 32768), 0);
			EQ(list(d, 32768), 0);
			OK((int)lseek(d, 0, SEEK_SET));
			break;
		case 3: // little by little
			EQ(list(d, 40), want);
			want = 0;
			break;
		case 4:
			EQ(lseek(d, 0, SEEK_CUR), 0);
			break;
		case 5: // as a child of this one sees it
			EQ(list(d, 32768), want);
			snprintf(path, sizeof path, "/proc/self/fdinfo/%d", e);
			CHECK(!strstr(slurp(path), "pos:\t0\n"));
			want = 0;
			break;
		}
		CHILD(c) EQ(list(i % 2 ? d : e, 32768), want);
		JOIN(c);
		EQ(list(d, 32768), 0);
		OK(close(d)), OK(close(e));
	}
}

CASE(bad_addresses) {
	tree();
	char b[4096];
	char *edge = (char *)anon(2 * PAGE) + PAGE;
	OK(munmap(edge, PAGE));
	for (int i = 0; i < 40; i++) {
		int d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		ERR((int)syscall(SYS_fstat, d, (void *)8), EFAULT);
		ERR((int)syscall(SYS_fstat, d, edge - 8), EFAULT);
		OK(close(d));
		d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		ERR((int)syscall(SYS_newfstatat, d, (void *)8, b, AT_EMPTY_PATH), EFAULT);
		OK(close(d));
		d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		ERR((int)syscall(SYS_getdents64, d, (void *)8, 4096), EFAULT);
		int n = OK((int)syscall(SYS_getdents64, d, edge - 60, 60)), k = OK((int)syscall(SYS_getdents64, d, edge - 30, 4096));
		CHECK(n >= 48);
		CHECK(k >= 24);
		EQ(list(d, 32768), 3);
		OK(close(d));
		d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		struct stat s;
		memcpy(edge - 4, "one", 4); // the name ends where the memory does
		OK(fstatat(d, edge - 4, &s, 0));
		memcpy(edge - 3, "one", 3); // and here it does not end
		ERR(fstatat(d, edge - 3, &s, 0), EFAULT);
		ERR(fstatat(d, "one", &s, 0x40000000), EINVAL);
		OK(close(d));
	}
}

CASE(watched_while_read) {
	tree();
	for (int i = 0; i < 10; i++) {
		int d = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		OK(rename("t/file", "t/elif"));
		int e = OK(open("t", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
		OK(rename("t/elif", "t/file"));
		DIR *r = fdopendir(e);
		bool found = false;
		for (struct dirent *x; (x = readdir(r));)
			found |= !strcmp(x->d_name, "file");
		CHECK(found);
		closedir(r);
		EQ(list(d, 32768), 6);
		OK(close(d));
	}
}
