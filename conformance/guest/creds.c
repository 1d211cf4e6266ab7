// User and group ids, supplementary groups, set-id programs, capabilities, securebits.
#include "case.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

struct caps { uint64_t eff, perm, inh; };
static struct caps getc_(pid_t pid) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, pid};
	struct __user_cap_data_struct d[2] = {};
	OK(syscall(SYS_capget, &h, d));
	return (struct caps){d[0].effective | (uint64_t)d[1].effective << 32, d[0].permitted | (uint64_t)d[1].permitted << 32,
			     d[0].inheritable | (uint64_t)d[1].inheritable << 32};
}
static int setc(struct caps c) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{c.eff, c.perm, c.inh}, {c.eff >> 32, c.perm >> 32, c.inh >> 32}};
	return syscall(SYS_capset, &h, d);
}
static void root(void) {
	if (geteuid() || !has_cap(CAP_SETUID) || !has_cap(CAP_SETGID)) SKIP("needs root");
}
static void uids(int r, int e, int s) {
	uid_t a, b, c;
	OK(getresuid(&a, &b, &c));
	EQ(a, r);
	EQ(b, e);
	EQ(c, s);
}
HELPER(ids) { // ruid euid suid, as three numbers
	uid_t a, b, c;
	getresuid(&a, &b, &c);
	return a == (uid_t)atoi(argv[0]) && b == (uid_t)atoi(argv[1]) && c == (uid_t)atoi(argv[2]) ? 0 : 1;
}
HELPER(caps) { // effective, permitted and inheritable in hexadecimal
	struct caps c = getc_(0);
	return c.eff == strtoull(argv[0], NULL, 16) && c.perm == strtoull(argv[1], NULL, 16) ? 0 : 1;
}

CASE(setuid_by_root_sets_all_three) {
	root();
	CHILD(p) {
		OK(setuid(1000));
		uids(1000, 1000, 1000);
		ERR(setuid(0), EPERM);
		ERR(setuid(1001), EPERM);
		OK(setuid(1000));
	}
	JOIN(p);
}

CASE(seteuid_and_back) {
	root();
	CHILD(p) {
		OK(seteuid(1000));
		uids(0, 1000, 0);
		EQ(getc_(0).eff, 0);
		CHECK(getc_(0).perm != 0);
		OK(seteuid(0));
		CHECK(getc_(0).eff == getc_(0).perm);
	}
	JOIN(p);
}

CASE(setresuid_rules) {
	root();
	CHILD(p) {
		OK(setresuid(1, 2, 3));
		uids(1, 2, 3);
		EQ(getc_(0).perm, 0);
		OK(setresuid(-1, 3, -1));
		uids(1, 3, 3);
		ERR(setresuid(4, -1, -1), EPERM);
		OK(setresuid(3, 1, 1));
		uids(3, 1, 1);
	}
	JOIN(p);
}

CASE(setreuid_rules) {
	root();
	CHILD(p) {
		OK(setreuid(5, 6));
		uids(5, 6, 6);
		OK(setreuid(-1, 5));
		uids(5, 5, 6);
		OK(setreuid(6, -1) == 0 || errno == EPERM ? 0 : -1);
		ERR(setreuid(77, -1), EPERM);
	}
	JOIN(p);
}

CASE(gids) {
	root();
	CHILD(p) {
		gid_t a, b, c;
		OK(setresgid(10, 20, 30));
		OK(getresgid(&a, &b, &c));
		EQ(a * 10000 + b * 100 + c, 102030);
		OK(setregid(11, 12));
		EQ(getegid(), 12);
		OK(setgid(50));
		OK(getresgid(&a, &b, &c));
		EQ(a + b + c, 150);
		OK(setresuid(1, 1, 1));
		ERR(setgid(0), EPERM);
		OK(setegid(50));
	}
	JOIN(p);
}

CASE(groups) {
	root();
	CHILD(p) {
		gid_t g[4] = {30, 10, 20}, out[10];
		OK(setgroups(3, g));
		EQ(getgroups(0, NULL), 3);
		EQ(getgroups(10, out), 3);
		EQ(out[0] + out[1] + out[2], 60);
		ERR(getgroups(2, out), EINVAL);
		ERR(getgroups(-1, out), EINVAL);
		OK(setgroups(0, NULL));
		EQ(getgroups(10, out), 0);
		ERR(setgroups(70000, g), EINVAL);
		ERR(syscall(SYS_setgroups, 1, 8), EFAULT);
		OK(setuid(1000));
		ERR(setgroups(1, g), EPERM);
	}
	JOIN(p);
}

CASE(fsuid_follows_and_sets) {
	root();
	OK(chmod(".", 0777));
	CHILD(p) {
		EQ(setfsuid(-1), 0);
		OK(seteuid(1000));
		EQ(setfsuid(-1), 1000);
		OK(seteuid(0));
		EQ(setfsuid(1234), 0);
		EQ(setfsuid(-1), 1234);
		spew("f", "");
		struct stat st;
		OK(stat("f", &st));
		EQ(st.st_uid, 1234);
		EQ(setfsgid(-1), getegid());
	}
	JOIN(p);
}

CASE(exec_keeps_ids) {
	root();
	OK(chmod(".", 0755));
	CHILD(p) {
		OK(setresuid(0, 0, 0));
		helper("ids", "0", "0", "0", NULL);
	}
	JOIN(p);
}

// copy_self copies this program here, so that its mode may be changed.
static void copy_self(const char *to) {
	size_t n;
	char *b = slurpn(case_self, &n);
	int fd = OK(open(to, O_WRONLY | O_CREAT, 0755));
	writen(fd, b, n);
	OK(close(fd));
}

CASE(set_uid_program) {
	root();
	copy_self("su");
	OK(chown("su", 1234, -1));
	OK(chmod("su", 04755));
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		execl("./su", "su", "--helper", "ids", "1000", "1234", "1234", NULL);
	}
	int st;
	EQ(waitpid(p, &st, 0), p);
	CHECK(WIFEXITED(st));
	if (WEXITSTATUS(st)) SKIP("set-uid has no effect here (nosuid or no_new_privs)");
	CHILD(q) { // ignored under no_new_privs
		OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		OK(setresuid(1000, 1000, 1000));
		execl("./su", "su", "--helper", "ids", "1000", "1000", "1000", NULL);
	}
	JOIN(q);
}

CASE(capget_and_capset) {
	struct caps c = getc_(0);
	EQ(c.eff & ~c.perm, 0);
	struct __user_cap_header_struct h = {0x1234, 0};
	ERR(syscall(SYS_capget, &h, &c), EINVAL);
	EQ(h.version, _LINUX_CAPABILITY_VERSION_3);
	h = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 99999999};
	ERR(syscall(SYS_capget, &h, &c), ESRCH);
	h.pid = -1;
	ERR(syscall(SYS_capget, &h, &c), EINVAL);
	CHILD(p) {
		struct caps n = getc_(0), all = n;
		n.eff = 0;
		OK(setc(n));
		EQ(getc_(0).eff, 0);
		n.eff = n.perm;
		OK(setc(n));
		n = (struct caps){0, 0, 0};
		OK(setc(n));
		if (all.perm) ERR(setc(all), EPERM);
	}
	JOIN(p);
}

CASE(dropped_capability_is_missed) {
	root();
	spew("f", "");
	OK(chmod("f", 0));
	CHILD(p) {
		struct caps c = getc_(0);
		c.eff &= ~(1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_SETUID | 1ull << CAP_KILL);
		OK(setc(c));
		ERR(chown("f", 5, 5), EPERM);
		ERR(open("f", O_RDONLY), EACCES);
		ERR(setuid(77), EPERM);
	}
	JOIN(p);
}

CASE(keepcaps_across_setuid) {
	root();
	CHILD(p) {
		uint64_t perm = getc_(0).perm;
		OK(prctl(PR_SET_KEEPCAPS, 1));
		OK(setresuid(1000, 1000, 1000));
		EQ(getc_(0).perm, perm);
		EQ(getc_(0).eff, 0);
		OK(setc((struct caps){1 << CAP_KILL, 1 << CAP_KILL, 0}));
		OK(kill(getppid(), 0));
	}
	JOIN(p);
}

CASE(exec_by_user_loses_capabilities) {
	root();
	CHILD(p) {
		OK(prctl(PR_SET_KEEPCAPS, 1));
		OK(setresuid(1000, 1000, 1000));
		helper("caps", "0", "0", NULL);
	}
	JOIN(p);
}

CASE(bounding_set) {
	int v = prctl(PR_CAPBSET_READ, CAP_KILL);
	CHECK(v == 0 || v == 1);
	ERR(prctl(PR_CAPBSET_READ, 99), EINVAL);
	if (!has_cap(CAP_SETPCAP)) SKIP("needs CAP_SETPCAP");
	CHILD(p) {
		OK(prctl(PR_CAPBSET_DROP, CAP_KILL));
		EQ(prctl(PR_CAPBSET_READ, CAP_KILL), 0);
		char want[30];
		struct caps c = getc_(0);
		uint64_t bnd = 0;
		for (int i = 0; i < 41; i++)
			if (prctl(PR_CAPBSET_READ, i) == 1) bnd |= 1ull << i;
		(void)c;
		sprintf(want, "%llx", (unsigned long long)bnd);
		if (getuid() == 0) helper("caps", want, want, NULL);
	}
	JOIN(p);
}

CASE(ambient_set) {
	root();
	CHILD(p) {
		ERR(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM); // not inheritable yet
		struct caps c = getc_(0);
		c.inh = 1 << CAP_KILL;
		OK(setc(c));
		OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
		EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 1);
		EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), 0);
		OK(prctl(PR_SET_KEEPCAPS, 1));
		OK(setresuid(1000, 1000, 1000));
		EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0); // cleared by the change of ids
		OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
		helper("caps", "20", "20", NULL);
	}
	JOIN(p);
}

CASE(securebits) {
	CHECK(prctl(PR_GET_SECUREBITS) >= 0);
	if (!has_cap(CAP_SETPCAP) || geteuid()) SKIP("needs CAP_SETPCAP");
	CHILD(p) {
		OK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
		EQ(prctl(PR_GET_SECUREBITS), SECBIT_NO_SETUID_FIXUP);
		uint64_t eff = getc_(0).eff;
		OK(setresuid(1000, 1000, 1000));
		EQ(getc_(0).eff, eff);
	}
	JOIN(p);
	CHILD(q) {
		OK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT));
		helper("caps", "0", "0", NULL);
	}
	JOIN(q);
}

CASE(status_file_shows_ids) {
	root();
	CHILD(p) {
		gid_t g[2] = {7, 8};
		OK(setgroups(2, g));
		OK(setresgid(4, 5, 6));
		OK(setresuid(1, 2, 3));
		OK(prctl(PR_SET_DUMPABLE, 1));
		char *s = slurp("/proc/self/status");
		CHECK(strstr(s, "Uid:\t1\t2\t3\t2\n"));
		CHECK(strstr(s, "Gid:\t4\t5\t6\t5\n"));
		CHECK(strstr(s, "Groups:\t7 8 \n"));
	}
	JOIN(p);
}

CASE(ids_are_shared_by_children) {
	root();
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		CHILD(q) uids(1000, 1000, 1000);
		JOIN(q);
	}
	JOIN(p);
}
