package kernel

// processExit are called, under Kernel.mu, when the last thread of a process
// exits, before anybody is told.
var processExit []func(tg *ThreadGroup)

// AtProcessExit adds a call for each process's end, for what other packages
// keep of processes (System V's undo values). For init functions; f takes no
// lock under which the process table is called, and does not block.
func AtProcessExit(f func(tg *ThreadGroup)) { processExit = append(processExit, f) }

func (tg *ThreadGroup) runExitHooks() {
	for _, f := range processExit {
		f(tg)
	}
}
