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

// residenceOf adds up what list says of [start, end): a mapping that reaches
// beyond it counts by its share.
func residenceOf(list []inspect.Residence, start, end uint64) (sum inspect.Residence) {
	for i := range list {
		e := &list[i]
		lo, hi := max(start, e.Start), min(end, e.End)
		if lo >= hi {
			continue
		}
		for j, v := range e.KiB {
			sum.KiB[j] += v * ((hi - lo) >> 12) / ((e.End - e.Start) >> 12)
		}
	}
	return sum
}

// guessed is what a mapping may have in memory where the host does not tell:
// all of it.
func guessed(r *inspect.Region) (g inspect.Residence) {
	kib := (r.End - r.Start) >> 10
	if r.Prot == 0 {
		return g
	}
	g.KiB[inspect.ResRSS], g.KiB[inspect.ResPSS], g.KiB[inspect.ResReference] = kib, kib, kib
	if r.File != nil && r.Prot&unix.PROT_WRITE == 0 {
		g.KiB[inspect.ResClean] = kib
		return g
	}
	g.KiB[inspect.ResDirty], g.KiB[inspect.ResPSSDirty], g.KiB[inspect.ResAnonymous] = kib, kib, kib
	return g
}

// residence says what of r is in memory.
func residence(list []inspect.Residence, r *inspect.Region) inspect.Residence {
	if list == nil {
		return guessed(r)
	}
	sum := residenceOf(list, r.Start, r.End)
	if r.Locked {
		sum.KiB[inspect.ResLocked] = sum.KiB[inspect.ResPSS]
	}
	return sum
}

func residenceLine(b *bytes.Buffer, name string, kib uint64) {
	fmt.Fprintf(b, "%-16s%8d kB\n", name+":", kib)
}

func writeSmaps(d *taskDir, b *bytes.Buffer) abi.Errno {
	list := d.t.Residence()
	eachRegion(d, func(root vfs.Path, r *inspect.Region) {
		regionLine(b, root, r)
		residenceLine(b, "Size", (r.End-r.Start)/1024)
		residenceLine(b, "KernelPageSize", 4)
		residenceLine(b, "MMUPageSize", 4)
		for i, v := range residence(list, r).KiB {
			residenceLine(b, inspect.ResidenceNames[i], v)
		}
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
	var sum inspect.Residence
	list := d.t.Residence()
	eachRegion(d, func(_ vfs.Path, r *inspect.Region) {
		if lo == 0 {
			lo = r.Start
		}
		hi = r.End
		for i, v := range residence(list, r).KiB {
			sum.KiB[i] += v
		}
	})
	fmt.Fprintf(b, "%08x-%08x ---p 00000000 00:00 0                          [rollup]\n", lo, hi)
	for i, v := range sum.KiB {
		residenceLine(b, inspect.ResidenceNames[i], v)
		if i == inspect.ResPSSDirty {
			pss := sum.KiB[inspect.ResPSS]
			anon := min(sum.KiB[inspect.ResAnonymous], pss)
			residenceLine(b, "Pss_Anon", anon)
			residenceLine(b, "Pss_File", pss-anon)
			residenceLine(b, "Pss_Shmem", 0)
		}
	}
	return 0
}
