//go:build vm

package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// TestBootRatio compares a boot to the agent's first word with the same kernel's
// boot to the smallest init, by turns, in CPU time of QEMU and in time. It is
// for an idle machine: BULKHEAD_VM_ROUNDS=5 says how often.
func TestBootRatio(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("BULKHEAD_VM_ROUNDS"))
	if rounds == 0 {
		t.Skip("on demand: a measurement, BULKHEAD_VM_ROUNDS=5 says of how many rounds")
	}
	_, _, initramfs := artifacts(t)
	bare := filepath.Join(t.TempDir(), "bare.cpio")
	var buf bytes.Buffer
	if err := BareInitramfs(&buf, "init", BareInit()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bare, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var cpu, wall, bareCPU, bareWall, hello []float64
	for range rounds {
		v := start(t, bare)
		deadline := time.Now().Add(90 * time.Second)
		for raw := []byte(nil); !bytes.Contains(raw, []byte("BARE")); raw, _ = os.ReadFile(v.console) {
			if time.Now().After(deadline) {
				t.Fatal("the bare init said nothing")
			}
			time.Sleep(time.Millisecond)
		}
		bareWall, bareCPU = append(bareWall, time.Since(v.started).Seconds()), append(bareCPU, v.cpu())
		v.cmd.Process.Kill()
		<-v.exited
		v = start(t, initramfs)
		v.connect(t)
		wall, cpu = append(wall, time.Since(v.started).Seconds()), append(cpu, v.cpu())
		info := call(t, v.Agent().Info, &agentpb.InfoRequest{})
		hello = append(hello, float64(info.HelloNanos-info.InitNanos)/1e6)
		v.cmd.Process.Kill()
		<-v.exited
	}
	t.Logf("medians of %d: bare init %.3f s (CPU %.2f s), agent's hello %.3f s (CPU %.2f s): %.2f × (CPU %.2f ×); of the agent's own %.0f ms",
		rounds, median(bareWall), median(bareCPU), median(wall), median(cpu), median(wall)/median(bareWall), median(cpu)/median(bareCPU), median(hello))
}

func median(list []float64) float64 {
	sort.Float64s(list)
	return list[len(list)/2]
}
