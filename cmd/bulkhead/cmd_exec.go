package main

import (
	"fmt"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	registerInternal("exec-proxy", func(args []string) (int, bool) { return container.ExecProxyMain(args), true })
	register(&command{
		name: "exec", args: "ID COMMAND…", short: "run one more process in a container",
		examples: "bulkhead exec web1 ps aux\nbulkhead exec --tty web1 sh\nbulkhead exec --detach --pid-file job.pid --process process.json web1",
		setup:    setupExec,
	})
}

func setupExec(c *context) func([]string) int {
	var o container.ExecOptions
	var env, gids, caps, cgroup stringList
	fs := c.flags
	fs.StringVar(&o.ConsoleSocket, "console-socket", "", "Unix `socket` that gets the master of the process's terminal")
	fs.StringVar(&o.Cwd, "cwd", "", "`dir`ectory to start in (default: the container's)")
	fs.Var(&env, "env", "set an environment variable, `name=value`; may be repeated")
	fs.BoolVar(&o.Tty, "tty", false, "give the process a terminal")
	fs.StringVar(&o.User, "user", "", "run as `uid[:gid]` (default: the container's)")
	fs.Var(&gids, "additional-gids", "add a supplementary `gid`; may be repeated")
	fs.StringVar(&o.ProcessFile, "process", "", "take all of it from a `process.json`")
	fs.BoolVar(&o.Detach, "detach", false, "return when the process has started")
	fs.StringVar(&o.PidFile, "pid-file", "", "`file` to write the host pid to that stands for the process")
	fs.StringVar(&o.ProcessLabel, "process-label", "", "accepted; has no `effect` in the guest")
	fs.StringVar(&o.AppArmor, "apparmor", "", "accepted; has no `effect` in the guest")
	fs.BoolVar(&o.NoNewPrivs, "no-new-privs", false, "the process can gain no privileges by exec")
	fs.Var(&caps, "cap", "add a `capability`; may be repeated")
	fs.IntVar(&o.PreserveFDs, "preserve-fds", 0, "pass `n` more descriptors, from 3 on")
	fs.Var(&cgroup, "cgroup", "refused: the `guest` kernel is one, in one cgroup")
	fs.BoolVar(&o.IgnorePaused, "ignore-paused", false, "allow it in a paused container; it runs after resume")
	for short, long := range map[string]string{"e": "env", "t": "tty", "u": "user", "g": "additional-gids", "p": "process", "d": "detach", "c": "cap"} {
		alias(fs, short, long)
	}
	return func(args []string) int {
		if len(args) == 0 {
			return c.failWith(exitFailure, fmt.Errorf("want a container id and a command"))
		}
		if len(args) == 1 && o.ProcessFile == "" {
			return c.failWith(exitExec, fmt.Errorf("process args cannot be empty"))
		}
		if err := c.checkPreserve(o.PreserveFDs); err != nil {
			return c.failWith(exitExec, err)
		}
		if len(cgroup) > 0 {
			return c.failWith(exitExec, fmt.Errorf("--cgroup is refused: the guest kernel runs in one cgroup"))
		}
		rt, err := c.runtime()
		if err != nil {
			return c.failWith(exitExec, err)
		}
		o.ID, o.Args = args[0], args[1:]
		if len(o.Args) > 0 && o.Args[0] == "--" {
			o.Args = o.Args[1:]
		}
		o.Env, o.GIDs, o.Caps = env, gids, caps
		o.Stdin, o.Stdout, o.Stderr = c.stdin, c.stdout, c.stderr
		code, err := rt.Exec(o)
		if err != nil {
			return c.failWith(exitExec, err)
		}
		return code
	}
}
