// prctl(2)'s options about memory and faults, mlock(2), personality(2), and what of clone(2) a kernel may lack.
#include "case.h"
#include <linux/sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/select.h>
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#define NO_INHERIT 2

static void *map(int prot) { return mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static void need_mdwe(void) {
	if (prctl(PR_GET_MDWE, 0, 0, 0, 0)) SKIP("needs Linux 6.3");
}

CASE(mdwe_refuses_what_gains_execution) {
	need_mdwe();
	char *rx = map(PROT_READ | PROT_EXEC), *rw = map(PROT_READ | PROT_WRITE), *rwx = map(PROT_READ | PROT_WRITE | PROT_EXEC);
	OK(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
	EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), 1);
	ERR((long)map(PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
	ERR((long)map(PROT_WRITE | PROT_EXEC), EACCES);
	ERR(mprotect(rw, PAGE, PROT_READ | PROT_EXEC), EACCES);
	ERR(mprotect(rw, PAGE, PROT_EXEC), EACCES);
	ERR(mprotect(rx, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
	ERR(mprotect(rwx, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
	OK(mprotect(rwx, PAGE, PROT_READ | PROT_EXEC));
	OK(mprotect(rx, PAGE, PROT_READ | PROT_EXEC));
	OK(mprotect(rx, PAGE, PROT_READ | PROT_WRITE)); // it loses execution, and does not get it back
	ERR(mprotect(rx, PAGE, PROT_READ | PROT_EXEC), EACCES);
	CHECK(map(PROT_READ | PROT_EXEC) != MAP_FAILED);
	OK(mprotect(rw, PAGE, PROT_READ));
}

CASE(mdwe_stays) {
	need_mdwe();
	ERR(prctl(PR_SET_MDWE, 4, 0, 0, 0), EINVAL);
	ERR(prctl(PR_SET_MDWE, NO_INHERIT, 0, 0, 0), EINVAL);
	ERR(prctl(PR_SET_MDWE, 1, 1, 0, 0), EINVAL);
	ERR(prctl(PR_SET_MDWE, 1, 0, 0, 1), EINVAL);
	ERR(prctl(PR_GET_MDWE, 1, 0, 0, 0), EINVAL);
	OK(prctl(PR_SET_MDWE, 0, 0, 0, 0));
	OK(prctl(PR_SET_MDWE, 1, 0, 0, 0));
	OK(prctl(PR_SET_MDWE, 1, 0, 0, 0));
	ERR(prctl(PR_SET_MDWE, 0, 0, 0, 0), EPERM);
	if (prctl(PR_SET_MDWE, 3, 0, 0, 0) == 0) case_fail(__FILE__, __LINE__, "it was widened");
	CHILD(c) {
		EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), 1);
		ERR((long)map(PROT_WRITE | PROT_EXEC), EACCES);
		helper("mdwe_is", "1", NULL);
	}
	JOIN(c);
}

HELPER(mdwe_is) { return prctl(PR_GET_MDWE, 0, 0, 0, 0) != atoi(argv[0]); }

CASE(mdwe_for_this_process_alone) {
	need_mdwe();
	if (prctl(PR_SET_MDWE, 1 | NO_INHERIT, 0, 0, 0)) SKIP("needs Linux 6.6");
	EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), 3);
	CHILD(c) {
		EQ(prctl(PR_GET_MDWE, 0, 0, 0, 0), 0);
		CHECK(map(PROT_WRITE | PROT_EXEC) != MAP_FAILED);
	}
	JOIN(c);
	CHILD(d) helper("mdwe_is", "0", NULL);
	JOIN(d);
}

CASE(machine_check_policy) {
	EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
	OK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
	CHILD(c) EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
	JOIN(c);
	OK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0));
	EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_LATE);
	OK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_DEFAULT, 0, 0));
	EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
	OK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	OK(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0));
	EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
	ERR(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0), EINVAL);
	ERR(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0), EINVAL);
	ERR(prctl(PR_MCE_KILL, 2, 0, 0, 0), EINVAL);
	ERR(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 1, 0), EINVAL);
	ERR(prctl(PR_MCE_KILL_GET, 0, 1, 0, 0), EINVAL);
}

CASE(io_flusher) {
	if (!has_cap(24)) {
		ERR(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0), EPERM);
		ERR(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), EPERM);
		return;
	}
	EQ(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 0);
	OK(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
	EQ(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 1);
	CHILD(c) EQ(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 1);
	JOIN(c);
	OK(prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0));
	EQ(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 0);
	ERR(prctl(PR_SET_IO_FLUSHER, 2, 0, 0, 0), EINVAL);
	ERR(prctl(PR_SET_IO_FLUSHER, 1, 1, 0, 0), EINVAL);
	ERR(prctl(PR_GET_IO_FLUSHER, 1, 0, 0, 0), EINVAL);
}

// resident counts the pages that are there.
static int resident(char *p, int pages) {
	unsigned char v[64];
	int n = 0;
	OK(mincore(p, (size_t)pages * PAGE, v));
	for (int i = 0; i < pages; i++) n += v[i] & 1;
	return n;
}

CASE(mlock_brings_pages) {
	char *p = anon(8 * PAGE);
	EQ(resident(p, 8), 0);
	OK(mlock(p + PAGE, 2 * PAGE));
	EQ(resident(p, 8), 2);
	OK(munlock(p, 8 * PAGE));
	OK(syscall(SYS_mlock2, p, 8 * PAGE, MLOCK_ONFAULT));
	EQ(resident(p, 8), 2);
	OK(mlock(p, 8 * PAGE));
	EQ(resident(p, 8), 8);
	EQ(p[5 * PAGE], 0);
}

CASE(mlock_beyond_a_file) {
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	OK(ftruncate(fd, PAGE));
	char *p = OK(mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
	OK(mlock(p, PAGE));
	ERR(mlock(p, 3 * PAGE), ENOMEM);
}

CASE(map_locked) {
	char *p = OK(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
	EQ(resident(p, 4), 4);
	ERR(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
	OK(munlock(p, 4 * PAGE));
	OK(madvise(p, PAGE, MADV_DONTNEED));
}

CASE(mlockall_of_what_comes) {
	OK(mlockall(MCL_FUTURE));
	EQ(resident(anon(4 * PAGE), 4), 4);
	CHILD(c) EQ(resident(anon(4 * PAGE), 4), 0); // not inherited
	JOIN(c);
	OK(mlockall(MCL_FUTURE | MCL_ONFAULT));
	EQ(resident(anon(4 * PAGE), 4), 0);
	OK(munlockall());
	EQ(resident(anon(4 * PAGE), 4), 0);
}

CASE(mlock_limit) {
	struct rlimit r = {4 * PAGE, 4 * PAGE};
	OK(chmod(".", 0777));
	OK(setrlimit(RLIMIT_MEMLOCK, &r));
	CHILD(c) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		char *p = anon(8 * PAGE);
		OK(mlock(p, 4 * PAGE));
		ERR(mlock(p + 4 * PAGE, PAGE), ENOMEM);
		ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0), EAGAIN);
		r.rlim_cur = 0;
		OK(setrlimit(RLIMIT_MEMLOCK, &r));
		ERR(mlock(p, PAGE), EPERM);
		ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0), EPERM);
	}
	JOIN(c);
}

CASE(sticky_timeouts) {
	struct timeval t = {0, 5000};
	OK(select(0, NULL, NULL, NULL, &t));
	EQ(t.tv_usec, 0);
	OK(personality(STICKY_TIMEOUTS));
	t.tv_usec = 5000;
	OK(select(0, NULL, NULL, NULL, &t));
	EQ(t.tv_usec, 5000);
}

CASE(clone_into_a_cgroup_that_is_none) {
	int fd = OK(open(".", O_RDONLY | O_DIRECTORY));
	struct clone_args a = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = fd};
	ERR(syscall(SYS_clone3, &a, sizeof a), EBADF);
	a.cgroup = 999;
	ERR(syscall(SYS_clone3, &a, sizeof a), EBADF);
	a.cgroup = 1ull << 31;
	ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
	a.cgroup = fd;
	ERR(syscall(SYS_clone3, &a, 80), EINVAL);
}

CASE(what_a_thread_clears_at_its_end) {
	static int mine;
	int *at = NULL;
	OK(syscall(SYS_set_tid_address, &mine));
	if (prctl(PR_GET_TID_ADDRESS, &at)) SKIP("the kernel was built without CONFIG_CHECKPOINT_RESTORE");
	CHECK(at == &mine);
	ERR(prctl(PR_GET_TID_ADDRESS, 8), EFAULT);
	CHILD(c) {
		OK(prctl(PR_GET_TID_ADDRESS, &at));
		CHECK(at != &mine); // fork(3) has set the child's own
	}
	JOIN(c);
}

CASE(speculation_arguments) {
	ERR(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), EINVAL);
	ERR(prctl(PR_GET_SPECULATION_CTRL, 0, 0, 0, 1), EINVAL);
	ERR(prctl(PR_SET_SPECULATION_CTRL, 0, 0, 1, 0), EINVAL);
	ERR(prctl(PR_GET_SPECULATION_CTRL, 99, 0, 0, 0), ENODEV);
}
