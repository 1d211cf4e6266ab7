// Package inet is AF_INET and AF_INET6: TCP, UDP, ICMP and raw sockets
// (ip(7), ipv6(7), tcp(7), udp(7), icmp(7), raw(7)) over gVisor's netstack,
// which this package uses as a library. It owns the interfaces, addresses and
// routes of the sandbox.
//
// A Stack is made when the first socket asks for it: until then it costs
// nothing. Socket adds Linux's rules to a netstack endpoint, and turns its
// notifications into those of a waiter.Queue. The bytes of a connection whose
// ends are both here do not pass through netstack: see direct.
//
// Lock order: Stack.mu (interfaces, sockets, clients to be accepted) and
// Socket.mu (what is not the endpoint's own), never both → netstack's own locks
// or stream.mu → waiter.Queue. netstack notifies with its locks held; nothing is
// asked of it from a notification.
package inet
