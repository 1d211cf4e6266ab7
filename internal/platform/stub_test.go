package platform

import (
	"os"
	"os/exec"
	"testing"
)

// checkStub builds the stub again: the committed blob must be the same. It runs
// before the platform starts, which takes over waiting for children.
func checkStub() string {
	dir, err := os.MkdirTemp("", "stub")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	if b, err := exec.Command("stub/build.sh", dir+"/stub.elf").CombinedOutput(); err != nil {
		return "stub/build.sh: " + err.Error() + "\n" + string(b)
	}
	built, err := os.ReadFile(dir + "/stub.elf")
	if err != nil {
		return err.Error()
	}
	if string(built) != string(stubELF) {
		return "stub.elf is not what stub/ builds: run `go generate ./internal/platform`"
	}
	return ""
}

func TestStubIsCurrent(t *testing.T) {
	if stubTrouble != "" {
		t.Fatal(stubTrouble)
	}
}
