package vfstest

import (
	"math/rand/v2"
	"sync"
)

// Stress runs random calls on the guest from several goroutines, n each. Only
// that it ends, and the race detector, judge it.
func Stress(seed uint64, workers, n int, guest Doer, limits Limits) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			g := &Gen{R: rand.New(rand.NewPCG(seed, uint64(w))), Users: true, Limits: limits, Names: DefaultOps}
			if g.Xattrs == nil {
				g.Xattrs = DefaultXattrs
			}
			for range n {
				guest.Do(g.Next())
			}
		}()
	}
	wg.Wait()
}
