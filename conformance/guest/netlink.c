// Interfaces as ioctls, netlink and getifaddrs show them.
#include "case.h"
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int nl(void) { return OK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)); }
static void ask(int fd, int type, int family) {
	struct { struct nlmsghdr h; struct rtgenmsg g; char pad[16]; } q = {
	    .h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 7}, .g = {family}};
	struct sockaddr_nl a = {.nl_family = AF_NETLINK};
	EQ(sendto(fd, &q, q.h.nlmsg_len, 0, (struct sockaddr *)&a, sizeof a), q.h.nlmsg_len);
}
// each calls f for every message of the dump; gives their number.
static int each(int fd, void (*f)(struct nlmsghdr *)) {
	static char b[65536];
	int n = 0;
	for (;;) {
		int r = OK(recv(fd, b, sizeof b, 0));
		for (struct nlmsghdr *h = (void *)b; NLMSG_OK(h, r); h = NLMSG_NEXT(h, r)) {
			EQ(h->nlmsg_seq, 7);
			if (h->nlmsg_type == NLMSG_DONE) return n;
			CHECK(h->nlmsg_type != NLMSG_ERROR);
			f(h);
			n++;
		}
	}
}

CASE(loopback_by_ioctl) {
	int s = OK(socket(AF_INET, SOCK_DGRAM, 0));
	struct ifreq r = {};
	strcpy(r.ifr_name, "lo");
	OK(ioctl(s, SIOCGIFFLAGS, &r));
	CHECK(r.ifr_flags & IFF_LOOPBACK);
	CHECK(r.ifr_flags & IFF_UP);
	OK(ioctl(s, SIOCGIFINDEX, &r));
	int idx = r.ifr_ifindex;
	CHECK(idx > 0);
	OK(ioctl(s, SIOCGIFADDR, &r));
	EQ(ntohl(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr), INADDR_LOOPBACK);
	OK(ioctl(s, SIOCGIFNETMASK, &r));
	EQ(ntohl(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr), 0xff000000);
	OK(ioctl(s, SIOCGIFMTU, &r));
	EQ(r.ifr_mtu, 65536);
	OK(ioctl(s, SIOCGIFHWADDR, &r));
	EQ(r.ifr_hwaddr.sa_family, ARPHRD_LOOPBACK);
	r.ifr_ifindex = idx;
	OK(ioctl(s, SIOCGIFNAME, &r));
	STR(r.ifr_name, "lo");
	strcpy(r.ifr_name, "nosuch0");
	ERR(ioctl(s, SIOCGIFFLAGS, &r), ENODEV);
}

CASE(ifconf_lists_loopback) {
	int s = OK(socket(AF_INET, SOCK_DGRAM, 0));
	struct ifreq r[16];
	struct ifconf c = {.ifc_len = sizeof r, .ifc_req = r};
	OK(ioctl(s, SIOCGIFCONF, &c));
	int lo = 0;
	for (int i = 0; i < c.ifc_len / (int)sizeof r[0]; i++) lo += !strcmp(r[i].ifr_name, "lo");
	CHECK(lo >= 1);
}

CASE(if_names) {
	unsigned i = if_nametoindex("lo");
	CHECK(i > 0);
	char b[IF_NAMESIZE];
	CHECK(if_indextoname(i, b));
	STR(b, "lo");
	EQ(if_nametoindex("nosuch0"), 0);
}

CASE(getifaddrs_shows_loopback) {
	struct ifaddrs *l;
	OK(getifaddrs(&l));
	int v4 = 0, v6 = 0, packet = 0;
	for (struct ifaddrs *i = l; i; i = i->ifa_next) {
		if (strcmp(i->ifa_name, "lo") || !i->ifa_addr) continue;
		if (i->ifa_addr->sa_family == AF_INET) v4 += ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
		if (i->ifa_addr->sa_family == AF_INET6) v6 += IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr);
		if (i->ifa_addr->sa_family == AF_PACKET) packet++;
	}
	EQ(v4, 1);
	EQ(v6, 1);
	EQ(packet, 1);
	freeifaddrs(l);
}

static int lo_index, addrs4, addrs6;
CASE(link_dump) {
	void f(struct nlmsghdr *h) {
		EQ(h->nlmsg_type, RTM_NEWLINK);
		struct ifinfomsg *m = NLMSG_DATA(h);
		int n = h->nlmsg_len - NLMSG_LENGTH(sizeof *m);
		for (struct rtattr *a = IFLA_RTA(m); RTA_OK(a, n); a = RTA_NEXT(a, n))
			if (a->rta_type == IFLA_IFNAME && !strcmp(RTA_DATA(a), "lo")) {
				lo_index = m->ifi_index;
				CHECK(m->ifi_flags & IFF_LOOPBACK);
				EQ(m->ifi_type, ARPHRD_LOOPBACK);
			}
	}
	int fd = nl();
	ask(fd, RTM_GETLINK, AF_UNSPEC);
	CHECK(each(fd, f) >= 1);
	EQ(lo_index, if_nametoindex("lo"));
}

CASE(address_dump) {
	void f(struct nlmsghdr *h) {
		EQ(h->nlmsg_type, RTM_NEWADDR);
		struct ifaddrmsg *m = NLMSG_DATA(h);
		if (m->ifa_family == AF_INET && m->ifa_prefixlen == 8) addrs4++;
		if (m->ifa_family == AF_INET6 && m->ifa_prefixlen == 128) addrs6++;
	}
	int fd = nl();
	ask(fd, RTM_GETADDR, AF_UNSPEC);
	each(fd, f);
	CHECK(addrs4 >= 1);
	CHECK(addrs6 >= 1);
}

CASE(route_dump_ends) {
	void f(struct nlmsghdr *h) { EQ(h->nlmsg_type, RTM_NEWROUTE); }
	int fd = nl();
	ask(fd, RTM_GETROUTE, AF_UNSPEC);
	each(fd, f);
}

CASE(socket_names) {
	int fd = nl();
	struct sockaddr_nl a = {.nl_family = AF_NETLINK};
	OK(bind(fd, (struct sockaddr *)&a, sizeof a));
	socklen_t n = sizeof a;
	OK(getsockname(fd, (struct sockaddr *)&a, &n));
	EQ(n, sizeof a);
	CHECK(a.nl_pid != 0);
	ERR(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
	ERR(socket(AF_NETLINK, SOCK_RAW, 99), EPROTONOSUPPORT);
}

CASE(unknown_request_is_an_error_message) {
	int fd = nl();
	struct { struct nlmsghdr h; struct rtgenmsg g; char pad[16]; } q = {.h = {.nlmsg_len = NLMSG_LENGTH(16), .nlmsg_type = 9999, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK, .nlmsg_seq = 3}};
	EQ(send(fd, &q, q.h.nlmsg_len, 0), q.h.nlmsg_len);
	char b[4096];
	CHECK(OK(recv(fd, b, sizeof b, 0)) >= (int)NLMSG_LENGTH(sizeof(struct nlmsgerr)));
	struct nlmsghdr *h = (void *)b;
	EQ(h->nlmsg_type, NLMSG_ERROR);
	EQ(((struct nlmsgerr *)NLMSG_DATA(h))->error, -EOPNOTSUPP);
}

CASE(user_may_not_change_interfaces) {
	CHILD(p) {
		if (geteuid() == 0) OK(setresuid(1000, 1000, 1000));
		int s = OK(socket(AF_INET, SOCK_DGRAM, 0));
		struct ifreq r = {};
		strcpy(r.ifr_name, "lo");
		OK(ioctl(s, SIOCGIFFLAGS, &r));
		ERR(ioctl(s, SIOCSIFFLAGS, &r), EPERM);
	}
	JOIN(p);
}

CASE(proc_net_files) {
	char *d = slurp("/proc/net/dev");
	CHECK(strstr(d, "lo:"));
	CHECK(strstr(slurp("/proc/net/tcp"), "local_address"));
	CHECK(strstr(slurp("/proc/net/udp"), "local_address"));
	CHECK(strstr(slurp("/proc/net/unix"), "Num"));
	CHECK(strstr(slurp("/proc/net/route"), "Iface"));
	slurp("/proc/net/if_inet6");
}
