package kernel

import (
	"sync"
	"sync/atomic"
)

// userCounts is what one real user id has in the sandbox, for RLIMIT_NPROC and
// RLIMIT_SIGPENDING.
type userCounts struct {
	tasks   atomic.Int64
	signals atomic.Int64
}

// userTable has a record for each user id that ever had a task.
type userTable struct {
	mu sync.Mutex // a leaf
	m  map[uint32]*userCounts
}

func (u *userTable) init() { u.m = map[uint32]*userCounts{} }

func (u *userTable) get(uid uint32) *userCounts {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.m[uid]
	if c == nil {
		c = &userCounts{}
		u.m[uid] = c
	}
	return c
}
