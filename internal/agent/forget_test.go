package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestForget(t *testing.T) {
	var used, names uint64 // inodes that stay, and that do not
	drops := 0
	f := &forgetter{limit: 20000, count: func() uint64 { return used + names }}
	f.drop = func() { drops, names = drops+1, 0 }
	for _, c := range []struct {
		what        string
		used, names uint64
		want        int
	}{
		{"few names", 1000, 8000, 0},
		{"a walk", 1000, 16000, 1},
		{"a program with many files open", 14000, 3000, 1},
		{"the same, a little later", 14000, 4000, 0},
		{"the same, and a walk", 14000, 5500, 1},
		{"it is gone", 0, 1000, 0},
		{"few names", 0, 9900, 0},
		{"a walk", 0, 10100, 1},
	} {
		drops, used, names = 0, c.used, c.names
		if f.look(); drops != c.want {
			t.Errorf("%s: %d drops, want %d", c.what, drops, c.want)
		}
	}
	if (&forgetter{limit: 1 << 20}).pace() <= f.pace() || f.pace() == 0 {
		t.Errorf("pace: %v", f.pace())
	}
}

func TestVolumeInodes(t *testing.T) {
	fd, err := unix.Open("/proc/sys/fs/inode-nr", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n := firstNumber(fd); n == 0 {
		t.Error("no inodes")
	}
	if n := firstNumber(-1); n != 0 {
		t.Error(n)
	}
	if _, err := volumeInodes(); err != nil {
		t.Error(err)
	}
}

func TestSlabObjects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slabinfo")
	text := "slabinfo - version: 2.1\n# name            <active_objs> <num_objs>\n" +
		strings.Repeat("filler                 1      2    768   10    2 : tunables    0    0    0 : slabdata      3      3      0\n", 2000) +
		"fuse_inode_x         700   1950    832   39    8 : tunables    0    0    0 : slabdata     50     50      0\n" +
		"fuse_inode          1939   1950    832   39    8 : tunables    0    0    0 : slabdata     50     50      0\nbroken x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		cache string
		want  uint64
		ok    bool
	}{{"fuse_inode", 1939, true}, {"fuse_inode_x", 700, true}, {"fuse", 0, false}, {"broken", 0, false}} {
		if n, ok := slabObjects(int(f.Fd()), c.cache); n != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", c.cache, n, ok, c.want, c.ok)
		}
	}
	if _, ok := slabObjects(-1, "fuse_inode"); ok {
		t.Error("a file that cannot be read has objects")
	}
}

func TestSince(t *testing.T) {
	var n uint64 = 100
	count := since(func() uint64 { return n })
	for _, c := range [][2]uint64{{100, 0}, {150, 50}, {90, 0}, {100, 10}} {
		n = c[0]
		if got := count(); got != c[1] {
			t.Errorf("%d: %d, want %d", n, got, c[1])
		}
	}
}
