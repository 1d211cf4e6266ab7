// Calls with bad descriptors, bad pointers and bad numbers, calls of other architectures, and calls nobody has.
#include "case.h"
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BAD ((void *)8)

CASE(numbers_nobody_has) {
	ERR(syscall(600), ENOSYS);
	ERR(syscall(1000), ENOSYS);
	ERR(syscall(-1), ENOSYS);
	ERR(syscall(0x7fffffff), ENOSYS);
	ERR(syscall(SYS__sysctl, NULL), ENOSYS);
	ERR(syscall(SYS_create_module, NULL), ENOSYS);
	ERR(syscall(SYS_getpmsg), ENOSYS);
	ERR(syscall(SYS_nfsservctl), ENOSYS);
	ERR(syscall(SYS_uselib, NULL), ENOSYS);
	ERR(syscall(SYS_vserver), ENOSYS);
	ERR(syscall(SYS_tuxcall), ENOSYS);
	ERR(syscall(SYS_epoll_ctl_old), ENOSYS);
}

CASE(x32_numbers) {
	ERR(syscall(0x40000000 | 39), ENOSYS);
	ERR(syscall(0x40000000 | 512), ENOSYS);
}

CASE(number_is_32_bits) {
	long r;
	asm volatile("syscall" : "=a"(r) : "a"(0x100000000 | SYS_getpid) : "rcx", "r11", "memory");
	CHECK(r == getpid() || r == -ENOSYS); // the upper half is not looked at
}

CASE(int80_harms_nobody_else) {
	CHILD(p) {
		long r;
		asm volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
		_exit(r == getpid() || r == -ENOSYS ? 0 : 1);
	}
	int st;
	EQ(waitpid(p, &st, 0), p);
	// with the 32-bit entry: the pid; without: a fault; behind a filter: SIGSYS or SIGKILL
	CHECK((WIFEXITED(st) && WEXITSTATUS(st) == 0) || (WIFSIGNALED(st) && (WTERMSIG(st) == SIGSEGV || WTERMSIG(st) == SIGSYS || WTERMSIG(st) == SIGKILL)));
	CHECK(getpid() > 0);
}

CASE(sysenter_harms_nobody_else) {
	CHILD(p) { asm volatile("mov $20, %%eax; sysenter" ::: "rax", "memory"); }
	int st;
	EQ(waitpid(p, &st, 0), p);
	CHECK(WIFSIGNALED(st) || WIFEXITED(st));
}

CASE(registers_kept_by_a_call) {
	long r, a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
	register long r8 asm("r8") = d, r9 asm("r9") = e, r10 asm("r10") = f, r12 asm("r12") = 7, r13 asm("r13") = 8, r14 asm("r14") = 9, r15 asm("r15") = 10;
	for (int i = 0; i < 200; i++) {
		asm volatile("mov %[nr], %%eax\n\tsyscall"
			     : "=&a"(r), "+D"(a), "+S"(b), "+d"(c), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
			     : [nr] "i"(SYS_getppid)
			     : "rcx", "r11", "memory");
		EQ(r, getppid());
		EQ(a + b + c, 6);
		EQ(r8 + r9 + r10, 15);
		EQ(r12 + r13 + r14 + r15, 34);
	}
}

CASE(rcx_and_r11_after_a_call) {
	long rip, rcx, fl;
	asm volatile("lea 1f(%%rip), %0\n\tmov %3, %%eax\n\tsyscall\n1:\tmov %%rcx, %1\n\tmov %%r11, %2"
		     : "=&r"(rip), "=&r"(rcx), "=&r"(fl)
		     : "i"(SYS_getppid)
		     : "rax", "rcx", "r11", "memory");
	(void)rip, (void)rcx;
	CHECK(fl != 0);
}

CASE(flags_and_vector_registers_kept) {
	unsigned char in[64], out[64];
	for (int i = 0; i < 64; i++) in[i] = i * 3;
	asm volatile("movdqu (%1), %%xmm0\n\tmovdqu 16(%1), %%xmm5\n\tmovdqu 32(%1), %%xmm10\n\tmovdqu 48(%1), %%xmm15\n\t"
		     "mov %2, %%eax\n\tsyscall\n\t"
		     "movdqu %%xmm0, (%0)\n\tmovdqu %%xmm5, 16(%0)\n\tmovdqu %%xmm10, 32(%0)\n\tmovdqu %%xmm15, 48(%0)"
		     :: "r"(out), "r"(in), "i"(SYS_getppid)
		     : "rax", "rcx", "r11", "xmm0", "xmm5", "xmm10", "xmm15", "memory");
	MEM(in, out, 64);
	unsigned csr = 0x1f80 | 0x6000, now;
	asm volatile("ldmxcsr %1\n\tmov %2, %%eax\n\tsyscall\n\tstmxcsr %0" : "=m"(now) : "m"(csr), "i"(SYS_getppid) : "rax", "rcx", "r11", "memory");
	EQ(now & 0x6000, 0x6000);
}

CASE(red_zone_is_kept) {
	long bad = 0;
	for (int i = 0; i < 100; i++) {
		long x;
		asm volatile("movq $0x1111, -8(%%rsp)\n\tmovq $0x2222, -64(%%rsp)\n\tmovq $0x3333, -128(%%rsp)\n\tmov %1, %%eax\n\tsyscall\n\t"
			     "mov -8(%%rsp), %0\n\tadd -64(%%rsp), %0\n\tadd -128(%%rsp), %0"
			     : "=&r"(x) : "i"(SYS_getppid) : "rax", "rcx", "r11", "memory");
		bad |= x ^ 0x6666;
	}
	EQ(bad, 0);
}

CASE(tiny_or_odd_stack_pointer) {
	// a call must not need the stack at all
	long r;
	asm volatile("mov %%rsp, %%rbx\n\tmov $8, %%rsp\n\tmov %1, %%eax\n\tsyscall\n\tmov %%rbx, %%rsp" : "=&a"(r) : "i"(SYS_getppid) : "rbx", "rcx", "r11", "memory");
	EQ(r, getppid());
}

CASE(call_site_crossing_a_page) {
	// mov $nr,%eax; syscall; ret, at every offset around a page boundary
	unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
	unsigned char *p = anon(2 * PAGE);
	OK(mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	for (int off = PAGE - 8; off <= PAGE; off++) {
		memset(p, 0xcc, 2 * PAGE);
		memcpy(p + off, code, sizeof code);
		for (int i = 0; i < 10; i++) EQ(((int (*)(void))(p + off))(), getppid());
	}
}

CASE(jump_between_mov_and_syscall) {
	// the same site entered at its start and at the syscall instruction itself
	unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
	unsigned char *p = anon(PAGE);
	memcpy(p, code, sizeof code);
	OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	for (int i = 0; i < 20; i++) {
		EQ(((int (*)(void))p)(), getppid());
		long r;
		asm volatile("call *%1" : "=a"(r) : "r"(p + 5), "a"(SYS_getpid) : "rcx", "r11", "memory");
		EQ(r, getpid());
	}
}

CASE(program_reads_its_own_code) {
	// what a call site holds is what was written there (checksums, debuggers)
	unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
	unsigned char *p = anon(PAGE);
	memcpy(p, code, sizeof code);
	OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	for (int i = 0; i < 20; i++) ((int (*)(void))p)();
	MEM(p + 5, code + 5, 3);
}

CASE(bad_descriptor_everywhere) {
	char b[64];
	struct stat st;
	ERR(syscall(SYS_read, 77, b, 1), EBADF);
	ERR(syscall(SYS_write, 77, b, 1), EBADF);
	ERR(syscall(SYS_pread64, 77, b, 1, 0L), EBADF);
	ERR(syscall(SYS_fstat, 77, &st), EBADF);
	ERR(syscall(SYS_lseek, 77, 0L, 0), EBADF);
	ERR(syscall(SYS_ioctl, 77, 0x5401, b), EBADF);
	ERR(syscall(SYS_fcntl, 77, F_GETFL), EBADF);
	ERR(syscall(SYS_fsync, 77), EBADF);
	ERR(syscall(SYS_ftruncate, 77, 0L), EBADF);
	ERR(syscall(SYS_getdents64, 77, b, 64), EBADF);
	ERR(syscall(SYS_fchdir, 77), EBADF);
	ERR(syscall(SYS_fchmod, 77, 0), EBADF);
	ERR(syscall(SYS_fchown, 77, 0, 0), EBADF);
	ERR(syscall(SYS_flock, 77, 1), EBADF);
	ERR(syscall(SYS_dup, 77), EBADF);
	ERR(syscall(SYS_connect, 77, b, 16), EBADF);
	ERR(syscall(SYS_sendto, 77, b, 1, 0, NULL, 0), EBADF);
	ERR(syscall(SYS_recvfrom, 77, b, 1, 0, NULL, NULL), EBADF);
	ERR(syscall(SYS_accept, 77, NULL, NULL), EBADF);
	ERR(syscall(SYS_epoll_wait, 77, b, 1, 0), EBADF);
	ERR(syscall(SYS_openat, 77, "x", 0), EBADF);
	ERR(syscall(SYS_mkdirat, 77, "x", 0), EBADF);
	ERR(syscall(SYS_fallocate, 77, 0, 0L, 1L), EBADF);
	ERR(syscall(SYS_readv, 77, NULL, 0), EBADF);
	ERR(syscall(SYS_statx, 77, "x", 0, 0, b), EBADF);
}

CASE(bad_pointer_everywhere) {
	int fds[2];
	OK(pipe(fds));
	writen(fds[1], "x", 1);
	ERR(syscall(SYS_read, fds[0], BAD, 1), EFAULT);
	ERR(syscall(SYS_write, fds[1], BAD, 1), EFAULT);
	ERR(syscall(SYS_open, BAD, 0), EFAULT);
	ERR(syscall(SYS_stat, ".", BAD), EFAULT);
	ERR(syscall(SYS_fstat, 0, BAD), EFAULT);
	ERR(syscall(SYS_access, BAD, 0), EFAULT);
	ERR(syscall(SYS_chdir, BAD), EFAULT);
	ERR(syscall(SYS_mkdir, BAD, 0), EFAULT);
	ERR(syscall(SYS_rename, BAD, "x"), EFAULT);
	ERR(syscall(SYS_rename, ".", BAD), EFAULT);
	ERR(syscall(SYS_link, BAD, BAD), EFAULT);
	ERR(syscall(SYS_symlink, "x", BAD), EFAULT);
	ERR(syscall(SYS_unlink, BAD), EFAULT);
	ERR(syscall(SYS_getcwd, BAD, 100), EFAULT);
	ERR(syscall(SYS_uname, BAD), EFAULT);
	ERR(syscall(SYS_gettimeofday, BAD, NULL), EFAULT);
	ERR(syscall(SYS_nanosleep, BAD, NULL), EFAULT);
	ERR(syscall(SYS_getrlimit, RLIMIT_NOFILE, BAD), EFAULT);
	ERR(syscall(SYS_setrlimit, RLIMIT_NOFILE, BAD), EFAULT);
	ERR(syscall(SYS_getrusage, 0, BAD), EFAULT);
	ERR(syscall(SYS_times, BAD), EFAULT);
	ERR(syscall(SYS_rt_sigprocmask, 0, BAD, NULL, 8), EFAULT);
	ERR(syscall(SYS_rt_sigpending, BAD, 8), EFAULT);
	ERR(syscall(SYS_sigaltstack, BAD, NULL), EFAULT);
	ERR(syscall(SYS_select, 5, BAD, NULL, NULL, NULL), EFAULT);
	ERR(syscall(SYS_pipe, BAD), EFAULT);
	ERR(syscall(SYS_futex, BAD, 1, 1, NULL, NULL, 0), EFAULT);
	ERR(syscall(SYS_sched_getparam, 0, BAD), EFAULT);
	ERR(syscall(SYS_getitimer, 0, BAD), EFAULT);
	ERR(syscall(SYS_getsockname, 0, BAD, BAD), ENOTSOCK);
	int s = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(syscall(SYS_getsockname, s, BAD, BAD), EFAULT);
	ERR(syscall(SYS_sendmsg, s, BAD, 0), EFAULT);
	ERR(syscall(SYS_bind, s, BAD, 10), EFAULT);
	ERR(syscall(SYS_execve, BAD, NULL, NULL), EFAULT);
}

CASE(kernel_addresses_are_efault) {
	void *k = (void *)0xffffffff81000000, *nc = (void *)0x1234567890abcdef;
	int fds[2];
	OK(pipe(fds));
	writen(fds[1], "xxxx", 4);
	ERR(syscall(SYS_read, fds[0], k, 1), EFAULT);
	ERR(syscall(SYS_write, fds[1], k, 1), EFAULT);
	ERR(syscall(SYS_open, k, 0), EFAULT);
	ERR(syscall(SYS_stat, ".", nc), EFAULT);
	ERR(syscall(SYS_write, fds[1], nc, 1), EFAULT);
}

CASE(path_at_the_end_of_a_mapping) {
	char *p = anon(2 * PAGE);
	OK(munmap(p + PAGE, PAGE));
	strcpy(p + PAGE - 10, "/dev/null");
	OK(syscall(SYS_open, p + PAGE - 10, O_RDONLY));
	p[PAGE - 1] = 'l'; // no end before the hole
	ERR(syscall(SYS_open, p + PAGE - 10, O_RDONLY), EFAULT);
}

CASE(io_uring_works_or_is_absent) {
	char params[120] = "";
	long r = syscall(425, 4, params);
	CHECK(r >= 0 || errno == ENOSYS || errno == EPERM);
}

CASE(aio_works_or_is_absent) {
	unsigned long ctx = 0;
	long r = syscall(SYS_io_setup, 4, &ctx);
	CHECK(r == 0 || errno == ENOSYS);
	if (r == 0) OK(syscall(SYS_io_destroy, ctx));
}

CASE(keys_and_ptrace_answer) {
	long r = syscall(SYS_keyctl, 0, -3, 0, 0, 0);
	CHECK(r >= 0 || errno == ENOSYS || errno == ENOKEY || errno == EPERM);
	ERR(syscall(SYS_ptrace, 9999, 99999999, 0, 0) >= 0 ? 0 : (errno == ENOSYS || errno == ESRCH || errno == EPERM ? (errno = ESRCH, -1) : 0), ESRCH);
}

CASE(user_namespaces_work_or_are_refused) {
	CHILD(p) {
		long r = syscall(SYS_unshare, CLONE_NEWUSER);
		_exit(r == 0 || errno == EPERM || errno == EINVAL || errno == ENOSYS || errno == ENOSPC ? 0 : 1);
	}
	JOIN(p);
	ERR(syscall(SYS_unshare, 0x1), EINVAL);
	ERR(syscall(SYS_setns, 77, 0), EBADF);
}

CASE(obsolete_but_alive) {
	EQ(syscall(SYS_getpgrp), getpgrp());
	OK(syscall(SYS_creat, "f", 0644));
	long t = syscall(SYS_time, NULL);
	CHECK(labs(t - time(NULL)) < 5);
	OK(syscall(SYS_alarm, 0));
	EQ(syscall(SYS_getuid), getuid());
	struct { uint64_t ino; uint64_t off; unsigned short len; char name[300]; } d;
	int fd = OK(open(".", O_RDONLY));
	CHECK(syscall(SYS_getdents, fd, &d, sizeof d) > 0);
}
#undef BAD
