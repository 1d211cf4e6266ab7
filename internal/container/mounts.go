package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// mountFlag is what an option of mount(8) sets or clears.
type mountFlag struct {
	clear bool
	flag  uint64
}

var mountFlags = sync.OnceValue(func() map[string]mountFlag {
	return map[string]mountFlag{
		"async": {true, unix.MS_SYNCHRONOUS}, "sync": {false, unix.MS_SYNCHRONOUS},
		"atime": {true, unix.MS_NOATIME}, "noatime": {false, unix.MS_NOATIME},
		"defaults": {},
		"dev":      {true, unix.MS_NODEV}, "nodev": {false, unix.MS_NODEV},
		"diratime": {true, unix.MS_NODIRATIME}, "nodiratime": {false, unix.MS_NODIRATIME},
		"dirsync": {false, unix.MS_DIRSYNC},
		"exec":    {true, unix.MS_NOEXEC}, "noexec": {false, unix.MS_NOEXEC},
		"iversion": {false, unix.MS_I_VERSION}, "noiversion": {true, unix.MS_I_VERSION},
		"lazytime": {false, unix.MS_LAZYTIME}, "nolazytime": {true, unix.MS_LAZYTIME},
		"loud": {true, unix.MS_SILENT}, "silent": {false, unix.MS_SILENT},
		"mand": {false, unix.MS_MANDLOCK}, "nomand": {true, unix.MS_MANDLOCK},
		"relatime": {false, unix.MS_RELATIME}, "norelatime": {true, unix.MS_RELATIME},
		"ro": {false, unix.MS_RDONLY}, "rw": {true, unix.MS_RDONLY},
		"strictatime": {false, unix.MS_STRICTATIME}, "nostrictatime": {true, unix.MS_STRICTATIME},
		"suid": {true, unix.MS_NOSUID}, "nosuid": {false, unix.MS_NOSUID},
		"symfollow": {true, unix.MS_NOSYMFOLLOW}, "nosymfollow": {false, unix.MS_NOSYMFOLLOW},
		"remount": {},
	}
})

// recursiveFlags act on a mount and all below it, as mount_setattr(2) with
// AT_RECURSIVE.
var recursiveFlags = sync.OnceValue(func() map[string]mountFlag {
	return map[string]mountFlag{
		"rro": {false, unix.MOUNT_ATTR_RDONLY}, "rrw": {true, unix.MOUNT_ATTR_RDONLY},
		"rnosuid": {false, unix.MOUNT_ATTR_NOSUID}, "rsuid": {true, unix.MOUNT_ATTR_NOSUID},
		"rnodev": {false, unix.MOUNT_ATTR_NODEV}, "rdev": {true, unix.MOUNT_ATTR_NODEV},
		"rnoexec": {false, unix.MOUNT_ATTR_NOEXEC}, "rexec": {true, unix.MOUNT_ATTR_NOEXEC},
		"rnodiratime": {false, unix.MOUNT_ATTR_NODIRATIME}, "rdiratime": {true, unix.MOUNT_ATTR_NODIRATIME},
		"rnoatime": {false, unix.MOUNT_ATTR_NOATIME}, "ratime": {true, unix.MOUNT_ATTR_NOATIME},
		"rstrictatime": {false, unix.MOUNT_ATTR_STRICTATIME}, "rnostrictatime": {true, unix.MOUNT_ATTR_STRICTATIME},
		"rrelatime": {true, unix.MOUNT_ATTR__ATIME}, "rnorelatime": {false, unix.MOUNT_ATTR_STRICTATIME},
		"rnosymfollow": {false, unix.MOUNT_ATTR_NOSYMFOLLOW}, "rsymfollow": {true, unix.MOUNT_ATTR_NOSYMFOLLOW},
	}
})

// propagation are the kinds of mount_namespaces(7).
var propagation = sync.OnceValue(func() map[string]uint64 {
	return map[string]uint64{
		"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
		"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
		"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
		"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
	}
})

// guestFilesystems are the types of mount that the guest kernel has.
var guestFilesystems = map[string]bool{
	"proc": true, "sysfs": true, "tmpfs": true, "devtmpfs": true, "devpts": true, "mqueue": true, "cgroup": true, "cgroup2": true,
}

// parseMount turns the options of one mount into flags; the source of a bind
// mount is looked at by mountsOf.
func parseMount(m *specs.Mount) (out wire.Mount, err error) {
	out = wire.Mount{Destination: filepath.Clean(m.Destination), Type: m.Type, Source: m.Source}
	bind := m.Type == "bind"
	var data []string
	for _, opt := range m.Options {
		if f, ok := mountFlags()[opt]; ok {
			if f.clear {
				out.Flags &^= f.flag
			} else {
				out.Flags |= f.flag
			}
			continue
		}
		if f, ok := recursiveFlags()[opt]; ok {
			set, clear := &out.RecursiveSet, &out.RecursiveClear
			if f.clear {
				set, clear = clear, set
			}
			*set |= f.flag
			*clear &^= f.flag
			continue
		}
		if flag, ok := propagation()[opt]; ok {
			out.Propagation = flag
			continue
		}
		switch opt {
		case "bind":
			bind = true
		case "rbind":
			bind, out.Recursive = true, true
		case "tmpcopyup":
			out.CopyUp = true
		case "idmap", "ridmap":
			return out, fmt.Errorf("option %q is refused: the Gofer makes no id-mapped mounts", opt)
		default:
			data = append(data, opt)
		}
	}
	switch {
	case bind:
		out.Type = "gofer"
	case !guestFilesystems[m.Type]:
		return out, fmt.Errorf("type %q is refused: the guest kernel has no such file system", m.Type)
	}
	if out.CopyUp && m.Type != "tmpfs" {
		return out, fmt.Errorf("option tmpcopyup is for type tmpfs")
	}
	out.Data = strings.Join(data, ",")
	return out, nil
}

func (c *checker) mounts(list []specs.Mount) {
	for i := range list {
		m := &list[i]
		path := fmt.Sprintf("mounts[%d]", i)
		c.text(path+".source", m.Source)
		c.text(path+".options", strings.Join(m.Options, ","))
		c.absolute(path+".destination", m.Destination)
		c.treat(len(m.UIDMappings) > 0, "mounts[].uidMappings", path+".uidMappings")
		c.treat(len(m.GIDMappings) > 0, "mounts[].gidMappings", path+".gidMappings")
		out, err := parseMount(m)
		if err != nil {
			c.errorf(path, "%v", err)
		}
		if out.Type == "gofer" && out.Data != "" {
			c.warn("%s.options: %q has no effect: it is no option of a bind mount", path, out.Data)
		}
		if out.Type == "gofer" && m.Source == "" {
			c.errorf(path+".source", "is required for a bind mount")
		}
	}
}

// mountsOf makes the guest's mounts and gives the Gofer a tree for each bind
// mount. A source is relative to the bundle.
func mountsOf(b *bundle, gofer *wire.GoferConfig) ([]wire.Mount, error) {
	var out []wire.Mount
	for i := range b.config.Mounts {
		m, err := parseMount(&b.config.Mounts[i])
		if err != nil {
			return nil, fmt.Errorf("mounts[%d]: %w", i, err)
		}
		if m.Type != "gofer" {
			out = append(out, m)
			continue
		}
		if !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(b.dir, m.Source)
		}
		real, err := filepath.EvalSymlinks(m.Source)
		if err != nil {
			return nil, fmt.Errorf("mounts[%d].source: %w", i, err)
		}
		st, err := os.Stat(real)
		if err != nil {
			return nil, fmt.Errorf("mounts[%d].source: %w", i, err)
		}
		m.Data = ""
		m.Gofer, m.File, m.Shared, m.Overlay = len(gofer.Mounts), !st.IsDir(), true, wire.OverlayNone
		out = append(out, m)
		readonly := m.Flags&unix.MS_RDONLY != 0
		gofer.Mounts = append(gofer.Mounts, wire.GoferMount{Root: real, Readonly: readonly, Dest: m.Destination, Shared: true})
	}
	return out, nil
}

// mountPoints are what must exist in the root for the mounts.
func mountPoints(mounts []wire.Mount) (out []wire.MountPoint) {
	for i := range mounts {
		m := &mounts[i]
		out = append(out, wire.MountPoint{Path: m.Destination, File: m.Type == "gofer" && m.File})
	}
	return out
}
