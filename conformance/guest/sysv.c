// System V shared memory, semaphores and message queues; POSIX message queues.
#include "case.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };

CASE(shm_attach_share_remove) {
	int id = OK(shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600));
	int *p = OK(shmat(id, NULL, 0));
	EQ(p[0], 0);
	CHILD(c) {
		p[0] = 5; // inherited
		int *q = OK(shmat(id, NULL, 0));
		q[1] = 6;
		OK(shmdt(q));
	}
	JOIN(c);
	EQ(p[0] * 10 + p[1], 56);
	struct shmid_ds d;
	OK(shmctl(id, IPC_STAT, &d));
	EQ(d.shm_segsz, 10000);
	EQ(d.shm_nattch, 1);
	EQ(d.shm_cpid, getpid());
	OK(shmctl(id, IPC_RMID, NULL));
	p[2] = 7; // stays until detached
	OK(shmdt(p));
	EQ(readable(p), 0);
	ERR(shmat(id, NULL, 0), EINVAL);
}

CASE(shm_keys) {
	key_t k = 0x5e000000 + getpid();
	int id = OK(shmget(k, PAGE, IPC_CREAT | IPC_EXCL | 0600));
	ERR(shmget(k, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	EQ(shmget(k, 0, 0), id);
	ERR(shmget(k, 2 * PAGE, 0), EINVAL);
	OK(shmctl(id, IPC_RMID, NULL));
	ERR(shmget(k, 0, 0), ENOENT);
	ERR(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600), EINVAL);
}

CASE(shm_read_only_and_fixed) {
	int id = OK(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
	char *r = OK(shmat(id, NULL, SHM_RDONLY));
	char *area = anon(8 * PAGE);
	OK(munmap(area, 8 * PAGE));
	char *f = OK(shmat(id, area + 100, SHM_RND));
	EQ((long)f, (long)area);
	f[5] = 'x';
	EQ(r[5], 'x');
	ERR(shmat(id, area + 4 * PAGE + 1, 0), EINVAL);
	ERR(shmat(id, area, 0), EINVAL); // in use
	EQ((long)shmat(id, area, SHM_REMAP), (long)area);
	CHILD(p) { *(volatile char *)r = 1; }
	KILLED(p, SIGSEGV);
	OK(shmctl(id, IPC_RMID, NULL));
	ERR(shmdt(area + 1), EINVAL);
}

CASE(shm_gone_with_last_process) {
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		int id = OK(shmget(IPC_PRIVATE, PAGE, 0600));
		OK(shmat(id, NULL, 0));
		OK(shmctl(id, IPC_RMID, NULL));
		writen(f[1], &id, sizeof id);
	}
	int id;
	readn(f[0], &id, sizeof id);
	JOIN(p);
	struct shmid_ds d;
	ERR(shmctl(id, IPC_STAT, &d), EINVAL);
}

CASE(sem_values) {
	int id = OK(semget(IPC_PRIVATE, 3, 0600));
	union semun u = {.val = 5};
	OK(semctl(id, 1, SETVAL, u));
	EQ(semctl(id, 1, GETVAL), 5);
	EQ(semctl(id, 0, GETVAL), 0);
	unsigned short a[3] = {1, 2, 3};
	u.array = a;
	OK(semctl(id, 0, SETALL, u));
	memset(a, 0, sizeof a);
	OK(semctl(id, 0, GETALL, u));
	EQ(a[2], 3);
	struct sembuf op = {2, -1, 0};
	OK(semop(id, &op, 1));
	EQ(semctl(id, 2, GETVAL), 2);
	EQ(semctl(id, 2, GETPID), getpid());
	ERR(semctl(id, 9, GETVAL), EINVAL);
	u.val = 40000;
	ERR(semctl(id, 0, SETVAL, u), ERANGE);
	OK(semctl(id, 0, IPC_RMID));
	ERR(semctl(id, 0, GETVAL), EINVAL);
}

CASE(sem_blocks_and_wakes) {
	int id = OK(semget(IPC_PRIVATE, 1, 0600));
	struct sembuf down = {0, -2, 0}, up = {0, 1, 0};
	CHILD(p) OK(semop(id, &down, 1));
	settle(p);
	EQ(semctl(id, 0, GETNCNT), 1);
	OK(semop(id, &up, 1));
	int st;
	EQ(waitpid(p, &st, WNOHANG), 0);
	OK(semop(id, &up, 1));
	JOIN(p);
	EQ(semctl(id, 0, GETVAL), 0);
	OK(semctl(id, 0, IPC_RMID));
}

CASE(sem_wait_for_zero_and_atomic_set) {
	int id = OK(semget(IPC_PRIVATE, 2, 0600));
	union semun u = {.val = 1};
	OK(semctl(id, 0, SETVAL, u));
	struct sembuf both[2] = {{0, 0, IPC_NOWAIT}, {1, 1, 0}};
	ERR(semop(id, both, 2), EAGAIN);
	EQ(semctl(id, 1, GETVAL), 0); // all or nothing
	u.val = 0;
	OK(semctl(id, 0, SETVAL, u));
	OK(semop(id, both, 2));
	EQ(semctl(id, 1, GETVAL), 1);
	struct sembuf bad = {7, 1, 0};
	ERR(semop(id, &bad, 1), EFBIG);
	ERR(semop(id, both, 0), EINVAL);
	struct timespec t = {0, 30000000};
	struct sembuf down = {0, -1, 0};
	ERR(semtimedop(id, &down, 1, &t), EAGAIN);
	OK(semctl(id, 0, IPC_RMID));
}

CASE(sem_undo) {
	int id = OK(semget(IPC_PRIVATE, 1, 0600));
	union semun u = {.val = 3};
	OK(semctl(id, 0, SETVAL, u));
	CHILD(p) {
		struct sembuf d = {0, -2, SEM_UNDO};
		OK(semop(id, &d, 1));
		EQ(semctl(id, 0, GETVAL), 1);
	}
	JOIN(p);
	EQ(semctl(id, 0, GETVAL), 3);
	OK(semctl(id, 0, IPC_RMID));
}

CASE(sem_removed_while_waiting) {
	int id = OK(semget(IPC_PRIVATE, 1, 0600));
	CHILD(p) {
		struct sembuf d = {0, -1, 0};
		ERR(semop(id, &d, 1), EIDRM);
	}
	settle(p);
	OK(semctl(id, 0, IPC_RMID));
	JOIN(p);
}

CASE(sem_interrupted) {
	int id = OK(semget(IPC_PRIVATE, 1, 0600));
	on_signal(SIGALRM, nothing, SA_RESTART);
	struct itimerval it = {{0, 30000}, {0, 30000}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	struct sembuf d = {0, -1, 0};
	ERR(semop(id, &d, 1), EINTR);
	OK(semctl(id, 0, IPC_RMID));
}

struct m { long type; char text[64]; };

CASE(msg_by_type) {
	int id = OK(msgget(IPC_PRIVATE, 0600));
	struct m a = {5, "five"}, b = {3, "three"}, c = {4, "four"}, r;
	OK(msgsnd(id, &a, 5, 0));
	OK(msgsnd(id, &b, 6, 0));
	OK(msgsnd(id, &c, 5, 0));
	EQ(msgrcv(id, &r, 64, 4, 0), 5);
	STR(r.text, "four");
	EQ(msgrcv(id, &r, 64, -4, 0), 6); // the lowest up to 4
	STR(r.text, "three");
	ERR(msgrcv(id, &r, 64, 9, IPC_NOWAIT), ENOMSG);
	ERR(msgrcv(id, &r, 2, 0, 0), E2BIG);
	EQ(msgrcv(id, &r, 2, 0, MSG_NOERROR), 2);
	EQ(r.type, 5);
	OK(msgctl(id, IPC_RMID, NULL));
}

CASE(msg_errors_and_stat) {
	int id = OK(msgget(IPC_PRIVATE, 0600));
	struct m a = {0, ""};
	ERR(msgsnd(id, &a, 1, 0), EINVAL);
	a.type = 1;
	ERR(msgsnd(id, &a, 100000, 0), EINVAL);
	OK(msgsnd(id, &a, 10, 0));
	struct msqid_ds d;
	OK(msgctl(id, IPC_STAT, &d));
	EQ(d.msg_qnum, 1);
	EQ(d.msg_lspid, getpid());
	d.msg_qbytes = 100;
	OK(msgctl(id, IPC_SET, &d));
	struct { long t; char b[95]; } big = {1, ""};
	ERR(msgsnd(id, &big, 95, IPC_NOWAIT), EAGAIN);
	OK(msgctl(id, IPC_RMID, NULL));
	ERR(msgsnd(id, &a, 1, 0), EINVAL);
	ERR(msgget(0x7e000000 + getpid(), 0), ENOENT);
}

CASE(msg_blocks_and_wakes) {
	int id = OK(msgget(IPC_PRIVATE, 0600));
	CHILD(p) {
		struct m r;
		EQ(msgrcv(id, &r, 64, 2, 0), 1);
		ERR(msgrcv(id, &r, 64, 2, 0), EIDRM);
	}
	settle(p);
	struct m a = {2, "x"};
	OK(msgsnd(id, &a, 1, 0));
	EVENTUALLY(({
		struct msqid_ds d;
		OK(msgctl(id, IPC_STAT, &d));
		d.msg_qnum;
	}) == 0);
	settle(p);
	OK(msgctl(id, IPC_RMID, NULL));
	JOIN(p);
}

CASE(ipc_permissions) {
	if (geteuid()) SKIP("needs root");
	int id = OK(shmget(IPC_PRIVATE, PAGE, 0600)), se = OK(semget(IPC_PRIVATE, 1, 0600)), q = OK(msgget(IPC_PRIVATE, 0600));
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		OK(setresgid(1000, 1000, 1000) == 0 || errno == EPERM ? 0 : -1);
		ERR(shmat(id, NULL, 0), EACCES);
		ERR(shmctl(id, IPC_RMID, NULL), EPERM);
		ERR(semctl(se, 0, GETVAL), EACCES);
		struct m a = {1, ""};
		ERR(msgsnd(q, &a, 1, 0), EACCES);
	}
	JOIN(p);
	OK(shmctl(id, IPC_RMID, NULL));
	OK(semctl(se, 0, IPC_RMID));
	OK(msgctl(q, IPC_RMID, NULL));
}

CASE(ftok_is_stable) {
	spew("f", "");
	key_t a = ftok("f", 1), b = ftok("f", 1), c = ftok("f", 2);
	EQ(a, b);
	CHECK(a != c && a != -1);
}

static char mqname[40];
static mqd_t mq(int flags, long max, long size) {
	struct mq_attr a = {.mq_maxmsg = max, .mq_msgsize = size};
	sprintf(mqname, "/conform-%d", getpid());
	return mq_open(mqname, O_RDWR | O_CREAT | flags, 0600, &a);
}

CASE(mq_priorities) {
	mqd_t q = OK(mq(O_EXCL, 5, 100));
	OK(mq_send(q, "low", 3, 1));
	OK(mq_send(q, "high", 4, 9));
	OK(mq_send(q, "high2", 5, 9));
	char b[100];
	unsigned prio;
	EQ(mq_receive(q, b, 100, &prio), 4);
	EQ(prio, 9);
	EQ(mq_receive(q, b, 100, &prio), 5);
	EQ(mq_receive(q, b, 100, &prio), 3);
	EQ(prio, 1);
	OK(mq_unlink(mqname));
	ERR(mq_open(mqname, O_RDWR), ENOENT);
}

CASE(mq_limits_and_errors) {
	mqd_t q = OK(mq(O_EXCL | O_NONBLOCK, 2, 10));
	char b[100];
	ERR(mq_receive(q, b, 100, NULL), EAGAIN);
	ERR(mq_receive(q, b, 5, NULL), EMSGSIZE);
	ERR(mq_send(q, b, 11, 0), EMSGSIZE);
	OK(mq_send(q, b, 10, 0));
	OK(mq_send(q, b, 0, 0));
	ERR(mq_send(q, b, 1, 0), EAGAIN);
	ERR(mq_send(q, b, 1, 40000), EINVAL);
	struct mq_attr a;
	OK(mq_getattr(q, &a));
	EQ(a.mq_maxmsg, 2);
	EQ(a.mq_msgsize, 10);
	EQ(a.mq_curmsgs, 2);
	CHECK(a.mq_flags & O_NONBLOCK);
	ERR(mq(O_EXCL, 2, 10), EEXIST);
	OK(mq_unlink(mqname));
	ERR(mq_unlink(mqname), ENOENT);
	ERR(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL), EACCES);
}

CASE(mq_timeouts) {
	mqd_t q = OK(mq(O_EXCL, 1, 10));
	struct timespec t = {1, 0};
	char b[10];
	ERR(mq_timedreceive(q, b, 10, NULL, &t), ETIMEDOUT);
	OK(mq_send(q, "x", 1, 0));
	ERR(mq_timedsend(q, "y", 1, 0, &t), ETIMEDOUT);
	OK(mq_unlink(mqname));
}

CASE(mq_between_processes_and_poll) {
	mqd_t q = OK(mq(O_EXCL, 4, 10));
	CHECK(!ready(q, POLLIN, 0));
	CHILD(p) {
		sleep_ms(20);
		mqd_t w = OK(mq_open(mqname, O_WRONLY));
		OK(mq_send(w, "hello", 5, 0));
	}
	CHECK(ready(q, POLLIN, 10000));
	char b[10];
	EQ(mq_receive(q, b, 10, NULL), 5);
	JOIN(p);
	OK(mq_unlink(mqname));
}

CASE(mq_notify_by_signal) {
	mqd_t q = OK(mq(O_EXCL, 4, 10));
	sigset_t s = sigs(SIGUSR1, 0);
	OK(sigprocmask(SIG_BLOCK, &s, NULL));
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5};
	OK(mq_notify(q, &e));
	ERR(mq_notify(q, &e), EBUSY);
	OK(mq_send(q, "x", 1, 0));
	siginfo_t si;
	struct timespec t = {10, 0};
	EQ(sigtimedwait(&s, &si, &t), SIGUSR1);
	EQ(si.si_code, SI_MESGQ);
	EQ(si.si_value.sival_int, 5);
	OK(mq_unlink(mqname));
}
