// Package resttest has a server that records the requests of a hypervisor
// driver, for its tests.
package resttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Server is a fake API.
type Server struct {
	// Fail is a path that is answered with 400.
	Fail string

	mu    sync.Mutex
	calls []string
	done  chan struct{}
	once  sync.Once
}

// New makes a server that is not listening yet: Listen is what the fake
// hypervisor does when it is started.
func New() *Server { return &Server{done: make(chan struct{})} }

// Listen serves on a socket until the test ends.
func (s *Server) Listen(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, s)
}

// ServeHTTP records "METHOD PATH BODY", the body with sorted keys.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	line := r.Method + " " + r.URL.Path
	var v any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(v)
		line += " " + string(bytes.TrimSpace(b.Bytes()))
	}
	s.mu.Lock()
	s.calls = append(s.calls, line)
	s.mu.Unlock()
	if s.Fail == r.URL.Path {
		http.Error(w, `{"fault_message":"no"}`, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Calls are the requests so far.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

// Expect compares the requests so far.
func (s *Server) Expect(t *testing.T, want ...string) {
	t.Helper()
	got := s.Calls()
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("request %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

// Kill, Done and Err make the server its own process.
func (s *Server) Kill()                 { s.once.Do(func() { close(s.done) }) }
func (s *Server) Done() <-chan struct{} { return s.done }
func (s *Server) Err() error            { return fmt.Errorf("killed") }
