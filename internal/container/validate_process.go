package container

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// process checks the process of a config.json or of `exec --process`.
func (c *checker) process(path string, p *specs.Process) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		c.errorf(path+".args", "is required")
	}
	for i, s := range p.Args {
		c.text(fmt.Sprintf("%s.args[%d]", path, i), s)
	}
	for i, s := range p.Env {
		c.text(fmt.Sprintf("%s.env[%d]", path, i), s)
	}
	c.absolute(path+".cwd", p.Cwd)
	c.treat(p.User.Username != "", "process.user.username", path+".user.username")
	if p.User.Umask != nil && *p.User.Umask > 0o777 {
		c.errorf(path+".user.umask", "%#o is greater than 0777", *p.User.Umask)
	}
	c.treat(p.CommandLine != "", "process.commandLine", path+".commandLine")
	c.treat(p.ApparmorProfile != "", "process.apparmorProfile", path+".apparmorProfile")
	c.treat(p.SelinuxLabel != "", "process.selinuxLabel", path+".selinuxLabel")
	c.rlimits(path+".rlimits", p.Rlimits)
	c.capabilities(path+".capabilities", p.Capabilities)
	if p.OOMScoreAdj != nil && (*p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000) {
		c.errorf(path+".oomScoreAdj", "%d is not between -1000 and 1000", *p.OOMScoreAdj)
	}
	if _, err := schedulerOf(p.Scheduler); err != nil {
		c.errorf(path+".scheduler", "%v", err)
	}
	if _, err := ioPriorityOf(p.IOPriority); err != nil {
		c.errorf(path+".ioPriority", "%v", err)
	}
	if a := p.ExecCPUAffinity; a != nil {
		c.treat(a.Initial != "", "process.execCPUAffinity.initial", path+".execCPUAffinity.initial")
		if _, err := parseCPUList(a.Initial); err != nil {
			c.errorf(path+".execCPUAffinity.initial", "%v", err)
		}
		if _, err := parseCPUList(a.Final); err != nil {
			c.errorf(path+".execCPUAffinity.final", "%v", err)
		}
	}
	if b := p.ConsoleSize; b != nil && (b.Height > 0xffff || b.Width > 0xffff) {
		c.errorf(path+".consoleSize", "%d×%d is greater than 65535", b.Height, b.Width)
	}
}

func (c *checker) rlimits(path string, list []specs.POSIXRlimit) {
	seen := make(map[string]bool)
	for i, r := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, ok := rlimitNumbers()[r.Type]; !ok {
			c.errorf(at+".type", "%q is no resource limit", r.Type)
		}
		if seen[r.Type] {
			c.errorf(at+".type", "%s is given twice", r.Type)
		}
		seen[r.Type] = true
		if r.Soft > r.Hard {
			c.errorf(at+".soft", "%d is greater than the hard limit %d", r.Soft, r.Hard)
		}
	}
}

// capabilities warns of names that the kernel does not have, as the
// specification asks.
func (c *checker) capabilities(path string, caps *specs.LinuxCapabilities) {
	if caps == nil {
		return
	}
	for _, set := range []struct {
		name string
		list []string
	}{
		{"bounding", caps.Bounding}, {"effective", caps.Effective}, {"inheritable", caps.Inheritable},
		{"permitted", caps.Permitted}, {"ambient", caps.Ambient},
	} {
		if _, unknown := capMask(set.list); len(unknown) > 0 {
			c.warn("%s.%s: no capability is called %q; it is left out", path, set.name, unknown)
		}
	}
}
