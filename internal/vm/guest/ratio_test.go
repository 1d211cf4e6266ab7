//go:build vm

package guest

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// bareInit is the smallest /init: it writes "BARE\n" to the console and waits.
func bareInit() []byte {
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov $SYS_write, %eax
		0xbf, 1, 0, 0, 0, // mov $1, %edi
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea text(%rip), %rsi
		0xba, 5, 0, 0, 0, // mov $5, %edx
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov $SYS_pause, %eax
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov
	}
	code = append(code, "BARE\n"...)
	const base, head = 0x400000, 64 + 56
	b := make([]byte, head)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], base+head) // e_entry
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p, 1)     // PT_LOAD
	le.PutUint32(p[4:], 5) // r-x
	le.PutUint64(p[16:], base)
	le.PutUint64(p[24:], base)
	le.PutUint64(p[32:], uint64(head+len(code)))
	le.PutUint64(p[40:], uint64(head+len(code)))
	le.PutUint64(p[48:], 0x1000)
	return append(b, code...)
}

// TestBootRatio compares a boot to the agent's first word with the same kernel's
// boot to the smallest init, by turns, in CPU time of QEMU and in time. It is
// for an idle machine: BULKHEAD_VM_ROUNDS=5 says how often.
func TestBootRatio(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("BULKHEAD_VM_ROUNDS"))
	if rounds == 0 {
		t.Skip("BULKHEAD_VM_ROUNDS says how many rounds to measure")
	}
	_, _, initramfs := artifacts(t)
	bare := filepath.Join(t.TempDir(), "bare.cpio")
	var buf bytes.Buffer
	w := newCpio(&buf)
	w.dir("dev")
	w.device("dev/console", 0o600, 5, 1)
	w.file("init", 0o755, bareInit())
	if err := w.close(); err != nil {
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
