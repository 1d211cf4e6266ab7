package hostlink

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// frameMax is the longest frame received: a neighbour on the same host hands
// over segments that no hardware has cut yet.
const frameMax = 65536 + header.EthernetMinimumSize

// endpoint moves whole Ethernet frames over a packet socket. One goroutine
// reads, from Attach on.
type endpoint struct {
	f    *os.File
	mtu  uint32 // with the Ethernet header, as link/ethernet expects
	mac  tcpip.LinkAddress
	bufs sync.Pool
	done sync.WaitGroup

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	onClose    func()
}

var _ stack.LinkEndpoint = (*endpoint)(nil)

func newEndpoint(f *os.File, mtu int, mac [6]byte) *endpoint {
	e := &endpoint{f: f, mtu: uint32(mtu) + header.EthernetMinimumSize, mac: tcpip.LinkAddress(mac[:])}
	e.bufs.New = func() any { b := make([]byte, 0, 2048); return &b }
	return e
}

func (e *endpoint) MTU() uint32                             { return e.mtu }
func (e *endpoint) SetMTU(mtu uint32)                       { e.mtu = mtu }
func (e *endpoint) MaxHeaderLength() uint16                 { return 0 }
func (e *endpoint) LinkAddress() tcpip.LinkAddress          { return e.mac }
func (e *endpoint) SetLinkAddress(a tcpip.LinkAddress)      { e.mac = a }
func (e *endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (e *endpoint) AddHeader(*stack.PacketBuffer)           {}
func (e *endpoint) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (e *endpoint) Wait()                                   { e.done.Wait() }

// Capabilities: what a neighbour on the same host sends may carry no checksum
// yet, since it never crossed a wire; the real wire's was checked by the host.
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// Attach starts, or with nil stops, the delivery of frames.
func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	e.mu.Lock()
	start := e.dispatcher == nil && d != nil
	e.dispatcher = d
	e.mu.Unlock()
	if start {
		e.done.Go(e.receive)
	}
}

func (e *endpoint) IsAttached() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.dispatcher != nil
}

func (e *endpoint) SetOnCloseAction(f func()) {
	e.mu.Lock()
	e.onClose = f
	e.mu.Unlock()
}

// Close ends the reader and closes the socket.
func (e *endpoint) Close() {
	e.f.Close()
	e.mu.Lock()
	f := e.onClose
	e.onClose = nil
	e.mu.Unlock()
	if f != nil {
		f()
	}
}

// receive delivers frames until the socket is closed.
func (e *endpoint) receive() {
	buf := make([]byte, frameMax)
	for {
		n, err := e.f.Read(buf)
		switch {
		case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EINTR):
			continue // the interface may come back
		case err != nil && err != io.EOF:
			return
		case n < header.EthernetMinimumSize || !e.forUs(buf[:n]):
			continue
		}
		e.mu.RLock()
		d := e.dispatcher
		e.mu.RUnlock()
		if d == nil {
			return
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(buf[:n])})
		d.DeliverNetworkPacket(0, pkt)
		pkt.DecRef()
	}
}

// forUs passes over frames to others, and those that the host itself sends
// from this address.
func (e *endpoint) forUs(b []byte) bool {
	eth := header.Ethernet(b)
	dst := eth.DestinationAddress()
	multicast := dst[0]&1 != 0
	return (multicast || dst == e.mac) && eth.SourceAddress() != e.mac
}

// WritePackets sends frames; the header is part of each packet.
func (e *endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	p := e.bufs.Get().(*[]byte)
	defer e.bufs.Put(p)
	sent := 0
	for _, pkt := range pkts.AsSlice() {
		b := (*p)[:0]
		for _, v := range pkt.AsSlices() {
			b = append(b, v...)
		}
		*p = b
		switch _, err := e.f.Write(b); {
		case err == nil:
			sent++
		case errors.Is(err, unix.EMSGSIZE):
			return sent, &tcpip.ErrMessageTooLong{}
		case errors.Is(err, unix.ENOBUFS):
			return sent, &tcpip.ErrNoBufferSpace{}
		default: // ENETDOWN, ENXIO: lost, as on an unplugged wire
			sent++
		}
	}
	return sent, nil
}
