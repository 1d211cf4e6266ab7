package word

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A directory like sysfs's: CPUs that are up, one that is not, none behind them.
func TestBringUpAll(t *testing.T) {
	dir := t.TempDir()
	cpu := func(n, state string) string {
		file := filepath.Join(dir, "cpu"+n, "online")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(state), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for n := 1; n < 12; n++ {
		cpu(decimal(n), "1\n")
	}
	down, beyond := cpu("10", "0\n"), cpu("13", "0\n")
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := bringUpAll(fd); err != nil {
		t.Fatal(err)
	}
	// sysfs takes each write from its begin; a file goes on where it was read.
	if got, _ := os.ReadFile(down); string(got) != "01" {
		t.Errorf("the one that was down: %q", got)
	}
	if got, _ := os.ReadFile(beyond); string(got) != "0\n" {
		t.Errorf("one behind a gap: %q", got)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(down, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := bringUpAll(fd); err == nil || !strings.Contains(err.Error(), "CPU 10: ") {
		t.Errorf("one that cannot be brought up: %v", err)
	}
}

func TestDecimal(t *testing.T) {
	for n, want := range map[int]string{0: "0", 9: "9", 10: "10", 255: "255"} {
		if got := decimal(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
