// The runner of a guest program: `prog -l`, `prog [-d DIR] NAME`, `prog [-d DIR] -a`, `prog --helper NAME ARGS…`.
#include "case.h"
#include <dirent.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#define MAX_CASES 256
static struct { const char *name; case_fn fn; } cases[MAX_CASES];
static struct { const char *name; helper_fn fn; } helpers[64];
static int n_cases, n_helpers;
static const char *running = "?";
static bool many; // -a: lines carry the case's name
char case_self[PATH_MAX];

void case_register(const char *name, case_fn fn) {
	cases[n_cases].name = name;
	cases[n_cases++].fn = fn;
}
void helper_register(const char *name, helper_fn fn) {
	helpers[n_helpers].name = name;
	helpers[n_helpers++].fn = fn;
}

static void say(const char *text) {
	size_t n = strlen(text);
	if (write(1, text, n) != (ssize_t)n && write(2, text, n) < 0) return;
}

_Noreturn void case_fail(const char *file, int line, const char *fmt, ...) {
	int e = errno;
	char what[600], out[900];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	const char *base = strrchr(file, '/');
	snprintf(out, sizeof out, "%s%sFAIL %s:%d: %s (errno %d %s)\n", many ? running : "", many ? ": " : "", base ? base + 1 : file, line, what, e,
		 strerror(e));
	say(out);
	_exit(1);
}
_Noreturn void case_skip(const char *why) {
	char out[300];
	snprintf(out, sizeof out, "%s%sSKIP %s\n", many ? running : "", many ? ": " : "", why);
	say(out);
	_exit(77);
}

long long now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}
void sleep_ms(int ms) {
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	while (nanosleep(&t, &t) < 0 && errno == EINTR);
}
char proc_state(pid_t pid) {
	char path[64], buf[512];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0) return 0;
	buf[n] = 0;
	char *p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}
void settle(pid_t pid) {
	for (long long end = now_ms() + 2000; now_ms() < end; sleep_ms(2))
		if (proc_state(pid) == 'S') break;
	sleep_ms(20);
}
bool has_cap(int cap) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {};
	if (syscall(SYS_capget, &h, d) < 0) return false;
	return d[cap / 32].effective >> (cap % 32) & 1;
}
void need_cap(int cap, const char *name) {
	char why[64];
	snprintf(why, sizeof why, "needs %s", name);
	if (!has_cap(cap)) case_skip(why);
}
int spew(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) case_fail(__FILE__, __LINE__, "cannot create %s", path);
	writen(fd, text, strlen(text));
	close(fd);
	return 0;
}
char *slurpn(const char *path, size_t *len) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) case_fail(__FILE__, __LINE__, "cannot open %s", path);
	size_t cap = 4096, n = 0;
	char *b = malloc(cap + 1);
	for (ssize_t r; (r = read(fd, b + n, cap - n)) != 0;) {
		if (r < 0) case_fail(__FILE__, __LINE__, "cannot read %s", path);
		n += r;
		if (n == cap) b = realloc(b, (cap *= 2) + 1);
	}
	close(fd);
	b[n] = 0;
	if (len) *len = n;
	return b;
}
char *slurp(const char *path) { return slurpn(path, NULL); }
void nothing(__attribute__((unused)) int sig) {}
void on_signal(int sig, void (*h)(int), int flags) {
	struct sigaction a = {.sa_handler = h, .sa_flags = flags};
	if (sigaction(sig, &a, NULL) < 0) case_fail(__FILE__, __LINE__, "sigaction(%d)", sig);
}
void on_siginfo(int sig, void (*h)(int, siginfo_t *, void *), int flags) {
	struct sigaction a = {.sa_sigaction = h, .sa_flags = flags | SA_SIGINFO};
	if (sigaction(sig, &a, NULL) < 0) case_fail(__FILE__, __LINE__, "sigaction(%d)", sig);
}
void readn(int fd, void *buf, size_t n) {
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (char *)buf + got, n - got);
		if (r < 0 && errno == EINTR) continue;
		if (r <= 0) case_fail(__FILE__, __LINE__, "read of %zu bytes from descriptor %d gave %zd after %zu", n, fd, r, got);
		got += r;
	}
}
void writen(int fd, const void *buf, size_t n) {
	for (size_t put = 0; put < n;) {
		ssize_t r = write(fd, (const char *)buf + put, n - put);
		if (r < 0 && errno == EINTR) continue;
		if (r <= 0) case_fail(__FILE__, __LINE__, "write of %zu bytes to descriptor %d gave %zd after %zu", n, fd, r, put);
		put += r;
	}
}
bool ready(int fd, short events, int ms) {
	struct pollfd p = {fd, events, 0};
	int r = poll(&p, 1, ms);
	if (r < 0) case_fail(__FILE__, __LINE__, "poll of descriptor %d", fd);
	return r == 1 && (p.revents & events);
}
static void *pages(size_t len, int flags) {
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) case_fail(__FILE__, __LINE__, "mmap of %zu bytes", len);
	return p;
}
void *anon(size_t len) { return pages(len, MAP_PRIVATE); }
void *shared(size_t len) { return pages(len, MAP_SHARED); }
void helper(const char *name, ...) {
	char *argv[32] = {case_self, "--helper", (char *)name};
	va_list ap;
	va_start(ap, name);
	for (int i = 3; i < 31 && (argv[i] = va_arg(ap, char *)); i++);
	va_end(ap);
	execv(case_self, argv);
	case_fail(__FILE__, __LINE__, "exec of %s", case_self);
}
sigset_t sigs(int sig, ...) {
	sigset_t s;
	sigemptyset(&s);
	va_list ap;
	va_start(ap, sig);
	for (; sig; sig = va_arg(ap, int)) sigaddset(&s, sig);
	va_end(ap);
	return s;
}
int nfds(void) {
	int n = 0;
	for (int i = 0; i < 4096; i++) n += fcntl(i, F_GETFD) >= 0;
	return n;
}
bool readable(const void *p) {
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) case_fail(__FILE__, __LINE__, "pipe2");
	bool ok = write(fds[1], p, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return ok;
}

// remove_tree deletes path and all below it; what a case left unreadable is made writable first.
static void remove_tree(const char *path) {
	struct stat st;
	if (lstat(path, &st) < 0) return;
	if (!S_ISDIR(st.st_mode)) {
		unlink(path);
		return;
	}
	chmod(path, 0700);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		char sub[PATH_MAX];
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
		if ((size_t)snprintf(sub, sizeof sub, "%s/%s", path, e->d_name) < sizeof sub) remove_tree(sub);
	}
	if (d) closedir(d);
	rmdir(path);
}

// reset undoes what the caller of this program may have left: signal dispositions, masks, limits, timers, descriptors.
static void reset(void) {
	for (int s = 1; s < 65; s++) signal(s, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(0);
	umask(022);
	struct rlimit r;
	static const struct { int what; rlim_t soft; } want[] = {
	    {RLIMIT_NOFILE, 1024}, {RLIMIT_STACK, 8 << 20}, {RLIMIT_FSIZE, RLIM_INFINITY}, {RLIMIT_CORE, 0}, {RLIMIT_CPU, RLIM_INFINITY}, {RLIMIT_AS, RLIM_INFINITY}, {RLIMIT_DATA, RLIM_INFINITY}};
	for (int i = 0; i < LEN(want); i++)
		if (!getrlimit(want[i].what, &r)) {
			r.rlim_cur = want[i].soft < r.rlim_max ? want[i].soft : r.rlim_max;
			setrlimit(want[i].what, &r);
		}
	if (fcntl(0, F_GETFD) < 0) open("/dev/null", O_RDWR);
	syscall(SYS_close_range, 3u, ~0u, 0u);
	setenv("LC_ALL", "C", 1);
}

// sweep ends what a case left running. Returns how many processes had left its group and were still alive.
static int sweep(pid_t group) {
	int strays = 0;
	kill(-group, SIGKILL);
	for (long long end = now_ms() + 1000; waitpid(-1, NULL, WNOHANG | __WALL) >= 0; sleep_ms(1)) {
		if (now_ms() < end) continue;
		DIR *d = opendir("/proc");
		for (struct dirent *e; d && (e = readdir(d));) {
			char path[300], buf[512] = "", *p;
			snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
			int fd = atoi(e->d_name) > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
			if (fd < 0) continue;
			if (read(fd, buf, sizeof buf - 1) > 0 && (p = strrchr(buf, ')')) && atoi(p + 4) == getpid()) {
				kill(atoi(e->d_name), SIGKILL);
				strays++;
			}
			close(fd);
		}
		if (d) closedir(d);
		end = now_ms() + 1000;
		if (strays > 100 || !strays++) break;
	}
	return strays;
}

static int limit_ms(void) {
	const char *s = getenv("CONFORM_LIMIT");
	int n = s ? atoi(s) : 0;
	return (n > 0 ? n : 20) * 1000;
}

// run runs one case in its own process, session and directory; returns 0, 1 or 77 (skipped).
static int run(int i) {
	char dir[] = "case.XXXXXX";
	running = cases[i].name;
	if (!mkdtemp(dir)) {
		say("FAIL cannot make a scratch directory\n");
		return 1;
	}
	chmod(dir, 0755);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (chdir(dir) < 0) case_fail(__FILE__, __LINE__, "chdir");
		cases[i].fn();
		_exit(0);
	}
	int status = 0, wait = 100;
	pid_t got = pid < 0 ? -1 : 0;
	for (long long end = now_ms() + limit_ms(); pid > 0 && (got = waitpid(pid, &status, WNOHANG)) == 0 && now_ms() < end;) {
		usleep(wait);
		if (wait < 4000) wait += wait / 4;
	}
	char out[300] = "";
	int code = 1;
	if (pid < 0) snprintf(out, sizeof out, "FAIL cannot fork (errno %d)", errno);
	else if (got == 0) {
		snprintf(out, sizeof out, "FAIL hang: no end after %d ms", limit_ms());
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	} else if (got < 0) snprintf(out, sizeof out, "FAIL waitpid (errno %d)", errno);
	else if (WIFSIGNALED(status)) snprintf(out, sizeof out, "FAIL killed by signal %d", WTERMSIG(status));
	else if ((code = WEXITSTATUS(status)) > 1 && code != 77) snprintf(out, sizeof out, "FAIL exit status %d", code);
	int strays = pid > 0 ? sweep(pid) : 0;
	if (code == 0 && strays) {
		code = 1;
		snprintf(out, sizeof out, "FAIL left processes running");
	}
	remove_tree(dir);
	char line[400];
	if (out[0]) {
		snprintf(line, sizeof line, "%s%s%s\n", many ? running : "", many ? ": " : "", out);
		say(line);
	}
	const char *verdict = code == 0 ? "ok" : code == 77 ? "skip" : "not ok";
	snprintf(line, sizeof line, "%s %s\n", verdict, running);
	if (many) say(line);
	else if (code == 0) say("ok\n");
	return code;
}

// as_init: the first process of a container must not be the one that runs cases: signals reach it only by handlers.
static void as_init(void) {
	if (getpid() != 1) return;
	pid_t pid = fork();
	if (pid == 0) return;
	int status;
	for (pid_t p; (p = wait(&status)) != pid;)
		if (p < 0 && errno != EINTR) _exit(125);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv) {
	if (!strchr(argv[0], '/') || !realpath(argv[0], case_self)) {
		ssize_t n = readlink("/proc/self/exe", case_self, sizeof case_self - 1);
		if (n > 0) case_self[n] = 0;
	}
	if (argc > 2 && !strcmp(argv[1], "--helper")) {
		for (int i = 0; i < n_helpers; i++)
			if (!strcmp(helpers[i].name, argv[2])) return helpers[i].fn(argc - 3, argv + 3);
		return 126;
	}
	if (argc == 2 && !strcmp(argv[1], "-l")) {
		for (int i = 0; i < n_cases; i++) printf("%s\n", cases[i].name);
		return 0;
	}
	char *dir = NULL, scratch[PATH_MAX];
	if (argc > 3 && !strcmp(argv[1], "-d")) dir = argv[2], argv += 2, argc -= 2;
	if (argc < 2) {
		say("usage: prog -l | prog [-d DIR] -a [NAME…] | prog [-d DIR] NAME\n");
		return 2;
	}
	as_init();
	reset();
	if (dir) {
		snprintf(scratch, sizeof scratch, "%s/conform.XXXXXX", dir);
		if (!mkdtemp(scratch) || chdir(scratch) < 0) {
			say("FAIL cannot make a directory there\n");
			return 1;
		}
		chmod(scratch, 0755);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	many = !strcmp(argv[1], "-a");
	int code = many ? 0 : 2;
	for (int i = 0; i < n_cases; i++) {
		bool wanted = many && argc == 2;
		for (int a = many ? 2 : 1; a < argc; a++) wanted |= !strcmp(argv[a], cases[i].name);
		if (!wanted) continue;
		int r = run(i);
		if (!many) code = r;
		else if (r == 1) code = 1;
	}
	if (code == 2) say("FAIL no such case\n");
	if (dir && chdir("/") == 0) remove_tree(scratch);
	return code;
}

void until(atomic_int *w, int v) {
	// A yield does not leave the scheduler's group: on a machine at load 20, who only yields keeps
	// others waiting for whole slices.
	for (int i = 0; atomic_load(w) != v; i++)
		if (i < 500)
			sched_yield();
		else
			usleep(100);
}
