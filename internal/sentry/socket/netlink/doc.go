// Package netlink is AF_NETLINK (netlink(7)): NETLINK_ROUTE (rtnetlink(7)) on
// the interfaces, addresses and routes of package inet, and
// NETLINK_KOBJECT_UEVENT, on which nothing ever happens. Other protocols do
// not exist, as in a kernel without their modules.
//
// A request is answered while it is sent: the answers stand in the sender's
// queue when sendmsg returns.
//
// Lock order: Namespace.mu (port ids) and Socket.mu (queue) are leaves before
// waiter.Queue.
package netlink
