package container

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A process that is moved into a cgroup stops every fork and exit on the host
// while the kernel waits for each CPU to notice, some milliseconds. A thread
// that moves itself, by 0 written to `tasks`, does not, and what it starts is
// born there. So the starter's thread visits the container's cgroups, starts
// Sentry and Gofer, and goes back. In cgroup v2 a thread has no cgroup apart
// from its process: there clone3(2) is told of it (CLONE_INTO_CGROUP).

// nursery is a visit to a container's cgroups.
type nursery struct {
	to, back []int // the files named tasks, open
	v2       int   // the v2 cgroup's directory, or -1
	late     bool  // a process was not born in that, and has to be moved
}

// openNursery opens what is needed to go there and back; nil where processes
// must be moved.
func openNursery(paths map[string]string, trees map[string]v1Tree) *nursery {
	n := &nursery{v2: -1}
	for _, name := range v1Names {
		path := paths[name]
		switch {
		case path == "" || name == "devices":
			continue
		case name == "":
			fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err == nil {
				n.v2 = fd
			} else if len(trees) == 0 { // there is no other
				return nil
			}
			continue
		}
		to, err := unix.Open(path+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			n.to = append(n.to, to)
			to, err = unix.Open(trees[name].own+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0)
			n.back = append(n.back, to)
		}
		if err != nil {
			n.close()
			return nil
		}
	}
	return n
}

func (n *nursery) close() {
	if n == nil {
		return
	}
	for _, fd := range append(slices.Concat(n.to, n.back), n.v2) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	n.to, n.back, n.v2 = nil, nil, -1
}

// enter moves the calling thread, which is locked, into the cgroups.
func (n *nursery) enter() error { return joinTasks(n.to) }

// leave moves it back.
func (n *nursery) leave() error { return joinTasks(n.back) }

func joinTasks(files []int) error {
	for _, fd := range files {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return fmt.Errorf("moving a thread to another cgroup: %w", err)
		}
	}
	return nil
}
