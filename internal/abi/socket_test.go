package abi

import (
	"bytes"
	"testing"
)

func TestCmsgWriterCuts(t *testing.T) {
	for _, tc := range []struct {
		space, n int // bytes of data
		length   int // of the buffer
		cut      bool
	}{
		{0, 4, 0, true},
		{15, 4, 0, true},
		{16, 4, 16, true},
		{19, 4, 19, true},
		{20, 4, 20, false},
		{24, 4, 24, false},
		{100, 4, 24, false},
		{100, 12, 32, false},
	} {
		w := CmsgWriter{Space: tc.space}
		w.Put(1, 2, make([]byte, tc.n))
		if len(w.Buf) != tc.length || w.Truncated != tc.cut {
			t.Errorf("space %d: %d bytes, cut %v; want %d, %v", tc.space, len(w.Buf), w.Truncated, tc.length, tc.cut)
		}
	}
}

func TestCmsgRoundTrip(t *testing.T) {
	w := CmsgWriter{Space: 200}
	w.Put(1, 2, []byte("hello"))
	w.PutInt(3, 4, -5)
	m, rest, ok, e := NextCmsg(w.Buf)
	if !ok || e != 0 || m.Level != 1 || m.Type != 2 || string(m.Data) != "hello" {
		t.Fatalf("%+v %v %v", m, ok, e)
	}
	m, rest, ok, e = NextCmsg(rest)
	if !ok || e != 0 || m.Level != 3 || !bytes.Equal(m.Data, []byte{0xfb, 0xff, 0xff, 0xff}) {
		t.Fatalf("%+v %v %v", m, ok, e)
	}
	if _, _, ok, e = NextCmsg(rest); ok || e != 0 {
		t.Error("more than two")
	}
}

func FuzzNextCmsg(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 32))
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := 0; ; n++ {
			_, rest, ok, e := NextCmsg(b)
			if !ok || e != 0 {
				return
			}
			if len(rest) >= len(b) || n > len(b) {
				t.Fatal("no progress")
			}
			b = rest
		}
	})
}

func FuzzSockaddr(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(make([]byte, 28))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := GetSockaddrIn(b)
		if !ok {
			return
		}
		if again, ok := GetSockaddrIn(a.Append(nil)); !ok || again != a {
			t.Fatalf("%+v became %+v", a, again)
		}
	})
}
