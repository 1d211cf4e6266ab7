// execve and execveat: what is kept, what is reset, scripts, errors, the stack a program starts with.
#include "case.h"
#include <elf.h>
#include <sys/auxv.h>

HELPER(args) {
	for (int i = 0; i < argc; i++) printf("[%s]", argv[i]);
	return 0;
}
HELPER(status) { return atoi(argv[0]); }
HELPER(fdopen) { return fcntl(atoi(argv[0]), F_GETFD) < 0 ? 1 : 0; }
HELPER(env) {
	const char *v = getenv(argv[0]);
	return v && !strcmp(v, argv[1]) ? 0 : 1;
}
HELPER(sigs) { // ignored? blocked? pending? default?
	struct sigaction a;
	sigset_t m, p;
	sigprocmask(SIG_BLOCK, NULL, &m);
	sigpending(&p);
	sigaction(SIGUSR1, NULL, &a);
	int r = a.sa_handler == SIG_IGN ? 1 : 0;
	sigaction(SIGUSR2, NULL, &a);
	r |= a.sa_handler == SIG_DFL && a.sa_flags == 0 ? 2 : 0;
	r |= sigismember(&m, SIGHUP) ? 4 : 0;
	r |= sigismember(&p, SIGHUP) ? 8 : 0;
	stack_t ss;
	sigaltstack(NULL, &ss);
	return r | (ss.ss_flags == SS_DISABLE ? 16 : 0);
}
HELPER(ids) { return getpid() == atoi(argv[0]) && getppid() == atoi(argv[1]) && syscall(SYS_gettid) == getpid() ? 0 : 1; }
HELPER(mapped) { return readable((void *)strtoul(argv[0], NULL, 16)); }
HELPER(alarmed) {
	pause();
	return 1;
}
HELPER(comm) {
	char *s = slurp("/proc/self/comm");
	return strncmp(s, argv[0], strlen(argv[0])) ? 1 : 0;
}
HELPER(auxv) {
	if (getauxval(AT_PAGESZ) != 4096) return 1;
	if (getauxval(AT_UID) != getuid() || getauxval(AT_EUID) != geteuid() || getauxval(AT_GID) != getgid()) return 2;
	if (getauxval(AT_SECURE)) return 3;
	if (!getauxval(AT_RANDOM) || !getauxval(AT_PHDR) || !getauxval(AT_PHNUM) || !getauxval(AT_ENTRY)) return 4;
	if (getauxval(AT_CLKTCK) != 100 || getauxval(AT_PHENT) != sizeof(Elf64_Phdr)) return 5;
	if (strcmp((char *)getauxval(AT_EXECFN), argv[0])) return 6;
	if (strcmp((char *)getauxval(AT_PLATFORM), "x86_64")) return 7;
	return 0;
}

// output runs argv and returns what it wrote to its standard output.
static char *output(char **argv, int want) {
	static char buf[70000];
	int fds[2];
	OK(pipe(fds));
	pid_t p = OK(fork());
	if (p == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execv(argv[0], argv);
		_exit(errno);
	}
	close(fds[1]);
	size_t n = 0;
	for (ssize_t r; (r = read(fds[0], buf + n, sizeof buf - 1 - n)) > 0; n += r);
	buf[n] = 0;
	close(fds[0]);
	EXITS(p, want);
	return buf;
}
static void script(const char *name, const char *text, int mode) {
	spew(name, text);
	OK(chmod(name, mode));
}

CASE(arguments_arrive) {
	char *a[] = {case_self, "--helper", "args", "one", "", "three words", NULL};
	STR(output(a, 0), "[one][][three words]");
}

CASE(exit_status_arrives) {
	CHILD(p) helper("status", "42", NULL);
	EXITS(p, 42);
}

CASE(environment_is_replaced) {
	CHILD(p) {
		char *argv[] = {case_self, "--helper", "env", "K", "v w", NULL}, *envp[] = {"K=v w", NULL};
		execve(case_self, argv, envp);
	}
	JOIN(p);
}

CASE(pid_and_parent_stay) {
	pid_t me = getpid();
	CHILD(p) {
		char a[20], b[20];
		sprintf(a, "%d", getpid());
		sprintf(b, "%d", me);
		helper("ids", a, b, NULL);
	}
	JOIN(p);
}

CASE(cloexec_closes_others_stay) {
	int a = OK(open("/dev/null", O_RDONLY)), b = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	char sa[20], sb[20];
	sprintf(sa, "%d", a);
	sprintf(sb, "%d", b);
	CHILD(p) helper("fdopen", sa, NULL);
	JOIN(p);
	CHILD(q) helper("fdopen", sb, NULL);
	EXITS(q, 1);
	OK(fcntl(b, F_GETFD));
}

CASE(cloexec_survives_failed_exec) {
	int b = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	char *argv[] = {"x", NULL};
	ERR(execv("/no/such", argv), ENOENT);
	EQ(fcntl(b, F_GETFD), FD_CLOEXEC);
}

CASE(signals_across_exec) {
	// ignored stays ignored, handlers become default, mask and pending stay, the alternate stack goes.
	CHILD(p) {
		on_signal(SIGUSR1, SIG_IGN, 0);
		on_signal(SIGUSR2, nothing, SA_RESTART);
		sigset_t s = sigs(SIGHUP, 0);
		sigprocmask(SIG_BLOCK, &s, NULL);
		raise(SIGHUP);
		stack_t ss = {.ss_sp = anon(65536), .ss_size = 65536};
		OK(sigaltstack(&ss, NULL));
		helper("sigs", NULL);
	}
	EXITS(p, 31);
}

CASE(mappings_are_gone) {
	CHILD(p) {
		char a[30];
		char *m = mmap((void *)0x300000000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		CHECK(m != MAP_FAILED);
		EQ(readable(m), 1);
		sprintf(a, "%lx", (long)m);
		helper("mapped", a, NULL);
	}
	EXITS(p, 0);
}

CASE(alarm_survives_exec) {
	CHILD(p) {
		struct itimerval it = {.it_value = {0, 200000}};
		OK(setitimer(ITIMER_REAL, &it, NULL));
		helper("alarmed", NULL);
	}
	KILLED(p, SIGALRM);
}

CASE(cwd_and_umask_stay) {
	OK(mkdir("in", 0755));
	CHILD(p) {
		OK(chdir("in"));
		umask(0123);
		char *a[] = {"/bin/sh", "-c", "umask; pwd", NULL};
		char *o = output(a, 0);
		MEM(o, "0123\n", 5);
		CHECK(strstr(o, "/in\n"));
	}
	JOIN(p);
}

CASE(comm_is_file_name) {
	OK(symlink(case_self, "averyverylongname"));
	CHILD(p) {
		char *a[] = {"zero", "--helper", "comm", "averyverylongna\n", NULL};
		execv("averyverylongname", a);
	}
	JOIN(p);
}

CASE(auxiliary_vector) {
	CHILD(p) helper("auxv", case_self, NULL);
	JOIN(p);
}

CASE(exec_from_thread_keeps_pid) {
	int fds[2];
	OK(pipe(fds));
	CHILD(p) {
		static char a[20], b[20];
		sprintf(a, "%d", getpid());
		sprintf(b, "%d", getppid());
		void *go(void *x) {
			helper("ids", a, b, NULL);
			return x;
		}
		pthread_t t;
		PT(pthread_create(&t, NULL, go, NULL));
		for (;;) pause();
	}
	JOIN(p);
}

CASE(exec_ends_other_threads) {
	CHILD(p) {
		void *spin(void *x) {
			for (;;) pause();
			return x;
		}
		pthread_t t[4];
		for (int i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, spin, NULL));
		helper("status", "7", NULL);
	}
	EXITS(p, 7);
}

CASE(exec_unshares_descriptors) {
	pid_t p = OK(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
	int fd = 70;
	if (p == 0) {
		dup2(0, fd);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		helper("status", "0", NULL);
	}
	JOIN(p);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC); // the child's exec closed only its own copy
}

CASE(script_with_interpreter) {
	char text[PATH_MAX + 50];
	snprintf(text, sizeof text, "#! %s --helper\nargs\n", case_self);
	script("s", text, 0755);
	// argv: interpreter, "--helper", path of the script, arguments
	char *a[] = {"./s", "x", "y", NULL};
	output(a, 126); // no helper is named ./s
	script("t", "#!/bin/echo  a b  \n", 0755);
	char *b[] = {"./t", "x", "y z", NULL};
	STR(output(b, 0), "a b ./t x y z\n");
}

CASE(script_of_script) {
	script("inner", "#!/bin/echo in\n", 0755);
	script("outer", "#!./inner\n", 0755);
	char *a[] = {"./outer", "z", NULL};
	STR(output(a, 0), "in ./inner ./outer z\n");
}

CASE(script_loop_ends_with_eloop) {
	script("l", "#!./l\n", 0755);
	char *a[] = {"./l", NULL};
	ERR(execv("./l", a), ELOOP);
}

CASE(script_errors) {
	char *a[] = {"x", NULL};
	script("a", "#!/no/such/interpreter\n", 0755);
	ERR(execv("./a", a), ENOENT);
	script("b", "#!/tmp\n", 0755);
	ERR(execv("./b", a), EACCES);
	script("c", "#!\n", 0755);
	ERR(execv("./c", a), ENOEXEC);
	script("d", "#!/bin/sh\n", 0644);
	ERR(execv("./d", a), EACCES);
}

CASE(no_magic_is_enoexec) {
	char *a[] = {"x", NULL};
	script("a", "echo hello\n", 0755);
	ERR(execv("./a", a), ENOEXEC);
	script("b", "", 0755);
	ERR(execv("./b", a), ENOEXEC);
	script("c", "\177ELF", 0755);
	ERR(execv("./c", a), ENOEXEC);
}

CASE(damaged_elf_is_refused) {
	size_t n;
	char *elf = slurpn(case_self, &n), *a[] = {"x", NULL};
	Elf64_Ehdr *h = (Elf64_Ehdr *)elf;
	void put(const char *name) {
		int fd = OK(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0755));
		writen(fd, elf, 64 + 64 * 13 < n ? n : n);
		OK(close(fd));
	}
	int machine = h->e_machine;
	h->e_machine = EM_ARM;
	put("arm");
	ERR(execv("./arm", a), ENOEXEC);
	h->e_machine = machine;
	h->e_phentsize = 3;
	put("phent");
	ERR(execv("./phent", a), ENOEXEC);
	h->e_phentsize = sizeof(Elf64_Phdr);
	h->e_type = ET_REL;
	put("rel");
	ERR(execv("./rel", a), ENOEXEC);
}

CASE(path_errors) {
	char *a[] = {"x", NULL};
	ERR(execv("", a), ENOENT);
	ERR(execv("/tmp", a), EACCES);
	ERR(execv("/dev/null", a), EACCES);
	ERR(execv("/dev/null/x", a), ENOTDIR);
	OK(symlink("loop", "loop"));
	ERR(execv("loop", a), ELOOP);
	char big[5000];
	memset(big, 'a', sizeof big);
	big[4999] = 0;
	ERR(execv(big, a), ENAMETOOLONG);
	big[300] = 0;
	ERR(execv(big, a), ENAMETOOLONG);
	ERR(syscall(SYS_execve, 8, a, NULL), EFAULT);
	ERR(syscall(SYS_execve, case_self, 8, NULL), EFAULT);
}

CASE(root_needs_an_execute_bit) {
	char *a[] = {"x", NULL};
	script("s", "#!/bin/sh\n", 0600);
	ERR(execv("./s", a), EACCES);
	OK(chmod("s", 0601));
	if (geteuid()) return;
	CHILD(p) execv("./s", a);
	JOIN(p);
}

CASE(one_argument_too_long) {
	char *big = malloc(200000);
	memset(big, 'x', 200000);
	big[131071] = 0; // with the terminator just 128 KiB, the most
	char *ok[] = {"/bin/true", big, NULL};
	output(ok, 0);
	big[131071] = 'x';
	big[199999] = 0;
	ERR(execv("/bin/true", ok), E2BIG);
}

CASE(many_arguments) {
	char *a[20003] = {"/bin/sh", "-c", "echo $#"};
	for (int i = 3; i < 20002; i++) a[i] = "argument-number";
	STR(output(a, 0), "19998\n");
}

CASE(arguments_beyond_the_stack_limit) {
	char *big = malloc(100001), *a[100] = {"/bin/true"};
	memset(big, 'x', 100000);
	big[100000] = 0;
	for (int i = 1; i < 99; i++) a[i] = big; // 9.8 MB; the limit is 2 MB at an 8 MB stack
	ERR(execv("/bin/true", a), E2BIG);
}

CASE(text_busy) {
	char *a[] = {"/bin/sh", "-c", "cp /bin/sleep ./sleeper", NULL};
	output(a, 0);
	char *b[] = {"sleeper", "30", NULL};
	int fd = OK(open("sleeper", O_WRONLY | O_CLOEXEC));
	ERR(execv("./sleeper", b), ETXTBSY);
	OK(close(fd));
	int fds[2];
	OK(pipe2(fds, O_CLOEXEC));
	CHILD(p) execv("./sleeper", b);
	close(fds[1]);
	char c;
	EQ(read(fds[0], &c, 1), 0); // the exec is done
	ERR(open("sleeper", O_WRONLY), ETXTBSY);
	ERR(truncate("sleeper", 0), ETXTBSY);
	OK(unlink("sleeper"));
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(execveat_by_descriptor) {
	int fd = OK(open(case_self, O_PATH | O_CLOEXEC));
	CHILD(p) {
		char *a[] = {"x", "--helper", "status", "11", NULL};
		syscall(SYS_execveat, fd, "", a, environ, AT_EMPTY_PATH);
	}
	EXITS(p, 11);
	char *a[] = {"x", NULL};
	ERR(syscall(SYS_execveat, fd, "", a, environ, 0), ENOENT);
	ERR(syscall(SYS_execveat, 99, "x", a, environ, 0), EBADF);
	ERR(syscall(SYS_execveat, AT_FDCWD, "/bin/true", a, environ, 0x40000000), EINVAL);
}

CASE(execveat_relative_and_nofollow) {
	OK(mkdir("d", 0755));
	OK(symlink("/bin/true", "d/t"));
	int d = OK(open("d", O_RDONLY | O_DIRECTORY));
	char *a[] = {"t", NULL};
	CHILD(p) syscall(SYS_execveat, d, "t", a, environ, 0);
	JOIN(p);
	ERR(syscall(SYS_execveat, d, "t", a, environ, AT_SYMLINK_NOFOLLOW), ELOOP);
}

CASE(fexecve_of_unlinked_and_memfd) {
	size_t n;
	char *elf = slurpn("/bin/true", &n);
	int fd = OK(memfd_create("prog", MFD_CLOEXEC));
	writen(fd, elf, n);
	CHILD(p) {
		char *a[] = {"t", NULL};
		fexecve(fd, a, environ);
		_exit(errno);
	}
	JOIN(p);
}

CASE(fexecve_of_script_needs_open_descriptor) {
	script("s", "#!/bin/sh\nexit 9\n", 0755);
	int fd = OK(open("s", O_RDONLY)), cl = OK(open("s", O_RDONLY | O_CLOEXEC));
	char *a[] = {"s", NULL};
	CHILD(p) fexecve(fd, a, environ);
	EXITS(p, 9);
	ERR(syscall(SYS_execveat, cl, "", a, environ, AT_EMPTY_PATH), ENOENT);
}

CASE(proc_self_exe_is_the_program) {
	char b[PATH_MAX] = "";
	OK(readlink("/proc/self/exe", b, sizeof b));
	STR(b, case_self);
	CHILD(p) {
		char *a[] = {"x", "--helper", "status", "3", NULL};
		execv("/proc/self/exe", a);
	}
	EXITS(p, 3);
}

CASE(shell_pipeline) {
	char *a[] = {"/bin/sh", "-c", "seq 1 1000 | grep 7 | wc -l; echo done", NULL};
	STR(output(a, 0), "271\ndone\n");
}

CASE(empty_argv_gets_an_empty_string) {
	char *none[] = {NULL};
	CHILD(p) {
		int fd = OK(open("o", O_CREAT | O_RDWR, 0644));
		dup2(fd, 1);
		execve("/bin/true", none, none);
		_exit(50);
	}
	int st;
	EQ(waitpid(p, &st, 0), p);
	CHECK(!WIFEXITED(st) || WEXITSTATUS(st) != 50);
}

CASE(deep_exec_chain) {
	script("s", "#!/bin/sh\n[ $1 = 0 ] && exit 17\nexec ./s $(($1-1))\n", 0755);
	char *a[] = {"./s", "25", NULL};
	output(a, 17);
}
