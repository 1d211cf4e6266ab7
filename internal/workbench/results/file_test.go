package results

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	r := &Results{Schema: Schema, Mode: "quick"}
	r.Cell("w", "r").Add("m", 0, 1.5)
	r.Note("once")
	r.Note("once")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Find("w", "r")
	if c == nil || !c.Has(0) || c.Has(1) || c.Count() != 1 || c.Values("m")[0] != 1.5 || len(got.Notes) != 1 {
		t.Errorf("got %+v, cell %+v", got, c)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for text, want := range map[string]string{"not JSON": "is not a results file", `{"schema": 99}`: "schema 99"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// On a disk that is full the old file stays whole, the message says what to do,
// and no piece of the new one is left. A real full disk needs root (a tmpfs in a
// mount namespace of its own).
func TestFullDisk(t *testing.T) {
	if err := explain("f", 5, &os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}); !strings.Contains(err.Error(), "the disk is full") || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a disk of its own and fills it")
	}
	runtime.LockOSThread() // never unlocked: the namespace ends with the thread
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Skipf("this host lets root make no mount namespace: %v", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	path := filepath.Join(dir, "results.json")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, make([]byte, 1<<20))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--out") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the old file became %q", b)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
}
