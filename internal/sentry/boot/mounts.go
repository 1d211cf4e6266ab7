package boot

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/dev"
	"bulkhead.dev/bulkhead/internal/sentry/fs/devpts"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// mountAll builds the guest's tree of mounts.
func (s *sandbox) mountAll() error {
	rootFS, err := s.tree(0, s.cfg.Root.Overlay, true)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	s.ns = vfs.NewMountNamespace(rootFS, "none", 0)
	s.root = vfs.NewFSContext(s.ns.Root(), 0)
	s.registerTypes()
	for i := range s.cfg.Mounts {
		m := &s.cfg.Mounts[i]
		if err := s.mount(m); err != nil {
			what := m.Type
			if m.Data != "" {
				what += fmt.Sprintf(" (%s)", m.Data)
			}
			return fmt.Errorf("mounts[%d]: %s on %s: %w", i, what, m.Destination, err)
		}
	}
	for _, d := range s.cfg.Devices {
		if err := s.device(&d); err != nil {
			return err
		}
	}
	for _, p := range s.cfg.MaskedPaths {
		if err := s.mask(p); err != nil {
			return fmt.Errorf("linux.maskedPaths: %s: %w", p, err)
		}
	}
	for _, p := range s.cfg.ReadonlyPaths {
		if err := s.readonly(p); err != nil {
			return fmt.Errorf("linux.readonlyPaths: %s: %w", p, err)
		}
	}
	if cwd := s.cfg.Process.Cwd; cwd != "" && s.cfg.Bundle != "" {
		// runc makes it too; what is wrong with it is said when init goes there.
		_ = s.mountPoint(cwd, false)
	}
	if prop := s.cfg.Root.Propagation; prop != 0 {
		if e := s.ns.SetPropagation(s.ns.Root(), prop); e != 0 {
			return failed("linux.rootfsPropagation", e)
		}
	}
	if s.cfg.Root.Readonly {
		return failed("root.readonly", s.ns.SetMountFlags(s.ns.Root(), unix.MS_RDONLY, 0, false))
	}
	return nil
}

func (s *sandbox) at() vfs.At { return vfs.At{FS: s.root} }

// mount makes one mount, and its mount point where that is missing.
func (s *sandbox) mount(m *wire.Mount) error {
	if err := s.mountPoint(m.Destination, m.Type == "gofer" && m.File); err != nil {
		return err
	}
	p, e := vfs.Walk(vfs.Internal, s.at(), m.Destination, vfs.LookupFollow)
	if e != 0 {
		return e
	}
	defer p.DecRef()
	fs, err := s.filesystem(m, p)
	if err != nil {
		return err
	}
	if _, e := s.ns.MountAt(p, fs, m.Source, m.Flags&vfs.MountFlags); e != 0 {
		return e
	}
	return s.afterMount(m)
}

// filesystem makes what m mounts.
func (s *sandbox) filesystem(m *wire.Mount, at vfs.Path) (*vfs.Filesystem, error) {
	switch m.Type {
	case "gofer":
		fs, err := s.tree(m.Gofer, m.Overlay, !m.Shared)
		if err == nil {
			fs.Top = m.Source
		}
		return fs, err
	case "devpts":
		i, e := devpts.New(m.Data)
		if e != 0 {
			return nil, e
		}
		if s.pts == nil {
			s.pts = i
		}
		return i.Filesystem(), nil
	case "devtmpfs":
		data := m.Data
		if data == "" {
			data = "mode=755"
		}
		fs, e := tmpfs.New(vfs.Internal, "devtmpfs", 0, data)
		return fs, errnoErr(e)
	}
	typ := m.Type
	if typ == "cgroup" {
		typ = "cgroup2" // whatever the host has, the guest sees the one hierarchy
	}
	for _, t := range vfs.FilesystemTypes() {
		if t.Name == typ {
			fs, e := t.New(vfs.Internal, m.Source, m.Flags, m.Data)
			return fs, errnoErr(e)
		}
	}
	return nil, fmt.Errorf("no file system %q: %w", m.Type, unix.ENODEV)
}

// afterMount does what belongs to particular places.
func (s *sandbox) afterMount(m *wire.Mount) error {
	if m.Destination == "/dev" && (m.Type == "tmpfs" || m.Type == "devtmpfs") {
		if e := dev.Populate(vfs.Internal, s.at(), "/dev"); e != 0 {
			return fmt.Errorf("filling /dev: %w", e)
		}
	}
	if m.Propagation != 0 {
		p, e := vfs.Walk(vfs.Internal, s.at(), m.Destination, vfs.LookupFollow)
		if e != 0 {
			return e
		}
		defer p.DecRef()
		return errnoErr(s.ns.SetPropagation(p, m.Propagation))
	}
	return nil
}

// mountPoint makes dest, a directory or an empty file, and what leads there.
func (s *sandbox) mountPoint(dest string, file bool) error {
	if _, e := vfs.Stat(vfs.Internal, s.at(), dest, vfs.LookupFollow); e == 0 {
		return nil
	}
	dir := ""
	parts := strings.Split(strings.Trim(path.Clean(dest), "/"), "/")
	for i, p := range parts {
		dir += "/" + p
		last := i == len(parts)-1
		var e abi.Errno
		if last && file {
			e = vfs.Mknod(vfs.Internal, s.at(), dir, unix.S_IFREG|0644, 0)
		} else {
			e = vfs.Mkdir(vfs.Internal, s.at(), dir, 0755)
		}
		if e != 0 && e != unix.EEXIST {
			return fmt.Errorf("making the mount point %s: %w", dir, e)
		}
	}
	return nil
}

// device makes a device node beside those that /dev always has.
func (s *sandbox) device(d *wire.Device) error {
	if err := s.mountPoint(path.Dir(d.Path), false); err != nil {
		return err
	}
	e := vfs.Mknod(vfs.Internal, s.at(), d.Path, d.Mode, vfs.MakeDev(d.Major, d.Minor))
	if e == unix.EEXIST {
		e = 0
	}
	if e == 0 {
		if p, we := vfs.Walk(vfs.Internal, s.at(), d.Path, 0); we == 0 {
			e = vfs.Chown(vfs.Internal, p, d.UID, d.GID)
			if e == 0 {
				e = vfs.Chmod(vfs.Internal, p, d.Mode&07777)
			}
			p.DecRef()
		}
	}
	return failed("linux.devices: "+d.Path, e)
}

// mask hides a path: /dev/null over a file, an empty directory over a
// directory. What is not there needs no hiding.
func (s *sandbox) mask(name string) error {
	p, e := vfs.Walk(vfs.Internal, s.at(), name, vfs.LookupFollow)
	if e == unix.ENOENT || e == unix.ENOTDIR {
		return nil
	}
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if p.Inode().Perm().Mode&unix.S_IFMT != unix.S_IFDIR {
		null, e := vfs.Walk(vfs.Internal, s.at(), "/dev/null", vfs.LookupFollow)
		if e != 0 {
			return e
		}
		defer null.DecRef()
		_, e = s.ns.BindAt(null, p, 0, false)
		return errnoErr(e)
	}
	fs, e := tmpfs.New(vfs.Internal, "tmpfs", 0, "size=0,mode=755")
	if e != 0 {
		return e
	}
	_, e = s.ns.MountAt(p, fs, "tmpfs", unix.MS_RDONLY)
	return errnoErr(e)
}

// readonly binds a path over itself, not to be written.
func (s *sandbox) readonly(name string) error {
	p, e := vfs.Walk(vfs.Internal, s.at(), name, vfs.LookupFollow)
	if e == unix.ENOENT || e == unix.ENOTDIR {
		return nil
	}
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if _, e = s.ns.BindAt(p, p, 0, true); e != 0 {
		return e
	}
	top, e := vfs.Walk(vfs.Internal, s.at(), name, vfs.LookupFollow)
	if e != 0 {
		return e
	}
	defer top.DecRef()
	return errnoErr(s.ns.SetMountFlags(top, unix.MS_RDONLY, 0, true))
}

// errnoErr makes an error of an errno, nil of 0.
func errnoErr(e abi.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
