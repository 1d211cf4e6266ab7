package agent

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// workDir is in the agent's root; no container sees it.
//
//	s/N     storages, mounted once each
//	d/NAME  directories that containers share
//	root    where a container's root is put together (in its mount namespace)
//	rw      the tmpfs of its overlay
//	files   its small files
const workDir = "/run/bulkhead"

// storage is a mounted file system of the host's making.
type storage struct {
	key  string
	dir  string
	refs int
}

// useStorage mounts a storage, or counts one more user of it. Called with
// storageMu held.
func (a *Agent) useStorage(s *agentpb.Storage) (*storage, error) {
	key := storageKey(s)
	if have := a.storages[key]; have != nil {
		have.refs++
		return have, nil
	}
	a.storageSeq++
	st := &storage{key: key, dir: fmt.Sprintf("%s/s/%d", workDir, a.storageSeq), refs: 1}
	if err := os.MkdirAll(st.dir, 0o755); err != nil {
		return nil, fmt.Errorf("storage %s: %w", key, err)
	}
	var err error
	switch {
	case s.GetVirtiofsTag() != "":
		err = a.mountVirtiofs(s, st.dir)
	case s.GetBlockSerial() != "" || s.GetBlockName() != "":
		err = a.mountBlock(s, st.dir)
	default:
		err = errors.New("has no source")
	}
	if err != nil {
		_ = os.Remove(st.dir)
		return nil, fmt.Errorf("storage %s: %w", key, err)
	}
	a.storages[key] = st
	return st, nil
}

// dropStorage unmounts a storage that nobody uses. Called with storageMu held.
func (a *Agent) dropStorage(st *storage) {
	if st.refs--; st.refs > 0 {
		return
	}
	if err := unix.Unmount(st.dir, unix.MNT_DETACH); err != nil {
		say("storage %s: %v", st.key, err)
	}
	_ = os.Remove(st.dir)
	delete(a.storages, st.key)
}

func storageKey(s *agentpb.Storage) string {
	switch {
	case s.GetVirtiofsTag() != "":
		return "virtiofs " + s.GetVirtiofsTag()
	case s.GetBlockSerial() != "":
		return "disk " + s.GetBlockSerial()
	}
	return "device " + s.GetBlockName()
}

func (a *Agent) mountVirtiofs(s *agentpb.Storage, dir string) error {
	if err := a.modules.load(agentpb.GroupVirtiofs); err != nil {
		return err
	}
	a.forget()
	// The device itself may still be on its way.
	return a.retry(func() error {
		var flags uintptr
		if s.Readonly {
			flags = unix.MS_RDONLY
		}
		return unix.Mount(s.GetVirtiofsTag(), dir, "virtiofs", flags, "")
	}, unix.EINVAL, unix.ENODEV)
}

func (a *Agent) mountBlock(s *agentpb.Storage, dir string) error {
	if err := a.modules.load(agentpb.GroupBlock); err != nil {
		return err
	}
	switch s.FsType {
	case "erofs", "squashfs":
		if err := a.modules.load(s.FsType); err != nil {
			return err
		}
	case "ext4":
	default:
		return fmt.Errorf("fs_type %q is none of erofs, squashfs and ext4", s.FsType)
	}
	name := s.GetBlockName()
	if name == "" {
		name = a.disks[s.GetBlockSerial()]
	}
	if err := a.retry(func() (err error) {
		if name == "" {
			name, err = blockBySerial(s.GetBlockSerial())
			return err
		}
		return unix.Access("/dev/"+name, unix.F_OK)
	}, unix.ENOENT); err != nil {
		return err
	}
	if name != path.Base(name) {
		return fmt.Errorf("block_name %q is no name", name)
	}
	flags := uintptr(unix.MS_NODEV)
	if s.Readonly {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("/dev/"+name, dir, s.FsType, flags, "")
}

// blockBySerial finds a disk by its serial number.
func blockBySerial(serial string) (string, error) {
	disks, err := disksBySerial()
	if err == nil && disks[serial] == "" {
		err = fmt.Errorf("no disk has that serial number: %w", unix.ENOENT)
	}
	return disks[serial], err
}

// disksBySerial names the disks that are there.
func disksBySerial() (map[string]string, error) {
	dir, err := os.Open("/sys/block")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, name := range names {
		if serial, err := readFile("/sys/block/" + name + "/serial"); err == nil {
			out[serial] = name
		}
	}
	return out, nil
}

// deviceWait is how long a device may take to appear.
const deviceWait = 20 * time.Second

// retry does f again while it fails with one of the errors, for a device that
// is still being found.
func (a *Agent) retry(f func() error, again ...error) error {
	deadline := time.Now().Add(deviceWait)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		retried := false
		for _, e := range again {
			retried = retried || errors.Is(err, e)
		}
		if !retried || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}

// sharedDir gives a directory that containers share, made on first use. Called
// with storageMu held.
func (a *Agent) sharedDir(name string, size uint64) (string, error) {
	if !validName(name) {
		return "", fmt.Errorf("shared_dir %q is no name", name)
	}
	dir := workDir + "/d/" + name
	if a.shared[name] {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("shared directory %s: %w", name, err)
	}
	data := "mode=1777"
	if size > 0 {
		data += fmt.Sprintf(",size=%d", size)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return "", fmt.Errorf("shared directory %s: %w", name, err)
	}
	a.shared[name] = true
	return dir, nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-"

// validName says whether a name of the host's may become a file's.
func validName(s string) bool {
	return s != "" && len(s) <= 128 && s != "." && s != ".." && strings.Trim(s, nameBytes) == ""
}
