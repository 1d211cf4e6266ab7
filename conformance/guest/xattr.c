// Extended attributes in the user namespace.
#include "case.h"
#include <sys/xattr.h>

static void need(void) {
	spew("f", "");
	if (setxattr("f", "user.probe", "1", 1, 0) < 0 && errno == EOPNOTSUPP) SKIP("this file system has no user attributes");
	removexattr("f", "user.probe");
}

CASE(set_get_remove) {
	need();
	char b[20] = "";
	OK(setxattr("f", "user.one", "value", 5, 0));
	EQ(getxattr("f", "user.one", b, 20), 5);
	STR(b, "value");
	EQ(getxattr("f", "user.one", NULL, 0), 5);
	ERR(getxattr("f", "user.one", b, 3), ERANGE);
	ERR(getxattr("f", "user.two", b, 20), ENODATA);
	OK(setxattr("f", "user.one", "v2", 2, 0));
	EQ(getxattr("f", "user.one", b, 20), 2);
	OK(removexattr("f", "user.one"));
	ERR(removexattr("f", "user.one"), ENODATA);
}

CASE(create_and_replace) {
	need();
	ERR(setxattr("f", "user.a", "x", 1, XATTR_REPLACE), ENODATA);
	OK(setxattr("f", "user.a", "x", 1, XATTR_CREATE));
	ERR(setxattr("f", "user.a", "x", 1, XATTR_CREATE), EEXIST);
	OK(setxattr("f", "user.a", "", 0, XATTR_REPLACE));
	EQ(getxattr("f", "user.a", NULL, 0), 0);
	ERR(setxattr("f", "user.a", "x", 1, 8), EINVAL);
}

CASE(list) {
	need();
	char b[100];
	OK(setxattr("f", "user.a", "x", 1, 0));
	OK(setxattr("f", "user.bb", "x", 1, 0));
	ssize_t n = OK(listxattr("f", b, sizeof b));
	int a = 0, bb = 0;
	for (char *p = b; p < b + n; p += strlen(p) + 1) a += !strcmp(p, "user.a"), bb += !strcmp(p, "user.bb");
	EQ(a, 1);
	EQ(bb, 1);
	EQ(listxattr("f", NULL, 0), n);
	ERR(listxattr("f", b, 3), ERANGE);
}

CASE(by_descriptor) {
	need();
	int fd = OK(open("f", O_RDONLY));
	char b[10];
	OK(fsetxattr(fd, "user.d", "12", 2, 0));
	EQ(fgetxattr(fd, "user.d", b, 10), 2);
	CHECK(OK(flistxattr(fd, NULL, 0)) >= 7);
	OK(fremovexattr(fd, "user.d"));
	ERR(fgetxattr(99, "user.d", b, 10), EBADF);
	int p = OK(open("f", O_PATH));
	ERR(fgetxattr(p, "user.d", b, 10), EBADF);
}

CASE(names) {
	need();
	ERR(setxattr("f", "bad", "x", 1, 0), EOPNOTSUPP);
	ERR(setxattr("f", "user.", "x", 1, 0), EINVAL);
	ERR(setxattr("f", "", "x", 1, 0), ERANGE);
	char big[400] = "user.";
	memset(big + 5, 'a', 300);
	ERR(setxattr("f", big, "x", 1, 0), ERANGE);
	char *val = calloc(1, 70000);
	ERR(setxattr("f", "user.v", val, 65537, 0), E2BIG);
	ERR(setxattr("no", "user.v", val, 1, 0), ENOENT);
	ERR(setxattr("f", (char *)8, val, 1, 0), EFAULT);
	ERR(setxattr("f", "user.v", (char *)8, 1, 0), EFAULT);
}

CASE(links_follow) {
	need();
	OK(symlink("f", "l"));
	OK(setxattr("l", "user.x", "1", 1, 0));
	char b[4];
	EQ(getxattr("f", "user.x", b, 4), 1);
	ERR(lgetxattr("l", "user.x", b, 4), ENODATA);
	ERR(lsetxattr("l", "user.x", "1", 1, 0), EPERM);
	OK(mkfifo("p", 0600));
	ERR(setxattr("p", "user.x", "1", 1, 0), EPERM);
}

CASE(directories_and_renames) {
	need();
	OK(mkdir("d", 0755));
	OK(setxattr("d", "user.dir", "yes", 3, 0));
	OK(rename("d", "e"));
	char b[4] = "";
	EQ(getxattr("e", "user.dir", b, 4), 3);
}

CASE(permissions) {
	need();
	if (geteuid()) SKIP("needs root");
	OK(setxattr("f", "user.s", "1", 1, 0));
	OK(chmod("f", 0640));
	CHILD(p) {
		OK(setresuid(65534, 65534, 65534));
		OK(setresgid(65534, 65534, 65534) == 0 || errno == EPERM ? 0 : -1);
		char b[4];
		ERR(setxattr("f", "user.s", "2", 1, 0), EACCES);
		(void)b;
	}
	JOIN(p);
}

CASE(plain_files_carry_none) {
	spew("g", "");
	char b[300];
	ssize_t n = OK(listxattr("g", b, sizeof b));
	for (char *p = b; p < b + n; p += strlen(p) + 1) CHECK(strncmp(p, "user.", 5));
	long r = getxattr("g", "security.capability", b, sizeof b);
	CHECK(r == -1 && (errno == ENODATA || errno == EOPNOTSUPP));
	r = getxattr("g", "system.posix_acl_access", b, sizeof b);
	CHECK(r == -1 && (errno == ENODATA || errno == EOPNOTSUPP));
}
