package container

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// maxAccounts bounds what is read of a root's /etc/passwd or /etc/group, which
// belong to whoever made the root.
const maxAccounts = 4 << 20

// user sets who the command runs as: the caller, or --user by the names of the
// root's own /etc/passwd and /etc/group.
func (o *DoOptions) user(p *wire.Process, root string) error {
	p.UID, p.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	if o.User == "" {
		groups, err := os.Getgroups()
		if err != nil {
			return fmt.Errorf("groups of the caller: %w", err)
		}
		for _, g := range groups {
			p.GIDs = append(p.GIDs, uint32(g))
		}
		return nil
	}
	passwd := accounts(root, "/etc/passwd")
	group := accounts(root, "/etc/group")
	u, err := user.GetExecUser(o.User, nil, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return fmt.Errorf("--user %q: %w", o.User, err)
	}
	p.UID, p.GID = uint32(u.Uid), uint32(u.Gid)
	for _, g := range u.Sgids {
		p.GIDs = append(p.GIDs, uint32(g))
	}
	if u.Home != "" && !hasEnv(o.Env, "HOME") {
		o.Env = append(o.Env, "HOME="+u.Home)
	}
	return nil
}

// accounts reads one file of the root, as a chroot there would find it; a file
// that is not there has no accounts.
func accounts(root, path string) string {
	fd, err := openIn(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return ""
	}
	return string(raw)
}
