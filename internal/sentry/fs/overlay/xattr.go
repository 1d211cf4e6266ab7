package overlay

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	fileCaps  = "security.capability"
	maxXattrs = 128
)

func storable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.")
}

// GetXattr reads them from where they are.
func (i *inode) GetXattr(c vfs.Caller, name string) ([]byte, abi.Errno) {
	if !storable(name) {
		return nil, unix.EOPNOTSUPP
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.xattrs == nil && i.lower != nil {
		return i.lower.GetXattr(c, name)
	}
	if i.xattrs != nil {
		if v, ok := (*i.xattrs)[name]; ok {
			return slices.Clone(v), 0
		}
	}
	return nil, unix.ENODATA
}

// ListXattr lists them in order.
func (i *inode) ListXattr(c vfs.Caller) ([]string, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.xattrs == nil && i.lower != nil {
		return i.lower.ListXattr(c)
	}
	var names []string
	if i.xattrs != nil {
		for n := range *i.xattrs {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, 0
}

// ownXattrs copies the lower file's. mu is held.
func (i *inode) ownXattrs(c vfs.Caller) abi.Errno {
	if i.xattrs != nil {
		return 0
	}
	m := map[string][]byte{}
	if i.lower != nil {
		names, e := i.lower.ListXattr(c)
		if e != 0 {
			return e
		}
		for _, n := range names {
			v, e := i.lower.GetXattr(c, n)
			if e != 0 && e != unix.ENODATA {
				return e
			}
			if e == 0 {
				m[n] = v
			}
			if n == fileCaps {
				i.caps.Store(true)
			}
		}
	}
	i.xattrs = &m
	return 0
}

// SetXattr changes them in the upper layer.
func (i *inode) SetXattr(c vfs.Caller, name string, value []byte, flags int) abi.Errno {
	if !storable(name) {
		return unix.EOPNOTSUPP
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.ownLocked(); e != 0 {
		return e
	}
	if e := i.ownXattrs(c); e != 0 {
		return e
	}
	_, ok := (*i.xattrs)[name]
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		return unix.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		return unix.ENODATA
	case !ok && len(*i.xattrs) >= maxXattrs:
		return unix.ENOSPC
	}
	(*i.xattrs)[strings.Clone(name)] = append([]byte{}, value...)
	if name == fileCaps {
		i.caps.Store(true)
	}
	i.changed()
	return 0
}

// RemoveXattr removes one.
func (i *inode) RemoveXattr(c vfs.Caller, name string) abi.Errno {
	if !storable(name) {
		return unix.EOPNOTSUPP
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.xattrs == nil && i.lower != nil {
		if _, e := i.lower.GetXattr(c, name); e != 0 {
			return e
		}
	}
	if e := i.ownLocked(); e != 0 {
		return e
	}
	if e := i.ownXattrs(c); e != 0 {
		return e
	}
	if _, ok := (*i.xattrs)[name]; !ok {
		return unix.ENODATA
	}
	delete(*i.xattrs, name)
	i.changed()
	return 0
}

// dropCaps takes file capabilities away when contents change. mu is held.
func (i *inode) dropCaps() {
	if i.xattrs == nil && i.lower != nil {
		if _, e := i.lower.GetXattr(vfs.Internal, fileCaps); e != 0 {
			return
		}
		if i.ownXattrs(vfs.Internal) != 0 {
			return
		}
	}
	if i.xattrs != nil {
		delete(*i.xattrs, fileCaps)
		i.caps.Store(false)
	}
}
