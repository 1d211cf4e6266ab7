// sendfile, splice, tee, vmsplice, copy_file_range.
#include "case.h"
#include <sys/sendfile.h>
#include <sys/socket.h>

static int file(const char *name, const char *text) {
	spew(name, text);
	return OK(open(name, O_RDWR));
}

CASE(sendfile_file_to_file) {
	int in = file("in", "0123456789"), out = file("out", "");
	EQ(sendfile(out, in, NULL, 4), 4);
	EQ(lseek(in, 0, SEEK_CUR), 4);
	off_t o = 6;
	EQ(sendfile(out, in, &o, 100), 4);
	EQ(o, 10);
	EQ(lseek(in, 0, SEEK_CUR), 4);
	STR(slurp("out"), "01236789");
	EQ(sendfile(out, in, &o, 10), 0);
}

CASE(sendfile_to_pipe_and_socket) {
	int in = file("in", "hello"), p[2], s[2];
	char b[6] = "";
	OK(pipe(p));
	EQ(sendfile(p[1], in, NULL, 5), 5);
	readn(p[0], b, 5);
	STR(b, "hello");
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(lseek(in, 0, SEEK_SET));
	EQ(sendfile(s[0], in, NULL, 5), 5);
	readn(s[1], b, 5);
	STR(b, "hello");
}

CASE(sendfile_errors) {
	int in = file("in", "hello"), out = file("out", ""), p[2];
	OK(pipe(p));
	ERR(sendfile(out, 99, NULL, 1), EBADF);
	ERR(sendfile(99, in, NULL, 1), EBADF);
	ERR(sendfile(OK(open("out", O_RDONLY)), in, NULL, 1), EBADF);
	ERR(sendfile(out, OK(open("in", O_WRONLY)), NULL, 1), EBADF);
	off_t o = -1;
	ERR(sendfile(out, in, &o, 1), EINVAL);
	o = 0;
	ERR(sendfile(out, p[0], &o, 1), ESPIPE);
	ERR(sendfile(OK(open("out", O_WRONLY | O_APPEND)), in, NULL, 1), EINVAL);
	ERR(sendfile(out, in, (off_t *)8, 1), EFAULT);
}

CASE(sendfile_large) {
	int in = file("in", ""), out = file("out", "");
	OK(ftruncate(in, 3 << 20));
	EQ(pwrite(in, "end", 3, (3 << 20) - 3), 3);
	size_t left = 3 << 20;
	while (left) {
		ssize_t n = OK(sendfile(out, in, NULL, left));
		CHECK(n > 0);
		left -= n;
	}
	char b[3];
	EQ(pread(out, b, 3, (3 << 20) - 3), 3);
	MEM(b, "end", 3);
}

CASE(splice_file_pipe_file) {
	int in = file("in", "0123456789"), out = file("out", ""), p[2];
	OK(pipe(p));
	loff_t o = 3;
	EQ(splice(in, &o, p[1], NULL, 5, 0), 5);
	EQ(o, 8);
	EQ(lseek(in, 0, SEEK_CUR), 0);
	loff_t w = 2;
	EQ(splice(p[0], NULL, out, &w, 5, 0), 5);
	EQ(w, 7);
	char b[7];
	EQ(pread(out, b, 7, 0), 7);
	MEM(b, "\0\00034567", 7);
	EQ(splice(in, NULL, p[1], NULL, 100, 0), 10);
	EQ(splice(in, NULL, p[1], NULL, 100, 0), 0);
}

CASE(splice_pipe_to_pipe) {
	int a[2], b[2];
	char c[8] = "";
	OK(pipe(a));
	OK(pipe(b));
	writen(a[1], "abcdef", 6);
	EQ(splice(a[0], NULL, b[1], NULL, 4, 0), 4);
	EQ(read(b[0], c, 8), 4);
	STR(c, "abcd");
	EQ(read(a[0], c, 8), 2);
	ERR(splice(a[0], NULL, b[1], NULL, 4, SPLICE_F_NONBLOCK), EAGAIN);
}

CASE(splice_errors) {
	int in = file("in", "x"), out = file("out", ""), p[2];
	OK(pipe(p));
	ERR(splice(in, NULL, out, NULL, 1, 0), EINVAL);
	loff_t o = 0;
	ERR(splice(in, NULL, p[1], &o, 1, 0), ESPIPE);
	ERR(splice(99, NULL, p[1], NULL, 1, 0), EBADF);
	ERR(splice(in, NULL, p[0], NULL, 1, 0), EBADF);
	ERR(splice(p[0], NULL, p[1], NULL, 1, 0), EINVAL);
	ERR(splice(in, NULL, p[1], NULL, 1, 0x100), EINVAL);
	EQ(splice(in, NULL, p[1], NULL, 0, 0), 0);
}

CASE(splice_socket) {
	int s[2], p[2];
	char b[6] = "";
	OK(pipe(p));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	writen(s[0], "hello", 5);
	EQ(splice(s[1], NULL, p[1], NULL, 100, 0), 5);
	EQ(splice(p[0], NULL, s[1], NULL, 100, 0), 5);
	readn(s[0], b, 5);
	STR(b, "hello");
}

CASE(tee_leaves_the_data) {
	int a[2], b[2];
	char c[8] = "";
	OK(pipe(a));
	OK(pipe(b));
	writen(a[1], "abc", 3);
	EQ(tee(a[0], b[1], 10, 0), 3);
	EQ(read(a[0], c, 8), 3);
	EQ(read(b[0], c, 8), 3);
	STR(c, "abc");
	ERR(tee(a[0], b[1], 10, SPLICE_F_NONBLOCK), EAGAIN);
	ERR(tee(0, b[1], 10, 0), EINVAL);
	close(a[1]);
	EQ(tee(a[0], b[1], 10, 0), 0);
}

CASE(vmsplice_both_ways) {
	int a[2];
	char out[8] = "", in[] = "memory";
	OK(pipe(a));
	struct iovec v = {in, 6}, r = {out, 6};
	EQ(vmsplice(a[1], &v, 1, 0), 6);
	EQ(vmsplice(a[0], &r, 1, 0), 6);
	STR(out, "memory");
	ERR(vmsplice(0, &v, 1, 0), EBADF);
}

CASE(copy_file_range_works) {
	int in = file("in", "0123456789"), out = file("out", "");
	loff_t a = 2, b = 1;
	EQ(copy_file_range(in, &a, out, &b, 5, 0), 5);
	EQ(a, 7);
	EQ(b, 6);
	EQ(lseek(in, 0, SEEK_CUR), 0);
	char c[6];
	EQ(pread(out, c, 6, 0), 6);
	MEM(c, "\00023456", 6);
	EQ(copy_file_range(in, NULL, out, NULL, 100, 0), 10);
	EQ(lseek(in, 0, SEEK_CUR), 10);
	EQ(lseek(out, 0, SEEK_CUR), 10);
	EQ(copy_file_range(in, NULL, out, NULL, 100, 0), 0);
}

CASE(copy_file_range_errors) {
	int in = file("in", "0123456789"), out = file("out", ""), p[2];
	OK(pipe(p));
	ERR(copy_file_range(in, NULL, out, NULL, 1, 1), EINVAL);
	ERR(copy_file_range(99, NULL, out, NULL, 1, 0), EBADF);
	ERR(copy_file_range(in, NULL, OK(open("out", O_RDONLY)), NULL, 1, 0), EBADF);
	ERR(copy_file_range(in, NULL, OK(open("out", O_WRONLY | O_APPEND)), NULL, 1, 0), EBADF);
	ERR(copy_file_range(p[0], NULL, out, NULL, 1, 0), EINVAL);
	ERR(copy_file_range(OK(open(".", O_RDONLY)), NULL, out, NULL, 1, 0), EISDIR);
	loff_t a = 0, b = 3;
	ERR(copy_file_range(in, &a, in, &b, 5, 0), EINVAL); // overlapping
}
