// Device nodes, sysfs, getrandom, uname, sysinfo and the like.
#include "case.h"
#include <sys/klog.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

static dev_t rdev(const char *path) {
	struct stat st;
	OK(stat(path, &st));
	CHECK(S_ISCHR(st.st_mode));
	return st.st_rdev;
}

CASE(null) {
	int fd = OK(open("/dev/null", O_RDWR));
	char b[10] = "unchanged";
	EQ(read(fd, b, 10), 0);
	STR(b, "unchanged");
	EQ(write(fd, b, 10), 10);
	EQ(write(fd, (void *)8, 10), 10); // never looked at
	EQ(lseek(fd, 100, SEEK_SET), 0);
	EQ(rdev("/dev/null"), makedev(1, 3));
	ERR(ftruncate(fd, 0), EINVAL);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_mode & 0777, 0666);
}

CASE(zero) {
	int fd = OK(open("/dev/zero", O_RDWR));
	char *b = malloc(100000);
	memset(b, 1, 100000);
	EQ(read(fd, b, 100000), 100000);
	for (int i = 0; i < 100000; i++) EQ(b[i], 0);
	EQ(write(fd, b, 5), 5);
	EQ(pread(fd, b, 5, 1L << 40), 5);
	EQ(rdev("/dev/zero"), makedev(1, 5));
}

CASE(full) {
	int fd = OK(open("/dev/full", O_RDWR));
	char b = 1;
	EQ(read(fd, &b, 1), 1);
	EQ(b, 0);
	ERR(write(fd, "x", 1), ENOSPC);
	EQ(rdev("/dev/full"), makedev(1, 7));
}

CASE(random_devices) {
	EQ(rdev("/dev/random"), makedev(1, 8));
	EQ(rdev("/dev/urandom"), makedev(1, 9));
	int fd = OK(open("/dev/urandom", O_RDWR));
	char a[32], b[32];
	EQ(read(fd, a, 32), 32);
	EQ(read(fd, b, 32), 32);
	CHECK(memcmp(a, b, 32));
	EQ(write(fd, "seed", 4), 4);
	char *big = malloc(1 << 20);
	EQ(read(fd, big, 1 << 20), 1 << 20);
	CHECK(memcmp(big, big + (1 << 19), 64));
	CHECK(ready(OK(open("/dev/random", O_RDONLY)), POLLIN, 5000));
}

CASE(getrandom_rules) {
	char a[64] = "", b[64] = "";
	EQ(getrandom(a, 64, 0), 64);
	EQ(getrandom(b, 64, GRND_NONBLOCK), 64);
	CHECK(memcmp(a, b, 64));
	EQ(getrandom(a, 16, GRND_RANDOM), 16);
	ERR(getrandom(a, 16, 0x100), EINVAL);
	ERR(getrandom(a, 16, GRND_RANDOM | GRND_INSECURE), EINVAL);
	ERR(syscall(SYS_getrandom, 8, 10, 0), EFAULT);
	EQ(getrandom(a, 0, 0), 0);
	OK(getentropy(a, 64));
}

CASE(standard_links) {
	char b[60] = "";
	OK(readlink("/dev/fd", b, 60));
	STR(b, "/proc/self/fd");
	memset(b, 0, 60);
	OK(readlink("/dev/stdin", b, 60));
	STR(b, "/proc/self/fd/0");
	int p[2];
	OK(pipe(p));
	CHILD(c) {
		dup2(p[1], 1);
		int fd = OK(open("/dev/stdout", O_WRONLY));
		writen(fd, "out", 3);
	}
	char o[3];
	readn(p[0], o, 3);
	JOIN(c);
}

CASE(uname_fields) {
	struct utsname u;
	OK(uname(&u));
	STR(u.sysname, "Linux");
	STR(u.machine, "x86_64");
	int a, b;
	EQ(sscanf(u.release, "%d.%d", &a, &b), 2);
	CHECK(a >= 4);
	CHECK(u.version[0] == '#');
	char h[100];
	OK(gethostname(h, sizeof h));
	STR(h, u.nodename);
	ERR(syscall(SYS_uname, 8), EFAULT);
}

CASE(hostname_can_be_set_by_root) {
	if (!has_cap(21)) SKIP("needs CAP_SYS_ADMIN");
	char h[100], g[100];
	OK(gethostname(h, sizeof h));
	if (getenv("CONFORM_SHARED_UTS")) SKIP("the name of the host itself");
	OK(sethostname("conform-x", 9));
	OK(gethostname(g, sizeof g));
	STR(g, "conform-x");
	OK(sethostname(h, strlen(h)));
	ERR(syscall(SYS_sethostname, h, 65), EINVAL);
	ERR(syscall(SYS_sethostname, h, -1), EINVAL);
}

CASE(hostname_is_not_a_users) {
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		ERR(sethostname("x", 1), EPERM);
		ERR(setdomainname("x", 1), EPERM);
	}
	JOIN(p);
}

CASE(sysinfo_fields) {
	struct sysinfo s;
	OK(sysinfo(&s));
	CHECK(s.uptime > 0);
	CHECK(s.totalram > s.freeram && s.freeram > 0);
	CHECK(s.procs >= 1);
	CHECK(s.mem_unit >= 1);
	ERR(syscall(SYS_sysinfo, 8), EFAULT);
	CHECK(get_nprocs() >= 1);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
	EQ(sysconf(_SC_PAGESIZE), 4096);
	CHECK(sysconf(_SC_PHYS_PAGES) > 1000);
}

CASE(sysfs_cpus) {
	char *s = slurp("/sys/devices/system/cpu/online");
	CHECK(s[0] == '0');
	slurp("/sys/devices/system/cpu/possible");
	EQ(access("/sys/devices/system/cpu/cpu0", F_OK), 0);
}

CASE(sysfs_loopback) {
	STR(slurp("/sys/class/net/lo/mtu"), "65536\n");
	EQ(atoi(slurp("/sys/class/net/lo/type")), 772);
}

CASE(kernel_log) {
	int n = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0);
	if (n < 0 && errno == EPERM) SKIP("the log is kept from this user");
	CHECK(n >= 4096);
	char *b = calloc(1, n);
	EQ(klogctl(3, b, 0), 0);
	CHECK(klogctl(3, b, n) >= 0); // all there is
	CHECK(OK(klogctl(9, NULL, 0)) >= 0);
	ERR(klogctl(3, NULL, 10), EINVAL);
	ERR(klogctl(3, b, -1), EINVAL);
	ERR(klogctl(99, b, 10), EINVAL);
	ERR(klogctl(8, NULL, 9), EINVAL);
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		ERR(klogctl(9, NULL, 0), EPERM);
	}
	JOIN(p);
}

static void layout_text(void) {}
HELPER(layout) {
	long p = (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("%lx %lx %lx %lx\n", (long)&p, p, (long)layout_text, (long)sbrk(0));
	return 0;
}

// layout gives where a new program's stack, mappings, text and heap are.
static char *layout(void) {
	int p[2];
	OK(pipe(p));
	CHILD(c) {
		dup2(p[1], 1);
		helper("layout", NULL);
	}
	close(p[1]);
	char *b = calloc(1, 200);
	CHECK(read(p[0], b, 199) > 20);
	close(p[0]);
	JOIN(c);
	return b;
}

CASE(personality_without_random_addresses) {
	OK(syscall(SYS_personality, 0x0040000));
	STR(layout(), layout());
}

CASE(personality_read_implies_exec) {
	OK(syscall(SYS_personality, 0x0400000));
	unsigned char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = 0xc3;
	((void (*)(void))p)();
	OK(mprotect(p, PAGE, PROT_NONE));
	OK(mprotect(p, PAGE, PROT_READ));
	((void (*)(void))p)();
}

CASE(personality_reads) {
	EQ(syscall(SYS_personality, 0xffffffff), 0);
	EQ(syscall(SYS_personality, 0x0040000), 0);
	EQ(syscall(SYS_personality, 0xffffffff), 0x0040000);
	CHILD(p) EQ(syscall(SYS_personality, 0xffffffff), 0x0040000);
	JOIN(p);
}

CASE(privileged_calls_are_refused_to_a_user) {
	OK(chmod(".", 0777));
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		ERR(syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, NULL), EPERM);
		ERR(syscall(SYS_settimeofday, &(struct timeval){1, 1}, NULL), EPERM);
		ERR(syscall(SYS_swapon, "/x", 0), EPERM);
		ERR(syscall(SYS_mount, "none", ".", "tmpfs", 0, NULL), EPERM);
		ERR(syscall(SYS_umount2, "/proc", 0), EPERM);
		ERR(syscall(SYS_chroot, "."), EPERM);
		ERR(mknod("dev", S_IFCHR | 0600, makedev(1, 3)), EPERM);
	}
	JOIN(p);
}

CASE(vdso_time_matches) {
	for (int i = 0; i < 1000; i++) {
		struct timespec t;
		OK(clock_gettime(CLOCK_REALTIME, &t));
		CHECK(labs(t.tv_sec - time(NULL)) <= 1);
	}
}

CASE(console_output_of_terminal_ioctls) {
	int fd = OK(open("/dev/null", O_RDWR));
	struct winsize w;
	ERR(ioctl(fd, TIOCGWINSZ, &w), ENOTTY);
	EQ(isatty(fd), 0);
}
