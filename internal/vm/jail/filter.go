package jail

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// Program is a compiled filter on its way to the jail: struct sock_filter after
// struct sock_filter.
type Program []byte

const insnSize = 8

// Compile makes a filter into what Spec carries.
func Compile(f *seccomp.Filter) (Program, error) {
	insns, err := f.Compile()
	if err != nil {
		return nil, err
	}
	out := make(Program, 0, insnSize*len(insns))
	for _, i := range insns {
		out = binary.LittleEndian.AppendUint16(out, i.Code)
		out = append(out, i.Jt, i.Jf)
		out = binary.LittleEndian.AppendUint32(out, i.K)
	}
	return out, nil
}

// install puts the filter on this thread, the last thing before it executes the
// helper, which can only add to it. no_new_privs is set.
func (p Program) install() error {
	if len(p) == 0 {
		return nil
	}
	if len(p)%insnSize != 0 {
		return errors.New("jail: the filter is cut off")
	}
	insns := make([]unix.SockFilter, len(p)/insnSize)
	for i := range insns {
		b := p[insnSize*i:]
		insns[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])}
	}
	if err := seccomp.LoadCaller(insns); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	return nil
}
