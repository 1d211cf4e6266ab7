package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair gives a client's end and a fake QEMU's.
func pair(t *testing.T) (client, qemu *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return out[0], out[1]
}

// serve greets, then answers each command by f.
func serve(conn *net.UnixConn, f func(command string) string) {
	conn.Write([]byte(`{"QMP":{"version":{}}}` + "\n"))
	dec := json.NewDecoder(bufio.NewReader(conn))
	for {
		var m struct {
			Execute string `json:"execute"`
		}
		if dec.Decode(&m) != nil {
			return
		}
		if answer := f(m.Execute); answer != "" {
			conn.Write([]byte(answer + "\n"))
		} else {
			conn.Close()
			return
		}
	}
}

func TestCommands(t *testing.T) {
	client, qemu := pair(t)
	events := make(chan Event, 4)
	go serve(qemu, func(command string) string {
		switch command {
		case "qmp_capabilities":
			return `{"return":{}}`
		case "stop":
			return `{"event":"STOP","data":{"x":1}}` + "\n" + `{"return":{}}`
		case "query-status":
			return `{"return":{"status":"paused"}}`
		case "bad":
			return `{"error":{"class":"GenericError","desc":"no such thing"}}`
		}
		return ""
	})
	c, err := New(client, 5*time.Second, func(e Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do("stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Name != "STOP" || string(e.Data) != `{"x":1}` {
		t.Errorf("event %v", e)
	}
	var st struct{ Status string }
	if err := c.Do("query-status", nil, &st); err != nil || st.Status != "paused" {
		t.Errorf("%v %v", st, err)
	}
	var refusal *Error
	if err := c.Do("bad", nil, nil); !errors.As(err, &refusal) || refusal.Desc != "no such thing" {
		t.Errorf("a refusal: %v", err)
	}
	if err := c.Do("quit", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a QEMU that ends: %v", err)
	}
}

func TestHostile(t *testing.T) {
	for name, greeting := range map[string]string{
		"not JSON": "hello\n",
		"too long": `{"QMP":"` + strings.Repeat("x", maxMessage+4096) + "\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			client, qemu := pair(t)
			go func() {
				qemu.Write([]byte(greeting))
				qemu.CloseWrite()
			}()
			if _, err := New(client, 5*time.Second, nil); err == nil {
				t.Error("it was taken for QEMU")
			}
		})
	}
}
