package agentconn

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"

	"github.com/containerd/ttrpc"
	"github.com/hashicorp/yamux"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Conn is the host's end.
type Conn struct {
	// TimersWrong says that the guest's timers come late, or early and in vain.
	TimersWrong bool

	mux    *yamux.Session
	client *ttrpc.Client
	agent  agentpb.AgentService
	last   atomic.Uint32 // number of the last stream
}

// Connect says Hello over a channel and waits for the agent's; the channel is
// the Conn's from then on, and closed if Connect fails. It waits as long as
// the agent takes to boot: who wants a limit closes the channel.
//
// again, if not nil, is called when the agent says that its timers are wrong; if it
// returns true the machine begins anew, and so does the greeting.
func Connect(channel io.ReadWriteCloser, again func() bool) (*Conn, error) {
	c, err := connect(channel, again)
	if err != nil {
		channel.Close()
		return nil, err
	}
	return c, nil
}

func connect(channel io.ReadWriteCloser, again func() bool) (*Conn, error) {
	flags, err := greet(channel, rand.Uint32())
	for err == nil && flags&flagTimers != 0 && again != nil && again() {
		flags, err = greet(channel, rand.Uint32())
	}
	if err != nil {
		return nil, err
	}
	mux, err := yamux.Client(&joiner{ReadWriteCloser: channel}, muxConfig(1))
	if err != nil {
		return nil, fmt.Errorf("multiplexer: %w", err)
	}
	c := &Conn{mux: mux, TimersWrong: flags&flagTimers != 0}
	control, err := c.open(0)
	if err != nil {
		mux.Close()
		return nil, err
	}
	c.client = ttrpc.NewClient(control)
	c.agent = agentpb.NewAgentClient(c.client)
	return c, nil
}

// Agent is the agent's API. Its methods may be called from several goroutines.
func (c *Conn) Agent() agentpb.AgentService { return c.agent }

// Stream opens a new stream and gives the number to name it by in Streams.
// CloseWrite of a stream that is only written to is Close.
func (c *Conn) Stream() (uint32, net.Conn, error) {
	number := c.last.Add(1)
	s, err := c.open(number)
	return number, s, err
}

func (c *Conn) open(number uint32) (net.Conn, error) {
	s, err := c.mux.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("stream %d to the agent: %w", number, err)
	}
	if _, err := s.Write(streamHeader(number)); err != nil {
		s.Close()
		return nil, fmt.Errorf("stream %d to the agent: %w", number, err)
	}
	return s, nil
}

// Done is closed when the channel has ended.
func (c *Conn) Done() <-chan struct{} { return c.mux.CloseChan() }

// Close ends the session and the channel: without PrepareSnapshot before it,
// the end of the VM.
func (c *Conn) Close() error {
	c.client.Close()
	return c.mux.Close()
}
