package monitor

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/containerd/ttrpc"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// stuckAgent never gets ready for a snapshot.
type stuckAgent struct{ agentpb.AgentService }

func (stuckAgent) PrepareSnapshot(ctx context.Context, _ *agentpb.SnapshotRequest) (*agentpb.Empty, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// stuckVM is its machine.
type stuckVM struct{ hypervisor.VM }

func (stuckVM) Stats() (hypervisor.Stats, error) { return hypervisor.Stats{}, nil }
func (stuckVM) State() string                    { return "CPU 0 waits at 1234" }

// once is a listener with one connection.
type once struct{ conns chan net.Conn }

func (l *once) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.UnixAddr{} }

// TestStuckSnapshot: an agent that does not answer is given up, and the error says
// where its machine is.
func TestStuckSnapshot(t *testing.T) {
	ours, theirs := net.Pipe()
	srv, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	agentpb.RegisterAgentService(srv, stuckAgent{})
	l := &once{conns: make(chan net.Conn, 1)}
	defer close(l.conns)
	go func() {
		s, err := agentconn.Accept(theirs, false)
		if err != nil {
			t.Error(err)
			return
		}
		l.conns <- s.Control()
		_ = srv.Serve(context.Background(), l)
	}()
	conn, err := agentconn.Connect(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	m := &monitor{ctx: ctx}
	err = m.prepareSnapshot(stuckVM{}, conn, &agentpb.SnapshotRequest{})
	if err == nil || !strings.Contains(err.Error(), "CPU 0 waits at 1234, the hypervisor has used 0s of CPU time") {
		t.Fatalf("an agent that is stuck: %v", err)
	}
}
