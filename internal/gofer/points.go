package gofer

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// maxLinks is how many symbolic links one path may lead through
// (path_resolution(7)).
const maxLinks = 40

// makePoints makes the mount points that are missing in a tree which is served
// read-only: nobody could make them later. It does so before the process is
// confined. What cannot be made is left to the Sentry, which will miss it and
// say so.
func (t *tree) makePoints(list []wire.MountPoint) {
	p := points{root: t.root}
	for _, m := range list {
		_ = p.make(m)
	}
}

// points remembers where mounts are: what lies below one is another tree's.
type points struct {
	root    int
	mounted []string
}

// make goes along a path as the guest would, with the tree's root for "/", and
// makes what is missing. It holds every directory open on its way, so that a
// link which appears meanwhile leads nowhere.
func (p *points) make(m wire.MountPoint) error {
	w := pointWalk{dirs: []int{p.root}}
	defer func() { w.pop(len(w.names)) }()
	rest := strings.Split(m.Path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			w.pop(1)
			continue
		}
		if p.covered(w.path(name)) {
			return nil
		}
		target, err := w.enter(name, m.File && !slices.ContainsFunc(rest, func(s string) bool { return s != "" }))
		switch {
		case err != nil:
			return err
		case target == "":
			continue
		}
		if links++; links > maxLinks {
			return unix.ELOOP
		}
		if target[0] == '/' {
			w.pop(len(w.names))
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	p.mounted = append(p.mounted, w.path(""))
	return nil
}

func (p *points) covered(path string) bool {
	return slices.ContainsFunc(p.mounted, func(at string) bool {
		return path == at || strings.HasPrefix(path, at+"/")
	})
}

// pointWalk is a walk's way so far: names has one entry less than dirs.
type pointWalk struct {
	names []string
	dirs  []int
}

func (w *pointWalk) path(name string) string {
	if name == "" {
		return "/" + strings.Join(w.names, "/")
	}
	return "/" + strings.Join(append(slices.Clone(w.names), name), "/")
}

// pop goes n directories up, at most to the root.
func (w *pointWalk) pop(n int) {
	for ; n > 0 && len(w.names) > 0; n-- {
		closeFD(w.dirs[len(w.dirs)-1])
		w.names, w.dirs = w.names[:len(w.names)-1], w.dirs[:len(w.dirs)-1]
	}
}

// enter goes into name, which it makes if it is missing. A symbolic link is not
// entered: its target is returned.
func (w *pointWalk) enter(name string, file bool) (target string, err error) {
	dir := w.dirs[len(w.dirs)-1]
	const look = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, look, 0)
	if err == unix.ENOENT {
		if err = create(dir, name, file); err == nil || err == unix.EEXIST {
			fd, err = unix.Openat(dir, name, look, 0)
		}
	}
	if err != nil {
		return "", err
	}
	var buf [unix.PathMax]byte
	if n, e := readlinkat(fd, zero, buf[:]); e == 0 && n > 0 {
		closeFD(fd)
		return string(buf[:n]), nil
	}
	w.names, w.dirs = append(w.names, name), append(w.dirs, fd)
	return "", nil
}

func create(dir int, name string, file bool) error {
	if !file {
		return unix.Mkdirat(dir, name, 0o755)
	}
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == nil {
		closeFD(fd)
	}
	return err
}
