package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "update", args: "ID", short: "change the limits of a container",
		examples: "bulkhead update --memory 268435456 --pids-limit 100 web1\nbulkhead update --resources limits.json web1\necho '{\"cpu\":{\"quota\":50000,\"period\":100000}}' | bulkhead update -r - web1",
		setup:    setupUpdate,
	})
}

// updateFlags are the limits on the command line. A number that is not given
// is left alone.
type updateFlags struct {
	memory, reservation, swap               string
	quota, rtRuntime, pids                  optInt
	shares, period, burst, rtPeriod, weight optUint
	cpus, mems, l3, mb                      string
	idle                                    optInt
}

func setupUpdate(c *context) func([]string) int {
	var u updateFlags
	fs := c.flags
	file := fs.String("resources", "", "read all of it from a `file` in the form of linux.resources, - for stdin")
	alias(fs, "r", "resources")
	u.define(fs)
	return func(args []string) int {
		return c.withContainer(args, func(rt *container.Runtime, id string) error {
			r, err := c.updateResources(rt, *file, &u)
			if err != nil {
				return err
			}
			return rt.Update(id, r)
		})
	}
}

func (u *updateFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&u.memory, "memory", "", "memory limit in `bytes`")
	fs.StringVar(&u.reservation, "memory-reservation", "", "soft limit in `bytes`")
	fs.StringVar(&u.swap, "memory-swap", "", "limit of memory and swap together in `bytes`, -1 for none")
	fs.Var(&u.pids, "pids-limit", "greatest `number` of tasks")
	fs.Var(&u.shares, "cpu-share", "relative `weight` of CPU time")
	fs.Var(&u.quota, "cpu-quota", "CPU time in `µs` allowed in a period")
	fs.Var(&u.period, "cpu-period", "length of a period in `µs`")
	fs.Var(&u.burst, "cpu-burst", "CPU time in `µs` that may be saved up")
	fs.Var(&u.rtRuntime, "cpu-rt-runtime", "real-time CPU time in `µs` allowed in a period")
	fs.Var(&u.rtPeriod, "cpu-rt-period", "length of a real-time period in `µs`")
	fs.Var(&u.idle, "cpu-idle", "`1` to run only when a CPU is idle")
	fs.StringVar(&u.cpus, "cpuset-cpus", "", "`list` of CPUs to use")
	fs.StringVar(&u.mems, "cpuset-mems", "", "`list` of memory nodes to use")
	fs.Var(&u.weight, "blkio-weight", "`weight` of block I/O, 10 to 1000")
	fs.StringVar(&u.l3, "l3-cache-schema", "", "refused: Intel RDT is not `offered`")
	fs.StringVar(&u.mb, "mem-bw-schema", "", "refused: Intel RDT is not `offered`")
}

func (c *context) updateResources(rt *container.Runtime, file string, u *updateFlags) (*specs.LinuxResources, error) {
	if file == "" {
		return u.resources()
	}
	in := c.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--resources: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, 17<<20))
	if err != nil {
		return nil, fmt.Errorf("--resources: %w", err)
	}
	return rt.ParseResources(raw)
}

func (u *updateFlags) resources() (*specs.LinuxResources, error) {
	if u.l3 != "" || u.mb != "" {
		return nil, fmt.Errorf("--l3-cache-schema and --mem-bw-schema are refused: Intel RDT is not offered")
	}
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{},
		CPU: &specs.LinuxCPU{
			Shares: u.shares.v, Quota: u.quota.v, Period: u.period.v, Burst: u.burst.v,
			RealtimeRuntime: u.rtRuntime.v, RealtimePeriod: u.rtPeriod.v, Idle: u.idle.v, Cpus: u.cpus, Mems: u.mems,
		},
	}
	for _, m := range []struct {
		name, text string
		to         **int64
	}{{"memory", u.memory, &r.Memory.Limit}, {"memory-reservation", u.reservation, &r.Memory.Reservation}, {"memory-swap", u.swap, &r.Memory.Swap}} {
		switch {
		case m.text == "":
			continue
		case m.text == "-1":
			n := int64(-1)
			*m.to = &n
			continue
		}
		n, err := parseSize(m.text)
		if err != nil {
			return nil, fmt.Errorf("--%s %q: %w", m.name, m.text, err)
		}
		*m.to = &n
	}
	if u.pids.v != nil {
		r.Pids = &specs.LinuxPids{Limit: u.pids.v}
	}
	if u.weight.v != nil {
		if *u.weight.v > 1000 {
			return nil, fmt.Errorf("--blkio-weight %d is not between 10 and 1000", *u.weight.v)
		}
		w := uint16(*u.weight.v)
		r.BlockIO = &specs.LinuxBlockIO{Weight: &w}
	}
	return r, nil
}

// optInt and optUint are numbers that may be left out.
type optInt struct{ v *int64 }

func (o *optInt) String() string { return "" }

func (o *optInt) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	o.v = &n
	return err
}

type optUint struct{ v *uint64 }

func (o *optUint) String() string { return "" }

func (o *optUint) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	o.v = &n
	return err
}
