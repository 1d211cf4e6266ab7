package agent

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestForget(t *testing.T) {
	var used, names, pages uint64 // inodes that stay, that are names alone, that have pages
	var drops []string
	f := &forgetter{limit: 20000, base: 10000, count: func() uint64 { return 10000 + used + names + pages }}
	f.drop = func(what string) {
		drops = append(drops, what)
		if names = 0; what == dropAll {
			pages = 0
		}
	}
	for _, c := range []struct {
		what               string
		used, names, pages uint64
		want               []string
	}{
		{"few names", 1000, 8000, 0, nil},
		{"a walk", 1000, 16000, 0, []string{dropNames}},
		{"a walk that reads", 1000, 0, 16000, []string{dropNames, dropAll}},
		{"a program with many files of its own", 100000, 3000, 0, []string{dropNames, dropAll}},
		{"the same, a little later", 100000, 4000, 0, nil},
		{"the same, and a walk", 100000, 6000, 0, []string{dropNames, dropAll}},
	} {
		drops, used, names, pages = nil, c.used, c.names, c.pages
		if f.look(); !slices.Equal(drops, c.want) {
			t.Errorf("%s: %q, want %q", c.what, drops, c.want)
		}
	}
	if (&forgetter{limit: 1 << 20}).pace() <= f.pace() || f.pace() == 0 {
		t.Errorf("pace: %v", f.pace())
	}
}

func TestInodes(t *testing.T) {
	fd, err := unix.Open("/proc/sys/fs/inode-nr", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n := inodes(fd); n == 0 {
		t.Error("no inodes")
	}
	if n := inodes(-1); n != 0 {
		t.Error(n)
	}
}
