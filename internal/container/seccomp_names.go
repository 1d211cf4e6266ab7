package container

import "bulkhead.dev/bulkhead/internal/abi"

// sysNumbers are the system calls of x86-64, "name number" by number; read only
// when there is a seccomp profile.
const sysNumbers = abi.SyscallNames
