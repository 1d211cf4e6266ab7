package agent

import (
	"runtime"
	"strings"

	"bulkhead.dev/bulkhead/internal/agent/word"
)

// ahead does on its own what containers need and nothing waits for, while the
// agent makes itself ready and the host thinks: it waits for the CPUs behind the
// first, makes the tables of the messages' code, and loads the modules that the
// host says are wanted (a template has none: a clone's devices come later). What is
// wanted earlier is done where it is wanted; modules.mu and the tables' own locks
// see to it that it is done once.
func (a *Agent) ahead() {
	leave := a.stages.enter("bringing up the CPUs behind the first")
	err := <-word.Online
	leave()
	a.cpus <- err
	if err == nil {
		runtime.SetDefaultGOMAXPROCS() // this process began on one CPU
	}
	if a.options.modules == "" {
		return
	}
	rehearseMessages()
	a.loadAll(a.options.modules)
}

// behind does what no container waits for, when one is made.
func (a *Agent) behind() {
	go func() {
		a.behindOnce.Do(func() { a.loadAll(a.options.later) })
		a.modules.release()
	}()
}

// loadAll loads groups of modules; what went wrong is told who needs them.
func (a *Agent) loadAll(groups string) {
	for g := range strings.SplitSeq(groups, ",") {
		if g == "" {
			continue
		}
		if err := a.modules.load(g); err != nil {
			say("ahead: %v", err)
		}
	}
}
