package drive

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

func TestComplaint(t *testing.T) {
	for in, want := range map[string]string{
		"":             "",
		"one\ntwo\n\n": "two",
		`{"level":"error","msg":"no such thing","time":"x"}`:                      "no such thing",
		`time="2026" level=error msg="cannot open \"x\""`:                         `cannot open "x"`,
		"x\npanic: index out of range [3]\n\ngoroutine 1 [running]:\nmain.go:7\n": "panic: index out of range [3]",
		"{broken\n":               "{broken",
		strings.Repeat("x", 1000): strings.Repeat("x", 240) + "…",
	} {
		if got := Complaint(in); got != want {
			t.Errorf("Complaint(%.40q) = %q, want %q", in, got, want)
		}
	}
}

// A runtime's whole process tree dies with its time limit, a child that left
// the process group included.
func TestTimeLimitKillsAll(t *testing.T) {
	if err := BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	l, err := NewLauncher(false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = l.run(ctx, []string{"/bin/sh", "-c", "setsid sleep 1000 & trap '' TERM INT; sleep 1000"}, nil)
	if err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
	if _, err := Sweep(); err != nil {
		t.Error(err)
	}
	if live, zombies := descendants(os.Getpid()); len(live)+len(zombies) > 0 {
		t.Errorf("left: %v, zombies %v", live, zombies)
	}
}

func TestTryLimit(t *testing.T) {
	share := map[string]float64{"quick": 0.5}
	for _, c := range []struct {
		flag, want time.Duration
		r          spec.Runtime
	}{
		{0, tryLimit, spec.Runtime{}},
		{0, slowTry * tryLimit, spec.Runtime{TimeShare: share}},
		{0, time.Second, spec.Runtime{TryLimit: spec.Duration(time.Second)}},
		{time.Minute, time.Minute, spec.Runtime{TryLimit: spec.Duration(time.Second)}},
	} {
		if got := (&Finder{Mode: "quick", Limit: c.flag}).limit(&c.r); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	var b buffer
	for range 10 {
		if n, err := b.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if len(b.String()) != maxOutput {
		t.Errorf("kept %d bytes", len(b.String()))
	}
}

func TestBundle(t *testing.T) {
	dir := t.TempDir()
	c := &Container{ID: "x", Args: []string{"a"}, Env: map[string]string{"B": "2", "A": "1"}, RootFS: "/r", Bench: "/b", Work: "/w"}
	path, err := c.writeBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Root    struct{ Readonly bool }
		Process struct{ Env []string }
		Mounts  []struct{ Destination, Source string }
	}
	if err := json.Unmarshal(data, &s); err != nil || !s.Root.Readonly {
		t.Fatalf("%s, %v", data, err)
	}
	if env := strings.Join(s.Process.Env, " "); !strings.HasSuffix(env, "A=1 B=2") {
		t.Errorf("environment %q", env)
	}
	last := s.Mounts[len(s.Mounts)-1]
	if last.Destination != WorkDir || last.Source != "/w" {
		t.Errorf("last mount %+v", last)
	}
}

func TestClientTemplates(t *testing.T) {
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Fatal(err)
	}
	r := &spec.Runtime{Name: "c", Command: []string{"echo", "-n"}, Client: &spec.Client{
		Run:   []string{"run", "{mounts}", "{env}", "{image}", "name={id}", "{argv}"},
		Mount: []string{"--mount", "{src}:{dst}:{mode}"}, Tmpfs: []string{"--tmpfs={dst}"}, Env: []string{"-e", "{env}"},
	}}
	k, err := NewClient(r, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	out, err := k.Run(context.Background(), &Container{ID: "i", Args: []string{"sh", "-c", "{id}"}, Image: "img", Bench: "/b", Work: "/w"})
	want := "run --tmpfs=/tmp --tmpfs=/mnt --mount /b:/mnt/bench:ro --mount /w:/mnt/scratch:rw -e PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin -e LC_ALL=C img name=i sh -c {id}"
	if err != nil || out.Stdout != want {
		t.Errorf("got %q, %v\nwant %q", out.Stdout, err, want)
	}
	if _, _, err := k.Life(context.Background(), nil); err != ErrNoSteps {
		t.Errorf("got %v", err)
	}
}

// TestClientDeletesAgain: an engine that refuses to delete at first is asked again, and one that
// goes on refusing is an error.
func TestClientDeletesAgain(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	for _, c := range []struct {
		refusals string
		ok       bool
	}{{"2", true}, {"99", false}} {
		os.Remove(count)
		r := &spec.Runtime{Name: "c", Command: []string{"sh"}, Client: &spec.Client{
			Delete: []string{"-c", `echo >>"$1"; [ $(wc -l <"$1") -gt $2 ]`, "sh", count, c.refusals},
		}}
		k, err := NewClient(r, "/bin/sh")
		if err != nil {
			t.Fatal(err)
		}
		err = k.Release(context.Background(), &Held{Container: &Container{ID: "i"}})
		k.Close()
		if (err == nil) != c.ok {
			t.Errorf("%s refusals: %v", c.refusals, err)
		}
	}
}
