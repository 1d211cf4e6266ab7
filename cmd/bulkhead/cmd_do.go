package main

import (
	"fmt"
	"time"

	"bulkhead.dev/bulkhead/internal/container"
	"bulkhead.dev/bulkhead/internal/wire"
)

func init() {
	register(&command{
		name: "do", args: "-- COMMAND…", short: "run one command in a new sandbox",
		examples: `
bulkhead do -- python3 untrusted.py
bulkhead do --volume "$PWD":/work --workdir /work -- make test
bulkhead do --root-dir ./rootfs --user nobody --memory 256M --pids 64 --timeout 30s -- /app
bulkhead do --strace -- ls /

The root is the host's file system, read-only below an overlay in memory. The
command sees loopback as its only network, and of the environment PATH, HOME,
USER, SHELL, TERM, TZ and the locale. The exit code is the command's, or 128
and the signal that ended it; 124 when --timeout ran out, 125 when the sandbox
could not be made, 126 and 127 when the command could not be run or found.`,
		setup: setupDo,
	})
}

func setupDo(c *context) func([]string) int {
	var o container.DoOptions
	var volumes, env stringList
	var memory size
	fs := c.flags
	fs.StringVar(&o.RootDir, "root-dir", "", "`dir`ectory that becomes the root (default: the host's /)")
	fs.Var(&volumes, "volume", "host directory or file to mount, as `src:dst[:ro]`; may be repeated")
	fs.StringVar(&o.Workdir, "workdir", "", "`dir`ectory to start in (default: the current one, if the root has it)")
	fs.Var(&env, "env", "set an environment variable, `name=value`, or pass the caller's, NAME; may be repeated")
	fs.StringVar(&o.User, "user", "", "run as `user[:group]`, by name or number (default: the caller)")
	fs.Var(&memory, "memory", "limit the memory of the sandbox to `bytes` (K, M, G)")
	fs.Int64Var(&o.Pids, "pids", 0, "limit the number of `tasks`")
	fs.DurationVar(&o.Timeout, "timeout", 0, "end the command after a `time` such as 30s: SIGTERM, a second later SIGKILL")
	fs.BoolVar(&o.Strace, "strace", false, "show every system call, on stderr or in --debug-log")
	fs.BoolVar(&o.CountCalls, "count-calls", false, "count the system calls, and write the counts to --debug-log or stderr at the end")
	fs.StringVar(&o.DebugLog, "debug-log", "", "append messages of the sandbox to `file`")
	alias(fs, "v", "volume")
	alias(fs, "e", "env")
	alias(fs, "w", "workdir")
	alias(fs, "u", "user")
	alias(fs, "m", "memory")
	wall := fs.String("wall", string(c.wall), "sentry or vm, as the global flag of that `name`")
	noTemplate := fs.Bool("no-template", false, "behind the VM wall: boot the machine, and restore no snapshot that others of yours start from too")
	accel := fs.String("accel", "auto", "behind the VM wall: auto, kvm or tcg, as `name`")
	hypervisor := fs.String("hypervisor", "qemu", "behind the VM wall: qemu, cloud-hypervisor or firecracker, as `name`")
	channel := fs.String("channel", "virtio", "behind the VM wall, of QEMU: virtio (a serial port) or vsock, as `name`")
	return func(args []string) int {
		o.Volumes, o.Env, o.Memory, o.Args = volumes, env, int64(memory), args
		o.Stdin, o.Stdout, o.Stderr = c.stdin, c.stdout, c.stderr
		if err := container.CheckWall(container.Wall(*wall)); err != nil {
			return c.failWith(container.ExitFailure, err)
		}
		if container.Wall(*wall) == container.WallVM {
			o.VM = &wire.VMOptions{NoTemplate: *noTemplate, Accel: *accel, Hypervisor: *hypervisor, Channel: *channel}
			if err := container.CheckHypervisor(*hypervisor); err != nil {
				return c.failWith(container.ExitFailure, fmt.Errorf("--hypervisor: %w", err))
			}
			if err := container.CheckChannel(*channel); err != nil {
				return c.failWith(container.ExitFailure, fmt.Errorf("--channel: %w", err))
			}
		}
		if o.Pids < 0 || o.Timeout < 0*time.Second {
			return c.failWith(container.ExitFailure, errNegative)
		}
		code, err := container.Do(o)
		return c.failWith(code, err)
	}
}
