// Package agentconn has both ends of the connection between host and agent, as
// package agentpb draws it: the Hello, the multiplexer, and the numbered
// streams in it. It owns the yamux session; it knows no hypervisor, only a
// stream of bytes.
//
// The host's end trusts nothing of what it reads: frames are bounded by the
// multiplexer's windows and ttrpc's limit on messages, and a stream that the
// guest opens is refused.
//
// Locks: Session.mu guards the streams that have come and those that are
// waited for; it is held for no call.
package agentconn
