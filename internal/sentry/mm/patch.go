package mm

import "bulkhead.dev/bulkhead/internal/platform"

// patchState keeps the call sites that jump to a trampoline.
type patchState struct{}

func (p *patchState) fork(from *patchState) {}

func (m *MemoryManager) unpatchRange(th *platform.Thread, start, end uint64) {}
func (m *MemoryManager) patchKnown(th *platform.Thread, v *VMA)              {}
