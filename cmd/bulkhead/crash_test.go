package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCrashIsTold: a Sentry that crashes, behind a guest that has closed stderr, is
// not taken for a guest that exited: `run` says what happened, and exits with 1.
func TestCrashIsTold(t *testing.T) {
	v := newVictim(t, false)
	config := filepath.Join(v.bundle, "config.json")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	closed := bytes.Replace(raw, []byte(`"busybox sleep 1000`), []byte(`"exec 2\u003e\u0026-; : \u003e/up; busybox sleep 1000`), 1)
	if bytes.Equal(raw, closed) {
		t.Fatalf("no such command in %s", raw)
	}
	if err := os.WriteFile(config, closed, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := v.begin("run", "--bundle", v.bundle, "k")
	up := filepath.Join(v.bundle, "rootfs", "up")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(up); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the guest does not run")
		}
	}
	if err := unix.Kill(v.note().Sentry.Pid, unix.SIGABRT); err != nil { // Go's runtime crashes by itself
		t.Fatal(err)
	}
	code := v.end(cmd)
	said, _ := os.ReadFile(cmd.Stdout.(*os.File).Name())
	if code != 1 || !strings.Contains(string(said), "the sandbox's kernel crashed") || !strings.Contains(string(said), "SIGABRT") {
		t.Errorf("exit code %d: %.400s", code, said)
	}
}

// TestAbortShowsWaits: SIGABRT to a foreground command shows what everything in the
// sandbox waits for, and ends both; `debug` shows it too, and ends nothing.
func TestAbortShowsWaits(t *testing.T) {
	v := newVictim(t, false)
	config := filepath.Join(v.bundle, "config.json")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	trap := bytes.Replace(raw, []byte(`"busybox sleep 1000 \u0026`), []byte(`"trap ': \u003e/got' USR1; : \u003e/up; busybox sleep 1000 \u0026`), 1)
	if bytes.Equal(raw, trap) {
		t.Fatalf("no such command in %s", raw)
	}
	if err := os.WriteFile(config, trap, 0o644); err != nil {
		t.Fatal(err)
	}
	appears := func(name string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(v.bundle, "rootfs", name)); err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("/%s does not appear", name)
			}
		}
	}
	said := func(cmd *exec.Cmd) string {
		raw, _ := os.ReadFile(cmd.Stdout.(*os.File).Name())
		return string(raw)
	}
	cmd := v.begin("run", "--bundle", v.bundle, "k")
	appears("up")
	cmd.Process.Signal(unix.SIGUSR1)
	appears("got") // the command passes signals on by now
	debug := v.begin("debug", "k")
	if code := v.end(debug); code != 0 {
		t.Errorf("debug: exit code %d", code)
	}
	cmd.Process.Signal(unix.SIGABRT)
	if code := v.end(cmd); code != 2 { // as a Go program ends by it
		t.Errorf("exit code %d", code)
	}
	for what, text := range map[string]string{"debug": said(debug), "SIGABRT": said(cmd)} {
		for _, want := range []string{"Sentry: process ", "Gofer: process ", "of process 1 (busybox): ", "host thread ", "goroutine "} {
			if !strings.Contains(text, want) {
				inside := text[max(0, strings.Index(text, "\ninside:")):]
				t.Errorf("%s does not say %q: %.2000s\n…%.2000s", what, want, text, inside)
			}
		}
	}
}

// TestNoCores: no process of a sandbox may leave a core file, or have the host's
// helper read one.
func TestNoCores(t *testing.T) {
	v := newVictim(t, false)
	v.must("create", "--bundle", v.bundle, "k")
	v.must("start", "k")
	v.note()
	if len(v.pids) < 4 { // Sentry, Gofer, zygote and the guest's
		t.Errorf("processes %v", v.pids)
	}
	for pid := range v.pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil {
			continue // a sleep of the guest's that has ended
		}
		for line := range strings.Lines(string(raw)) {
			rest, ok := strings.CutPrefix(line, "Max core file size")
			if limit := strings.Join(strings.Fields(rest), " "); ok && limit != "1 1 bytes" && limit != "0 0 bytes" { // 0 0: as we were started
				t.Errorf("process %d: %s", pid, line)
			}
		}
	}
}
