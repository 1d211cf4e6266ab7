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
func Connect(channel io.ReadWriteCloser) (*Conn, error) {
	return NewGreeter(channel, nil).Connect()
}

// Greeter is Connect for a machine that may begin anew before its agent is heard.
type Greeter struct {
	channel io.ReadWriteCloser
	again   func() bool
	nonce   atomic.Uint32 // of the last Hello: an answer to one before is dropped
}

// NewGreeter has nothing said yet. again, if not nil, is called when the agent says
// that its timers are wrong; if it returns true the machine begins anew, and so does
// the greeting.
func NewGreeter(channel io.ReadWriteCloser, again func() bool) *Greeter {
	return &Greeter{channel: channel, again: again}
}

// Connect is the function of that name.
func (g *Greeter) Connect() (*Conn, error) {
	c, err := g.connect()
	if err != nil {
		g.channel.Close()
		return nil, err
	}
	return c, nil
}

// Hello says it once more, while Connect waits: the machine began anew, and the
// agent of the one before may have read the first. Where nobody has, the agent
// answers one after the other.
func (g *Greeter) Hello() error {
	nonce := rand.Uint32()
	g.nonce.Store(nonce)
	return sayHello(g.channel, nonce)
}

func (g *Greeter) connect() (*Conn, error) {
	channel := g.channel
	flags, err := g.greet()
	for err == nil && flags&flagTimers != 0 && g.again != nil && g.again() {
		flags, err = g.greet()
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

// greet is the host's side of the Hello. It gives the agent's flags.
func (g *Greeter) greet() (flags uint16, err error) {
	if err := g.Hello(); err != nil {
		return 0, err
	}
	h, err := readHello(g.channel, func(h hello) bool { return h.nonce == g.nonce.Load() })
	if err != nil {
		return 0, fmt.Errorf("the agent's hello: %w", err)
	}
	if h.version != agentpb.Version {
		return 0, fmt.Errorf("%w: it speaks %d, this program %d", ErrVersion, h.version, agentpb.Version)
	}
	return h.flags, nil
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
