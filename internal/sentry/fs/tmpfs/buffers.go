package tmpfs

import (
	"math/bits"
	"sync"
)

// Buffers for file contents come in powers of two from 256 bytes to inlineMax.
const minClass = 8

var pools [17]sync.Pool

// class gives the smallest power of two that holds n bytes.
func class(n int) int { return max(minClass, bits.Len(uint(n-1))) }

// getBuf gives a buffer of length n whose bytes, up to its capacity, are zero.
func getBuf(n int) []byte {
	k := class(n)
	if p, _ := pools[k].Get().(*[]byte); p != nil {
		return (*p)[:n]
	}
	return make([]byte, n, 1<<k)
}

// putBuf takes a buffer back; nobody may look at it any more.
func putBuf(b []byte) {
	c := cap(b)
	if c < 1<<minClass || c&(c-1) != 0 || c > inlineMax {
		return
	}
	b = b[:c]
	clear(b)
	pools[class(c)].Put(&b)
}
