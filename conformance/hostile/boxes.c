// A process that writes over what its stub knows of lent sockets and of a lent epoll instance (struct socks of
// stub/layout.h, and the words of struct slot for it) while it uses both. Its neighbours at the other ends of the sockets,
// and a bystander, go on; its own bytes may be anything.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 0x7ff100000000ul
enum { BOXES_ON = 0x1f0, BITS = 0x1f4, CTL_LENT = 0x1f8, LAZY = 0x1fc, TURN = 0 };
enum { SOCKS = 0x19000, STATES = SOCKS + 128, HEAD = SOCKS + 256, TAIL = SOCKS + 260, OPS = SOCKS + 272, BOX = OPS + 1024, BOX_SIZE = 528 };
enum { PAIRS = 6 };

static uint64_t seed = 88172645463325252ul;
static uint64_t rnd(void) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; }

static int s[PAIRS][2], ep;

static int lies(void *arg) {
	static const uint32_t some[] = {0, 1, 2, 3, 4, 5, 63, 64, 65, 0xff, 0x100, 0x101, 0x10000, 0x10001, 0x10100, 0x1ffff, 0x7fffffff, 0xffffffff};
	long kind = (long)arg;
	for (long n = 0; n < 3000000; n++) {
		char *slot = (char *)SLOTS + rnd() % 2 * 0x20000, *box = slot + BOX + rnd() % 24 * BOX_SIZE;
		uint32_t v = rnd() & 1 ? some[rnd() % 18] : rnd();
		switch (kind % 5 ? kind % 5 : 1 + rnd() % 4) {
		case 1: // lengths, taken and withdrawn
			((volatile uint32_t *)box)[1 + rnd() % 2] = v;
			*(volatile uint32_t *)(slot + BITS) = rnd();
			break;
		case 2: // whose boxes they are
			*(volatile uint32_t *)box = v % 128;
			*(volatile uint8_t *)(slot + SOCKS + rnd() % 256) = v;
			*(volatile uint32_t *)(slot + BOXES_ON) = rnd() & 1;
			*(volatile uint32_t *)(slot + LAZY) = rnd() & 1;
			break;
		case 3: // operations, and that they were done
			*(volatile uint32_t *)(slot + OPS + rnd() % 256 * 4) = rnd() & 1 ? (1 + rnd() % 128) | (1 + rnd() % 3) << 16 : rnd();
			*(volatile uint32_t *)(slot + (rnd() & 3 ? HEAD : TAIL)) += rnd() % 80;
			*(volatile uint32_t *)(slot + CTL_LENT) = ep + 1;
			break;
		case 4: // bytes
			*(volatile uint64_t *)(box + 16 + rnd() % 63 * 8) = rnd();
			*(volatile uint32_t *)(box + 4) = rnd() % 258;
			break;
		}
	}
	_exit(0);
}

static void rounds(int n) {
	char b[600];
	struct epoll_event e = {.events = EPOLLIN}, got[8];
	memset(b, 'x', sizeof b);
	for (int i = 0; i < n; i++) {
		int k = i % PAIRS, fd = s[k][0];
		e.data.fd = fd;
		if (write(fd, b, 1 + i % 256) < 0 && errno == EPIPE) return;
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, &e);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
		e.events = EPOLLIN | (i & 8 ? EPOLLOUT : EPOLLET);
		epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
		int m = epoll_wait(ep, got, 8, 0);
		for (int j = 0; j < m && j < 8; j++) recv(fd, b, sizeof b, MSG_DONTWAIT);
	}
}

static void borrower(long kind) {
	static char stack[65536];
	seed += kind * 7919;
	alarm(3);
	signal(SIGPIPE, SIG_IGN);
	ep = epoll_create1(0);
	rounds(0);
	struct epoll_event e = {.events = EPOLLIN};
	for (int k = 0; k < PAIRS; k++) close(s[k][1]), epoll_ctl(ep, EPOLL_CTL_ADD, s[k][0], &e);
	rounds(200);
	pid_t other = clone(lies, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)kind);
	if (other < 0) _exit(2);
	rounds(1500);
	if (kind & 4) execl("/bin/true", "true", (char *)NULL);
	if (kind & 8) kill(getpid(), SIGKILL);
	kill(other, SIGKILL);
	_exit(0);
}

int main(void) {
	char b[4096], c = 0, x = 'a';
	int own[2], hung = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, own)) return 2;
	for (long kind = 0; kind < 10; kind++) {
		for (int k = 0; k < PAIRS; k++)
			if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s[k])) return 2;
		pid_t pid = fork();
		if (pid == 0) borrower(kind);
		for (int k = 0; k < PAIRS; k++) close(s[k][0]);
		int status, done = 0;
		for (int i = 0; i < 4000 && !done; i++) {
			alarm(60);
			for (int k = 0; k < PAIRS; k++) { // the neighbour: it reads, answers and looks
				struct pollfd f = {s[k][1], POLLIN | POLLOUT, 0};
				int n;
				poll(&f, 1, 0);
				ioctl(s[k][1], FIONREAD, &n);
				while (read(s[k][1], b, sizeof b) > 0) {}
				write(s[k][1], b, 1 + i % 200);
			}
			done = waitpid(pid, &status, WNOHANG) == pid;
			usleep(200);
		}
		if (!done) {
			hung++;
			kill(pid, SIGKILL);
			if (waitpid(pid, &status, 0) != pid) return puts("it cannot be ended"), 3;
		}
		for (int k = 0; k < PAIRS; k++) close(s[k][1]);
		for (int i = 0; i < 600; i++) // and own loans are as ever
			if (write(own[i & 1], &x, 1) != 1 || read(own[~i & 1], &c, 1) != 1 || c != x++) return puts("the bystander was harmed"), 3;
	}
	printf("lent 10, ended by SIGKILL after a hang %d\n", hung);
	return 0;
}
