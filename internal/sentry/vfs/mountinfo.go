package vfs

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MountInfo is a line of /proc/PID/mountinfo and of /proc/PID/mounts.
type MountInfo struct {
	ID, Parent int
	Dev        uint64
	Root       string // of the mount within its file system
	Point      string // relative to the reader's root
	Flags      uint64
	Optional   string // "shared:2 master:1"
	Type       string
	Source     string
	SuperRO    bool
	SuperOpts  string // "size=64k"
}

// GetMountInfo lists the mounts that are visible below root, in order.
func (ns *MountNamespace) GetMountInfo(root Path) []MountInfo {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	out := make([]MountInfo, 0, len(ns.order))
	for _, m := range ns.order {
		point, ok := PathName(root, Path{m, m.Root})
		if !ok {
			continue
		}
		out = append(out, m.info(point))
	}
	return out
}

func (m *Mount) info(point string) MountInfo {
	i := MountInfo{
		ID: m.ID, Parent: m.ID, Dev: m.FS.Dev, Root: m.Root.nameInMountinfo(m.FS), Point: point, Flags: m.Flags(),
		Type: m.FS.Type, Source: m.Source, SuperRO: m.FS.ReadOnly.Load(), SuperOpts: m.FS.Ops.Options(),
	}
	if at := m.at.Load(); at != nil {
		i.Parent = at.parent.ID
	}
	var tags []string
	if m.peer != 0 {
		tags = append(tags, "shared:"+strconv.Itoa(m.peer))
	}
	if m.master != 0 {
		tags = append(tags, "master:"+strconv.Itoa(m.master))
	}
	if m.prop == unix.MS_UNBINDABLE {
		tags = append(tags, "unbindable")
	}
	i.Optional = strings.Join(tags, " ")
	return i
}

// nameInMountinfo gives the dentry's path from its file system's root, as
// mountinfo calls that.
func (d *Dentry) nameInMountinfo(fs *Filesystem) string {
	name := d.nameInFS()
	switch {
	case fs.Top == "" || fs.Top == "/":
		return name
	case name == "/":
		return fs.Top
	}
	return fs.Top + name
}

// nameInFS gives the dentry's path from its file system's root.
func (d *Dentry) nameInFS() string {
	if d.Parent() == nil {
		return "/"
	}
	s := ""
	for ; d.Parent() != nil; d = d.Parent() {
		s = "/" + d.Name() + s
	}
	return s
}
