package agentconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/yamux"
)

// Session is the agent's end.
type Session struct {
	mux     *yamux.Session
	control net.Conn

	mu      sync.Mutex
	streams map[uint32]*slot
}

// slot is a stream that has come, is waited for, or both.
type slot struct {
	ready chan struct{} // closed when conn is set
	conn  net.Conn
	taken bool
}

// Accept waits for the host's Hello on a channel, answers it, and waits for the
// control stream. The session ends with the channel, or when another Hello
// comes, which a channel that is an Unreader keeps for the next Accept. timersWrong
// is told the host.
func Accept(channel io.ReadWriteCloser, timersWrong bool) (*Session, error) {
	flags := uint16(0)
	if timersWrong {
		flags = flagTimers
	}
	if err := answer(channel, flags); err != nil {
		return nil, err
	}
	return Greeted(channel)
}

// Greeted is Accept behind a Hello that was answered.
func Greeted(channel io.ReadWriteCloser) (*Session, error) {
	mux, err := yamux.Server(&joiner{ReadWriteCloser: &frames{ReadWriteCloser: channel}}, muxConfig(256))
	if err != nil {
		return nil, fmt.Errorf("multiplexer: %w", err)
	}
	s := &Session{mux: mux, streams: make(map[uint32]*slot)}
	number, conn, err := s.next()
	if err == nil && number != 0 {
		err = fmt.Errorf("the first stream is number %d, not the control stream", number)
	}
	if err != nil {
		mux.Close()
		return nil, err
	}
	s.control = conn
	go s.accept()
	return s, nil
}

// Control is the control stream.
func (s *Session) Control() net.Conn { return s.control }

// Done is closed when the channel has ended.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Close ends the session and the channel.
func (s *Session) Close() error { return s.mux.Close() }

func (s *Session) accept() {
	for {
		number, conn, err := s.next()
		if err != nil {
			return
		}
		s.mu.Lock()
		sl := s.slot(number)
		if sl.conn != nil {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		sl.conn = conn
		close(sl.ready)
		s.mu.Unlock()
	}
}

// next takes the next stream and its number.
func (s *Session) next() (uint32, net.Conn, error) {
	conn, err := s.mux.AcceptStream()
	if err != nil {
		return 0, nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, nil, fmt.Errorf("a stream's header: %w", err)
	}
	if string(head[:4]) != "BHS\x00" {
		return 0, nil, errors.New("a stream begins with no header")
	}
	return binary.LittleEndian.Uint32(head[4:]), conn, nil
}

// slot must be called with mu held.
func (s *Session) slot(number uint32) *slot {
	sl := s.streams[number]
	if sl == nil {
		sl = &slot{ready: make(chan struct{})}
		s.streams[number] = sl
	}
	return sl
}

// Take gives the stream with a number, and waits until it has come. A number
// can be taken once.
func (s *Session) Take(ctx context.Context, number uint32) (net.Conn, error) {
	s.mu.Lock()
	sl := s.slot(number)
	if sl.taken {
		s.mu.Unlock()
		return nil, fmt.Errorf("stream %d is in use", number)
	}
	sl.taken = true
	s.mu.Unlock()
	select {
	case <-sl.ready:
		return sl.conn, nil
	case <-s.Done():
		return nil, errors.New("the channel has ended")
	case <-ctx.Done():
		return nil, fmt.Errorf("stream %d has not come: %w", number, ctx.Err())
	}
}

// Drop forgets a stream that was taken and has ended.
func (s *Session) Drop(number uint32) {
	s.mu.Lock()
	delete(s.streams, number)
	s.mu.Unlock()
}
