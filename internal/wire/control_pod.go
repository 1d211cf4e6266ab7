package wire

import "strconv"

// A pod's VM takes further containers while it runs: each has a process of its
// own on the host, the member, which stands where a monitor does (its pid is the
// container's, it serves a control connection and ends with init's status) and
// asks the pod's monitor for everything.
//
//	lifecycle ── Place ──▶ monitor              two directories, two mount namespaces
//	    │ mounts the container's trees there
//	    └── VMConfig ──▶ member ── Join ──▶ monitor
//	                        └ requests of that container ▶
//
// The connection of a Join stays open as long as the member lives: when it ends
// the monitor ends the container.

// Descriptors of Place's answer: where trees are made, and the mount namespace in
// which virtiofsd sees them in its directory PodDir.
const (
	PlaceRootsDir = iota
	PlaceRootsNS
	PlaceVolumesDir
	PlaceVolumesNS
	PlaceFDs // how many
)

// PodDir is where a virtiofsd has what it serves.
const PodDir = "/share"

// PodTree is the name of a container's tree n in a share: the root's is 0.
func PodTree(name string, n int) string { return name + "-" + strconv.Itoa(n) }

// JoinArgs make a container in a pod's VM. The descriptors beside it are its
// stdin, stdout and stderr.
type JoinArgs struct {
	Name   string   `json:"name"` // never used before in this VM
	Config VMConfig `json:"config"`
	Start  bool     `json:"start,omitempty"`
}

// PodHandler is a ControlHandler of a VM that takes further containers.
type PodHandler interface {
	// Place gives descriptors that stay the handler's.
	Place() ([]int, error)
	// Join owns the descriptors it is given.
	Join(args JoinArgs, fds []int) error
	// Member handles the requests of one that has joined.
	Member(name string) (ControlHandler, error)
	// Gone says that a member's process has ended.
	Gone(name string)
}
