package workbench

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sitePrefix begins the name of every site's directory.
const sitePrefix = "bulkhead-bench."

// lockSite marks a site as in use for as long as this process lives (flock(2)).
func lockSite(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeStale removes the sites of workbenches that were killed before they
// could clean up: those whose lock nobody holds. Nothing is mounted below a
// site, and what somebody else owns is left alone.
func removeStale(work string) {
	locks, _ := filepath.Glob(filepath.Join(work, sitePrefix+"*", "lock"))
	for _, l := range locks {
		f, err := os.OpenFile(l, os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		mine := unix.Fstat(int(f.Fd()), &st) == nil && int(st.Uid) == os.Geteuid()
		if mine && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(filepath.Dir(l))
		}
		f.Close()
	}
}
