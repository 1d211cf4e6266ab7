package main

import (
	"flag"
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "create", args: "ID", short: "make a container and leave it ready to start",
		examples: "bulkhead create --bundle /containers/web web1\nbulkhead start web1",
		setup: func(c *context) func([]string) int {
			o := createFlags(c.flags)
			return func(args []string) int {
				rt, code := c.prepare(args, o)
				if code >= 0 {
					return code
				}
				defer o.close()
				return c.fail0(rt.Create(o.CreateOptions))
			}
		},
	})
	register(&command{
		name: "run", args: "ID", short: "create and start a container",
		examples: "bulkhead run --bundle /containers/web web1\nbulkhead run --detach --pid-file web1.pid --bundle /containers/web web1",
		setup: func(c *context) func([]string) int {
			o := createFlags(c.flags)
			detach := c.flags.Bool("detach", false, "return when the container has started")
			keep := c.flags.Bool("keep", false, "do not delete the container when it has ended")
			c.flags.Bool("no-subreaper", false, "accepted for runc's sake: nothing is reaped but the sandbox")
			alias(c.flags, "d", "detach")
			return func(args []string) int {
				rt, code := c.prepare(args, o)
				if code >= 0 {
					return code
				}
				defer o.close()
				code, err := rt.Run(o.CreateOptions, *detach, *keep)
				if err != nil {
					return c.fail(err)
				}
				return code
			}
		},
	})
}

// createOptions are the flags that create and run have in common.
type createOptions struct {
	container.CreateOptions
	debugLog string
}

func createFlags(fs *flag.FlagSet) *createOptions {
	o := new(createOptions)
	fs.StringVar(&o.Bundle, "bundle", "", "`dir`ectory with config.json (default: the current one)")
	fs.StringVar(&o.ConsoleSocket, "console-socket", "", "Unix `socket` that gets the master of the container's terminal")
	fs.StringVar(&o.PidFile, "pid-file", "", "`file` to write the container's host pid to")
	fs.IntVar(&o.PreserveFDs, "preserve-fds", 0, "pass `n` more descriptors, from 3 on")
	fs.Bool("no-pivot", false, "accepted for runc's sake: the guest's root is not the host's to pivot")
	fs.Bool("no-new-keyring", false, "accepted for runc's sake: the guest has no keyring of the host")
	fs.BoolVar(&o.Strace, "strace", false, "log every system call, to --debug-log or stderr")
	fs.StringVar(&o.debugLog, "debug-log", "", "append messages of the sandbox to `file`")
	alias(fs, "b", "bundle")
	return o
}

// prepare completes the options; the code is not negative if that failed.
func (c *context) prepare(args []string, o *createOptions) (*container.Runtime, int) {
	if err := exactly(args, 1, "one container id"); err != nil {
		return nil, c.fail(err)
	}
	if err := c.checkPreserve(o.PreserveFDs); err != nil {
		return nil, c.fail(err)
	}
	rt, err := c.runtime()
	if err != nil {
		return nil, c.fail(err)
	}
	o.ID = args[0]
	o.Stdin, o.Stdout, o.Stderr = c.stdin, c.stdout, c.stderr
	if o.debugLog != "" {
		o.DebugLog, err = os.OpenFile(o.debugLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, c.fail(fmt.Errorf("--debug-log: %w", err))
		}
	}
	return rt, -1
}

func (o *createOptions) close() {
	if o.DebugLog != nil {
		o.DebugLog.Close()
	}
}
