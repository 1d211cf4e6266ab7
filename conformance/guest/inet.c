// TCP and UDP on loopback, over IPv4 and IPv6.
#include "case.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static struct sockaddr_in v4(int port) {
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static struct sockaddr_in6 v6(int port) {
	return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}
#define A(a) ((struct sockaddr *)&(a)), sizeof(a)
static int port_of(int fd) {
	struct sockaddr_storage s;
	socklen_t n = sizeof s;
	OK(getsockname(fd, (struct sockaddr *)&s, &n));
	return ntohs(s.ss_family == AF_INET ? ((struct sockaddr_in *)&s)->sin_port : ((struct sockaddr_in6 *)&s)->sin6_port);
}
static int bound(int family, int type) {
	int fd = OK(socket(family, type, 0));
	struct sockaddr_in a = v4(0);
	struct sockaddr_in6 b = v6(0);
	if (family == AF_INET) OK(bind(fd, A(a)));
	else OK(bind(fd, A(b)));
	if ((type & 15) == SOCK_STREAM) OK(listen(fd, 16));
	return fd;
}
static int dial(int family, int port) {
	int fd = OK(socket(family, SOCK_STREAM, 0));
	struct sockaddr_in a = v4(port);
	struct sockaddr_in6 b = v6(port);
	if (family == AF_INET) OK(connect(fd, A(a)));
	else OK(connect(fd, A(b)));
	return fd;
}
static int c, s; // a connected pair: client and server
static void mk(int family) {
	int l = bound(family, SOCK_STREAM);
	c = dial(family, port_of(l));
	s = OK(accept(l, NULL, NULL));
	close(l);
}
static void talk(int family) {
	mk(family);
	writen(c, "hello", 5);
	char b[10] = "";
	readn(s, b, 5);
	STR(b, "hello");
	writen(s, "world", 5);
	readn(c, b, 5);
	STR(b, "world");
	close(c);
	EQ(read(s, b, 1), 0);
}

CASE(tcp4) { talk(AF_INET); }
CASE(tcp6) { talk(AF_INET6); }

CASE(names_of_both_ends) {
	mk(AF_INET);
	struct sockaddr_in a, b;
	socklen_t n = sizeof a;
	OK(getpeername(c, (struct sockaddr *)&a, &n));
	EQ(n, sizeof a);
	EQ(ntohs(a.sin_port), port_of(s));
	EQ(ntohl(a.sin_addr.s_addr), INADDR_LOOPBACK);
	OK(getpeername(s, (struct sockaddr *)&b, &n));
	EQ(ntohs(b.sin_port), port_of(c));
	int u = OK(socket(AF_INET, SOCK_STREAM, 0));
	ERR(getpeername(u, (struct sockaddr *)&a, &n), ENOTCONN);
	OK(getsockname(u, (struct sockaddr *)&a, &n));
	EQ(a.sin_port, 0);
}

CASE(refused) {
	int l = bound(AF_INET, SOCK_STREAM), port = port_of(l);
	close(l);
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in a = v4(port);
	ERR(connect(fd, A(a)), ECONNREFUSED);
}

CASE(nonblocking_connect) {
	int l = bound(AF_INET, SOCK_STREAM), fd = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct sockaddr_in a = v4(port_of(l));
	int r = connect(fd, A(a));
	CHECK(r == 0 || errno == EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 5000));
	int e = 99;
	socklen_t n = sizeof e;
	OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n));
	EQ(e, 0);
	r = connect(fd, A(a)); // 0 once, when the first was still pending
	CHECK(r == 0 || errno == EISCONN);
	ERR(connect(fd, A(a)), EISCONN);
}

CASE(nonblocking_connect_refused) {
	int l = bound(AF_INET, SOCK_STREAM), port = port_of(l), fd = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	close(l);
	struct sockaddr_in a = v4(port);
	ERR(connect(fd, A(a)), errno == ECONNREFUSED ? ECONNREFUSED : EINPROGRESS);
	if (errno == ECONNREFUSED) return;
	struct pollfd p = {fd, POLLOUT, 0};
	EQ(poll(&p, 1, 5000), 1);
	CHECK(p.revents & POLLERR);
	int e = 0;
	socklen_t n = sizeof e;
	OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n));
	EQ(e, ECONNREFUSED);
}

CASE(bind_errors) {
	int l = bound(AF_INET, SOCK_STREAM), fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in a = v4(port_of(l));
	ERR(bind(fd, A(a)), EADDRINUSE);
	a = v4(0);
	a.sin_addr.s_addr = htonl(0xc0000201); // 192.0.2.1, nobody's
	ERR(bind(fd, A(a)), EADDRNOTAVAIL);
	ERR(bind(fd, (struct sockaddr *)&a, 3), EINVAL);
	a.sin_family = AF_UNIX;
	ERR(bind(fd, A(a)), EAFNOSUPPORT);
	a = v4(0);
	OK(bind(fd, A(a)));
	ERR(bind(fd, A(a)), EINVAL);
	ERR(accept(fd, NULL, NULL), EINVAL);
	ERR(listen(OK(socket(AF_INET, SOCK_DGRAM, 0)), 1), EOPNOTSUPP);
}

CASE(reuseaddr_after_close) {
	int l = OK(socket(AF_INET, SOCK_STREAM, 0)), one = 1;
	OK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
	struct sockaddr_in first = v4(0);
	OK(bind(l, A(first)));
	OK(listen(l, 1));
	int port = port_of(l), d = dial(AF_INET, port), a = OK(accept(l, NULL, NULL));
	close(a); // the server closes first: TIME_WAIT stays on the port
	char b;
	EQ(read(d, &b, 1), 0);
	close(d);
	close(l);
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
	OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	struct sockaddr_in n = v4(port);
	OK(bind(fd, A(n)));
	OK(listen(fd, 1));
}

CASE(reuseport) {
	int on = 1, a = OK(socket(AF_INET, SOCK_STREAM, 0)), b = OK(socket(AF_INET, SOCK_STREAM, 0));
	OK(setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
	OK(setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
	struct sockaddr_in n = v4(0);
	OK(bind(a, A(n)));
	n = v4(port_of(a));
	OK(bind(b, A(n)));
}

CASE(any_address_is_dialled_on_loopback) {
	int l = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in a = {.sin_family = AF_INET};
	OK(bind(l, A(a)));
	OK(listen(l, 1));
	int d = OK(socket(AF_INET, SOCK_STREAM, 0));
	a.sin_port = htons(port_of(l));
	OK(connect(d, A(a))); // 0.0.0.0 means this host
	close(OK(accept(l, NULL, NULL)));
	a.sin_addr.s_addr = htonl(0x7f010203);
	d = OK(socket(AF_INET, SOCK_STREAM, 0));
	OK(connect(d, A(a))); // all of 127/8
}

CASE(dual_stack) {
	int l = OK(socket(AF_INET6, SOCK_STREAM, 0));
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
	OK(bind(l, A(a)));
	OK(listen(l, 1));
	dial(AF_INET, port_of(l));
	struct sockaddr_in6 p;
	socklen_t n = sizeof p;
	OK(accept(l, (struct sockaddr *)&p, &n));
	EQ(p.sin6_family, AF_INET6);
	CHECK(IN6_IS_ADDR_V4MAPPED(&p.sin6_addr));
	int o = OK(socket(AF_INET6, SOCK_STREAM, 0)), on = 1;
	OK(setsockopt(o, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
	OK(bind(o, A(a)));
	OK(listen(o, 1));
	int d = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in b = v4(port_of(o));
	ERR(connect(d, A(b)), ECONNREFUSED);
}

CASE(shutdown_and_half_close) {
	mk(AF_INET);
	writen(c, "bye", 3);
	OK(shutdown(c, SHUT_WR));
	char b[10];
	readn(s, b, 3);
	EQ(read(s, b, 1), 0);
	writen(s, "answer", 6);
	readn(c, b, 6);
	ERR(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
	int u = OK(socket(AF_INET, SOCK_STREAM, 0));
	ERR(shutdown(u, SHUT_RDWR), ENOTCONN);
}

CASE(reset_by_peer) {
	mk(AF_INET);
	struct linger l = {1, 0};
	OK(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l));
	close(s);
	CHECK(ready(c, POLLIN, 5000));
	char b;
	ERR(read(c, &b, 1), ECONNRESET);
	EQ(read(c, &b, 1), 0);
	ERR(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE(unread_data_resets) {
	mk(AF_INET);
	writen(c, "unread", 6);
	CHECK(ready(s, POLLIN, 5000));
	close(s);
	char b;
	CHECK(ready(c, POLLIN, 5000));
	ERR(read(c, &b, 1), ECONNRESET);
}

CASE(bulk_transfer) {
	mk(AF_INET);
	size_t n = 8 << 20;
	CHILD(p) {
		char *b = malloc(n);
		for (size_t i = 0; i < n; i++) b[i] = i * 13 + (i >> 16);
		writen(c, b, n);
	}
	close(c);
	char *b = malloc(n);
	readn(s, b, n);
	for (size_t i = 0; i < n; i++) EQ(b[i], (char)(i * 13 + (i >> 16)));
	EQ(read(s, b, 1), 0);
	JOIN(p);
}

CASE(send_buffer_fills) {
	mk(AF_INET);
	OK(fcntl(c, F_SETFL, O_NONBLOCK));
	char *b = calloc(1, 65536);
	size_t n = 0;
	for (ssize_t r; (r = write(c, b, 65536)) > 0; n += r) CHECK(n < 1 << 28);
	EQ(errno, EAGAIN);
	CHECK(n > 65536);
	while (n) n -= OK(read(s, b, 65536));
	CHECK(ready(c, POLLOUT, 5000));
}

CASE(socket_options) {
	mk(AF_INET);
	int v = 0;
	socklen_t n = sizeof v;
	OK(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &v, &n));
	EQ(v, 0);
	v = 1;
	OK(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &v, n));
	OK(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &v, &n));
	CHECK(v);
	v = 1;
	OK(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &v, n));
	v = 60;
	OK(setsockopt(c, IPPROTO_TCP, TCP_KEEPIDLE, &v, n));
	OK(getsockopt(c, IPPROTO_TCP, TCP_KEEPIDLE, &v, &n));
	EQ(v, 60);
	OK(getsockopt(c, SOL_SOCKET, SO_PROTOCOL, &v, &n));
	EQ(v, IPPROTO_TCP);
	OK(getsockopt(c, IPPROTO_TCP, TCP_MAXSEG, &v, &n));
	CHECK(v > 500);
	struct tcp_info ti = {};
	n = sizeof ti;
	OK(getsockopt(c, IPPROTO_TCP, TCP_INFO, &ti, &n));
	EQ(ti.tcpi_state, 1); // established
	n = sizeof v;
	ERR(getsockopt(c, IPPROTO_TCP, 9999, &v, &n), ENOPROTOOPT);
	v = 100000;
	OK(setsockopt(c, SOL_SOCKET, SO_RCVBUF, &v, n));
	OK(getsockopt(c, SOL_SOCKET, SO_RCVBUF, &v, &n));
	EQ(v, 200000);
	v = 0x10;
	OK(setsockopt(c, IPPROTO_IP, IP_TOS, &v, n));
	OK(getsockopt(c, IPPROTO_IP, IP_TOS, &v, &n));
	EQ(v, 0x10);
}

CASE(accept_timeout_and_nonblock) {
	int l = bound(AF_INET, SOCK_STREAM);
	struct timeval t = {0, 40000};
	OK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
	ERR(accept(l, NULL, NULL), EAGAIN);
	OK(fcntl(l, F_SETFL, O_NONBLOCK));
	ERR(accept(l, NULL, NULL), EAGAIN);
}

CASE(peek_waitall_fionread) {
	mk(AF_INET);
	writen(c, "abcdef", 6);
	char b[10];
	int n = 0;
	EVENTUALLY(ioctl(s, FIONREAD, &n) == 0 && n == 6);
	EQ(recv(s, b, 3, MSG_PEEK), 3);
	EQ(recv(s, b, 6, MSG_WAITALL), 6);
	MEM(b, "abcdef", 6);
	ERR(recv(s, b, 1, MSG_DONTWAIT), EAGAIN);
}

CASE(urgent_data_or_not) {
	mk(AF_INET);
	EQ(send(c, "u", 1, MSG_OOB), 1);
	writen(c, "n", 1);
	char b[4];
	CHECK(ready(s, POLLIN | POLLPRI, 5000));
	EQ(read(s, b, 1), 1);
}

static void udp(int family) {
	int a = bound(family, SOCK_DGRAM), b = bound(family, SOCK_DGRAM);
	struct sockaddr_in t4 = v4(port_of(b));
	struct sockaddr_in6 t6 = v6(port_of(b));
	struct sockaddr *t = family == AF_INET ? (void *)&t4 : (void *)&t6;
	socklen_t tl = family == AF_INET ? sizeof t4 : sizeof t6;
	EQ(sendto(a, "datagram", 8, 0, t, tl), 8);
	EQ(sendto(a, "", 0, 0, t, tl), 0);
	char m[20];
	struct sockaddr_storage f;
	socklen_t n = sizeof f;
	CHECK(ready(b, POLLIN, 5000));
	EQ(recvfrom(b, m, 20, 0, (struct sockaddr *)&f, &n), 8);
	EQ(n, tl);
	EQ(f.ss_family, family);
	CHECK(ready(b, POLLIN, 5000));
	EQ(recv(b, m, 20, 0), 0);
	ERR(recv(b, m, 20, MSG_DONTWAIT), EAGAIN);
	OK(connect(a, t, tl));
	EQ(send(a, "longer than room", 16, 0), 16);
	struct iovec v = {m, 4};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	EQ(recvmsg(b, &h, 0), 4);
	CHECK(h.msg_flags & MSG_TRUNC);
	OK(getpeername(a, (struct sockaddr *)&f, &n));
}

CASE(udp4) { udp(AF_INET); }
CASE(udp6) { udp(AF_INET6); }

CASE(udp_refused_by_icmp) {
	int l = bound(AF_INET, SOCK_DGRAM), port = port_of(l);
	close(l);
	int fd = OK(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in a = v4(port);
	OK(connect(fd, A(a)));
	EQ(send(fd, "x", 1, 0), 1);
	CHECK(ready(fd, POLLIN | POLLERR, 5000));
	char b;
	ERR(recv(fd, &b, 1, MSG_DONTWAIT), ECONNREFUSED);
}

CASE(udp_connected_filters_and_disconnects) {
	int a = bound(AF_INET, SOCK_DGRAM), b = bound(AF_INET, SOCK_DGRAM), x = bound(AF_INET, SOCK_DGRAM);
	struct sockaddr_in to_b = v4(port_of(b)), to_a = v4(port_of(a));
	OK(connect(a, A(to_b)));
	EQ(sendto(x, "stranger", 8, 0, A(to_a)), 8);
	EQ(sendto(b, "friend", 6, 0, A(to_a)), 6);
	char m[20] = "";
	CHECK(ready(a, POLLIN, 5000));
	EQ(recv(a, m, 20, 0), 6);
	STR(m, "friend");
	struct sockaddr un = {.sa_family = AF_UNSPEC};
	OK(connect(a, &un, sizeof un));
	ERR(send(a, "x", 1, 0), EDESTADDRREQ);
}

CASE(udp_large_and_too_large) {
	int a = bound(AF_INET, SOCK_DGRAM), b = bound(AF_INET, SOCK_DGRAM);
	struct sockaddr_in t = v4(port_of(b));
	char *m = calloc(1, 70000);
	EQ(sendto(a, m, 60000, 0, A(t)), 60000);
	CHECK(ready(b, POLLIN, 5000));
	EQ(recv(b, m, 70000, 0), 60000);
	ERR(sendto(a, m, 66000, 0, A(t)), EMSGSIZE);
}

CASE(udp_sendmmsg) {
	int a = bound(AF_INET, SOCK_DGRAM), b = bound(AF_INET, SOCK_DGRAM);
	struct sockaddr_in t = v4(port_of(b));
	OK(connect(a, A(t)));
	struct iovec v[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
	struct mmsghdr m[3] = {};
	for (int i = 0; i < 3; i++) m[i].msg_hdr.msg_iov = &v[i], m[i].msg_hdr.msg_iovlen = 1;
	EQ(sendmmsg(a, m, 3, 0), 3);
	char r[3][8];
	for (int i = 0; i < 3; i++) {
		CHECK(ready(b, POLLIN, 5000));
		EQ(recv(b, r[i], 8, 0), i + 1);
	}
}

CASE(udp_packet_info) {
	int a = bound(AF_INET, SOCK_DGRAM), b = bound(AF_INET, SOCK_DGRAM), on = 1;
	OK(setsockopt(b, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
	struct sockaddr_in t = v4(port_of(b));
	EQ(sendto(a, "x", 1, 0, A(t)), 1);
	char m[4], ctl[200];
	struct iovec v = {m, 4};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
	CHECK(ready(b, POLLIN, 5000));
	EQ(recvmsg(b, &h, 0), 1);
	struct cmsghdr *cm = CMSG_FIRSTHDR(&h);
	CHECK(cm);
	EQ(cm->cmsg_type, IP_PKTINFO);
	struct in_pktinfo pi;
	memcpy(&pi, CMSG_DATA(cm), sizeof pi);
	EQ(ntohl(pi.ipi_addr.s_addr), INADDR_LOOPBACK);
}

CASE(epoll_server) {
	int l = bound(AF_INET, SOCK_STREAM | SOCK_NONBLOCK), port = port_of(l), ep = OK(epoll_create1(0));
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, ev[16];
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e));
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = OK(fork());
		if (p[i]) continue;
		for (int k = 0; k < 10; k++) {
			int d = dial(AF_INET, port);
			char b[32] = "";
			writen(d, "request", 7);
			readn(d, b, 7);
			MEM(b, "request", 7);
			close(d);
		}
		_exit(0);
	}
	for (int closed = 0; closed < 40;) {
		int n = OK(epoll_wait(ep, ev, 16, 10000));
		CHECK(n > 0);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == l) {
				for (int fd; (fd = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
					e.data.fd = fd;
					OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
				}
				EQ(errno, EAGAIN);
				continue;
			}
			char b[32];
			ssize_t r = read(ev[i].data.fd, b, 32);
			if (r > 0) writen(ev[i].data.fd, b, r);
			else if (r == 0) {
				close(ev[i].data.fd);
				closed++;
			}
		}
	}
	for (int i = 0; i < 4; i++) JOIN(p[i]);
}

CASE(getaddrinfo_localhost) {
	struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *r;
	EQ(getaddrinfo("127.0.0.1", "80", &hint, &r), 0);
	EQ(r->ai_family, AF_INET);
	EQ(getaddrinfo("::1", "80", &hint, &r), 0);
	EQ(r->ai_family, AF_INET6);
}

CASE(resolver_reads_hosts_file) {
	char *h = slurp("/etc/hosts");
	if (!strstr(h, "localhost")) SKIP("no localhost in /etc/hosts");
	CHILD(p) {
		dup2(OK(open("/dev/null", O_WRONLY)), 1);
		execl("/usr/bin/getent", "getent", "ahosts", "localhost", NULL);
	}
	JOIN(p);
}

CASE(unreachable_network) {
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(fd, (struct sockaddr *)&fd, 2), EINVAL);
	struct sockaddr_in a = v4(1);
	a.sin_family = 77;
	ERR(connect(fd, A(a)), EAFNOSUPPORT);
}

CASE(raw_sockets_need_a_right) {
	if (geteuid()) {
		ERR(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
		return;
	}
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		ERR(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
		ERR(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	}
	JOIN(p);
}

CASE(privileged_ports) {
	if (geteuid()) SKIP("needs root");
	char *lim = slurp("/proc/sys/net/ipv4/ip_unprivileged_port_start");
	if (atoi(lim) < 100) SKIP("every port is free to all here");
	CHILD(p) {
		OK(setresuid(1000, 1000, 1000));
		int fd = OK(socket(AF_INET, SOCK_STREAM, 0));
		struct sockaddr_in a = v4(99);
		ERR(bind(fd, A(a)), EACCES);
	}
	JOIN(p);
}
