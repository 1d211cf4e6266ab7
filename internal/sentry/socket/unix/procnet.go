package unix

import (
	"bytes"
	"fmt"
	"slices"
)

// ProcNetUnix gives the content of /proc/net/unix: proc_pid_net(5).
func (ns *Namespace) ProcNetUnix() []byte {
	ns.mu.Lock()
	all := make([]*Socket, 0, len(ns.sockets))
	for s := range ns.sockets {
		all = append(all, s)
	}
	ns.mu.Unlock()
	slices.SortFunc(all, func(a, b *Socket) int { return int(int64(a.Ino) - int64(b.Ino)) })
	var w bytes.Buffer
	w.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	for _, s := range all {
		s.procLine(&w)
	}
	return w.Bytes()
}

// Socket states as the file shows them (include/uapi/linux/net.h).
const (
	ssUnconnected = 1
	ssConnecting  = 2
	ssConnected   = 3
)

func (s *Socket) procLine(w *bytes.Buffer) {
	flags, st := 0, ssUnconnected
	switch {
	case s.state.Load() == stateListen:
		flags = 0x10000 // __SO_ACCEPTCON
	case s.state.Load() == stateConnected && s.Ino == 0:
		st = ssConnecting
	case s.state.Load() == stateConnected:
		st = ssConnected
	}
	fmt.Fprintf(w, "%016x: %08X %08X %08X %04X %02X %5d", 0, 2, 0, flags, s.Type, st, s.Ino)
	if a := s.addr.Load(); a != nil {
		raw := a.raw
		w.WriteByte(' ')
		if a.path {
			raw = raw[:len(raw)-1]
		} else {
			w.WriteByte('@')
			raw = raw[1:]
		}
		for _, b := range raw {
			if b == 0 {
				b = '@'
			}
			w.WriteByte(b)
		}
	}
	w.WriteByte('\n')
}

// Count is the number of sockets.
func (ns *Namespace) Count() int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return len(ns.sockets)
}
