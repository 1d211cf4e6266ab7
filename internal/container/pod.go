package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// A pod behind the VM wall is one VM. Kubernetes' engines tell by annotations: the
// sandbox container, made first, whose VM it is, and containers that join it. Such
// a container's trees (its root and volumes) are mounted where the pod's virtiofsd
// serves them, and `bulkhead-vmm member` stands for it on the host.

// podKeys are the annotations of a container's part in a pod, and of the id of the
// pod's sandbox container.
var podKeys = []struct{ part, id string }{
	{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
	{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
}

// Annotations of a sandbox container: what the pod's containers may use together.
const (
	podMemoryAnnotation    = "io.kubernetes.cri.sandbox-memory" // bytes
	podCPUQuotaAnnotation  = "io.kubernetes.cri.sandbox-cpu-quota"
	podCPUPeriodAnnotation = "io.kubernetes.cri.sandbox-cpu-period"
)

// podPart says whether a container is a pod's sandbox, or whose pod it joins.
func podPart(a map[string]string) (sandbox bool, joins string) {
	for _, k := range podKeys {
		switch a[k.part] {
		case "sandbox":
			return true, ""
		case "container":
			return false, a[k.id]
		}
	}
	return false, ""
}

// joinPod makes a launch that of a pod's VM, or of a container that joins one.
func (c *creation) joinPod(ns map[specs.LinuxNamespaceType]*specs.LinuxNamespace) error {
	a, vm := c.bundle.config.Annotations, c.launch.vm
	sandbox, id := podPart(a)
	if sandbox {
		vm.Pod = true
		vm.PodMemory, _ = strconv.ParseInt(a[podMemoryAnnotation], 10, 64)
		quota, _ := strconv.ParseInt(a[podCPUQuotaAnnotation], 10, 64)
		period, _ := strconv.ParseInt(a[podCPUPeriodAnnotation], 10, 64)
		if vm.CPUs == 0 && quota > 0 && period > 0 {
			vm.CPUs = int((quota + period - 1) / period)
		}
		return nil
	}
	if id == "" {
		return nil
	}
	p, err := c.rt.open(id)
	if errors.Is(err, ErrNotExist) {
		return fmt.Errorf("the container is of pod %s, whose sandbox container is not there: create that first, with the same --root", id)
	}
	if err != nil {
		return fmt.Errorf("the pod's sandbox container %s: %w", id, err)
	}
	if p.rec.Wall != WallVM {
		return fmt.Errorf("the pod's sandbox container %s is behind the wall %s, and this container is to be behind %s: a pod has one wall", id, p.rec.Wall, WallVM)
	}
	if s := p.status(); s == StatusStopped {
		return fmt.Errorf("the pod's sandbox container %s is %s: its VM takes no more containers", id, s)
	}
	joins := func(t specs.LinuxNamespaceType) bool { return ns[t] == nil || ns[t].Path != "" }
	vm.PodIPC, vm.PodUTS = joins(specs.IPCNamespace), joins(specs.UTSNamespace)
	vm.PodPIDs = ns[specs.PIDNamespace] != nil && ns[specs.PIDNamespace].Path != ""
	// A name is used once: the guest may remember what was there by it.
	vm.Member = fmt.Sprintf("%s.%x", c.opts.ID, time.Now().UnixNano())
	c.rec.Pod, c.rec.PodName, c.rec.PodTrees = id, vm.Member, len(c.launch.gofer.Mounts)
	fd, err := unix.Open(p.path("control.sock"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the pod's sandbox container %s: control socket: %w", id, err)
	}
	c.launch.pod = os.NewFile(uintptr(fd), "control socket of "+id)
	return nil
}

// podShare is one of the two that a pod's VM has for the trees of its containers.
type podShare struct{ dir, ns int }

// podShares asks for both; nil if the pod is no more.
func (c *Container) podShares() ([]podShare, error) {
	p, err := c.rt.open(c.rec.Pod)
	if err != nil || p.status() == StatusStopped {
		return nil, nil
	}
	client, err := wire.DialControl(p.path("control.sock"))
	if err != nil {
		return nil, nil // it has ended since
	}
	defer client.Close()
	fds, err := client.Place()
	if err != nil {
		return nil, fmt.Errorf("the pod %s: %w", c.rec.Pod, err)
	}
	return []podShare{{fds[wire.PlaceRootsDir], fds[wire.PlaceRootsNS]}, {fds[wire.PlaceVolumesDir], fds[wire.PlaceVolumesNS]}}, nil
}

func closeShares(list []podShare) {
	for _, s := range list {
		unix.Close(s.dir)
		unix.Close(s.ns)
	}
}

// placeTrees mounts the container's trees where the pod's virtiofsd serves them.
func (c *creation) placeTrees() error {
	if c.rec.Pod == "" {
		return nil
	}
	shares, err := c.podShares()
	if err != nil {
		return err
	}
	if shares == nil {
		return fmt.Errorf("the pod's sandbox container %s has ended", c.rec.Pod)
	}
	defer closeShares(shares)
	for i, t := range c.launch.gofer.Mounts {
		s := shares[1]
		if i == 0 && (t.Readonly || !c.launch.vm.LiveRoot) {
			s = shares[0]
		}
		if err := s.place(wire.PodTree(c.rec.PodName, i), &t); err != nil {
			return fmt.Errorf("placing %s in the pod: %w", t.Root, err)
		}
	}
	return nil
}

// place mounts one tree under a name.
func (s podShare) place(name string, t *wire.GoferMount) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, t.Root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if t.Readonly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.Mkdirat(s.dir, name, 0o755)
	} else {
		err = unix.Mknodat(s.dir, name, unix.S_IFREG|0o644, 0)
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	return s.inside(func() error {
		if err := unix.MoveMount(tree, "", unix.AT_FDCWD, wire.PodDir+"/"+name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		return nil
	})
}

// inside runs f in the share's mount namespace.
func (s podShare) inside(f func() error) error { return inNamespace(s.ns, unix.CLONE_NEWNS, f) }

// leavePod takes the container's trees away, if the pod is there still.
func (c *Container) leavePod() error {
	if c.rec.Pod == "" {
		return nil
	}
	shares, err := c.podShares()
	if errors.As(err, new(*wire.ControlError)) {
		return nil // it takes no trees, and has none
	}
	if err != nil {
		return err
	}
	defer closeShares(shares)
	for _, s := range shares {
		for i := range c.rec.PodTrees {
			name := wire.PodTree(c.rec.PodName, i)
			var st unix.Stat_t
			if unix.Fstatat(s.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // of the other share, or never placed
			}
			err := s.inside(func() error { return unix.Unmount(wire.PodDir+"/"+name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
			if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: nothing is mounted there
				return fmt.Errorf("taking %s out of the pod: %w", name, err)
			}
			flags := 0
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				flags = unix.AT_REMOVEDIR
			}
			if err := unix.Unlinkat(s.dir, name, flags); err != nil {
				return fmt.Errorf("taking %s out of the pod: %w", name, err)
			}
		}
	}
	return nil
}
