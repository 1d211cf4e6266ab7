// Package unix is AF_UNIX (unix(7)): stream, datagram and seqpacket sockets,
// names in the file system and abstract ones, and the passing of descriptors
// and credentials.
//
// A Namespace owns the abstract names, the topology (who listens, who is whose
// peer) and the descriptors in flight; a Socket owns its receive queue.
// Sending and receiving take the receiver's queue lock only.
//
// Lock order: Namespace.gcMu (descriptors in flight) → Namespace.mu (topology)
// → Socket.rx.mu (one at a time) → waiter.Queue; rx.mu guards the receiver's half
// of a loan too (loan.go), and comes behind epoll.Instance.mu. No lock is held while a
// description is released or a path is walked.
package unix
