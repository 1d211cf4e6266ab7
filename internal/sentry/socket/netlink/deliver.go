package netlink

// Deliver gives the socket a message of the kernel's own: mq_notify(3)'s
// cookies.
func (s *Socket) Deliver(b []byte) { s.answer(b) }
