package mm

import (
	"testing"
	"time"
)

// TestHitWaitsForNobody: a thread that notes where its call came from has a change of
// memory on its way that whoever holds mu may be waiting for (settle).
func TestHitWaitsForNobody(t *testing.T) {
	m := &MemoryManager{}
	m.mu.Lock()
	defer m.mu.Unlock()
	done := make(chan struct{})
	go func() {
		m.Hit(nil, 0x1002, 9)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("waits for mu")
	}
}
