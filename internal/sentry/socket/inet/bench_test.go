package inet

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

func BenchmarkConnectClose(b *testing.B) {
	st, c := newStack(b)
	l := listen(b, st, c, "127.0.0.1:5004")
	to := addr("127.0.0.1:5004")
	b.ReportAllocs()
	for b.Loop() {
		cl, _ := st.New(c, unix.AF_INET, unix.SOCK_STREAM, 0)
		if e := connect(b, c, cl, to); e != 0 {
			b.Fatal(e)
		}
		srv := accept(b, c, l)
		cl.Release(nil)
		srv.Release(nil)
	}
}

func BenchmarkUDP(b *testing.B) {
	st, c := newStack(b)
	srv := open(b, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	srv.Bind(c, addr("127.0.0.1:5005"))
	cl := open(b, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	cl.Connect(c, addr("127.0.0.1:5005"))
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		cl.SendMsg(c, &socket.Msg{Data: buf}, 0)
		await(srv, waiter.In, func() abi.Errno { _, e := srv.RecvMsg(c, &socket.Msg{Data: buf}, 0); return e })
	}
}
