package qemu

import (
	"fmt"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

var _ hypervisor.Resetter = (*machineVM)(nil)

// resetWait is for QEMU to have reset its devices.
const resetWait = time.Minute

// Reset begins the machine anew. A reset by the guest itself ends it, then and
// before (-no-reboot). A QEMU that does not answer is waited for no longer than
// resetWait.
func (v *machineVM) Reset() error {
	result := make(chan error, 1)
	go func() { result <- v.resetNow() }()
	select {
	case err := <-result:
		return err
	case <-v.ended:
		return v.Err()
	case <-time.After(resetWait):
		return fmt.Errorf("QEMU has not reset the machine within %v", resetWait)
	}
}

func (v *machineVM) resetNow() error {
	done := make(chan struct{})
	v.mu.Lock()
	v.reset = done
	v.mu.Unlock()
	if err := v.onReboot("reset"); err != nil {
		return err
	}
	err := v.qmp.Do("system_reset", nil, nil)
	if e := v.onReboot("shutdown"); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-v.ended:
		return v.Err()
	}
	return nil
}

// onReboot says what a reset does (set-action, QEMU 6.0).
func (v *machineVM) onReboot(action string) error {
	return v.qmp.Do("set-action", map[string]string{"reboot": action}, nil)
}
