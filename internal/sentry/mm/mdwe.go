package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Memory-deny-write-execute (PR_SET_MDWE): memory is never writable and
// executable, and what was not executable from the start never becomes so.

// MDWE gives PR_GET_MDWE's bits.
func (m *MemoryManager) MDWE() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(m.mdwe)
}

// SetMDWE is PR_SET_MDWE: once set, it stays as it is.
func (m *MemoryManager) SetMDWE(bits uint64) abi.Errno {
	const refuse, alone = unix.PR_MDWE_REFUSE_EXEC_GAIN, unix.PR_MDWE_NO_INHERIT
	if bits&^(refuse|alone) != 0 || bits == alone {
		return unix.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mdwe != 0 && uint64(m.mdwe) != bits {
		return unix.EPERM
	}
	m.mdwe = uint32(bits)
	return 0
}

// InheritMDWE is for memory made by fork or exec out of from's task.
func (m *MemoryManager) InheritMDWE(from *MemoryManager) {
	if from == nil {
		return
	}
	if bits := uint32(from.MDWE()); bits&unix.PR_MDWE_NO_INHERIT == 0 {
		m.mdwe = bits
	}
}

// denies tells whether memory with protection was must not get prot; new memory
// was what it is to be. mu is held.
func (m *MemoryManager) denies(was, prot uint32) bool {
	return m.mdwe != 0 && prot&unix.PROT_EXEC != 0 && (prot&unix.PROT_WRITE != 0 || was&unix.PROT_EXEC == 0)
}
