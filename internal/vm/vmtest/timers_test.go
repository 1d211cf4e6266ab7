package vmtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timers gives how long a timer of the guest's takes, as its kernel has measured
// the local APIC: 1 is right. QEMU's ticks at 62.5 MHz, 2^28 / 2^32 to the
// nanosecond.
func (b *box) timers() float64 {
	b.t.Helper()
	text := b.must("exec", b.id, "cat", "/proc/timer_list")
	_, rest, _ := strings.Cut(text, "Clock Event Device: lapic\n")
	_, rest, _ = strings.Cut(rest, " mult:")
	line, _, _ := strings.Cut(rest, "\n")
	mult, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil || !strings.Contains(rest, "shift:          32") {
		b.t.Skipf("this host's machines have no timer that is measured: %q", line)
	}
	return mult / (1 << 28)
}

func (b *box) wantTimers(what string) {
	b.t.Helper()
	got := b.timers()
	b.t.Logf("%s: a timer takes %.3f of its time", what, got)
	if got > 1.06 || got < 0.66 {
		b.t.Errorf("%s: a timer takes %.3f of its time", what, got)
	}
}

// TestTimers: a machine whose hypervisor is not run for longer than a tenth of a
// second at a time, while its kernel boots and measures its timers, has them right
// at last: it is begun anew, by its agent's word or because it sleeps for ever.
func TestTimers(t *testing.T) {
	full(t)
	b := newBox(t)
	log := filepath.Join(t.TempDir(), "log")
	b.edit(func(c map[string]any) {
		c["annotations"].(map[string]any)["dev.bulkhead.vm.template"] = "off"
		c["linux"].(map[string]any)["maskedPaths"] = nil
	})
	cmd, out := b.background("--debug", "run", "--detach", "--debug-log", log, "--bundle", b.bundle, b.id)
	qemu := 0
	for end := time.Now().Add(limit); qemu == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, monitor := range children(cmd.Process.Pid, "bulkhead") {
			for _, pid := range children(monitor, "qemu-system") {
				qemu = pid
			}
		}
	}
	if qemu == 0 {
		raw, _ := os.ReadFile(out)
		t.Fatalf("no QEMU below pid %d:\n%s", cmd.Process.Pid, raw)
	}
	starve(qemu, 8*time.Second)
	b.ends(cmd, 0)
	raw, _ := os.ReadFile(log)
	t.Logf("%s", raw)
	b.wantTimers("starved")
	b.must("delete", "--force", b.id)
}

// starve lets a process run for 15 ms of each 150, for so long.
func starve(pid int, long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); {
		_ = unix.Kill(pid, unix.SIGSTOP)
		time.Sleep(135 * time.Millisecond)
		_ = unix.Kill(pid, unix.SIGCONT)
		time.Sleep(15 * time.Millisecond)
	}
}
