// SO_ATTACH_FILTER: classic BPF that decides what of an arriving packet a socket keeps.
#include "case.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ATTACH(fd, ...)                                                                   \
	({                                                                                \
		struct sock_filter c_[] = {__VA_ARGS__};                                  \
		struct sock_fprog p_ = {LEN(c_), c_};                                     \
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p_, sizeof p_);             \
	})

// The first byte, at off, must be c; n bytes are kept.
#define BYTE_IS(off, c, n)                                                               \
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, off), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, c, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, n), BPF_STMT(BPF_RET | BPF_K, 0)

static int udp(struct sockaddr_in *a) {
	int fd = OK(socket(AF_INET, SOCK_DGRAM, 0));
	socklen_t n = sizeof *a;
	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	OK(bind(fd, (struct sockaddr *)a, sizeof *a));
	OK(getsockname(fd, (struct sockaddr *)a, &n));
	return fd;
}

CASE(udp_is_filtered_behind_its_header) {
	struct sockaddr_in a, from;
	int fd = udp(&a), src = udp(&from);
	char b[64];
	OK(connect(src, (struct sockaddr *)&a, sizeof a));
	OK(ATTACH(fd, BYTE_IS(8, 'y', 0xffff)));
	for (int i = 0; i < 20; i++) {
		EQ(send(src, i % 4 ? "no" : "yes", 3, 0), 3);
	}
	for (int i = 0; i < 5; i++) {
		EQ(recv(fd, b, sizeof b, 0), 3);
		EQ(b[0], 'y');
	}
	EQ(ready(fd, POLLIN, 0), false);
	EQ(send(src, "no", 2, 0), 2);
	sleep_ms(20);
	EQ(ready(fd, POLLIN, 0), false);
	ERR(recv(fd, b, sizeof b, MSG_DONTWAIT), EAGAIN);
	EQ(send(src, "no", 2, 0), 2);
	EQ(send(src, "yes", 3, 0), 3);
	CHECK(ready(fd, POLLIN, 5000));
	EQ(recv(fd, b, sizeof b, MSG_PEEK), 3);
	EQ(recv(fd, b, sizeof b, 0), 3);
	int none = 0;
	OK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
	EQ(send(src, "no", 2, 0), 2);
	EQ(recv(fd, b, sizeof b, 0), 2);
}

CASE(udp_header_is_seen_and_payload_cut) {
	struct sockaddr_in a, from;
	int fd = udp(&a), src = udp(&from), other = udp(&(struct sockaddr_in){0});
	char b[64];
	// Only from src's port, to a's, of 8 + 10 bytes; 4 bytes of payload are kept.
	OK(ATTACH(fd, BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(from.sin_port), 0, 5),
		  BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(a.sin_port), 0, 3),
		  BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 18, 0, 1),
		  BPF_STMT(BPF_RET | BPF_K, 12), BPF_STMT(BPF_RET | BPF_K, 0)));
	EQ(sendto(other, "0123456789", 10, 0, (struct sockaddr *)&a, sizeof a), 10);
	EQ(sendto(src, "012345678", 9, 0, (struct sockaddr *)&a, sizeof a), 9);
	EQ(sendto(src, "0123456789", 10, 0, (struct sockaddr *)&a, sizeof a), 10);
	EQ(recv(fd, b, sizeof b, MSG_TRUNC), 4);
	MEM(b, "0123", 4);
	ERR(recv(fd, b, sizeof b, MSG_DONTWAIT), EAGAIN);
	// The header stays, however little is asked for.
	OK(ATTACH(fd, BPF_STMT(BPF_RET | BPF_K, 1)));
	EQ(sendto(src, "0123", 4, 0, (struct sockaddr *)&a, sizeof a), 4);
	EQ(recv(fd, b, sizeof b, 0), 0);
}

CASE(unix_datagrams) {
	int p[2];
	char b[64];
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	OK(ATTACH(p[1], BYTE_IS(0, 'y', 2)));
	EQ(write(p[0], "no", 2), 2);
	EQ(write(p[0], "yes", 3), 3);
	EQ(read(p[1], b, sizeof b), 2);
	MEM(b, "ye", 2);
	ERR(recv(p[1], b, sizeof b, MSG_DONTWAIT), EAGAIN);
	EQ(write(p[1], "no", 2), 2); // the other way is not filtered
	EQ(read(p[0], b, sizeof b), 2);
	EQ(write(p[0], "", 0), 0); // nothing to load: dropped
	ERR(recv(p[1], b, sizeof b, MSG_DONTWAIT), EAGAIN);
}

CASE(unix_records_and_streams) {
	int p[2];
	char b[64];
	OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
	OK(ATTACH(p[1], BYTE_IS(1, 'e', 0xffff)));
	EQ(write(p[0], "no", 2), 2);
	EQ(write(p[0], "yes", 3), 3);
	EQ(read(p[1], b, sizeof b), 3);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	OK(ATTACH(p[1], BPF_STMT(BPF_RET | BPF_K, 0)));
	EQ(write(p[0], "no", 2), 2); // streams are not looked at
	EQ(read(p[1], b, sizeof b), 2);
}

// run gives what a program says of a datagram of 16 bytes 0, 1, …, 15: how much of it is kept.
static int run(struct sock_filter *c, int n) {
	int p[2];
	char b[64];
	struct sock_fprog f = {n, c};
	for (int i = 0; i < 16; i++) b[i] = i;
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	OK(setsockopt(p[1], SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f));
	EQ(write(p[0], b, 16), 16);
	int got = recv(p[1], b, sizeof b, MSG_DONTWAIT);
	if (got < 0) got = 0;
	close(p[0]);
	close(p[1]);
	return got;
}
#define RUN(...) run((struct sock_filter[]){__VA_ARGS__}, LEN(((struct sock_filter[]){__VA_ARGS__})))
#define RETA BPF_STMT(BPF_RET | BPF_A, 0)

CASE(what_the_machine_does) {
	EQ(RUN(BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 7), RETA), 7);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), RETA), 1);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16), RETA), 1);
	EQ(RUN(BPF_STMT(BPF_LDX | BPF_IMM, 3), BPF_STMT(BPF_LD | BPF_B | BPF_IND, 2), RETA), 5);
	EQ(RUN(BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 3), BPF_STMT(BPF_MISC | BPF_TXA, 0), RETA), 12);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), RETA), 16);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_IMM, 17), BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 7), RETA), 3);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_IMM, 17), BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), RETA), 0); // by zero: dropped
	EQ(RUN(BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 16), BPF_STMT(BPF_RET | BPF_K, 9)), 0);         // beyond: dropped
	EQ(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 13), BPF_STMT(BPF_RET | BPF_K, 9)), 0);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 12), BPF_STMT(BPF_RET | BPF_K, 9)), 9);
	EQ(RUN(BPF_STMT(BPF_LDX | BPF_IMM, -1), BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0), BPF_STMT(BPF_RET | BPF_K, 9)), 0);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_IMM, 5), BPF_STMT(BPF_ST, 2), BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_STMT(BPF_LDX | BPF_MEM, 2),
	       BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), RETA), 6);
	EQ(RUN(BPF_STMT(BPF_LD | BPF_IMM, 5), BPF_STMT(BPF_LDX | BPF_IMM, 3), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_ALU_XOR_X), RETA), 6);
	EQ(RUN(BPF_STMT(BPF_RET | BPF_K, 1000)), 16);
}

CASE(programs_are_checked) {
	int fd = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
	struct sock_filter ok = BPF_STMT(BPF_RET | BPF_K, 1);
	struct sock_fprog p = {1, &ok};
	ERR(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof p - 1), EINVAL);
	p.len = 0;
	ERR(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof p), EINVAL);
	p.len = 4097;
	ERR(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof p), EINVAL);
	p = (struct sock_fprog){1, (void *)8};
	ERR(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof p), EFAULT);
	ERR(ATTACH(fd, BPF_STMT(BPF_LD | BPF_IMM, 1)), EINVAL); // no end
	ERR(ATTACH(fd, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, 0), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	ERR(ATTACH(fd, BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	ERR(ATTACH(fd, BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	ERR(ATTACH(fd, BPF_STMT(BPF_LD | BPF_MEM, 1), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL); // not written
	ERR(ATTACH(fd, BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	ERR(ATTACH(fd, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + 200), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	ERR(ATTACH(fd, BPF_STMT(0xffff, 0), BPF_STMT(BPF_RET | BPF_K, 1)), EINVAL);
	int v = 0;
	ERR(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof v), ENOENT);
	OK(ATTACH(fd, BPF_STMT(BPF_RET | BPF_K, 1)));
	OK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof v));
	ERR(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof v), ENOENT);
}

CASE(a_locked_filter_stays) {
	int fd = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), v = -1;
	socklen_t n = sizeof v;
	OK(getsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &v, &n));
	EQ(v, 0);
	OK(ATTACH(fd, BPF_STMT(BPF_RET | BPF_K, 1)));
	v = 1;
	OK(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &v, sizeof v));
	OK(getsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &v, &n));
	EQ(v, 1);
	ERR(ATTACH(fd, BPF_STMT(BPF_RET | BPF_K, 1)), EPERM);
	ERR(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof v), EPERM);
	v = 0;
	ERR(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &v, sizeof v), EPERM);
}

// ping's own: a raw socket that wants the replies to one identifier.
CASE(raw_sockets_see_the_ip_header) {
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (fd < 0) SKIP("needs CAP_NET_RAW");
	OK(ATTACH(fd, BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x1234, 0, 3),
		  BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHOREPLY, 0, 1),
		  BPF_STMT(BPF_RET | BPF_K, 0xffff), BPF_STMT(BPF_RET | BPF_K, 0)));
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (int i = 0; i < 2; i++) {
		struct icmphdr h = {.type = ICMP_ECHO, .un.echo.id = htons(i ? 0x1234 : 0x4321)};
		h.checksum = ~htons((ICMP_ECHO << 8) + ntohs(h.un.echo.id));
		EQ(sendto(fd, &h, sizeof h, 0, (struct sockaddr *)&to, sizeof to), sizeof h);
	}
	unsigned char b[128];
	if (!ready(fd, POLLIN, 2000)) SKIP("loopback answers no echo here");
	CHECK(recv(fd, b, sizeof b, 0) >= 28);
	EQ(b[20], ICMP_ECHOREPLY);
	EQ(b[24] << 8 | b[25], 0x1234);
	ERR(recv(fd, b, sizeof b, MSG_DONTWAIT), EAGAIN);
}

CASE(netlink) {
	int fd = OK(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} q = {{sizeof q, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 0}, {AF_UNSPEC}};
	char b[32768];
	OK(ATTACH(fd, BPF_STMT(BPF_RET | BPF_K, 0)));
	EQ(send(fd, &q, sizeof q, 0), sizeof q);
	ERR(recv(fd, b, sizeof b, MSG_DONTWAIT), EAGAIN);
	int v = 0;
	OK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof v));
}
