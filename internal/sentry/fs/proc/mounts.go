package proc

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// makeMounts makes mounts, mountinfo or mountstats: files that can be polled
// for changes.
func makeMounts(write func(b *bytes.Buffer, m *vfs.MountInfo)) func(*taskDir, kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		f := text(func(d *taskDir, b *bytes.Buffer) abi.Errno {
			fs, release := d.t.FS()
			if fs == nil {
				return unix.EINVAL
			}
			defer release()
			root := fs.Root()
			ns := root.Namespace()
			if ns == nil {
				return 0
			}
			list := ns.GetMountInfo(root)
			for i := range list {
				write(b, &list[i])
			}
			return 0
		})(d, n).(*kernfs.File)
		f.Changes = func() (*waiter.Queue, uint64) {
			fs, release := d.t.FS()
			if fs == nil {
				return &noChanges, 0
			}
			defer release()
			ns := fs.Root().Namespace()
			if ns == nil {
				return &noChanges, 0
			}
			return ns.Queue(), ns.Seq()
		}
		return f
	}
}

var noChanges waiter.Queue

// mangle writes a name as mount tables do: space, tab, newline and backslash
// in octal.
var mangle = strings.NewReplacer(" ", "\\040", "\t", "\\011", "\n", "\\012", "\\", "\\134", "#", "\\043")

var mountOptions = []struct {
	flag uint64
	name string
}{
	{unix.MS_NOSUID, ",nosuid"}, {unix.MS_NODEV, ",nodev"}, {unix.MS_NOEXEC, ",noexec"}, {unix.MS_NOATIME, ",noatime"},
	{unix.MS_NODIRATIME, ",nodiratime"}, {unix.MS_RELATIME, ",relatime"}, {0x100, ",nosymfollow"},
}

func flagNames(flags uint64, ro bool) string {
	s := "rw"
	if ro {
		s = "ro"
	}
	for _, o := range mountOptions {
		if flags&o.flag != 0 {
			s += o.name
		}
	}
	return s
}

func superOptions(m *vfs.MountInfo) string {
	s := "rw"
	if m.SuperRO {
		s = "ro"
	}
	if m.SuperOpts != "" {
		s += "," + m.SuperOpts
	}
	return s
}

func writeMounts(b *bytes.Buffer, m *vfs.MountInfo) {
	opts := flagNames(m.Flags, m.SuperRO || m.Flags&unix.MS_RDONLY != 0)
	if m.SuperOpts != "" {
		opts += "," + m.SuperOpts
	}
	fmt.Fprintf(b, "%s %s %s %s 0 0\n", source(m), mangle.Replace(m.Point), m.Type, opts)
}

func source(m *vfs.MountInfo) string {
	if m.Source == "" {
		return "none"
	}
	return mangle.Replace(m.Source)
}

func writeMountinfo(b *bytes.Buffer, m *vfs.MountInfo) {
	optional := m.Optional
	if optional != "" {
		optional += " "
	}
	fmt.Fprintf(b, "%d %d %d:%d %s %s %s %s- %s %s %s\n", m.ID, m.Parent, unix.Major(m.Dev), unix.Minor(m.Dev),
		mangle.Replace(m.Root), mangle.Replace(m.Point), flagNames(m.Flags, m.Flags&unix.MS_RDONLY != 0), optional,
		m.Type, source(m), superOptions(m))
}

func writeMountstats(b *bytes.Buffer, m *vfs.MountInfo) {
	fmt.Fprintf(b, "device %s mounted on %s with fstype %s\n", source(m), mangle.Replace(m.Point), m.Type)
}
