// Waits on a futex with a time limit, three times half a second, while it is stopped and continued from outside.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void) {
	int word = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("waiting");
	for (int i = 0; i < 3; i++) {
		struct timespec ts = {0, 500000000};
		if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0) != -1 || errno != ETIMEDOUT) return perror("futex"), 1;
	}
	puts("waited");
	return 0;
}
