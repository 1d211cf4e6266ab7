package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCacheOneMaker(t *testing.T) {
	c := testCache(t)
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			e, err := c.get("kind", "key", func(w *os.File) error {
				made.Add(1)
				_, err := w.WriteString("whole")
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Close()
			if raw, err := os.ReadFile(e.Path); err != nil || string(raw) != "whole" {
				t.Errorf("%q, %v", raw, err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestCacheFailedMaker(t *testing.T) {
	c := testCache(t)
	boom := errors.New("boom")
	if _, err := c.get("kind", "key", func(w *os.File) error { w.WriteString("half"); return boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	list, _ := os.ReadDir(c.dir)
	for _, d := range list {
		if !strings.HasSuffix(d.Name(), ".lock") {
			t.Errorf("%s is left", d.Name())
		}
	}
	e, err := c.get("kind", "key", func(w *os.File) error { return nil })
	if err != nil || !e.Made {
		t.Fatalf("%+v, %v", e, err)
	}
	e.Close()
}

func TestPrune(t *testing.T) {
	c := testCache(t)
	entry := func(key string) *Entry {
		e, err := c.get("kind", fmt.Sprintf("%040s", key), func(w *os.File) error { _, err := w.Write(make([]byte, 1<<20)); return err })
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	used, old, older, fresh := entry("used"), entry("old"), entry("older"), entry("fresh")
	old.Close()
	older.Close()
	fresh.Close()
	now := time.Now()
	for e, age := range map[*Entry]time.Duration{used: 40 * 24 * time.Hour, old: 2 * time.Hour, older: 3 * time.Hour, fresh: 0} {
		os.Chtimes(e.Path, now.Add(-age), now)
	}
	litter := filepath.Join(c.dir, "kind-dead.new.123")
	write(t, litter, "half")
	making, err := c.lock(filepath.Join(c.dir, "kind-busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer making.Close()
	busy := filepath.Join(c.dir, "kind-busy.new.1")
	write(t, busy, "half")
	note := filepath.Join(c.dir, "host.json")
	write(t, note, "no entry")
	os.Chtimes(note, now.Add(-40*24*time.Hour), now)
	c.prune(now, 3<<20) // there are four of 1 MiB
	for path, want := range map[string]bool{note: true, used.Path: true, old.Path: true, older.Path: false, fresh.Path: true, litter: false, busy: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", filepath.Base(path), err, want)
		}
	}
	used.Close()
	entry("another") // who makes one prunes
	if _, err := os.Stat(used.Path); err == nil {
		t.Error("what was not used for 40 days is there")
	}
}

func TestCacheOwner(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	os.Mkdir(open, 0o755)
	os.Chmod(open, 0o777)
	if _, err := OpenCache(open); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a directory that others may write to: %v", err)
	}
	if _, err := OpenCache(filepath.Join(open, "below")); err == nil {
		t.Error("below a directory that others may write to")
	}
	os.Chmod(open, 0o777|os.ModeSticky)
	if _, err := OpenCache(filepath.Join(open, "below")); err != nil {
		t.Errorf("below a sticky directory such as /tmp: %v", err)
	}
	file := filepath.Join(base, "file")
	write(t, file, "")
	if _, err := OpenCache(file); err == nil {
		t.Error("a file")
	}
	if os.Geteuid() == 0 { // only root can give a directory away
		theirs := filepath.Join(base, "theirs")
		os.Mkdir(theirs, 0o755)
		os.Chown(theirs, 12345, 12345)
		if _, err := OpenCache(theirs); err == nil || !strings.Contains(err.Error(), "uid 12345") {
			t.Errorf("another's directory: %v", err)
		}
	}
}

func TestTreeKey(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a/file"), "one")
	write(t, filepath.Join(root, "b"), "two")
	os.Symlink("b", filepath.Join(root, "link"))
	seed := func(*key) {}
	keyOf := func() string {
		t.Helper()
		k, err := treeKey(root, seed)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	last := keyOf()
	if again := keyOf(); again != last {
		t.Fatal("two walks give two keys")
	}
	mtime := time.Unix(1e9, 0)
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"same size, time set back", func() error {
			write(t, filepath.Join(root, "b"), "TWO")
			return os.Chtimes(filepath.Join(root, "b"), mtime, mtime)
		}},
		{"again", func() error {
			write(t, filepath.Join(root, "b"), "two")
			return os.Chtimes(filepath.Join(root, "b"), mtime, mtime)
		}},
		{"mode", func() error { return os.Chmod(filepath.Join(root, "a/file"), 0o600) }},
		{"rename", func() error { return os.Rename(filepath.Join(root, "a/file"), filepath.Join(root, "a/other")) }},
		{"new file", func() error { return os.WriteFile(filepath.Join(root, "a/new"), nil, 0o644) }},
		{"removed", func() error { return os.Remove(filepath.Join(root, "a/new")) }},
		{"moved", func() error { return os.Rename(filepath.Join(root, "a/other"), filepath.Join(root, "other")) }},
		{"fifo", func() error { return unix.Mkfifo(filepath.Join(root, "fifo"), 0o644) }},
		{"the root's mode", func() error { return os.Chmod(root, 0o711) }},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if k := keyOf(); k == last {
			t.Errorf("%s: the key is the same", change.name)
		} else {
			last = k
		}
	}
}
