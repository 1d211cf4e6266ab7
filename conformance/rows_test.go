package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// calledAs names the C library's function for calls that no guest program names.
var calledAs = map[string]string{
	"rt_sigreturn": "sigaction", "rt_sigtimedwait": "sigtimedwait", "rt_sigsuspend": "sigsuspend", "syslog": "klogctl",
	"mq_getsetattr": "mq_getattr", "prlimit64": "prlimit", "pselect6": "pselect", "signalfd4": "signalfd", "eventfd2": "eventfd",
	"fadvise64": "posix_fadvise", "pread64": "pread", "pwrite64": "pwrite", "sendfile64": "sendfile",
}

var cWord = regexp.MustCompile(`[A-Za-z_0-9]+`)

// TestEveryFullRowHasACase: a call that `bulkhead help syscalls` says is answered in full is called by a guest program.
func TestEveryFullRowHasACase(t *testing.T) {
	if nativeOnly() {
		t.Skip("on demand: it asks bulkhead, and CONFORM_NATIVE_ONLY is set")
	}
	out, err := exec.Command(wall(t).binary, "help", "syscalls", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Name, State string }
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	words, full := guestWords(t), 0
	for _, r := range rows {
		if r.State != "full" {
			continue
		}
		full++
		if !words[r.Name] && !words["SYS_"+r.Name] && !words[calledAs[r.Name]] {
			t.Errorf("%s is said to be full, and no guest program calls it", r.Name)
		}
	}
	if full < 200 {
		t.Errorf("only %d rows are full: %.100s", full, out)
	}
}

// guestWords are the words of the guest programs, without those of comments.
func guestWords(t *testing.T) map[string]bool {
	files, err := filepath.Glob("guest/*.c")
	if err != nil || len(files) == 0 {
		t.Fatalf("no guest programs: %v", err)
	}
	words := map[string]bool{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(src)) {
			code, _, _ := strings.Cut(line, "//")
			for _, w := range cWord.FindAllString(code, -1) {
				words[w] = true
			}
		}
	}
	return words
}
