package proc

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// topFiles makes what is in /proc beside the processes.
func (p *Proc) topFiles() []topFile {
	var out []topFile
	add := func(name string, ino vfs.Inode) { out = append(out, topFile{name, ino}) }
	add("self", selfLink())
	add("thread-self", threadSelfLink())
	add("net", kernfs.NewLink("self/net"))
	add("mounts", kernfs.NewLink("self/mounts"))
	add("sys", p.sys)
	for _, f := range []struct {
		name  string
		write func(b *bytes.Buffer)
	}{
		{"cpuinfo", p.writeCPUInfo}, {"meminfo", p.writeMeminfo}, {"stat", p.writeKernelStat}, {"uptime", p.writeUptime},
		{"loadavg", p.writeLoadavg}, {"version", p.writeVersion}, {"filesystems", writeFilesystems}, {"locks", writeLocks},
		{"vmstat", p.writeVmstat}, {"interrupts", p.writeInterrupts}, {"softirqs", p.writeSoftirqs},
	} {
		add(f.name, kernfs.Func(f.write))
	}
	for _, f := range []struct{ name, text string }{
		{"cmdline", p.conf.CmdLine + "\n"},
		{"cgroups", cgroupsText},
		{"devices", devicesText},
		{"diskstats", ""},
		{"partitions", ""},
		{"swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
		{"modules", ""},
		{"misc", ""},
		{"crypto", ""},
		{"consoles", ""},
		{"execdomains", "0-0\tLinux           \t[kernel]\n"},
		{"buddyinfo", ""},
		{"zoneinfo", ""},
		{"iomem", ""},
		{"ioports", ""},
		{"dma", ""},
		{"fb", ""},
	} {
		add(f.name, kernfs.Text(f.text))
	}
	for _, name := range []string{"kallsyms", "kmsg", "sysrq-trigger"} {
		f := kernfs.Text("")
		f.Mode = reg | 0400
		if name == "sysrq-trigger" {
			f.Mode = reg | 0200
			f.Write = func(vfs.Caller, []byte) abi.Errno { return unix.EPERM }
		}
		add(name, f)
	}
	for _, name := range []string{"tty", "fs", "driver", "bus", "irq", "acpi", "scsi"} {
		d := newDir()
		if name == "tty" {
			d.Add("drivers", kernfs.Text(ttyDrivers))
			d.Add("ldiscs", kernfs.Text("n_tty       0\n"))
		}
		add(name, d)
	}
	ipc := newDir()
	for _, name := range []string{"msg", "sem", "shm"} {
		ipc.Add(name, provided("sysvipc/"+name, ipcHeads[name]))
	}
	add("sysvipc", ipc)
	inspect.Provided(func(path string, c inspect.Content) {
		if !strings.Contains(path, "/") {
			add(path, contentFile(c))
		}
	})
	return out
}

var ipcHeads = map[string]string{
	"msg": "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
	"sem": "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
	"shm": "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
}

// provided makes a file that somebody may provide, or else has the text given.
func provided(path, text string) *kernfs.File {
	f := kernfs.Text(text)
	inspect.Provided(func(p string, c inspect.Content) {
		if p == path {
			f = contentFile(c)
		}
	})
	return f
}

const cgroupsText = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\ncpu\t0\t1\t1\ncpuacct\t0\t1\t1\nmemory\t0\t1\t1\npids\t0\t1\t1\n"

const devicesText = "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n128 ptm\n136 pts\n\nBlock devices:\n"

const ttyDrivers = "/dev/tty             /dev/tty        5       0 system:/dev/tty\n" +
	"/dev/console         /dev/console    5       1 system:console\n" +
	"/dev/ptmx            /dev/ptmx       5       2 system\n" +
	"pty_slave            /dev/pts      136 0-1048575 pty:slave\n" +
	"pty_master           /dev/ptm      128 0-1048575 pty:master\n"

// CPUs is how many CPUs the guest sees.
func (p *Proc) CPUs() int {
	if p.conf.CPUs > 0 {
		return p.conf.CPUs
	}
	return runtime.NumCPU()
}

// writeCPUInfo gives as many of the host's CPUs as the guest has.
func (p *Proc) writeCPUInfo(b *bytes.Buffer) {
	blocks := strings.Split(strings.TrimSpace(string(p.conf.CPUInfo())), "\n\n")
	for i := range p.CPUs() {
		block := blocks[min(i, len(blocks)-1)]
		if block == "" {
			fmt.Fprintf(b, "processor\t: %d\nvendor_id\t: unknown\n\n", i)
			continue
		}
		for _, line := range strings.Split(block, "\n") {
			key, _, ok := strings.Cut(line, ":")
			switch k := strings.TrimSpace(key); {
			case ok && (k == "processor" || k == "core id" || k == "apicid" || k == "initial apicid"):
				fmt.Fprintf(b, "%s: %d\n", key, i)
			case ok && (k == "siblings" || k == "cpu cores"):
				fmt.Fprintf(b, "%s: %d\n", key, p.CPUs())
			default:
				b.WriteString(line)
				b.WriteByte('\n')
			}
		}
		b.WriteByte('\n')
	}
}

func (p *Proc) writeMeminfo(b *bytes.Buffer) {
	total := p.view.MemTotal()
	used, shmem := p.view.MemUse()
	used = min(used, total)
	free := total - used
	line := func(name string, v uint64) { fmt.Fprintf(b, "%-16s%8d kB\n", name+":", v/1024) }
	line("MemTotal", total)
	line("MemFree", free)
	line("MemAvailable", free)
	line("Buffers", 0)
	line("Cached", shmem)
	line("SwapCached", 0)
	line("Active", used)
	line("Inactive", 0)
	line("Active(anon)", used)
	line("Inactive(anon)", 0)
	line("Active(file)", 0)
	line("Inactive(file)", 0)
	line("Unevictable", 0)
	line("Mlocked", 0)
	line("SwapTotal", 0)
	line("SwapFree", 0)
	line("Dirty", 0)
	line("Writeback", 0)
	line("AnonPages", used-min(used, shmem))
	line("Mapped", 0)
	line("Shmem", shmem)
	line("KReclaimable", 0)
	line("Slab", 0)
	line("SReclaimable", 0)
	line("SUnreclaim", 0)
	line("KernelStack", 0)
	line("PageTables", 0)
	line("CommitLimit", total)
	line("Committed_AS", used)
	line("VmallocTotal", 34359738367<<10)
	line("VmallocUsed", 0)
	line("VmallocChunk", 0)
	line("AnonHugePages", 0)
	line("ShmemHugePages", 0)
	line("ShmemPmdMapped", 0)
	for _, n := range []string{"HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"} {
		fmt.Fprintf(b, "%-16s%8d\n", n+":", 0)
	}
	line("Hugepagesize", 2<<20)
	line("Hugetlb", 0)
}

// writeKernelStat is /proc/stat (proc_stat(5)).
func (p *Proc) writeKernelStat(b *bytes.Buffer) {
	s := p.view.System()
	n := p.CPUs()
	boot, bootReal := p.view.Boot()
	up := max((ktime.Mono()-boot)/nsPerTick, 0)
	user, sys := s.UserNS/nsPerTick, s.SystemNS/nsPerTick
	idle := max(up*int64(n)-user-sys, 0)
	fmt.Fprintf(b, "cpu  %d 0 %d %d 0 0 0 0 0 0\n", user, sys, idle)
	for i := range n {
		fmt.Fprintf(b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, user/int64(n), sys/int64(n), idle/int64(n))
	}
	fmt.Fprintf(b, "intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		bootReal/1e9, s.Forks, max(s.Running, 1))
}

func (p *Proc) writeUptime(b *bytes.Buffer) {
	s := p.view.System()
	boot, _ := p.view.Boot()
	up := max(ktime.Mono()-boot, 0)
	idle := max(up*int64(p.CPUs())-s.UserNS-s.SystemNS, 0)
	fmt.Fprintf(b, "%.2f %.2f\n", float64(up)/1e9, float64(idle)/1e9)
}

func (p *Proc) writeLoadavg(b *bytes.Buffer) {
	s := p.view.System()
	l := p.load.read(s.Running)
	fmt.Fprintf(b, "%.2f %.2f %.2f %d/%d %d\n", l[0], l[1], l[2], max(s.Running, 1), s.Tasks, s.LastPID)
}

func (p *Proc) writeVersion(b *bytes.Buffer) {
	fmt.Fprintf(b, "Linux version %s (bulkhead@bulkhead) (go %s) %s\n", p.conf.Release, strings.TrimPrefix(runtime.Version(), "go"), p.conf.Version)
}

func writeFilesystems(b *bytes.Buffer) {
	for _, t := range vfs.FilesystemTypes() {
		if t.NoDev {
			b.WriteString("nodev")
		}
		b.WriteString("\t" + t.Name + "\n")
	}
}

// writeLocks is /proc/locks (proc_locks(5)).
func writeLocks(b *bytes.Buffer) {
	n := 0
	for _, l := range vfs.Locks() {
		mode, end, arrow := "READ ", "EOF", ""
		if l.Write {
			mode = "WRITE"
		}
		if l.End != 1<<63-1 {
			end = strconv.FormatInt(l.End, 10)
		}
		if l.Blocked {
			arrow = "-> "
		} else {
			n++
		}
		fmt.Fprintf(b, "%d: %s%-6s ADVISORY  %s %d %02x:%02x:%d %d %s\n", n, arrow, l.Kind, mode, l.PID,
			unix.Major(l.Dev), unix.Minor(l.Dev), l.Ino, l.Start, end)
	}
}

func (p *Proc) writeVmstat(b *bytes.Buffer) {
	total := p.view.MemTotal()
	used, shmem := p.view.MemUse()
	used = min(used, total)
	for _, l := range []struct {
		name string
		v    uint64
	}{
		{"nr_free_pages", (total - used) / pageSize}, {"nr_anon_pages", used / pageSize},
		{"nr_mapped", 0}, {"nr_file_pages", shmem / pageSize}, {"nr_dirty", 0}, {"nr_writeback", 0}, {"nr_shmem", shmem / pageSize},
		{"pgpgin", 0}, {"pgpgout", 0}, {"pswpin", 0}, {"pswpout", 0}, {"pgfault", 0}, {"pgmajfault", 0}, {"oom_kill", 0},
	} {
		fmt.Fprintf(b, "%s %d\n", l.name, l.v)
	}
}

func (p *Proc) writeInterrupts(b *bytes.Buffer) {
	b.WriteString("           ")
	for i := range p.CPUs() {
		fmt.Fprintf(b, "CPU%-8d", i)
	}
	b.WriteByte('\n')
}

func (p *Proc) writeSoftirqs(b *bytes.Buffer) {
	b.WriteString("                    ")
	for i := range p.CPUs() {
		fmt.Fprintf(b, "CPU%-8d", i)
	}
	b.WriteByte('\n')
}

// HostCPUInfo reads cpuinfo in a /proc of the host, an open directory.
func HostCPUInfo(dir int) []byte {
	fd, err := unix.Openat(dir, "cpuinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	raw := make([]byte, 0, 16<<10)
	for {
		if len(raw) == cap(raw) {
			raw = append(raw, make([]byte, len(raw))...)[:len(raw)]
		}
		n, err := unix.Read(fd, raw[len(raw):cap(raw)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return raw
		}
		raw = raw[:len(raw)+n]
	}
}
