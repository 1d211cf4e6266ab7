// Package stub holds only this test: the stub itself is C, built by build.sh.
package stub

import (
	"os"
	"os/exec"
	"testing"
)

// TestStubIsCurrent builds the stub again: the committed blob must be the same.
func TestStubIsCurrent(t *testing.T) {
	out := t.TempDir() + "/stub.elf"
	if b, err := exec.Command("./build.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("stub/build.sh: %v\n%s", err, b)
	}
	committed, err := os.ReadFile("../stub.elf")
	if err != nil {
		t.Fatal(err)
	}
	built, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if string(built) != string(committed) {
		t.Fatal("stub.elf is not what stub/ builds: run `go generate ./internal/platform`")
	}
}
