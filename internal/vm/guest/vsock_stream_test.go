//go:build vm

package guest

import "io"

// vsockStream is the connection.
type vsockStream struct {
	d                   *vsockDevice
	port, peer          uint32
	open, ended         bool
	in                  []byte // from the guest
	taken               uint32 // bytes that were read of it
	told                uint32 // of these, what the guest knows
	sent, room, fetched uint32 // to the guest; its buffer, and what it has read of it
}

const (
	vsockBuffer = 256 << 10 // ours
	vsockHeader = 44
	vsockCID    = 52

	opRequest, opResponse, opReset, opShutdown, opData, opCredit, opCreditRequest = 1, 2, 3, 4, 5, 6, 7
)

// receive handles what the guest has sent. Called with mu held.
func (d *vsockDevice) receive() {
	r := &d.rings[1]
	for {
		head, parts, ok := d.take(r)
		if !ok {
			return
		}
		var packet []byte
		for _, p := range parts {
			packet = append(packet, p...)
		}
		d.give(r, head, 0)
		if len(packet) >= vsockHeader {
			d.packet(packet[:vsockHeader], packet[vsockHeader:])
		}
	}
}

func (d *vsockDevice) packet(h, data []byte) {
	s := d.stream
	if s == nil || le.Uint32(h[20:]) != s.port {
		return
	}
	s.room, s.fetched = le.Uint32(h[36:]), le.Uint32(h[40:])
	switch le.Uint16(h[30:]) {
	case opResponse:
		s.open = true
	case opReset, opShutdown:
		s.ended = true
	case opData:
		s.in = append(s.in, data[:le.Uint32(h[24:])]...)
	case opCreditRequest:
		d.send(opCredit, nil)
	}
	d.more.Broadcast()
}

// send sends a packet; data is cut to what has room. Called with mu held.
func (d *vsockDevice) send(op uint16, data []byte) (n int, ok bool) {
	r, s := &d.rings[0], d.stream
	head, parts, ok := d.take(r)
	if !ok {
		return 0, false
	}
	var buffer [][]byte
	room := 0
	for _, p := range parts {
		buffer, room = append(buffer, p), room+len(p)
	}
	n = min(len(data), room-vsockHeader)
	h := make([]byte, vsockHeader, vsockHeader+n)
	le.PutUint64(h, 2) // the host
	le.PutUint64(h[8:], vsockCID)
	le.PutUint32(h[16:], s.port)
	le.PutUint32(h[20:], s.peer)
	le.PutUint32(h[24:], uint32(n))
	le.PutUint16(h[28:], 1) // a stream
	le.PutUint16(h[30:], op)
	if op == opShutdown {
		le.PutUint32(h[32:], 3)
	}
	le.PutUint32(h[36:], vsockBuffer)
	le.PutUint32(h[40:], s.taken)
	s.told = s.taken
	packet := append(h, data[:n]...)
	for _, p := range buffer {
		packet = packet[copy(p, packet):]
	}
	d.give(r, head, vsockHeader+n)
	return n, true
}

// end ends the connection with its machine.
func (d *vsockDevice) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stream != nil {
		d.stream.ended = true
	}
	d.more.Broadcast()
}

// dial connects to a port of the guest; nil if nobody listens yet.
func (d *vsockDevice) dial(port uint32) *vsockStream {
	d.mu.Lock()
	defer d.mu.Unlock()
	local := uint32(5000)
	if d.stream != nil {
		local = d.stream.port + 1
	}
	d.stream = &vsockStream{d: d, port: local, peer: port}
	s := d.stream
	if _, ok := d.send(opRequest, nil); !ok {
		return nil
	}
	for !s.open && !s.ended {
		d.more.Wait()
	}
	if !s.open {
		return nil
	}
	return s
}

func (s *vsockStream) Read(b []byte) (int, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for len(s.in) == 0 && !s.ended {
		s.d.more.Wait()
	}
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	if s.taken += uint32(n); s.taken-s.told >= vsockBuffer/4 {
		s.d.send(opCredit, nil)
	}
	return n, nil
}

func (s *vsockStream) Write(b []byte) (done int, err error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for done < len(b) {
		if s.ended {
			return done, io.ErrClosedPipe
		}
		n := 0
		if left := s.room - (s.sent - s.fetched); left > 0 {
			n, _ = s.d.send(opData, b[done:][:min(uint32(len(b)-done), left)])
		}
		if n == 0 {
			s.d.more.Wait()
			continue
		}
		s.sent += uint32(n)
		done += n
	}
	return done, nil
}

func (s *vsockStream) Close() error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if !s.ended {
		s.d.send(opShutdown, nil)
		s.ended = true
	}
	s.d.more.Broadcast()
	return nil
}
