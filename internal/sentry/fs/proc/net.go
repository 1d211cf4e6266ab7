package proc

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// netHeads are the files of /proc/net that exist whatever the network is; what
// the socket packages provide takes their place.
var netHeads = map[string]string{
	"dev": "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
	"tcp":        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n",
	"tcp6":       "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
	"udp":        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n",
	"udp6":       "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"raw":        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"raw6":       "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	"unix":       "Num       RefCount Protocol Flags    Type St Inode Path\n",
	"packet":     "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
	"netlink":    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
	"route":      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n",
	"arp":        "IP address       HW type     Flags       HW address            Mask     Device\n",
	"protocols":  "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n",
	"sockstat":   "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
	"sockstat6":  "TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n",
	"if_inet6":   "",
	"ipv6_route": "",
	"igmp":       "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n",
	"igmp6":      "",
	"dev_mcast":  "",
	"ptype":      "Type Device      Function\n",
	"wireless":   "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n",
	"snmp":       "",
	"snmp6":      "",
	"netstat":    "",
	"rt_cache":   "",
	"psched":     "000003e8 00000040 000f4240 3b9aca00\n",
	"fib_trie":   "",
	"xfrm_stat":  "",
}

// net makes the files of the network once.
func (p *Proc) net() map[string]vfs.Inode {
	p.netOnce.Do(func() { p.netDir = p.netFiles() })
	return p.netDir
}

func (p *Proc) netFiles() map[string]vfs.Inode {
	out := map[string]vfs.Inode{}
	for name, text := range netHeads {
		out[name] = kernfs.Text(text)
	}
	inspect.Provided(func(path string, c inspect.Content) {
		if name, ok := strings.CutPrefix(path, "net/"); ok {
			out[name] = contentFile(c)
		}
	})
	return out
}

// contentFile makes the file of what another part of the Sentry provides.
func contentFile(c inspect.Content) *kernfs.File {
	f := kernfs.NewFile(c.Mode, func(call vfs.Caller, b *bytes.Buffer) abi.Errno { return c.Read(call, b) })
	f.Write = c.Write
	return f
}

// makeNetDir is /proc/PID/net: the network is the same for all processes.
func makeNetDir(d *taskDir, n kernfs.Meta) vfs.Inode {
	dir := &kernfs.Dir{Refusal: unix.ENOENT}
	dir.Meta = n
	dir.Nlink = 2
	files := d.i.p.net()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		dir.Add(name, files[name])
	}
	return dir
}
