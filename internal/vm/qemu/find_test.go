package qemu

import (
	"strings"
	"testing"
)

func TestFindSaysWhatToInstall(t *testing.T) {
	defer func(old []string) { places = old }(places)
	places = nil
	t.Setenv("BULKHEAD_QEMU", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends qemu-system-x86") {
		t.Errorf("without QEMU: %v", err)
	}
}
