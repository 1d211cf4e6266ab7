# the Go toolchain: build and test a small module offline, and run what it made.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export GOFLAGS=-mod=mod GOPROXY=off GONOSUMDB=* GOCACHE=${CONFORM_GOCACHE:-$PWD/cache} GOPATH=$PWD/gopath GOTMPDIR=$PWD GOTOOLCHAIN=local GO111MODULE=on GOTELEMETRY=off CGO_ENABLED=0
mkdir m; cd m; go mod init example.test/m 2>/dev/null; mkdir calc
cat > calc/calc.go <<'G'
// Package calc adds.
package calc

// Sum adds numbers on as many goroutines.
func Sum(ns []int) int {
	c := make(chan int)
	for _, n := range ns {
		go func() { c <- n }()
	}
	s := 0
	for range ns {
		s += <-c
	}
	return s
}
G
cat > calc/calc_test.go <<'G'
package calc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSum(t *testing.T) {
	ns := make([]int, 1000)
	for i := range ns {
		ns[i] = i
	}
	if got := Sum(ns); got != 499500 {
		t.Errorf("got %d", got)
	}
}

func TestExec(t *testing.T) {
	out, err := exec.Command("echo", "x").Output()
	if err != nil || string(out) != "x\n" {
		t.Error(err, string(out))
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "f"), out, 0o600); err != nil {
		t.Error(err)
	}
}
G
cat > main.go <<'G'
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"example.test/m/calc"
)

func main() {
	var wg sync.WaitGroup
	for i := 0; i < 50; i++ {
		wg.Add(1)
		r, w, err := os.Pipe() // polled by the runtime's epoll
		if err != nil {
			panic(err)
		}
		go func() {
			defer wg.Done()
			b := make([]byte, 8)
			if n, _ := r.Read(b); string(b[:n]) != "ping" {
				panic("pipe")
			}
		}()
		go func() { time.Sleep(time.Millisecond); w.Write([]byte("ping")) }()
	}
	wg.Wait()
	s := make(chan os.Signal, 1)
	signal.Notify(s, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	select {
	case <-s:
	case <-time.After(10 * time.Second):
		panic("no signal")
	}
	func() {
		defer func() { recover() }()
		var p *int
		*p = 1 // a fault becomes a panic
	}()
	runtime.GC()
	fmt.Println("sum", calc.Sum([]int{1, 2, 3}))
}
G
go build -o prog . ; want "$(./prog)" "sum 6"; go test ./... > log 2>&1 || die "$(cat log)"; grep -q "^ok" log
gofmt -l . | grep . && die "gofmt" || true
want "$(GOMAXPROCS=1 ./prog)" "sum 6"
