package vfs

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Propagation of mounts (mount_namespaces(7), "SHARED SUBTREES"), here among the
// mounts of one namespace. A mount that is shared has a peer group; one that is a
// slave receives from its master, which is a group too. What is mounted on, or
// unmounted from, a member of a group happens on its peers and on their slaves,
// where they show the place. MountNamespace.mu is held throughout.

// setPropagation makes m shared, a slave, private or unbindable.
func (ns *MountNamespace) setPropagation(m *Mount, kind uint64) {
	m.prop = kind
	switch kind {
	case unix.MS_SHARED:
		if m.peer == 0 {
			m.peer = int(lastPeer.Add(1))
		}
	case unix.MS_SLAVE:
		if group := ns.leaveGroup(m); ns.hasMember(group) {
			m.master = group
		}
	default:
		ns.leaveGroup(m)
		m.master = 0
	}
}

// leaveGroup takes m out of its peer group, and gives that. The last one leaves
// its slaves to its own master.
func (ns *MountNamespace) leaveGroup(m *Mount) (group int) {
	group, m.peer = m.peer, 0
	if group == 0 || ns.hasMember(group) {
		return group
	}
	for _, s := range ns.order {
		if s.master == group {
			s.master = m.master
		}
	}
	return group
}

func (ns *MountNamespace) hasMember(group int) bool {
	return group != 0 && slices.ContainsFunc(ns.order, func(m *Mount) bool { return m.peer == group })
}

// MountMax is fs.mount-max: with propagation, a few calls could make more mounts
// than memory holds.
const MountMax = 4096

// room tells whether n mounts may come to hang on m, more of them new, and what
// m sends on.
func (ns *MountNamespace) room(m *Mount, n, more int) bool {
	return len(ns.order)+more+n*len(ns.receivers(m.peer, m)) <= MountMax
}

// receiver is a mount that an event reaches.
type receiver struct {
	m    *Mount
	from int // the group it has it from: its own, or its master
}

// receivers gives the mounts that an event on a member of group reaches, those
// that send it on first; without excepts.
func (ns *MountNamespace) receivers(group int, except ...*Mount) (out []receiver) {
	if group == 0 {
		return nil
	}
	groups := []int{group}
	done := make(map[*Mount]bool, len(except))
	for _, m := range except {
		done[m] = true
	}
	for k := 0; k < len(groups); k++ {
		for _, m := range ns.order {
			switch {
			case m.peer != groups[k] && m.master != groups[k], done[m]:
			case m.peer == groups[k]:
				done[m] = true
				out = append(out, receiver{m, m.peer})
			default:
				done[m] = true
				out = append(out, receiver{m, m.master})
				if m.peer != 0 && !slices.Contains(groups, m.peer) {
					groups = append(groups, m.peer)
				}
			}
		}
	}
	return out
}

// propagate mounts a copy of m, which was just attached with all that hangs below
// it, wherever the mount that it hangs on sends it.
func (ns *MountNamespace) propagate(m *Mount) {
	at := m.at.Load()
	if at == nil || at.parent.peer == 0 {
		return
	}
	defer ns.batch()()
	var own []*Mount
	m.each(true, func(x *Mount) {
		own = append(own, x)
		if x.peer == 0 {
			ns.setPropagation(x, unix.MS_SHARED)
		}
	})
	// The copies on one group's members are peers, and slaves of those that their
	// own master's members got: made has one of each group's.
	made := map[int]*Mount{at.parent.peer: m}
	for _, r := range ns.receivers(at.parent.peer, append(own, at.parent)...) {
		if !under(at.dentry, r.m.Root) {
			continue
		}
		from := made[r.from]
		if from == nil {
			continue
		}
		c := copyTree(from)
		slave := r.m.peer != r.from
		if slave {
			c.each(true, func(x *Mount) { x.master, x.peer, x.prop = x.peer, 0, unix.MS_SLAVE })
			if r.m.peer != 0 {
				c.each(true, func(x *Mount) { ns.setPropagation(x, unix.MS_SHARED) })
			}
		}
		ns.attachTree(c, Path{r.m, at.dentry})
		if slave && r.m.peer != 0 && made[r.m.peer] == nil {
			made[r.m.peer] = c
		}
	}
}

// copyTree copies m and what hangs below it; the copies hang nowhere yet.
func copyTree(m *Mount) *Mount {
	c := copyMount(m, m.Root)
	for _, ch := range m.children {
		n := copyTree(ch)
		n.at.Store(&mountPoint{c, ch.at.Load().dentry})
		c.children = append(c.children, n)
	}
	return c
}

// attachTree attaches c, from copyTree, at p: below what is mounted there already.
func (ns *MountNamespace) attachTree(c *Mount, p Path) {
	children := c.children
	c.children = nil
	top := ns.now()[mountPoint{p.Mount, p.Dentry}]
	if top != nil {
		ns.unhook(top)
	}
	ns.attach(c, p)
	for _, ch := range children {
		ns.attachTree(ch, Path{c, ch.at.Load().dentry})
	}
	if top != nil {
		ns.attach(top, Path{c, c.Root})
	}
}

// propagated gives the mounts that an unmounting of m takes along: what was
// propagated with it, and carries nothing itself.
func (ns *MountNamespace) propagated(m *Mount) (out []*Mount) {
	at := m.at.Load()
	for _, r := range ns.receivers(at.parent.peer, at.parent) {
		if c := ns.now()[mountPoint{r.m, at.dentry}]; c != nil && c != m && len(c.children) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// detachEverywhere detaches m, what hangs below it, and what that takes along.
func (ns *MountNamespace) detachEverywhere(m *Mount) {
	for len(m.children) > 0 {
		ns.detachEverywhere(m.children[len(m.children)-1])
	}
	along := ns.propagated(m)
	ns.detach(m)
	for _, c := range along {
		ns.detach(c)
	}
}
