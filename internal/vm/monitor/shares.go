package monitor

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/virtiofs"
)

// makeRoot gives the machine its root file system: a read-only image of the
// tree, made once and cached by content, on a disk; or, of a live root, a
// share.
func (m *monitor) makeRoot(cfg *hypervisor.Config) error {
	root := m.cfg.Trees.Mounts[0]
	if m.cfg.VM.LiveRoot {
		cache := virtiofs.CacheAlways
		if m.first.writableRoot() {
			cache = virtiofs.CacheAuto
		}
		return m.share(cfg, rootTag, cache, []virtiofs.Tree{{Source: root.Root, Writable: m.first.writableRoot()}})
	}
	image, err := m.machine.cache.RootImage(m.machine.image, root.Root, guest.RootOptions{})
	if err != nil {
		return err
	}
	m.machine.entries = append(m.machine.entries, image.Entry)
	m.rootType = string(image.Format)
	cfg.Disks = append(cfg.Disks, hypervisor.Disk{ID: rootSerial, File: image.File, ReadOnly: true})
	return nil
}

// makeVolumes serves every bind mount by one daemon, each below its index.
func (m *monitor) makeVolumes(cfg *hypervisor.Config) error {
	var trees []virtiofs.Tree
	for i, t := range m.cfg.Trees.Mounts {
		if i > 0 && !(m.cfg.VM.Pod && t.Dest == podShmAt) {
			trees = append(trees, virtiofs.Tree{Source: t.Root, Name: volumePath(i), Writable: !t.Readonly})
		}
	}
	if len(trees) == 0 {
		return nil
	}
	return m.share(cfg, volumesTag, virtiofs.CacheAuto, trees)
}

func (m *monitor) share(cfg *hypervisor.Config, tag string, cache virtiofs.Cache, trees []virtiofs.Tree) error {
	if m.cfg.Container.Privileges.UserNamespace {
		return errors.New("behind the VM wall an ordinary user has no volumes and not the host's root: virtiofsd serves no programs in a user namespace; give do a --root-dir, or start it as root")
	}
	o := virtiofs.Options{Trees: trees, Cache: cache, OneTree: tag == podRootsTag || tag == rootTag && !m.first.writableRoot(), Dir: m.scratch, Log: os.Stderr}
	if m.cfg.Container.Privileges.MountNamespace {
		o.Flags = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWPID
	}
	s, err := virtiofs.Start(o)
	if err != nil {
		return fmt.Errorf("share %s: %w", tag, err)
	}
	if len(m.shares) == 0 { // a machine with shares is never a clone
		cfg.Append += fmt.Sprintf(" bulkhead.files=%d", virtiofs.Files())
	}
	m.shares = append(m.shares, s)
	cfg.Shares = append(cfg.Shares, hypervisor.Share{Tag: tag, Socket: s.Socket})
	m.watchShare(s)
	return nil
}

// syncVolumes makes what the container wrote through a memory map reach the
// host before the machine is switched off.
func (m *monitor) syncVolumes() {
	writable := m.pod != nil || m.cfg.VM.LiveRoot && m.first.writableRoot()
	for i, t := range m.cfg.Trees.Mounts {
		writable = writable || i > 0 && !t.Readonly
	}
	if !writable {
		return
	}
	ctx, cancel := m.call()
	defer cancel()
	_, _ = m.agent.Shutdown(ctx, &agentEmpty)
}
