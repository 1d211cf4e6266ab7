// Process groups, sessions, and job control on a terminal.
#include "case.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

// on_terminal runs body in a child that is a session leader with a fresh terminal as 0, 1 and 2; gives the master.
static pid_t on_terminal(int *master, void (*body)(void)) {
	int slave;
	OK(openpty(master, &slave, NULL, NULL, NULL));
	pid_t p = OK(fork());
	if (p) {
		close(slave);
		return p;
	}
	int out = dup(1);
	close(*master);
	OK(setsid());
	OK(ioctl(slave, TIOCSCTTY, 0));
	dup2(slave, 0);
	dup2(out, 1); // failures are told on the real output
	body();
	_exit(0);
}

CASE(we_lead_a_session) {
	EQ(getsid(0), getpid());
	EQ(getpgrp(), getpid());
	ERR(setsid(), EPERM);
	ERR(setpgid(0, 0), EPERM);
}

CASE(child_groups) {
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		char c;
		readn(f[0], &c, 1);
	}
	EQ(getpgid(p), getpgrp());
	OK(setpgid(p, p));
	EQ(getpgid(p), p);
	CHILD(q) {
		char c;
		readn(f[0], &c, 1);
	}
	OK(setpgid(q, p));
	EQ(getpgid(q), p);
	OK(setpgid(q, getpgrp()));
	ERR(setpgid(q, 99999999), EPERM);
	ERR(setpgid(q, -1), EINVAL);
	ERR(setpgid(99999999, 0), ESRCH);
	ERR(getpgid(99999999), ESRCH);
	ERR(getsid(99999999), ESRCH);
	writen(f[1], "xx", 2);
	JOIN(p);
	JOIN(q);
}

CASE(setpgid_after_exec_is_eacces) {
	int f[2];
	OK(pipe2(f, O_CLOEXEC));
	CHILD(p) execl("/bin/sleep", "sleep", "60", NULL);
	close(f[1]);
	char c;
	EQ(read(f[0], &c, 1), 0);
	ERR(setpgid(p, p), EACCES);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(new_session) {
	CHILD(p) {
		EQ(setsid(), getpid());
		EQ(getsid(0), getpid());
		EQ(getpgrp(), getpid());
		ERR(open("/dev/tty", O_RDWR), ENXIO);
		CHILD(q) EQ(getsid(0), getppid());
		JOIN(q);
	}
	JOIN(p);
}

CASE(setpgid_across_sessions_is_eperm) {
	int f[2], g[2];
	OK(pipe(f));
	OK(pipe(g));
	CHILD(p) {
		OK(setsid());
		writen(f[1], "x", 1);
		char c;
		readn(g[0], &c, 1);
	}
	char c;
	readn(f[0], &c, 1);
	ERR(setpgid(p, getpgrp()), EPERM);
	EQ(getsid(p), p);
	writen(g[1], "x", 1);
	JOIN(p);
}

CASE(controlling_terminal) {
	int m;
	void body(void) {
		EQ(tcgetsid(0), getpid());
		EQ(tcgetpgrp(0), getpid());
		OK(open("/dev/tty", O_RDWR));
		int sid = 0;
		OK(ioctl(0, TIOCGSID, &sid));
		EQ(sid, getpid());
	}
	pid_t p = on_terminal(&m, body);
	JOIN(p);
}

CASE(interrupt_reaches_foreground_group) {
	int m;
	void body(void) {
		int f[2];
		OK(pipe(f));
		CHILD(fg) {
			setpgid(0, 0);
			writen(f[1], "x", 1);
			for (;;) pause();
		}
		CHILD(bg) {
			setpgid(0, 0);
			writen(f[1], "x", 1);
			for (;;) pause();
		}
		char b[2];
		readn(f[0], b, 2);
		OK(tcsetpgrp(0, fg));
		EQ(tcgetpgrp(0), fg);
		int out = OK(open("/dev/tty", O_WRONLY));
		on_signal(SIGTTOU, SIG_IGN, 0);
		writen(out, "ready\n", 6);
		KILLED(fg, SIGINT);
		OK(kill(bg, 0));
		OK(kill(bg, SIGKILL));
		KILLED(bg, SIGKILL);
	}
	pid_t p = on_terminal(&m, body);
	char b[100];
	readn(m, b, 6);
	writen(m, "\003", 1);
	JOIN(p);
}

CASE(stop_and_quit_characters) {
	int m;
	void body(void) {
		CHILD(c) {
			setpgid(0, 0);
			for (;;) pause();
		}
		setpgid(c, c);
		OK(tcsetpgrp(0, c));
		on_signal(SIGTTOU, SIG_IGN, 0);
		int out = OK(open("/dev/tty", O_WRONLY)), st;
		writen(out, "ready\n", 6);
		EQ(waitpid(c, &st, WUNTRACED), c);
		CHECK(WIFSTOPPED(st));
		EQ(WSTOPSIG(st), SIGTSTP);
		OK(kill(-c, SIGCONT));
		writen(out, "again\n", 6);
		KILLED(c, SIGQUIT);
	}
	pid_t p = on_terminal(&m, body);
	char b[100];
	readn(m, b, 7);
	writen(m, "\032", 1);
	for (char c = 0; c != 'n';) readn(m, &c, 1);
	writen(m, "\034", 1);
	JOIN(p);
}

CASE(background_read_stops) {
	int m;
	void body(void) {
		CHILD(c) {
			setpgid(0, 0);
			char x;
			read(0, &x, 1);
		}
		int st;
		EQ(waitpid(c, &st, WUNTRACED), c);
		CHECK(WIFSTOPPED(st));
		EQ(WSTOPSIG(st), SIGTTIN);
		OK(kill(c, SIGKILL));
		KILLED(c, SIGKILL);
		CHILD(d) {
			on_signal(SIGTTIN, SIG_IGN, 0);
			setpgid(0, 0);
			char x;
			ERR(read(0, &x, 1), EIO);
		}
		JOIN(d);
	}
	pid_t p = on_terminal(&m, body);
	JOIN(p);
}

CASE(background_write_with_tostop) {
	int m;
	void body(void) {
		struct termios t;
		OK(tcgetattr(0, &t));
		t.c_lflag |= TOSTOP;
		OK(tcsetattr(0, TCSANOW, &t));
		CHILD(c) {
			setpgid(0, 0);
			write(0, "x", 1);
		}
		int st;
		EQ(waitpid(c, &st, WUNTRACED), c);
		CHECK(WIFSTOPPED(st));
		EQ(WSTOPSIG(st), SIGTTOU);
		OK(kill(c, SIGKILL));
		KILLED(c, SIGKILL);
		CHILD(d) { // a change of settings stops even without TOSTOP
			setpgid(0, 0);
			tcsetattr(0, TCSANOW, &t);
		}
		EQ(waitpid(d, &st, WUNTRACED), d);
		CHECK(WIFSTOPPED(st));
		EQ(WSTOPSIG(st), SIGTTOU);
		OK(kill(d, SIGKILL));
		KILLED(d, SIGKILL);
	}
	pid_t p = on_terminal(&m, body);
	JOIN(p);
}

CASE(leader_exit_hangs_up_foreground) {
	int m, f[2];
	static int w, r;
	OK(pipe(f));
	w = f[1], r = f[0];
	void body(void) {
		CHILD(c) {
			on_signal(SIGHUP, SIG_DFL, 0);
			void h(int s) {
				write(w, "H", 1);
				_exit(0);
			}
			on_signal(SIGHUP, h, 0);
			write(w, "r", 1);
			for (;;) pause();
		}
		char x;
		EVENTUALLY(ready(r, POLLIN, 1000));
		readn(r, &x, 1);
	}
	pid_t p = on_terminal(&m, body);
	JOIN(p);
	char x;
	CHECK(ready(r, POLLIN, 10000));
	readn(r, &x, 1);
	EQ(x, 'H');
}

CASE(hangup_when_master_closes) {
	int m;
	void body(void) {
		sigset_t s = sigs(SIGHUP, 0);
		sigprocmask(SIG_BLOCK, &s, NULL);
		int out = OK(open("/dev/tty", O_WRONLY)), sig;
		writen(out, "r", 1);
		PT(sigwait(&s, &sig));
		char c;
		EQ(read(0, &c, 1), 0);
		ERR(write(0, &c, 1), EIO);
	}
	pid_t p = on_terminal(&m, body);
	char c;
	readn(m, &c, 1);
	close(m);
	JOIN(p);
}

CASE(orphaned_stopped_group_gets_hup_and_cont) {
	int f[2];
	OK(pipe(f));
	CHILD(p) {
		CHILD(q) {
			setpgid(0, 0);
			void h(int s) {
				write(f[1], "H", 1);
				_exit(0);
			}
			on_signal(SIGHUP, h, 0);
			raise(SIGSTOP);
			for (;;) pause();
		}
		int st;
		EQ(waitpid(q, &st, WUNTRACED), q);
	}
	JOIN(p);
	char c;
	CHECK(ready(f[0], POLLIN, 10000));
	readn(f[0], &c, 1);
	EQ(c, 'H');
}

CASE(tstp_in_orphaned_group_is_ignored) {
	CHILD(p) {
		OK(setsid()); // alone: an orphaned group
		raise(SIGTSTP);
		_exit(3);
	}
	EXITS(p, 3);
}

CASE(terminal_group_errors) {
	int m, s;
	OK(openpty(&m, &s, NULL, NULL, NULL));
	ERR(tcgetpgrp(s), ENOTTY); // not our terminal
	ERR(tcsetpgrp(s, getpgrp()), ENOTTY);
	spew("f", "");
	ERR(tcgetpgrp(OK(open("f", O_RDONLY))), ENOTTY);
}

CASE(giving_up_the_terminal) {
	int m;
	void body(void) {
		on_signal(SIGHUP, SIG_IGN, 0);
		on_signal(SIGCONT, SIG_IGN, 0);
		OK(ioctl(0, TIOCNOTTY));
		ERR(open("/dev/tty", O_RDWR), ENXIO);
	}
	pid_t p = on_terminal(&m, body);
	JOIN(p);
}

CASE(shell_with_job_control) {
	int m;
	void body(void) {
		dup2(0, 2);
		dup2(0, 1);
		execl("/bin/bash", "bash", "--norc", "--noprofile", "-i", NULL);
	}
	setenv("PS1", "P>", 1);
	setenv("TERM", "dumb", 1);
	pid_t p = on_terminal(&m, body);
	char buf[20000];
	size_t n = 0;
	void expect(const char *what) {
		for (long long end = now_ms() + 15000;;) {
			buf[n] = 0;
			char *at = strstr(buf, what);
			if (at) {
				n -= at + strlen(what) - buf;
				memmove(buf, at + strlen(what), n);
				return;
			}
			if (now_ms() > end || n > sizeof buf - 1000) case_fail(__FILE__, __LINE__, "shell never said '%s' but '%s'", what, buf);
			if (!ready(m, POLLIN, 100)) continue;
			ssize_t r = read(m, buf + n, 900);
			if (r > 0) n += r;
		}
	}
	expect("P>");
	writen(m, "sleep 100\n", 10);
	expect("sleep 100");
	// give the shell time to put the job into the foreground
	EVENTUALLY(tcgetpgrp(m) != p || (errno == ENOTTY && (sleep_ms(500), 1)));
	sleep_ms(200);
	writen(m, "\032", 1);
	expect("Stopped");
	expect("P>");
	writen(m, "bg; kill %1; wait; echo st$((40+2))\n", 36);
	expect("st42");
	expect("P>");
	writen(m, "exit 9\n", 7);
	EXITS(p, 9);
}
