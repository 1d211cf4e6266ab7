package agentpb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated holds the generated files to agent.proto: by its sum always,
// and byte for byte where the generators are installed.
func TestGenerated(t *testing.T) {
	proto, err := os.ReadFile("agent.proto")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(proto)
	if got := hex.EncodeToString(sum[:]); got != protoSum {
		t.Fatalf("agent.proto has changed (%s, generated from %s): run go generate ./internal/wire/agentpb", got, protoSum)
	}
	for _, tool := range []string{"protoc", "protoc-gen-go", "protoc-gen-go-ttrpc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not in PATH: the sum alone was compared", tool)
			return
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("./generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, out)
	}
	for _, name := range []string{"agent.pb.go", "agent_ttrpc.pb.go", "sum.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Another version of a generator names itself in a comment.
		if !bytes.Equal(withoutComments(got), withoutComments(want)) {
			t.Errorf("%s is not what generate.sh makes of agent.proto", name)
		}
	}
}

func withoutComments(src []byte) []byte {
	var out [][]byte
	for _, line := range bytes.Split(src, []byte("\n")) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("//")) {
			out = append(out, line)
		}
	}
	return bytes.Join(out, []byte("\n"))
}
