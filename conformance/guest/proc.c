// /proc: the files of a process, and those of the system.
#include "case.h"
#include <dirent.h>
#include <sys/utsname.h>

static char *pf(pid_t pid, const char *name) {
	static char path[100];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path;
}
// field gives the text after "name:" in a status-like file, up to the end of the line.
static char *field(const char *file, const char *name) {
	static char out[300];
	char *s = slurp(file), *l = s;
	size_t n = strlen(name);
	while (l && strncmp(l, name, n)) l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL;
	if (!l) case_fail(__FILE__, __LINE__, "no field %s in %s", name, file);
	l += n;
	while (*l == ':' || *l == ' ' || *l == '\t') l++;
	snprintf(out, sizeof out, "%.*s", (int)strcspn(l, "\n"), l);
	free(s);
	return out;
}
static int isdigit_(int c) { return c >= '0' && c <= '9'; }
static pid_t sleeper(void) {
	pid_t p = OK(fork());
	if (p == 0)
		for (;;) pause();
	settle(p);
	return p;
}
static void end(pid_t p) {
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(self_and_thread_self) {
	char b[100] = "", want[100];
	OK(readlink("/proc/self", b, sizeof b));
	EQ(atoi(b), getpid());
	memset(b, 0, sizeof b);
	OK(readlink("/proc/thread-self", b, sizeof b));
	sprintf(want, "%d/task/%d", getpid(), getpid());
	STR(b, want);
}

CASE(stat_fields) {
	pid_t p = sleeper();
	char *s = slurp(pf(p, "stat")), comm[32], st;
	int pid, ppid, pgrp, sid, tty, tpgid, n = 0;
	CHECK(sscanf(s, "%d (%31[^)]) %c %d %d %d %d %d", &pid, comm, &st, &ppid, &pgrp, &sid, &tty, &tpgid) == 8);
	EQ(pid, p);
	EQ(st, 'S');
	EQ(ppid, getpid());
	EQ(pgrp, getpgrp());
	EQ(sid, getsid(0));
	EQ(tty, 0);
	EQ(tpgid, -1);
	for (char *q = s; *q; q++) n += *q == ' ';
	EQ(n, 51);
	STR(strrchr(case_self, '/') + 1, comm);
	end(p);
}

CASE(states) {
	pid_t p = sleeper();
	EQ(proc_state(p), 'S');
	OK(kill(p, SIGSTOP));
	EVENTUALLY(proc_state(p) == 'T');
	OK(kill(p, SIGKILL));
	siginfo_t si;
	OK(waitid(P_PID, p, &si, WEXITED | WNOWAIT));
	EQ(proc_state(p), 'Z');
	EQ(proc_state(getpid()), 'R');
	KILLED(p, SIGKILL);
	EQ(proc_state(p), 0);
	ERR(open(pf(p, "stat"), O_RDONLY), ENOENT);
}

CASE(status_fields) {
	const char *f = "/proc/self/status";
	EQ(atoi(field(f, "Pid")), getpid());
	EQ(atoi(field(f, "Tgid")), getpid());
	EQ(atoi(field(f, "PPid")), getppid());
	EQ(atoi(field(f, "Threads")), 1);
	EQ(strtol(field(f, "Umask"), NULL, 8), 022);
	CHECK(atoi(field(f, "VmRSS")) > 0);
	CHECK(atoi(field(f, "VmSize")) > 0);
	STR(field(f, "State"), "R (running)");
	sigset_t s = sigs(SIGUSR1, SIGTERM, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	on_signal(SIGUSR2, nothing, 0);
	on_signal(SIGHUP, SIG_IGN, 0);
	raise(SIGTERM);
	EQ(strtoull(field(f, "SigBlk"), NULL, 16), 1ull << (SIGUSR1 - 1) | 1ull << (SIGTERM - 1));
	EQ(strtoull(field(f, "SigIgn"), NULL, 16), 1ull << (SIGHUP - 1));
	EQ(strtoull(field(f, "SigCgt"), NULL, 16), 1ull << (SIGUSR2 - 1));
	CHECK((strtoull(field(f, "ShdPnd"), NULL, 16) | strtoull(field(f, "SigPnd"), NULL, 16)) == 1ull << (SIGTERM - 1));
}

CASE(cmdline_and_environ) {
	int f[2];
	OK(pipe2(f, O_CLOEXEC));
	CHILD(p) {
		char *a[] = {"the name", "60", NULL}, *e[] = {"A=1", "B=two words", NULL};
		execve("/bin/sleep", a, e);
	}
	close(f[1]);
	char c;
	EQ(read(f[0], &c, 1), 0);
	size_t n;
	char *s;
	EVENTUALLY((s = slurpn(pf(p, "cmdline"), &n), n == 12)); // exec closes descriptors before it has laid out the arguments
	MEM(s, "the name\00060\0", 12);
	s = slurpn(pf(p, "environ"), &n);
	EQ(n, 16);
	MEM(s, "A=1\0B=two words\0", 16);
	STR(slurp(pf(p, "comm")), "sleep\n");
	end(p);
}

CASE(links_exe_cwd_root) {
	char b[PATH_MAX] = "", w[PATH_MAX];
	OK(readlink("/proc/self/exe", b, sizeof b));
	STR(b, case_self);
	memset(b, 0, sizeof b);
	OK(readlink("/proc/self/cwd", b, sizeof b));
	CHECK(getcwd(w, sizeof w));
	STR(b, w);
	memset(b, 0, sizeof b);
	OK(readlink("/proc/self/root", b, sizeof b));
	STR(b, "/");
	spew("f", "here");
	STR(slurp("/proc/self/cwd/f"), "here");
}

CASE(fd_directory) {
	spew("f", "x");
	int fd = OK(open("f", O_RDWR | O_APPEND));
	DIR *d = opendir("/proc/self/fd");
	CHECK(d);
	int seen = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (isdigit_(e->d_name[0])) seen |= 1 << atoi(e->d_name);
	CHECK((seen & 15) == 15);
	closedir(d);
	char path[60], b[PATH_MAX] = "";
	sprintf(path, "/proc/self/fd/%d", fd);
	OK(readlink(path, b, sizeof b));
	STR(strrchr(b, '/'), "/f");
	struct stat st, lst;
	OK(stat(path, &st));
	CHECK(S_ISREG(st.st_mode));
	OK(lstat(path, &lst));
	EQ(lst.st_mode, S_IFLNK | 0700);
	ERR(readlink("/proc/self/fd/99", b, sizeof b), ENOENT);
}

CASE(fdinfo) {
	spew("f", "12345");
	int fd = OK(open("f", O_RDWR | O_APPEND | O_CLOEXEC));
	OK(lseek(fd, 3, SEEK_SET));
	char path[60];
	sprintf(path, "/proc/self/fdinfo/%d", fd);
	EQ(atoi(field(path, "pos")), 3);
	EQ(strtol(field(path, "flags"), NULL, 8) & (O_ACCMODE | O_APPEND | O_CLOEXEC), O_RDWR | O_APPEND | O_CLOEXEC);
}

CASE(maps_show_mappings) {
	spew("file to map", "x");
	int fd = OK(open("file to map", O_RDONLY));
	char *p = OK(mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE)), want[60], line[PATH_MAX + 100];
	sprintf(want, "%lx-%lx r--p 00001000 ", (long)p, (long)p + 2 * PAGE);
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f);
	int found = 0, stack = 0, vdso = 0, self = 0;
	while (fgets(line, sizeof line, f)) {
		if (!strncmp(line, want, strlen(want))) {
			found = 1;
			CHECK(strstr(line, "/file to map\n"));
		}
		stack |= !!strstr(line, "[stack]");
		vdso |= !!strstr(line, "[vdso]");
		self |= !!strstr(line, case_self);
	}
	EQ(found, 1);
	EQ(stack, 1);
	EQ(self, 1);
	(void)vdso;
	fclose(f);
}

// resident gives a mapping's figure in smaps, in kB; -1: not found.
static long resident(void *p, const char *field) {
	FILE *f = fopen("/proc/self/smaps", "r");
	CHECK(f);
	char line[5000];
	bool in = false;
	long v = -1;
	while (v < 0 && fgets(line, sizeof line, f)) {
		unsigned long a, b;
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) in = a <= (unsigned long)p && (unsigned long)p < b;
		if (in && !strncmp(line, field, strlen(field))) v = atol(line + strlen(field));
	}
	fclose(f);
	return v;
}

CASE(smaps_follows_what_is_touched) {
	char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); // joins no neighbour
	EQ(resident(p, "Size:"), 256);
	EQ(resident(p, "Rss:"), 0);
	memset(p, 1, 10 * PAGE);
	EQ(resident(p, "Rss:"), 40);
	char *q = anon(600 * PAGE), *mid = q + 300 * PAGE;
	OK(madvise(q, 600 * PAGE, MADV_NOHUGEPAGE));
	OK(mprotect(q, 100 * PAGE, PROT_NONE));
	OK(mprotect(q + 500 * PAGE, 100 * PAGE, PROT_NONE));
	memset(mid, 1, 20 * PAGE);
	EQ(resident(mid, "Anonymous:"), 80);
	OK(madvise(mid, 20 * PAGE, MADV_DONTNEED));
	EQ(resident(mid, "Rss:"), 0);
}

CASE(smaps_and_statm) {
	char *p = anon(64 * PAGE);
	memset(p, 1, 64 * PAGE);
	CHECK(strstr(slurp("/proc/self/smaps"), "Rss:"));
	long size, rss, shared_;
	EQ(sscanf(slurp("/proc/self/statm"), "%ld %ld %ld", &size, &rss, &shared_), 3);
	CHECK(size >= rss && rss >= 64);
}

CASE(task_directory) {
	static int f[2];
	OK(pipe(f));
	void *body(void *a) {
		char c;
		read(f[0], &c, 1);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	DIR *d = opendir("/proc/self/task");
	CHECK(d);
	int n = 0;
	for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
	EQ(n, 2);
	struct stat st;
	OK(stat("/proc/self/task", &st));
	EQ(st.st_nlink, 4);
	writen(f[1], "x", 1);
	PT(pthread_join(t, NULL));
}

CASE(children_file) {
	pid_t p = sleeper();
	char path[60];
	sprintf(path, "/proc/self/task/%d/children", getpid());
	EQ(atoi(slurp(path)), p);
	end(p);
}

CASE(process_list) {
	pid_t p = sleeper();
	DIR *d = opendir("/proc");
	CHECK(d);
	int me = 0, it = 0;
	for (struct dirent *e; (e = readdir(d));) me |= atoi(e->d_name) == getpid(), it |= atoi(e->d_name) == p;
	CHECK(me && it);
	end(p);
	d = opendir("/proc");
	for (struct dirent *e; (e = readdir(d));) CHECK(atoi(e->d_name) != p);
}

CASE(thread_ids_open_but_are_not_listed) {
	static atomic_int tid;
	static int f[2];
	OK(pipe(f));
	void *body(void *a) {
		char c;
		tid = syscall(SYS_gettid);
		read(f[0], &c, 1);
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	EVENTUALLY(tid);
	EQ(access(pf(tid, "status"), F_OK), 0);
	DIR *d = opendir("/proc");
	CHECK(d);
	for (struct dirent *e; (e = readdir(d));) CHECK(atoi(e->d_name) != tid);
	writen(f[1], "x", 1);
	PT(pthread_join(t, NULL));
}

CASE(mounts_and_mountinfo) {
	char *m = slurp("/proc/self/mounts");
	CHECK(strstr(m, " / "));
	CHECK(strstr(m, " /proc proc "));
	CHECK(strstr(slurp("/proc/mounts"), " /proc proc "));
	char *i = slurp("/proc/self/mountinfo");
	int id, parent, maj, min;
	EQ(sscanf(i, "%d %d %d:%d ", &id, &parent, &maj, &min), 4);
	CHECK(strstr(i, " - proc "));
	CHECK(strstr(i, " / / "));
}

CASE(system_files) {
	CHECK(atoi(field("/proc/meminfo", "MemTotal")) > 10000);
	CHECK(atoi(field("/proc/meminfo", "MemAvailable")) > 0);
	char *c = slurp("/proc/cpuinfo");
	CHECK(strstr(c, "processor\t: 0\n"));
	CHECK(strstr(c, "flags\t\t: "));
	char *s = slurp("/proc/stat");
	MEM(s, "cpu  ", 5);
	CHECK(strstr(s, "\ncpu0 "));
	CHECK(strstr(s, "\nbtime "));
	CHECK(strstr(s, "\nprocesses "));
	double up, idle, a, b, l;
	EQ(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle), 2);
	CHECK(up > 0);
	EQ(sscanf(slurp("/proc/loadavg"), "%lf %lf %lf", &a, &b, &l), 3);
	CHECK(strstr(slurp("/proc/filesystems"), "nodev\ttmpfs\n"));
	slurp("/proc/cmdline");
	slurp("/proc/vmstat");
	slurp("/proc/swaps");
}

CASE(version_matches_uname) {
	struct utsname u;
	OK(uname(&u));
	char want[300];
	snprintf(want, sizeof want, "Linux version %s ", u.release);
	MEM(slurp("/proc/version"), want, strlen(want));
	snprintf(want, sizeof want, "%s\n", u.release);
	STR(slurp("/proc/sys/kernel/osrelease"), want);
	snprintf(want, sizeof want, "%s\n", u.nodename);
	STR(slurp("/proc/sys/kernel/hostname"), want);
	STR(slurp("/proc/sys/kernel/ostype"), "Linux\n");
}

CASE(sysctls) {
	CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) >= 32768);
	CHECK(atoll(slurp("/proc/sys/fs/file-max")) > 1000);
	CHECK(atoi(slurp("/proc/sys/fs/nr_open")) > 1000);
	CHECK(atoi(slurp("/proc/sys/kernel/ngroups_max")) == 65536);
	CHECK(atoi(slurp("/proc/sys/net/core/somaxconn")) >= 128);
	CHECK(atoi(slurp("/proc/sys/fs/pipe-max-size")) >= 65536);
	char *o = slurp("/proc/sys/vm/overcommit_memory");
	CHECK(o[0] >= '0' && o[0] <= '2');
	CHECK(atoi(slurp("/proc/sys/kernel/cap_last_cap")) >= 37);
	CHECK(atoll(slurp("/proc/sys/kernel/threads-max")) > 10);
	CHECK(strlen(slurp("/proc/sys/kernel/random/uuid")) == 37);
	char *b1 = slurp("/proc/sys/kernel/random/boot_id"), *b2 = slurp("/proc/sys/kernel/random/boot_id");
	STR(b1, b2);
	CHECK(atoi(slurp("/proc/sys/kernel/random/entropy_avail")) >= 0);
}

CASE(oom_files) {
	int v = atoi(slurp("/proc/self/oom_score_adj"));
	char b[20];
	sprintf(b, "%d", v < 900 ? v + 10 : v);
	int fd = OK(open("/proc/self/oom_score_adj", O_WRONLY));
	writen(fd, b, strlen(b));
	EQ(atoi(slurp("/proc/self/oom_score_adj")), atoi(b));
	ERR(write(fd, "5000", 4), EINVAL);
	slurp("/proc/self/oom_score");
}

CASE(limits_file) {
	char *s = slurp("/proc/self/limits");
	CHECK(strstr(s, "Max open files            1024 "));
	CHECK(strstr(s, "Max stack size "));
}

CASE(other_users_processes) {
	if (geteuid()) SKIP("needs root");
	pid_t p = sleeper();
	CHILD(q) {
		OK(setresuid(1000, 1000, 1000));
		char b[10];
		slurp(pf(p, "stat")); // open to all
		ERR(readlink(pf(p, "exe"), b, 10), EACCES);
		ERR(open(pf(p, "environ"), O_RDONLY), EACCES);
		ERR(open(pf(p, "fd"), O_RDONLY), EACCES);
		ERR(open(pf(p, "mem"), O_RDWR), EACCES);
	}
	JOIN(q);
	end(p);
}

CASE(mem_file_of_self) {
	static char text[] = "in memory";
	int fd = OK(open("/proc/self/mem", O_RDWR));
	char b[10] = "";
	EQ(pread(fd, b, 9, (off_t)text), 9);
	STR(b, "in memory");
	EQ(pwrite(fd, "IN", 2, (off_t)text), 2);
	STR(text, "IN memory");
	ERR(pread(fd, b, 1, 8), EIO);
}

CASE(files_are_seekable_and_small_reads_work) {
	char *whole = slurp("/proc/self/status"), got[100] = "";
	int fd = OK(open("/proc/self/status", O_RDONLY));
	for (int i = 0; i < 20; i++) EQ(read(fd, got + i, 1), 1);
	MEM(got, whole, 20);
	EQ(lseek(fd, 6, SEEK_SET), 6);
	EQ(read(fd, got, 4), 4);
	MEM(got, whole + 6, 4);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_size, 0);
}

CASE(nothing_can_be_made_here) {
	ERR(open("/proc/new", O_CREAT | O_WRONLY, 0644), ENOENT);
	ERR(mkdir("/proc/new", 0755), ENOENT);
	ERR(unlink("/proc/version"), geteuid() ? EACCES : EPERM);
	ERR(open("/proc/version/x", O_RDONLY), ENOTDIR);
	ERR(open("/proc/99999999", O_RDONLY), ENOENT);
	ERR(open("/proc/01", O_RDONLY), ENOENT);
}

CASE(cgroup_and_namespaces) {
	char *s = slurp("/proc/self/cgroup");
	CHECK(strstr(s, ":/"));
	char a[60] = "", b[60] = "";
	OK(readlink("/proc/self/ns/mnt", a, sizeof a));
	MEM(a, "mnt:[", 5);
	CHILD(p) {
		OK(readlink("/proc/self/ns/mnt", b, sizeof b));
		STR(a, b);
	}
	JOIN(p);
	slurp("/proc/self/uid_map");
}

CASE(wchan_io_sched_exist) {
	slurp("/proc/self/wchan");
	CHECK(strstr(slurp("/proc/self/io"), "rchar:"));
	slurp("/proc/self/personality");
	EQ(access("/proc/self/auxv", R_OK), 0);
	size_t n;
	slurpn("/proc/self/auxv", &n);
	CHECK(n >= 16 * 10 && n % 16 == 0);
}

CASE(ps_shows_us) {
	if (access("/bin/ps", X_OK) && access("/usr/bin/ps", X_OK)) SKIP("no ps");
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		dup2(f[1], 1);
		execl("/bin/sh", "sh", "-c", "ps -o pid=,ppid=,comm= -p $$; ps ax | wc -l", NULL);
	}
	close(f[1]);
	char b[400] = "";
	size_t n = 0;
	for (ssize_t r; (r = read(f[0], b + n, sizeof b - 1 - n)) > 0; n += r);
	JOIN(p);
	int pid, ppid, lines;
	char comm[20];
	EQ(sscanf(b, "%d %d %19s %d", &pid, &ppid, comm, &lines), 4);
	EQ(pid, p);
	EQ(ppid, getpid());
	STR(comm, "sh");
	CHECK(lines >= 3);
}
