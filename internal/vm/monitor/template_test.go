package monitor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/wire"
)

// A template's memory is mostly holes and zeros; neither may take room in the
// copy, and every other byte must be there.
func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	want := make([]byte, 8<<20)
	copy(want[5000:], "first")
	copy(want[3<<20:], bytes.Repeat([]byte("x"), 12345))
	copy(want[len(want)-3:], "end")
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int{0, 3 << 20} { // a part written as zeros, the rest holes
		if _, err := f.WriteAt(want[at:at+1<<20], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(want[len(want)-3:], int64(len(want)-3)); err != nil {
		t.Fatal(err)
	}
	if err := copySparse(to, from); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the copy differs")
	}
	var st unix.Stat_t
	if err := unix.Stat(to, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 1<<20 {
		t.Errorf("%d KiB are allocated", st.Blocks/2)
	}
}

// Whoever names another owner, another size or another kernel gets another
// template.
func TestTemplateKey(t *testing.T) {
	m := testMonitor()
	base := m.templateKey(nil, 1)
	if base != m.templateKey(nil, 1) {
		t.Fatal("the key changes by itself")
	}
	changes := map[string]func(m *monitor){
		"owner":  func(m *monitor) { m.cfg.Container.Annotations = map[string]string{ownerAnnotation: "other"} },
		"memory": func(m *monitor) { m.memory++ },
		"kernel": func(m *monitor) { m.machine.kernel = "other" },
		"agent":  func(m *monitor) { m.machine.initrd = "other" },
		"cpus":   func(m *monitor) { m.machine.cpus++ },
		"accel":  func(m *monitor) { m.machine.accel = "kvm" },
	}
	for name, change := range changes {
		m := testMonitor()
		change(m)
		if m.templateKey(nil, 1) == base {
			t.Errorf("another %s shares the template", name)
		}
	}
}

// A prepared template is for containers that differ in their process alone.
func TestPreparedKey(t *testing.T) {
	base := wire.Process{Args: []string{"a"}, Env: []string{"A=1"}, Cwd: "/"}
	key := func(change func(m *monitor)) string {
		m := testMonitor()
		m.cfg.Container.Process = base
		change(m)
		shape := m.shape()
		if shape == nil {
			return ""
		}
		return m.preparedKey(&template{dir: "t"}, shape)
	}
	plain := key(func(*monitor) {})
	for name, change := range map[string]func(m *monitor){
		"arguments": func(m *monitor) { m.cfg.Container.Process.Args = []string{"b", "c"} },
		"environ":   func(m *monitor) { m.cfg.Container.Process.Env = []string{"SECRET=1"} },
		"user":      func(m *monitor) { m.cfg.Container.Process.UID = 7 },
		"filter":    func(m *monitor) { m.cfg.Container.Seccomp = &wire.Seccomp{Flags: 1} },
	} {
		if key(change) != plain {
			t.Errorf("%s are in the template", name)
		}
	}
	for name, change := range map[string]func(m *monitor){
		"mount":     func(m *monitor) { m.cfg.Container.Mounts = []wire.Mount{{Destination: "/x", Type: "tmpfs"}} },
		"hostname":  func(m *monitor) { m.cfg.Container.Hostname = "other" },
		"limit":     func(m *monitor) { m.cfg.Container.Limits.Pids = 9 },
		"directory": func(m *monitor) { m.cfg.Container.Process.Cwd = "/x" },
		"image":     func(m *monitor) { m.machine.entries = []*guest.Entry{{Path: "other"}} },
		"terminal":  func(m *monitor) { m.cfg.Container.Process.Terminal = true },
		"size":      func(m *monitor) { m.cfg.Container.Process.Env = []string{strings.Repeat("x", maxPrepared)} },
	} {
		if key(change) == plain {
			t.Errorf("another %s shares the template", name)
		}
	}
}

// TestEnsure: what fails at once is tried a second time, and then not for a while.
func TestEnsure(t *testing.T) {
	x := &template{dir: filepath.Join(t.TempDir(), "template-x")}
	tries := 0
	fails := func() error { tries++; return os.ErrInvalid }
	if there, err := x.ensure(fails); there || err == nil || tries != 2 {
		t.Fatalf("one that fails: %v, %v, %d tries", there, err, tries)
	}
	if there, err := x.ensure(fails); there || err != nil || tries != 2 {
		t.Fatalf("a short while later: %v, %v, %d tries", there, err, tries)
	}
	y := &template{dir: filepath.Join(t.TempDir(), "template-y")}
	tries = 0
	if there, err := y.ensure(func() error {
		if tries++; tries == 1 {
			return os.ErrInvalid
		}
		return os.Mkdir(y.dir, 0o700)
	}); !there || err != nil || tries != 2 {
		t.Fatalf("one that fails once: %v, %v, %d tries", there, err, tries)
	}
}
