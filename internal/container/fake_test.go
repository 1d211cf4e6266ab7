package container

import (
	"io"
	"os"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/container/fakewall"
)

// TestMain makes the test binary its own Sentry and Gofer.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sentry":
			os.Exit(fakewall.Sentry(os.Args[2:]))
		case "gofer":
			os.Exit(fakewall.Gofer(os.Args[2:]))
		case "exec-proxy":
			os.Exit(ExecProxyMain(os.Args[2:]))
		case "headless":
			headless()
		case "orphans":
			leaveOrphans()
		}
	}
	os.Exit(m.Run())
}

// pipeOut gives a file to write to and what reads it all.
func pipeOut(t *testing.T) (*os.File, func() string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		r.Close()
		out <- string(b)
	}()
	return w, func() string {
		w.Close()
		return strings.TrimSpace(<-out)
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
