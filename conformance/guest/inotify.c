// inotify: events, their masks and cookies, limits of what is told.
#include "case.h"
#include <sys/inotify.h>

static char buf[8192];
static int at, have;
// next reads one event; 0 when none comes within ms.
static struct inotify_event *next(int fd, int ms) {
	if (at >= have) {
		if (!ready(fd, POLLIN, ms)) return NULL;
		have = OK(read(fd, buf, sizeof buf));
		at = 0;
	}
	struct inotify_event *e = (struct inotify_event *)(buf + at);
	at += sizeof *e + e->len;
	return e;
}
#define EVENT(fd, wd_, mask_, name_)                              \
	({                                                        \
		struct inotify_event *e_ = next(fd, 5000);        \
		CHECK(e_);                                        \
		EQ(e_->mask, mask_);                              \
		EQ(e_->wd, wd_);                                  \
		STR(e_->len ? e_->name : "", name_);              \
		e_;                                               \
	})

CASE(create_and_delete) {
	OK(mkdir("d", 0755));
	int fd = OK(inotify_init1(IN_NONBLOCK)), w = OK(inotify_add_watch(fd, "d", IN_CREATE | IN_DELETE));
	EQ(w, 1);
	spew("d/f", "x");
	OK(mkdir("d/e", 0755));
	OK(unlink("d/f"));
	OK(rmdir("d/e"));
	EVENT(fd, w, IN_CREATE, "f");
	EVENT(fd, w, IN_CREATE | IN_ISDIR, "e");
	EVENT(fd, w, IN_DELETE, "f");
	EVENT(fd, w, IN_DELETE | IN_ISDIR, "e");
	CHECK(!next(fd, 0));
	ERR(read(fd, buf, sizeof buf), EAGAIN);
}

CASE(open_modify_close) {
	spew("f", "x");
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
	int g = OK(open("f", O_RDWR));
	char c;
	readn(g, &c, 1);
	writen(g, "y", 1);
	OK(close(g));
	OK(close(OK(open("f", O_RDONLY))));
	EVENT(fd, w, IN_OPEN, "");
	EVENT(fd, w, IN_ACCESS, "");
	EVENT(fd, w, IN_MODIFY, "");
	EVENT(fd, w, IN_CLOSE_WRITE, "");
	EVENT(fd, w, IN_OPEN, "");
	EVENT(fd, w, IN_CLOSE_NOWRITE, "");
}

CASE(moves_share_a_cookie) {
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	spew("a/f", "");
	int fd = OK(inotify_init1(0));
	int wa = OK(inotify_add_watch(fd, "a", IN_MOVE)), wb = OK(inotify_add_watch(fd, "b", IN_MOVE));
	OK(rename("a/f", "b/g"));
	uint32_t c = EVENT(fd, wa, IN_MOVED_FROM, "f")->cookie;
	CHECK(c);
	EQ(EVENT(fd, wb, IN_MOVED_TO, "g")->cookie, c);
}

CASE(self_events) {
	spew("f", "");
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, "f", IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB));
	OK(rename("f", "g"));
	EVENT(fd, w, IN_MOVE_SELF, "");
	OK(chmod("g", 0600));
	EVENT(fd, w, IN_ATTRIB, "");
	OK(unlink("g"));
	EVENT(fd, w, IN_ATTRIB, ""); // the link count
	EVENT(fd, w, IN_DELETE_SELF, "");
	EVENT(fd, w, IN_IGNORED, "");
	ERR(inotify_rm_watch(fd, w), EINVAL);
}

CASE(remove_watch) {
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, ".", IN_CREATE));
	OK(inotify_rm_watch(fd, w));
	EVENT(fd, w, IN_IGNORED, "");
	spew("f", "");
	CHECK(!next(fd, 30));
}

CASE(same_path_same_watch) {
	OK(mkdir("d", 0755));
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, "d", IN_CREATE));
	EQ(inotify_add_watch(fd, "d", IN_DELETE), w); // replaces the mask
	spew("d/x", "");
	OK(unlink("d/x"));
	EVENT(fd, w, IN_DELETE, "x");
	EQ(inotify_add_watch(fd, "d", IN_CREATE | IN_MASK_ADD), w);
	spew("d/x", "");
	OK(unlink("d/x"));
	EVENT(fd, w, IN_CREATE, "x");
	EVENT(fd, w, IN_DELETE, "x");
	ERR(inotify_add_watch(fd, "d", IN_CREATE | IN_MASK_CREATE), EEXIST);
}

CASE(oneshot_and_onlydir) {
	spew("f", "");
	int fd = OK(inotify_init1(0));
	ERR(inotify_add_watch(fd, "f", IN_CREATE | IN_ONLYDIR), ENOTDIR);
	int w = OK(inotify_add_watch(fd, "f", IN_OPEN | IN_ONESHOT));
	OK(close(OK(open("f", O_RDONLY))));
	OK(close(OK(open("f", O_RDONLY))));
	EVENT(fd, w, IN_OPEN, "");
	EVENT(fd, w, IN_IGNORED, "");
	CHECK(!next(fd, 0));
}

CASE(identical_events_merge) {
	spew("f", "");
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, "f", IN_MODIFY)), g = OK(open("f", O_WRONLY));
	for (int i = 0; i < 5; i++) writen(g, "x", 1);
	EVENT(fd, w, IN_MODIFY, "");
	CHECK(!next(fd, 0));
}

CASE(errors) {
	ERR(inotify_init1(0x1), EINVAL);
	int fd = OK(inotify_init1(IN_CLOEXEC));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ERR(inotify_add_watch(fd, "no", IN_CREATE), ENOENT);
	ERR(inotify_add_watch(fd, ".", 0), EINVAL);
	ERR(inotify_add_watch(0, ".", IN_CREATE), EINVAL);
	ERR(inotify_add_watch(99, ".", IN_CREATE), EBADF);
	ERR(inotify_rm_watch(fd, 55), EINVAL);
	ERR(inotify_add_watch(fd, (char *)8, IN_CREATE), EFAULT);
	OK(inotify_add_watch(fd, ".", IN_CREATE));
	spew("f", "");
	ERR(read(fd, buf, 10), EINVAL);
}

CASE(fionread_and_name_padding) {
	int fd = OK(inotify_init1(0)), n;
	OK(inotify_add_watch(fd, ".", IN_CREATE));
	spew("abc", "");
	OK(syscall(SYS_ioctl, fd, 0x541b, &n));
	EQ(n, 32); // 16 and a name padded to 16
	EQ(read(fd, buf, 100), 32);
}

CASE(another_process_is_seen) {
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, ".", IN_CLOSE_WRITE));
	CHILD(p) {
		settle(getppid());
		spew("child", "x");
	}
	EVENT(fd, w, IN_CLOSE_WRITE, "child");
	JOIN(p);
}

CASE(symlink_and_dont_follow) {
	spew("f", "");
	OK(symlink("f", "l"));
	int fd = OK(inotify_init1(0));
	int w = OK(inotify_add_watch(fd, "l", IN_ATTRIB)), x = OK(inotify_add_watch(fd, "l", IN_ATTRIB | IN_DONT_FOLLOW));
	CHECK(w != x);
	OK(chmod("f", 0600));
	EVENT(fd, w, IN_ATTRIB, "");
}

CASE(parent_sees_childs_use) {
	OK(mkdir("d", 0755));
	spew("d/f", "");
	int fd = OK(inotify_init1(0)), w = OK(inotify_add_watch(fd, "d", IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE));
	int g = OK(open("d/f", O_WRONLY));
	writen(g, "x", 1);
	OK(fchmod(g, 0600));
	OK(close(g));
	EVENT(fd, w, IN_MODIFY, "f");
	EVENT(fd, w, IN_ATTRIB, "f");
	EVENT(fd, w, IN_CLOSE_WRITE, "f");
}
