package platform

import "encoding/binary"

// Delivery is a signal frame to be built on the guest's stack.
type Delivery struct {
	Handler, Restorer uint64
	StackTop          uint64 // of the alternate stack, or 0
	StackLow          uint64 // the begin of the alternate stack that the frame must not leave, or 0
	Signo             uint32
	Info              *[128]byte
	Mask              uint64 // saved in the frame
	AltSP, AltSize    uint64 // uc_stack
	AltFlags          uint32
}

// Deliver appends the building of a frame. Only where there is a host frame:
// not for KindFast. A frame that cannot be written gives KindOpFail.
func (t *Thread) Deliver(d *Delivery) {
	var b [160]byte
	copy(b[:], d.Info[:])
	binary.LittleEndian.PutUint64(b[128:], d.Mask)
	binary.LittleEndian.PutUint64(b[136:], d.AltSP)
	binary.LittleEndian.PutUint64(b[144:], uint64(d.AltFlags))
	binary.LittleEndian.PutUint64(b[152:], d.AltSize)
	off, err := t.put(b[:])
	if err != nil {
		t.failed = KindOpFail
		return
	}
	t.add(opDeliver, d.Handler, d.Restorer, d.StackTop, uint64(d.Signo), uint64(off), d.StackLow)
}

// SetRax sets the guest's result before frames are built.
func (t *Thread) SetRax(v uint64) { t.add(opRestart, v, 0) }

// Restart has the guest make its call again, as nr.
func (t *Thread) Restart(nr uint32) { t.add(opRestart, uint64(nr), 2) }
