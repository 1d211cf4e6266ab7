package kernel

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// What uname(2) tells of the kernel.
const (
	UTSSysname = "Linux"
	UTSRelease = "6.12.0-bulkhead"
	UTSVersion = "#1 SMP PREEMPT_DYNAMIC Bulkhead"
	UTSMachine = "x86_64"

	utsNameMax = 64
)

// utsNames are the names that a guest may change.
type utsNames struct {
	mu                   sync.RWMutex // a leaf
	hostname, domainname string
}

// Hostname gives the sandbox's host name.
func (k *Kernel) Hostname() string {
	k.uts.mu.RLock()
	defer k.uts.mu.RUnlock()
	return k.uts.hostname
}

// Domainname gives the sandbox's NIS domain name.
func (k *Kernel) Domainname() string {
	k.uts.mu.RLock()
	defer k.uts.mu.RUnlock()
	return k.uts.domainname
}

// SetHostname and SetDomainname are sethostname(2) and setdomainname(2) past
// their permission checks.
func (k *Kernel) SetHostname(s string) abi.Errno { return k.setUTS(&k.uts.hostname, s) }

func (k *Kernel) SetDomainname(s string) abi.Errno { return k.setUTS(&k.uts.domainname, s) }

func (k *Kernel) setUTS(p *string, s string) abi.Errno {
	if len(s) > utsNameMax {
		return unix.EINVAL
	}
	k.uts.mu.Lock()
	*p = s
	k.uts.mu.Unlock()
	return 0
}
