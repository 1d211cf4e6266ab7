package platform

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestFreezeMeetsForks: a process whose fork was under way when all were stopped is
// stopped as well, and goes on with them.
func TestFreezeMeetsForks(t *testing.T) {
	shared.Freeze(true)
	th, err := shared.spawn() // by the zygote, which is not stopped
	if err != nil {
		shared.Freeze(false)
		t.Fatal(err)
	}
	t.Cleanup(func() { th.proc.Kill(); th.Free() })
	awaitState(t, th.proc.pid, true)
	shared.Freeze(false)
	awaitState(t, th.proc.pid, false)
}

func awaitState(t *testing.T, pid int, stopped bool) {
	t.Helper()
	var stat []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if bytes.Contains(stat, []byte(") T ")) == stopped {
			return
		}
	}
	shared.Freeze(false)
	t.Fatalf("stopped: want %v: %s", stopped, stat)
}
