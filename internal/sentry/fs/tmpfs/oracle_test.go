package tmpfs

import (
	"os"
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestAgainstHost runs random calls on the host's tmpfs and on ours.
func TestAgainstHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the oracle is a tmpfs mounted in a mount namespace")
	}
	for seed := range uint64(5) {
		host, err := vfstest.NewHost(t.TempDir())
		if err != nil {
			t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v", err)
		}
		fs, e := New(vfs.Internal, "", 0, "mode=755,size=64m,nr_inodes=100k")
		if e != 0 {
			t.Fatal(e)
		}
		err = vfstest.Compare(seed, 2000, host, vfstest.NewGuest(fs), vfstest.Limits{})
		host.Close()
		fs.Ops.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
}
