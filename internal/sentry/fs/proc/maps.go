package proc

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// nameColumn is where a mapping's name begins.
const nameColumn = 73

// regionLine writes a line of maps.
func regionLine(b *bytes.Buffer, root vfs.Path, r *inspect.Region) {
	perm := [4]byte{'-', '-', '-', 'p'}
	for i, p := range []uint32{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if r.Prot&p != 0 {
			perm[i] = "rwx"[i]
		}
	}
	if r.Shared {
		perm[3] = 's'
	}
	var dev, ino uint64
	name := r.Name
	if r.File != nil {
		if a, e := r.File.Path.Stat(vfs.Internal); e == 0 {
			dev, ino = a.Dev, a.Ino
		}
		if name == "" {
			name, _ = vfs.PathName(root, r.File.Path)
		}
	}
	start := b.Len()
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d", r.Start, r.End, perm[:], r.Off, unix.Major(dev), unix.Minor(dev), ino)
	if name != "" {
		pad := max(nameColumn-(b.Len()-start), 1)
		b.WriteString(strings.Repeat(" ", pad))
		b.WriteString(strings.ReplaceAll(name, "\n", "\\012"))
	}
	b.WriteByte('\n')
}

func eachRegion(d *taskDir, f func(root vfs.Path, r *inspect.Region)) {
	var root vfs.Path
	fs, release := d.t.FS()
	if fs != nil {
		root = fs.Root()
		defer release()
	}
	d.t.Regions(func(r inspect.Region) bool {
		f(root, &r)
		return true
	})
}

func writeMaps(d *taskDir, b *bytes.Buffer) abi.Errno {
	eachRegion(d, func(root vfs.Path, r *inspect.Region) { regionLine(b, root, r) })
	return 0
}

// smapsLines are what smaps tells of a mapping: sizes are true, residence is
// not known by mapping and given as if all were there and private.
func smapsLines(b *bytes.Buffer, size uint64, r *inspect.Region) {
	anon, clean := size, uint64(0)
	if r.File != nil && r.Prot&unix.PROT_WRITE == 0 {
		anon, clean = 0, size
	}
	if r.Prot == 0 {
		anon, clean = 0, 0
	}
	rss := anon + clean
	for _, l := range []struct {
		name string
		v    uint64
	}{
		{"Rss", rss}, {"Pss", rss}, {"Pss_Dirty", anon}, {"Shared_Clean", 0}, {"Shared_Dirty", 0},
		{"Private_Clean", clean}, {"Private_Dirty", anon}, {"Referenced", rss}, {"Anonymous", anon}, {"KSM", 0},
		{"LazyFree", 0}, {"AnonHugePages", 0}, {"ShmemPmdMapped", 0}, {"FilePmdMapped", 0}, {"Shared_Hugetlb", 0},
		{"Private_Hugetlb", 0}, {"Swap", 0}, {"SwapPss", 0}, {"Locked", 0},
	} {
		fmt.Fprintf(b, "%-16s%8d kB\n", l.name+":", l.v/1024)
	}
}

func writeSmaps(d *taskDir, b *bytes.Buffer) abi.Errno {
	eachRegion(d, func(root vfs.Path, r *inspect.Region) {
		regionLine(b, root, r)
		size := r.End - r.Start
		fmt.Fprintf(b, "%-16s%8d kB\n%-16s%8d kB\n%-16s%8d kB\n", "Size:", size/1024, "KernelPageSize:", 4, "MMUPageSize:", 4)
		smapsLines(b, size, r)
		fmt.Fprintf(b, "%-16s%8d\nVmFlags:%s\n", "THPeligible:", 0, vmFlags(r))
	})
	return 0
}

func vmFlags(r *inspect.Region) string {
	s := ""
	for _, f := range []struct {
		on   bool
		name string
	}{
		{r.Prot&unix.PROT_READ != 0, " rd"}, {r.Prot&unix.PROT_WRITE != 0, " wr"}, {r.Prot&unix.PROT_EXEC != 0, " ex"},
		{r.Shared, " sh"}, {true, " mr mw me"}, {r.Grows, " gd"}, {r.Locked, " lo"}, {!r.Shared, " ac"},
	} {
		if f.on {
			s += f.name
		}
	}
	return s + " "
}

func writeSmapsRollup(d *taskDir, b *bytes.Buffer) abi.Errno {
	m := d.t.Memory()
	if m.None {
		return unix.ESRCH
	}
	var lo, hi uint64
	eachRegion(d, func(_ vfs.Path, r *inspect.Region) {
		if lo == 0 {
			lo = r.Start
		}
		hi = r.End
	})
	fmt.Fprintf(b, "%08x-%08x ---p 00000000 00:00 0                          [rollup]\n", lo, hi)
	smapsLines(b, m.RSS, &inspect.Region{Prot: unix.PROT_READ | unix.PROT_WRITE})
	return 0
}
