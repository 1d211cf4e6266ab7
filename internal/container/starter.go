package container

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// starter runs functions on the one thread that Sentries, Gofers and monitors
// are started by. Their parent-death signal follows it, so it lives as long as
// the process; they have no_new_privs from it, which each would otherwise have
// to stop all its threads for. Hooks and the like come from other threads.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		// Should it fail, the children do it themselves.
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		for f := range work {
			f()
		}
	}()
	return work
})

// onStarter runs f on the starter's thread.
func onStarter(f func() error) (err error) {
	done := make(chan struct{})
	starter() <- func() {
		defer close(done)
		err = f()
	}
	<-done
	return err
}

// visit runs f with the thread in the network namespace ns. If it cannot go back
// f has failed, whatever it has started.
func visit[T any](ns *os.File, f func() (T, error)) (out T, err error) {
	if ns == nil {
		return f()
	}
	back, err := enterNetNS(ns)
	if err != nil {
		return out, err
	}
	out, err = f()
	if e := back(); e != nil && err == nil {
		err = fmt.Errorf("leaving the network namespace %s: %v", ns.Name(), e) // no refusal: nothing else is tried
	}
	return out, err
}
