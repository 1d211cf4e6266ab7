// One program for both sides of the VM wall's figures: it is what a container
// runs, and PID 1 of a bare guest, which loads the modules it is told, mounts
// the same root: the image from the same disk under an overlay in memory, and
// goes on in it. It prints a line for each figure: its name, seconds, and an answer that
// must be the same on both sides.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	if (getpid() == 1)
		for (;;)
			pause();
	exit(1);
}

// measure prints the least time of some runs: what disturbs a machine only adds.
static void measure(const char *name, long (*run)(void), int times)
{
	double least = 1e9;
	long answer = 0;
	for (int i = 0; i < times; i++) {
		double t = now();
		answer = run();
		t = now() - t;
		if (t < least)
			least = t;
	}
	printf("%s %.6f %ld\n", name, least, answer);
	fflush(stdout);
}

static long walk(int dir)
{
	long n = 0;
	DIR *d = fdopendir(dir);
	if (!d)
		die("opendir");
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			die(e->d_name);
		n++;
		if (S_ISDIR(st.st_mode))
			n += walk(openat(dir, e->d_name, O_RDONLY | O_DIRECTORY));
	}
	closedir(d);
	return n;
}

// tree walks one of the TREES equal ones, a number that who compiles this gives.
static long tree(int i)
{
	char name[32];
	snprintf(name, sizeof name, "/tree%d", i);
	return walk(open(name, O_RDONLY | O_DIRECTORY));
}

// find walks a tree that nobody has read yet, another one each time.
static long find(void)
{
	static int next;
	return tree(next++);
}

static long find_again(void)
{
	long n = 0;
	for (int i = 0; i < 3; i++)
		n += tree(i);
	return n;
}

static long forkexec(void)
{
	long n = 0;
	for (int i = 0; i < 50; i++) {
		pid_t p = fork();
		int st;
		if (p == 0) {
			execl("/vmbench", "vmbench", "true", NULL);
			_exit(1);
		}
		if (p < 0 || waitpid(p, &st, 0) != p)
			die("fork");
		n += st;
	}
	return n;
}

static long cpu(void)
{
	unsigned long h = 1;
	for (long i = 1; i < 60000000; i++)
		h = (h ^ (unsigned long)i) * 1099511628211ul + (h >> 29);
	return (long)(h & 0xffffff);
}

static long volume(void)
{
	static char buf[65536];
	long n = 0;
	memset(buf, 'x', sizeof buf);
	int fd = open("/data/big", O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die("/data/big");
	for (int i = 0; i < 128; i++)
		if (write(fd, buf, sizeof buf) != sizeof buf)
			die("write");
	fsync(fd);
	close(fd);
	fd = open("/data/big", O_RDONLY);
	for (ssize_t r; (r = read(fd, buf, sizeof buf)) > 0;)
		n += r;
	close(fd);
	for (int i = 0; i < 100; i++) {
		char name[64];
		struct stat st;
		snprintf(name, sizeof name, "/data/f%d", i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0 || write(fd, name, 10) != 10)
			die(name);
		close(fd);
		if (stat(name, &st))
			die(name);
		n += st.st_size;
		unlink(name);
	}
	unlink("/data/big");
	return n;
}

// insert loads the modules of one line of the initramfs's index.
static void insert(const char *group)
{
	char line[4096];
	FILE *f = fopen("/modules/index", "r");
	if (!f)
		die("/modules/index");
	while (fgets(line, sizeof line, f)) {
		char *word = strtok(line, " \n");
		if (!word || strcmp(word, group))
			continue;
		while ((word = strtok(NULL, " \n"))) {
			char path[512];
			snprintf(path, sizeof path, "/modules/%s", word);
			int fd = open(path, O_RDONLY | O_CLOEXEC);
			syscall(SYS_finit_module, fd, "", 0);
			close(fd);
		}
	}
	fclose(f);
}

// online brings up the CPUs behind the first, as the agent does.
static void online(void)
{
	mkdir("/sys", 0755);
	if (mount("sysfs", "/sys", "sysfs", 0, ""))
		die("sysfs");
	for (int i = 1;; i++) {
		char path[64];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/online", i);
		int fd = open(path, O_WRONLY);
		if (fd < 0)
			return;
		if (write(fd, "1", 1) != 1)
			die(path);
		close(fd);
	}
}

static void bare(void)
{
	online();
	static const char *groups[] = {"mmio", "pci", "boot", "block", "erofs", "squashfs", "overlay", "virtiofs", "rng", "balloon"};
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
		insert(groups[i]);
	mkdir("/mnt", 0755);
	mkdir("/rw", 0755);
	mkdir("/root", 0755);
	if (mount("dev", "/dev", "devtmpfs", 0, ""))
		die("devtmpfs");
	int tries = 500;
	while (mount("/dev/vda", "/mnt", "erofs", MS_RDONLY, "") && mount("/dev/vda", "/mnt", "squashfs", MS_RDONLY, "")) {
		if (--tries == 0)
			die("/dev/vda");
		usleep(10000);
	}
	if (mount("rw", "/rw", "tmpfs", 0, "") || mkdir("/rw/upper", 0755) || mkdir("/rw/work", 0755))
		die("/rw");
	if (mount("overlay", "/root", "overlay", 0, "lowerdir=/mnt,upperdir=/rw/upper,workdir=/rw/work,xino=on"))
		die("overlay");
	if (mount("volumes", "/root/data", "virtiofs", 0, ""))
		die("virtiofs");
	if (chroot("/root") || chdir("/"))
		die("chroot");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "true"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "hello"))
		return puts("hello") < 0;
	if (argc > 1 && !strcmp(argv[1], "sleep"))
		return pause();
	int first = argc > 1 && !strcmp(argv[1], "bare");
	if (first)
		bare();
	measure("find, first of all", find, 1);
	measure("find", find, TREES - 1);
	measure("find again", find_again, 5);
	measure("fork+exec", forkexec, 7);
	measure("CPU", cpu, 3);
	measure("volume", volume, 3);
	printf("DONE\n");
	fflush(stdout);
	while (first)
		pause();
	return 0;
}
