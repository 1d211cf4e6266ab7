// memfd_create with seals, and /dev/shm through shm_open.
#include "case.h"

CASE(memfd_is_a_file) {
	int fd = OK(memfd_create("name", 0));
	EQ(fcntl(fd, F_GETFD), 0);
	writen(fd, "hello", 5);
	char b[8] = "";
	EQ(pread(fd, b, 8, 0), 5);
	STR(b, "hello");
	struct stat st;
	OK(fstat(fd, &st));
	CHECK(S_ISREG(st.st_mode));
	EQ(st.st_mode & 0777, 0777);
	EQ(st.st_size, 5);
	EQ(st.st_nlink, 0);
	char path[64], link[100] = "";
	sprintf(path, "/proc/self/fd/%d", fd);
	OK(readlink(path, link, sizeof link));
	STR(link, "/memfd:name (deleted)");
}

CASE(memfd_flags) {
	EQ(fcntl(OK(memfd_create("", MFD_CLOEXEC)), F_GETFD), FD_CLOEXEC);
	ERR(memfd_create("x", 0x100), EINVAL);
	ERR(memfd_create((char *)8, 0), EFAULT);
	char big[300];
	memset(big, 'a', 299);
	big[299] = 0;
	ERR(memfd_create(big, 0), EINVAL);
	big[249] = 0;
	OK(memfd_create(big, 0));
}

CASE(seals_default) {
	int fd = OK(memfd_create("x", 0));
	EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	int g = OK(memfd_create("x", MFD_ALLOW_SEALING));
	EQ(fcntl(g, F_GET_SEALS), 0);
	ERR(fcntl(0, F_GET_SEALS), EINVAL);
}

CASE(seal_shrink_grow) {
	int fd = OK(memfd_create("x", MFD_ALLOW_SEALING));
	OK(ftruncate(fd, PAGE));
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	ERR(ftruncate(fd, 0), EPERM);
	OK(ftruncate(fd, 2 * PAGE));
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	ERR(ftruncate(fd, 3 * PAGE), EPERM);
	ERR(pwrite(fd, "x", 1, 2 * PAGE), EPERM);
	EQ(pwrite(fd, "x", 1, 0), 1);
	EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
}

CASE(seal_write) {
	int fd = OK(memfd_create("x", MFD_ALLOW_SEALING));
	OK(ftruncate(fd, PAGE));
	char *p = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	OK(munmap(p, PAGE));
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	ERR(write(fd, "x", 1), EPERM);
	ERR(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
	OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	ERR(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EPERM);
}

CASE(seal_future_write) {
	int fd = OK(memfd_create("x", MFD_ALLOW_SEALING));
	OK(ftruncate(fd, PAGE));
	char *p = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	p[0] = 'w';
	ERR(pwrite(fd, "x", 1, 0), EPERM);
	ERR(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
	char *q = OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	EQ(q[0], 'w');
}

CASE(memfd_shared_with_child) {
	int fd = OK(memfd_create("x", 0));
	OK(ftruncate(fd, PAGE));
	int *p = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	CHILD(c) {
		int *q = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		q[1] = 12;
	}
	JOIN(c);
	EQ(p[1], 12);
}

CASE(memfd_reopened_by_proc) {
	int fd = OK(memfd_create("x", 0));
	writen(fd, "data", 4);
	char path[64], b[5] = "";
	sprintf(path, "/proc/self/fd/%d", fd);
	int g = OK(open(path, O_RDONLY));
	EQ(read(g, b, 5), 4);
	STR(b, "data");
	ERR(write(g, "x", 1), EBADF);
}

CASE(shm_open_life) {
	char name[40];
	sprintf(name, "/conform-%d", getpid());
	int fd = OK(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	ERR(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	OK(ftruncate(fd, PAGE));
	int *p = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	CHILD(c) {
		int g = OK(shm_open(name, O_RDWR, 0));
		int *q = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0));
		q[0] = 321;
	}
	JOIN(c);
	EQ(p[0], 321);
	OK(shm_unlink(name));
	ERR(shm_open(name, O_RDWR, 0), ENOENT);
	p[0]++;
	EQ(p[0], 322);
}

CASE(dev_shm_is_a_sticky_tmpfs) {
	struct stat st;
	OK(stat("/dev/shm", &st));
	EQ(st.st_mode, S_IFDIR | 01777);
	CHECK(access("/dev/shm", W_OK) == 0);
}

CASE(holes_and_blocks) {
	int fd = OK(memfd_create("x", 0));
	OK(ftruncate(fd, 100 * PAGE));
	EQ(pwrite(fd, "x", 1, 50 * PAGE), 1);
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_blocks, 8);
	EQ(lseek(fd, 0, SEEK_DATA), 50 * PAGE);
	EQ(lseek(fd, 50 * PAGE, SEEK_HOLE), 51 * PAGE);
	ERR(lseek(fd, 60 * PAGE, SEEK_DATA), ENXIO);
}
