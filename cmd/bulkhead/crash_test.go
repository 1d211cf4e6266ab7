package main

import (
	"bytes"
	"os"
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
