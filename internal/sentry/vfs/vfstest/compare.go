package vfstest

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Doer runs calls and answers with a text.
type Doer interface{ Do(o Op) string }

// Compare runs n random calls on both and gives the first difference.
func Compare(seed uint64, n int, host, guest Doer, limits Limits) error {
	g := &Gen{R: rand.New(rand.NewPCG(seed, 1)), Users: true, Limits: limits}
	for _, n := range DefaultOps {
		if !slices.Contains(limits.Without, n) {
			g.Names = append(g.Names, n)
		}
	}
	if g.Xattrs == nil {
		g.Xattrs = DefaultXattrs
	}
	var trail []string
	for i := range n {
		o := g.Next()
		want, got := host.Do(o), guest.Do(o)
		trail = append(trail, fmt.Sprintf("%s = %s", o, want))
		if want != got {
			if len(trail) > 12 {
				trail = trail[len(trail)-12:]
			}
			msg := ""
			for _, s := range trail {
				msg += "\n  " + s
			}
			return fmt.Errorf("seed %d, call %d:\n  %s\n  host:  %s\n  guest: %s\nbefore:%s", seed, i, o, want, got, msg)
		}
	}
	return nil
}
