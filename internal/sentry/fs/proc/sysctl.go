package proc

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// newSys makes /proc/sys.
func (p *Proc) newSys() *kernfs.Dir {
	root := newDir()
	root.Fill = p.fillSys
	return root
}

func (p *Proc) fillSys(root *kernfs.Dir) {
	for _, s := range sysctls {
		put(root, s.path, s.file())
	}
	put(root, "kernel/ostype", kernfs.Text("Linux\n"))
	put(root, "kernel/osrelease", kernfs.Text(p.conf.Release+"\n"))
	put(root, "kernel/version", kernfs.Text(p.conf.Version+"\n"))
	put(root, "kernel/cap_last_cap", kernfs.Text(strconv.Itoa(auth.CAP_LAST_CAP)+"\n"))
	put(root, "kernel/hostname", p.name(p.view.Hostname, p.view.SetHostname))
	put(root, "kernel/domainname", p.name(p.view.Domainname, p.view.SetDomainname))
	put(root, "kernel/random/boot_id", kernfs.Text(newUUID()+"\n"))
	put(root, "kernel/random/uuid", kernfs.Func(func(b *bytes.Buffer) { b.WriteString(newUUID() + "\n") }))
	put(root, "kernel/ns_last_pid", kernfs.Func(func(b *bytes.Buffer) { fmt.Fprintf(b, "%d\n", p.view.System().LastPID) }))
	put(root, "kernel/pty/nr", kernfs.Text("0\n"))
	inspect.Provided(func(path string, c inspect.Content) {
		if rest, ok := strings.CutPrefix(path, "sys/"); ok {
			put(root, rest, contentFile(c))
		}
	})
}

// put adds a file at a path below root.
func put(root *kernfs.Dir, path string, f vfs.Inode) {
	names := strings.Split(path, "/")
	last := len(names) - 1
	root.Sub(names[:last]...).Add(names[last], f)
}

// name makes a file for the host's or the domain's name, which only the
// administrator may change.
func (p *Proc) name(get func() string, set func(string) abi.Errno) *kernfs.File {
	f := kernfs.String(get, set)
	plain := f.Write
	f.Write = func(c vfs.Caller, data []byte) abi.Errno {
		if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		return plain(c, data)
	}
	return f
}

// SetSysctl sets kernel.shmmax or kernel/shmmax, with every right: for boot.
// ENOENT: there is none of that name; EPERM: it cannot be set.
func (p *Proc) SetSysctl(key, value string) abi.Errno {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	names := strings.Split(key, "/")
	var at vfs.Inode = p.sys
	for _, n := range names {
		d, ok := at.(*kernfs.Dir)
		if !ok {
			return unix.ENOENT
		}
		if at = d.Child(n); at == nil {
			return unix.ENOENT
		}
	}
	f, ok := at.(*kernfs.File)
	if !ok {
		return unix.ENOENT
	}
	if f.Write == nil {
		return unix.EPERM
	}
	return f.Write(vfs.Internal, []byte(value))
}

// newUUID gives a random UUID of version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sysctl is one file of /proc/sys. Its value is kept and shown; those that the
// Sentry obeys are provided by the packages that do.
type sysctl struct {
	path     string
	value    string
	low, hi  int64 // bounds of each number; both 0: it cannot be set
	isString bool
}

func (s sysctl) file() *kernfs.File {
	if s.low == 0 && s.hi == 0 && !s.isString {
		return kernfs.Text(s.value + "\n")
	}
	if s.isString {
		var mu sync.Mutex
		v := s.value
		return kernfs.String(func() string { mu.Lock(); defer mu.Unlock(); return v }, func(n string) abi.Errno {
			mu.Lock()
			v = n
			mu.Unlock()
			return 0
		})
	}
	if strings.ContainsAny(s.value, "\t") {
		return s.vector()
	}
	n, _ := strconv.ParseInt(s.value, 10, 64)
	v := &atomic.Int64{}
	v.Store(n)
	return kernfs.Int(v, s.low, s.hi)
}

// vector makes a file of several numbers.
func (s sysctl) vector() *kernfs.File {
	var mu sync.Mutex
	fields := strings.Split(s.value, "\t")
	f := kernfs.Func(func(b *bytes.Buffer) {
		mu.Lock()
		defer mu.Unlock()
		b.WriteString(strings.Join(fields, "\t") + "\n")
	})
	f.Mode = reg | 0644
	f.Write = func(_ vfs.Caller, data []byte) abi.Errno {
		given := strings.Fields(strings.TrimRight(string(data), "\x00"))
		for _, g := range given {
			n, err := strconv.ParseInt(g, 10, 64)
			if err != nil || n < s.low || n > s.hi {
				return unix.EINVAL
			}
		}
		mu.Lock()
		copy(fields, given)
		mu.Unlock()
		return 0
	}
	return f
}

const maxInt = math.MaxInt32

var sysctls = []sysctl{
	{path: "kernel/pid_max", value: "32768", low: 301, hi: 4 << 20},
	{path: "kernel/threads-max", value: "32768", low: 20, hi: 4 << 20},
	{path: "kernel/ngroups_max", value: "65536"},
	{path: "kernel/overflowuid", value: "65534", low: 0, hi: 65535},
	{path: "kernel/overflowgid", value: "65534", low: 0, hi: 65535},
	{path: "kernel/core_pattern", value: "core", isString: true},
	{path: "kernel/core_uses_pid", value: "0", low: 0, hi: 1},
	{path: "kernel/core_pipe_limit", value: "0", low: 0, hi: maxInt},
	{path: "kernel/randomize_va_space", value: "2", low: 0, hi: 2},
	{path: "kernel/tainted", value: "0"},
	{path: "kernel/panic", value: "0", low: -1, hi: maxInt},
	{path: "kernel/panic_on_oops", value: "0", low: 0, hi: 1},
	{path: "kernel/printk", value: "7\t4\t1\t7", low: 0, hi: 15},
	{path: "kernel/dmesg_restrict", value: "1", low: 0, hi: 1},
	{path: "kernel/kptr_restrict", value: "2", low: 0, hi: 2},
	{path: "kernel/perf_event_paranoid", value: "4", low: -1, hi: 4},
	{path: "kernel/unprivileged_bpf_disabled", value: "2"},
	{path: "kernel/io_uring_disabled", value: "2"},
	{path: "kernel/sysrq", value: "0", low: 0, hi: 511},
	{path: "kernel/sched_rt_period_us", value: "1000000", low: 1, hi: maxInt},
	{path: "kernel/sched_rt_runtime_us", value: "950000", low: -1, hi: maxInt},
	{path: "kernel/sched_rr_timeslice_ms", value: "100", low: 0, hi: maxInt},
	{path: "kernel/sched_autogroup_enabled", value: "0", low: 0, hi: 1},
	{path: "kernel/numa_balancing", value: "0", low: 0, hi: 2},
	{path: "kernel/modules_disabled", value: "1"},
	{path: "kernel/random/entropy_avail", value: "256"},
	{path: "kernel/random/poolsize", value: "256"},
	{path: "kernel/random/urandom_min_reseed_secs", value: "60", low: 0, hi: maxInt},
	{path: "kernel/random/write_wakeup_threshold", value: "256", low: 0, hi: 256},
	{path: "kernel/pty/max", value: "4096", low: 0, hi: 1 << 20},
	{path: "kernel/pty/reserve", value: "1024", low: 0, hi: 1 << 20},
	{path: "kernel/seccomp/actions_avail", value: "kill_process kill_thread trap errno user_notif trace log allow"},
	{path: "kernel/seccomp/actions_logged", value: "kill_process kill_thread trap errno user_notif trace log", isString: true},
	{path: "kernel/keys/maxkeys", value: "200", low: 0, hi: maxInt},
	{path: "kernel/keys/maxbytes", value: "20000", low: 0, hi: maxInt},
	{path: "kernel/keys/root_maxkeys", value: "1000000", low: 0, hi: maxInt},
	{path: "kernel/keys/root_maxbytes", value: "25000000", low: 0, hi: maxInt},
	{path: "kernel/yama/ptrace_scope", value: "1", low: 0, hi: 3},

	{path: "vm/overcommit_memory", value: "1", low: 0, hi: 2},
	{path: "vm/overcommit_ratio", value: "50", low: 0, hi: maxInt},
	{path: "vm/overcommit_kbytes", value: "0", low: 0, hi: math.MaxInt64},
	{path: "vm/max_map_count", value: "65530", low: 0, hi: maxInt},
	{path: "vm/swappiness", value: "60", low: 0, hi: 200},
	{path: "vm/mmap_min_addr", value: "65536", low: 0, hi: math.MaxInt64},
	{path: "vm/min_free_kbytes", value: "45056", low: 0, hi: maxInt},
	{path: "vm/nr_hugepages", value: "0", low: 0, hi: 0},
	{path: "vm/nr_overcommit_hugepages", value: "0"},
	{path: "vm/vfs_cache_pressure", value: "100", low: 0, hi: maxInt},
	{path: "vm/dirty_ratio", value: "20", low: 0, hi: 100},
	{path: "vm/dirty_background_ratio", value: "10", low: 0, hi: 100},
	{path: "vm/dirty_bytes", value: "0", low: 0, hi: math.MaxInt64},
	{path: "vm/dirty_background_bytes", value: "0", low: 0, hi: math.MaxInt64},
	{path: "vm/dirty_expire_centisecs", value: "3000", low: 0, hi: maxInt},
	{path: "vm/dirty_writeback_centisecs", value: "500", low: 0, hi: maxInt},
	{path: "vm/drop_caches", value: "0", low: 0, hi: 4},
	{path: "vm/oom_kill_allocating_task", value: "0", low: 0, hi: 1},
	{path: "vm/panic_on_oom", value: "0", low: 0, hi: 2},
	{path: "vm/legacy_va_layout", value: "0", low: 0, hi: 1},
	{path: "vm/memfd_noexec", value: "0", low: 0, hi: 2},
	{path: "vm/unprivileged_userfaultfd", value: "0", low: 0, hi: 1},
	{path: "vm/zone_reclaim_mode", value: "0", low: 0, hi: 7},

	{path: "fs/file-max", value: "9223372036854775807", low: 0, hi: math.MaxInt64},
	{path: "fs/file-nr", value: "0\t0\t9223372036854775807"},
	{path: "fs/inode-nr", value: "0\t0"},
	{path: "fs/inode-state", value: "0\t0\t0\t0\t0\t0\t0"},
	{path: "fs/dentry-state", value: "0\t0\t45\t0\t0\t0"},
	{path: "fs/nr_open", value: "1048576", low: 64, hi: 1 << 30},
	{path: "fs/mount-max", value: strconv.Itoa(vfs.MountMax)},
	{path: "fs/aio-max-nr", value: "65536", low: 0, hi: math.MaxInt64},
	{path: "fs/aio-nr", value: "0"},
	{path: "fs/lease-break-time", value: "45", low: 0, hi: maxInt},
	{path: "fs/leases-enable", value: "1", low: 0, hi: 1},
	{path: "fs/overflowuid", value: "65534", low: 0, hi: 65535},
	{path: "fs/overflowgid", value: "65534", low: 0, hi: 65535},
	{path: "fs/pipe-max-size", value: "1048576", low: 4096, hi: 1 << 31},
	{path: "fs/pipe-user-pages-hard", value: "0", low: 0, hi: maxInt},
	{path: "fs/pipe-user-pages-soft", value: "16384", low: 0, hi: maxInt},
	{path: "fs/protected_fifos", value: "1", low: 0, hi: 2},
	{path: "fs/protected_hardlinks", value: "1", low: 0, hi: 1},
	{path: "fs/protected_regular", value: "2", low: 0, hi: 2},
	{path: "fs/protected_symlinks", value: "1", low: 0, hi: 1},
	{path: "fs/suid_dumpable", value: "0", low: 0, hi: 2},
	{path: "fs/inotify/max_queued_events", value: "16384", low: 0, hi: maxInt},
	{path: "fs/inotify/max_user_instances", value: "128", low: 0, hi: maxInt},
	{path: "fs/inotify/max_user_watches", value: "65536", low: 0, hi: maxInt},
	{path: "fs/epoll/max_user_watches", value: "1000000", low: 0, hi: math.MaxInt64},

	{path: "net/core/somaxconn", value: "4096", low: 0, hi: maxInt},
	{path: "net/core/rmem_default", value: "212992", low: 256, hi: maxInt},
	{path: "net/core/rmem_max", value: "212992", low: 256, hi: maxInt},
	{path: "net/core/wmem_default", value: "212992", low: 4608, hi: maxInt},
	{path: "net/core/wmem_max", value: "212992", low: 4608, hi: maxInt},
	{path: "net/core/optmem_max", value: "131072", low: 0, hi: maxInt},
	{path: "net/core/netdev_max_backlog", value: "1000", low: 0, hi: maxInt},
	{path: "net/core/default_qdisc", value: "fq_codel", isString: true},
	{path: "net/unix/max_dgram_qlen", value: "10", low: 0, hi: maxInt},
	{path: "net/ipv4/ip_forward", value: "0", low: 0, hi: 1},
	{path: "net/ipv4/ip_default_ttl", value: "64", low: 1, hi: 255},
	{path: "net/ipv4/ip_local_port_range", value: "32768\t60999", low: 1, hi: 65535},
	{path: "net/ipv4/ip_local_reserved_ports", value: "", isString: true},
	{path: "net/ipv4/ip_unprivileged_port_start", value: "1024", low: 0, hi: 65535},
	{path: "net/ipv4/ip_nonlocal_bind", value: "0", low: 0, hi: 1},
	{path: "net/ipv4/ping_group_range", value: "0\t2147483647", low: 0, hi: maxInt},
	{path: "net/ipv4/tcp_available_congestion_control", value: "reno cubic"},
	{path: "net/ipv4/tcp_congestion_control", value: "cubic", isString: true},
	{path: "net/ipv4/tcp_allowed_congestion_control", value: "reno cubic"},
	{path: "net/ipv4/tcp_fin_timeout", value: "60", low: 0, hi: maxInt},
	{path: "net/ipv4/tcp_keepalive_time", value: "7200", low: 1, hi: maxInt},
	{path: "net/ipv4/tcp_keepalive_intvl", value: "75", low: 1, hi: maxInt},
	{path: "net/ipv4/tcp_keepalive_probes", value: "9", low: 1, hi: 255},
	{path: "net/ipv4/tcp_max_syn_backlog", value: "1024", low: 0, hi: maxInt},
	{path: "net/ipv4/tcp_mem", value: "188000\t251000\t376000", low: 0, hi: maxInt},
	{path: "net/ipv4/tcp_rmem", value: "4096\t131072\t6291456", low: 1, hi: maxInt},
	{path: "net/ipv4/tcp_wmem", value: "4096\t16384\t4194304", low: 1, hi: maxInt},
	{path: "net/ipv4/tcp_sack", value: "1", low: 0, hi: 1},
	{path: "net/ipv4/tcp_syncookies", value: "1", low: 0, hi: 2},
	{path: "net/ipv4/tcp_timestamps", value: "1", low: 0, hi: 2},
	{path: "net/ipv4/tcp_tw_reuse", value: "2", low: 0, hi: 2},
	{path: "net/ipv4/tcp_window_scaling", value: "1", low: 0, hi: 1},
	{path: "net/ipv4/tcp_fastopen", value: "0"},
	{path: "net/ipv4/tcp_syn_retries", value: "6", low: 1, hi: 127},
	{path: "net/ipv4/tcp_retries2", value: "15", low: 0, hi: 255},
	{path: "net/ipv4/conf/all/forwarding", value: "0", low: 0, hi: 1},
	{path: "net/ipv4/conf/all/rp_filter", value: "0", low: 0, hi: 2},
	{path: "net/ipv4/conf/default/rp_filter", value: "0", low: 0, hi: 2},
	{path: "net/ipv4/conf/all/route_localnet", value: "0", low: 0, hi: 1},
	{path: "net/ipv6/bindv6only", value: "0", low: 0, hi: 1},
	{path: "net/ipv6/conf/all/disable_ipv6", value: "0", low: 0, hi: 1},
	{path: "net/ipv6/conf/default/disable_ipv6", value: "0", low: 0, hi: 1},
	{path: "net/ipv6/conf/lo/disable_ipv6", value: "0", low: 0, hi: 1},
	{path: "net/ipv6/conf/all/forwarding", value: "0", low: 0, hi: 1},
	{path: "net/netfilter/nf_conntrack_max", value: "262144", low: 0, hi: maxInt},
	{path: "abi/vsyscall32", value: "0"},
	{path: "dev/tty/legacy_tiocsti", value: "0"},
	{path: "user/max_mnt_namespaces", value: "0"},
	{path: "user/max_user_namespaces", value: "0", low: 0, hi: maxInt},
	{path: "user/max_inotify_instances", value: "128", low: 0, hi: maxInt},
	{path: "user/max_inotify_watches", value: "65536", low: 0, hi: maxInt},
}
