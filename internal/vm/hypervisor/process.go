package hypervisor

// VsockCID is the guest's address; each VM has a vsock of its own.
const VsockCID = 3

// Process is a hypervisor's, as the jail starts it.
type Process interface {
	Kill()
	Done() <-chan struct{}
	Err() error
}
