package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A container of a shape that was started twice comes prepared; each is told by
// its own start who it is, and none shares random numbers with another.
func TestPrepared(t *testing.T) {
	full(t)
	b := newBox(t)
	uuids, prepared := make(map[string]bool), 0
	for i := range 4 {
		b.edit(func(c map[string]any) {
			p := c["process"].(map[string]any)
			p["args"] = []string{"sh", "-c", fmt.Sprintf("read x; echo $A $x $(id -u) $(cat /proc/sys/kernel/random/uuid); echo err >&2; exit %d", i)}
			p["env"] = []string{"PATH=/bin", fmt.Sprint("A=a", i)}
			p["user"] = map[string]any{"uid": 1000 + i, "gid": 7}
		})
		log := filepath.Join(t.TempDir(), "log")
		out, code := b.run("in\n", "run", "--debug-log", log, "--bundle", b.bundle, b.id)
		// Two streams have no order between them.
		line := strings.Replace(out, "err\n", "", 1)
		f := strings.Fields(line)
		if code != i || len(f) != 4 || f[0] != fmt.Sprint("a", i) || f[1] != "in" || f[2] != fmt.Sprint(1000+i) || line == out {
			t.Fatalf("start %d: exit status %d, %q", i, code, out)
		}
		if uuids[f[3]] {
			t.Errorf("start %d has the random numbers of another", i)
		}
		uuids[f[3]] = true
		raw, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "the container is prepared") {
			prepared++
		}
	}
	if prepared == 0 { // two, unless others are at work beside this test
		t.Error("none was prepared")
	}
	// Create says what start could not execute, and what is created is started.
	b.args("/nowhere")
	for range 3 {
		if out, code := b.run("", "create", "--bundle", b.bundle, b.id); code == 0 || !strings.Contains(out, "/nowhere") {
			t.Fatalf("a program that is not there: exit status %d, %q", code, out)
		}
	}
	b.args("sleep", "10000")
	b.must("create", "--bundle", b.bundle, b.id)
	b.must("start", b.id)
	b.await("running")
	if out := b.must("exec", b.id, "id", "-u"); out != "1003\n" {
		t.Errorf("exec: %q", out)
	}
	b.must("kill", b.id, "KILL")
	b.await("stopped")
	b.must("delete", b.id)
}

// A root that is only read is the image itself where that has a place for every
// mount, and an overlay else.
func TestReadonlyRoot(t *testing.T) {
	full(t)
	b := newBox(t)
	b.edit(func(c map[string]any) { c["root"].(map[string]any)["readonly"] = true })
	b.args("sh", "-c", "cat /proc/mounts; echo x >/file || echo refused")
	want := "/dev/vda / "
	for range 2 {
		out, code := b.run("", "run", "--bundle", b.bundle, b.id)
		if first, _, _ := strings.Cut(out, "\n"); code != 0 || !strings.HasPrefix(first, want) || !strings.Contains(out, "refused") {
			t.Errorf("exit status %d, want %q first:\n%s", code, want, out)
		}
		b.edit(func(c map[string]any) {
			c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
		})
		want = "overlay / "
	}
}
