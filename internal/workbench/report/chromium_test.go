//go:build browser

package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browser is a chromium behind its debugging pipe: JSON messages that end with a
// zero byte, to descriptor 3 and from descriptor 4.
type browser struct {
	in         *os.File
	out        chan message
	id         int
	requests   []string
	complaints []string
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// tab is a page of the browser's.
type tab struct {
	*browser
	session string
}

func startBrowser(t *testing.T) *browser {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: make test-browser installs it")
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{inR, outW}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	b := &browser{in: inW, out: make(chan message, 1000)}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		inW.Close()
	})
	go b.read(outR)
	return b
}

func (b *browser) read(r *os.File) {
	defer close(b.out)
	for in := bufio.NewReader(r); ; {
		data, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) == nil {
			b.out <- m
		}
	}
}

// send calls a method and waits for its result; events that come meanwhile are
// looked at. Every wait has a limit.
func (b *browser) send(t *testing.T, session, method string, params any, result any) {
	t.Helper()
	b.id++
	data, err := json.Marshal(map[string]any{"id": b.id, "method": method, "params": params, "sessionId": session})
	if session == "" {
		data, err = json.Marshal(map[string]any{"id": b.id, "method": method, "params": params})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		t.Fatal(err)
	}
	m := b.wait(t, method, func(m message) bool { return m.ID == b.id })
	if m.Error != nil {
		t.Fatalf("%s: %s", method, m.Error.Message)
	}
	if result != nil {
		if err := json.Unmarshal(m.Result, result); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
}

func (b *browser) wait(t *testing.T, what string, want func(message) bool) message {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case m, ok := <-b.out:
			if !ok {
				t.Fatalf("chromium ended during %s", what)
			}
			b.event(m)
			if want(m) {
				return m
			}
		case <-limit:
			t.Fatalf("no answer to %s", what)
		}
	}
}

func (b *browser) event(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		json.Unmarshal(m.Params, &p)
		if !strings.HasPrefix(p.Request.URL, "data:") {
			b.requests = append(b.requests, p.Request.URL)
		}
	case "Runtime.exceptionThrown", "Log.entryAdded":
		b.complaints = append(b.complaints, string(m.Params))
	}
}

// open shows a file in a new tab of a width and colour scheme.
func (b *browser) open(t *testing.T, file string, width int, scheme string) *tab {
	t.Helper()
	var target struct{ TargetID string }
	b.send(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.send(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &tab{b, attached.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(t, domain+".enable", map[string]any{}, nil)
	}
	p.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	p.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.requests, b.complaints = nil, nil
	p.call(t, "Page.navigate", map[string]any{"url": "file://" + file}, nil)
	b.wait(t, "loading the page", func(m message) bool { return m.Method == "Page.loadEventFired" })
	return p
}

func (p *tab) call(t *testing.T, method string, params, result any) {
	t.Helper()
	p.send(t, p.session, method, params, result)
}

// text evaluates an expression in the page.
func (p *tab) text(t *testing.T, expression string) string {
	t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	p.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, r.ExceptionDetails.Text)
	}
	return fmt.Sprint(r.Result.Value)
}

func (p *tab) number(t *testing.T, expression string) float64 {
	t.Helper()
	var v float64
	if _, err := fmt.Sscan(p.text(t, expression), &v); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}
