// Pseudo-terminals and the line discipline.
#include "case.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

static int m, s;
static void open_pair(void) { OK(openpty(&m, &s, NULL, NULL, NULL)); }
static void raw(void) {
	struct termios t;
	OK(tcgetattr(s, &t));
	cfmakeraw(&t);
	OK(tcsetattr(s, TCSANOW, &t));
}
static void flags(int fd, tcflag_t off, tcflag_t on) { // of c_lflag
	struct termios t;
	OK(tcgetattr(fd, &t));
	t.c_lflag = (t.c_lflag & ~off) | on;
	OK(tcsetattr(fd, TCSANOW, &t));
}
// says reads from the master until `want` came, exactly.
static void says(const char *want) {
	char b[500] = "";
	size_t n = strlen(want);
	for (size_t got = 0; got < n; got += OK(read(m, b + got, n - got))) CHECK(ready(m, POLLIN, 5000));
	if (memcmp(b, want, n)) case_fail(__FILE__, __LINE__, "the terminal said \"%s\", not \"%s\"", b, want);
}
static void gets_(const char *want) {
	char b[500] = "";
	CHECK(ready(s, POLLIN, 5000));
	ssize_t n = OK(read(s, b, sizeof b - 1));
	EQ(n, strlen(want));
	STR(b, want);
}

CASE(ptmx_and_names) {
	int fd = OK(posix_openpt(O_RDWR | O_NOCTTY));
	int n = -1;
	OK(ioctl(fd, TIOCGPTN, &n));
	char want[30];
	sprintf(want, "/dev/pts/%d", n);
	STR(ptsname(fd), want);
	OK(grantpt(fd));
	OK(unlockpt(fd));
	int sl = OK(open(want, O_RDWR | O_NOCTTY));
	EQ(isatty(sl), 1);
	EQ(isatty(fd), 1);
	STR(ttyname(sl), want);
	struct stat st;
	OK(fstat(sl, &st));
	CHECK(S_ISCHR(st.st_mode));
	EQ(major(st.st_rdev), 136);
	EQ(minor(st.st_rdev), n);
	close(sl);
	close(fd);
	ERR(open(want, O_RDWR | O_NOCTTY), ENOENT);
}

CASE(locked_slave_is_eio) {
	int fd = OK(posix_openpt(O_RDWR | O_NOCTTY));
	ERR(open(ptsname(fd), O_RDWR | O_NOCTTY), EIO);
	OK(unlockpt(fd));
	OK(open(ptsname(fd), O_RDWR | O_NOCTTY));
}

CASE(peer_by_ioctl) {
	int fd = OK(posix_openpt(O_RDWR | O_NOCTTY));
	OK(unlockpt(fd));
	int sl = OK(ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	writen(sl, "x", 1);
	char c;
	readn(fd, &c, 1);
	EQ(c, 'x');
}

CASE(default_settings) {
	open_pair();
	struct termios t;
	OK(tcgetattr(s, &t));
	EQ(t.c_iflag, ICRNL | IXON);
	EQ(t.c_oflag, OPOST | ONLCR);
	EQ(t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
	EQ(t.c_cflag & CSIZE, CS8);
	EQ(t.c_cc[VINTR], 3);
	EQ(t.c_cc[VQUIT], 28);
	EQ(t.c_cc[VERASE], 127);
	EQ(t.c_cc[VKILL], 21);
	EQ(t.c_cc[VEOF], 4);
	EQ(t.c_cc[VSUSP], 26);
	EQ(cfgetospeed(&t), B38400);
}

CASE(canonical_lines) {
	open_pair();
	flags(s, ECHO, 0);
	writen(m, "par", 3);
	CHECK(!ready(s, POLLIN, 30));
	writen(m, "tial\nsecond\nthi", 15);
	gets_("partial\n");
	gets_("second\n");
	CHECK(!ready(s, POLLIN, 30));
}

CASE(line_in_pieces) {
	open_pair();
	flags(s, ECHO, 0);
	writen(m, "abcdef\n", 7);
	char b[4] = "";
	EQ(read(s, b, 3), 3);
	STR(b, "abc");
	EQ(read(s, b, 3), 3);
	EQ(read(s, b, 3), 1);
	EQ(b[0], '\n');
}

CASE(echo_and_newline) {
	open_pair();
	writen(m, "hi\r", 3);
	says("hi\r\n");
	gets_("hi\n");
}

CASE(output_processing) {
	open_pair();
	writen(s, "a\nb", 3);
	says("a\r\nb");
	struct termios t;
	OK(tcgetattr(s, &t));
	t.c_oflag &= ~OPOST;
	OK(tcsetattr(s, TCSANOW, &t));
	writen(s, "a\nb", 3);
	says("a\nb");
}

CASE(editing) {
	open_pair();
	writen(m, "abX\177c\n", 6);
	says("abX\b \bc\r\n");
	gets_("abc\n");
	writen(m, "junk\025ok\n", 8);
	gets_("ok\n");
}

CASE(word_erase) {
	open_pair();
	flags(s, ECHO, 0);
	writen(m, "one two\027three\n", 14);
	gets_("one three\n");
}

CASE(end_of_file) {
	open_pair();
	flags(s, ECHO, 0);
	writen(m, "\004", 1);
	char b[10];
	CHECK(ready(s, POLLIN, 5000));
	EQ(read(s, b, 10), 0);
	writen(m, "ab\004", 3);
	EQ(read(s, b, 10), 2);
	writen(m, "next\n", 5);
	gets_("next\n");
}

CASE(literal_next_and_control_echo) {
	open_pair();
	writen(m, "\026\003\n", 3);
	says("^\b^C\r\n");
	gets_("\003\n");
}

CASE(raw_mode) {
	open_pair();
	raw();
	writen(m, "\003\004\r\177x", 5);
	gets_("\003\004\r\177x");
	CHECK(!ready(m, POLLIN, 20)); // nothing is echoed
	writen(s, "a\n", 2);
	says("a\n");
}

CASE(min_and_time) {
	open_pair();
	raw();
	struct termios t;
	OK(tcgetattr(s, &t));
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 1;
	OK(tcsetattr(s, TCSANOW, &t));
	char b[8];
	long long t0 = now_ms();
	EQ(read(s, b, 8), 0);
	CHECK(now_ms() - t0 >= 80);
	t.c_cc[VTIME] = 0;
	OK(tcsetattr(s, TCSANOW, &t));
	EQ(read(s, b, 8), 0);
	t.c_cc[VMIN] = 3;
	OK(tcsetattr(s, TCSANOW, &t));
	CHILD(p) {
		writen(m, "a", 1);
		sleep_ms(40);
		writen(m, "bc", 2);
	}
	EQ(read(s, b, 8), 3);
	JOIN(p);
}

CASE(window_size) {
	open_pair();
	struct winsize w = {50, 132, 7, 9}, g;
	OK(ioctl(m, TIOCSWINSZ, &w));
	OK(ioctl(s, TIOCGWINSZ, &g));
	EQ(g.ws_row, 50);
	EQ(g.ws_col, 132);
	EQ(g.ws_xpixel, 7);
	EQ(g.ws_ypixel, 9);
	w.ws_row = 24;
	OK(ioctl(s, TIOCSWINSZ, &w));
	OK(ioctl(m, TIOCGWINSZ, &g));
	EQ(g.ws_row, 24);
}

CASE(winch_signal) {
	open_pair();
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		static volatile int n;
		void h(int x) { n++; }
		on_signal(SIGWINCH, h, 0);
		OK(setsid());
		OK(ioctl(s, TIOCSCTTY, 0));
		writen(f[1], "r", 1);
		EVENTUALLY(n);
		struct winsize w;
		OK(ioctl(s, TIOCGWINSZ, &w));
		EQ(w.ws_row, 77);
	}
	char c;
	readn(f[0], &c, 1);
	struct winsize w = {77, 88, 0, 0};
	OK(ioctl(m, TIOCSWINSZ, &w));
	JOIN(p);
}

CASE(master_sees_eio_when_slaves_are_gone) {
	open_pair();
	writen(s, "last", 4);
	close(s);
	says("last");
	char c;
	ERR(read(m, &c, 1), EIO);
	struct pollfd p = {m, POLLIN, 0};
	EQ(poll(&p, 1, 0), 1);
	CHECK(p.revents & POLLHUP);
}

CASE(slave_after_master_closed) {
	open_pair();
	close(m);
	char c;
	EQ(read(s, &c, 1), 0);
	ERR(write(s, &c, 1), EIO);
	struct termios t;
	ERR(tcgetattr(s, &t), EIO);
}

CASE(nonblocking) {
	open_pair();
	OK(fcntl(m, F_SETFL, O_NONBLOCK));
	OK(fcntl(s, F_SETFL, O_NONBLOCK));
	char c;
	ERR(read(m, &c, 1), EAGAIN);
	ERR(read(s, &c, 1), EAGAIN);
	writen(m, "no newline", 10);
	ERR(read(s, &c, 1), EAGAIN);
}

CASE(flush_and_counts) {
	open_pair();
	raw();
	writen(m, "abc", 3);
	int n = 0;
	EVENTUALLY(ioctl(s, FIONREAD, &n) == 0 && n == 3);
	OK(tcflush(s, TCIFLUSH));
	OK(ioctl(s, FIONREAD, &n));
	EQ(n, 0);
	OK(ioctl(s, TIOCOUTQ, &n));
	OK(tcdrain(s));
}

CASE(flow_control) {
	open_pair();
	writen(m, "\023", 1); // ^S
	sleep_ms(30);
	OK(fcntl(s, F_SETFL, O_NONBLOCK));
	ssize_t r = write(s, "held", 4);
	CHECK((r == -1 && errno == EAGAIN) || !ready(m, POLLIN, 30));
	writen(m, "\021", 1); // ^Q
	if (r < 0) EVENTUALLY(write(s, "held", 4) == 4);
	says("held");
}

CASE(packet_mode) {
	open_pair();
	int on = 1;
	OK(ioctl(m, TIOCPKT, &on));
	writen(s, "data", 4);
	char b[10] = "";
	EQ(read(m, b, 10), 5);
	EQ(b[0], TIOCPKT_DATA);
	MEM(b + 1, "data", 4);
}

CASE(exclusive_and_nonsense) {
	open_pair();
	ERR(ioctl(s, 0x5499, 0), ENOTTY);
	ERR(ioctl(s, TIOCGWINSZ, 8), EFAULT);
	ERR(lseek(s, 0, SEEK_CUR), ESPIPE);
	int v = 5;
	OK(ioctl(s, TIOCGETD, &v));
	EQ(v, 0);
}

CASE(new_settings_apply_to_waiting_input) {
	open_pair();
	flags(s, ECHO, 0);
	writen(m, "abc", 3);
	CHECK(!ready(s, POLLIN, 20));
	flags(s, ICANON, 0);
	gets_("abc");
}

CASE(dev_tty_and_console_nodes) {
	struct stat st;
	OK(stat("/dev/tty", &st));
	EQ(st.st_rdev, makedev(5, 0));
	OK(stat("/dev/ptmx", &st));
	CHECK(S_ISCHR(st.st_mode));
	ERR(open("/dev/tty", O_RDWR), ENXIO); // our session has none
}

CASE(long_line_and_bulk) {
	open_pair();
	raw();
	size_t n = 100000;
	CHILD(p) {
		char *b = malloc(n);
		for (size_t i = 0; i < n; i++) b[i] = i % 251;
		writen(s, b, n);
	}
	char *b = malloc(n);
	readn(m, b, n);
	for (size_t i = 0; i < n; i++) EQ((unsigned char)b[i], i % 251);
	JOIN(p);
}

CASE(script_runs_a_shell_on_a_terminal) {
	int mm;
	pid_t p = OK(forkpty(&mm, NULL, NULL, NULL));
	if (p == 0) {
		execl("/bin/sh", "sh", "-c", "tty; stty size; test -t 0 && echo yes", NULL);
		_exit(127);
	}
	char b[1000];
	size_t n = 0;
	for (ssize_t r; n < sizeof b - 1 && (r = read(mm, b + n, sizeof b - 1 - n)) > 0; n += r);
	b[n] = 0;
	JOIN(p);
	CHECK(strstr(b, "/dev/pts/"));
	CHECK(strstr(b, "0 0\r\n"));
	CHECK(strstr(b, "yes\r\n"));
}
