package auth

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

func user(uid uint32) *Creds {
	return &Creds{UID: uid, EUID: uid, SUID: uid, FSUID: uid, GID: uid, EGID: uid, SGID: uid, FSGID: uid, Bounding: AllCaps}
}

func ids(c *Creds) [4]uint32 { return [4]uint32{c.UID, c.EUID, c.SUID, c.FSUID} }

func TestSetUID(t *testing.T) {
	c, e := Root().SetUID(1000)
	if e != 0 || ids(c) != [4]uint32{1000, 1000, 1000, 1000} || c.Permitted != 0 || c.Effective != 0 {
		t.Fatalf("%+v %v", c, e)
	}
	if _, e := c.SetUID(0); e != unix.EPERM {
		t.Error(e)
	}
	if _, e := c.SetUID(Keep); e != unix.EINVAL {
		t.Error(e)
	}
	keep, _ := Root().SetKeepCaps(true)
	c, _ = keep.SetUID(1000)
	if c.Permitted != AllCaps || c.Effective != 0 {
		t.Errorf("with KEEP_CAPS: %x %x", c.Permitted, c.Effective)
	}
}

func TestTemporaryUser(t *testing.T) {
	c, e := Root().SetRESUID(Keep, 1000, Keep)
	if e != 0 || ids(c) != [4]uint32{0, 1000, 0, 1000} || c.Permitted != AllCaps || c.Effective != 0 {
		t.Fatalf("%+v %v", c, e)
	}
	back, e := c.SetRESUID(Keep, 0, Keep)
	if e != 0 || back.Effective != AllCaps {
		t.Fatalf("%+v %v", back, e)
	}
	n, e := c.SetREUID(1000, 1000)
	if e != 0 || ids(n) != [4]uint32{1000, 1000, 1000, 1000} || n.Permitted != 0 {
		t.Fatalf("%+v %v", n, e)
	}
	if _, e := user(5).SetREUID(6, Keep); e != unix.EPERM {
		t.Error(e)
	}
	if _, e := user(5).SetRESUID(5, 5, 6); e != unix.EPERM {
		t.Error(e)
	}
}

func TestFSUID(t *testing.T) {
	c := Root().SetFSUID(1000)
	if c == nil || c.Effective&fsCaps != 0 || !c.Capable(CAP_KILL) {
		t.Fatalf("%+v", c)
	}
	if b := c.SetFSUID(0); b == nil || b.Effective != AllCaps {
		t.Fatalf("%+v", b)
	}
	if user(5).SetFSUID(6) != nil {
		t.Error("not refused")
	}
}

func TestGroups(t *testing.T) {
	c, e := Root().SetGroups([]uint32{9, 3, 7})
	if e != 0 || !c.InGroup(7) || !c.InGroup(0) || c.InGroup(8) {
		t.Fatalf("%+v %v", c, e)
	}
	if _, e := user(5).SetGroups(nil); e != unix.EPERM {
		t.Error(e)
	}
	g, e := Root().SetRESGID(1, 2, 3)
	if e != 0 || g.GID != 1 || g.EGID != 2 || g.SGID != 3 || g.FSGID != 2 || g.Effective != AllCaps {
		t.Fatalf("%+v %v", g, e)
	}
	if _, e := user(5).SetGID(6); e != unix.EPERM {
		t.Error(e)
	}
}

func TestCapSet(t *testing.T) {
	kill := Caps(1 << CAP_KILL)
	c, e := Root().CapSet(kill, kill, 0)
	if e != 0 || c.Permitted != kill {
		t.Fatal(e)
	}
	if _, e := c.CapSet(kill, AllCaps, 0); e != unix.EPERM {
		t.Error(e)
	}
	if _, e := c.CapSet(kill, 0, 0); e != unix.EPERM {
		t.Error(e)
	}
	if _, e := c.CapSet(kill, kill, 1<<CAP_CHOWN); e != unix.EPERM {
		t.Error(e)
	}
	if c, e = c.CapSet(kill, kill, kill); e != 0 {
		t.Fatal(e)
	}
	if _, e := c.RaiseAmbient(CAP_CHOWN); e != unix.EPERM {
		t.Error(e)
	}
	if c, e = c.RaiseAmbient(CAP_KILL); e != 0 || c.Ambient != kill {
		t.Fatal(e)
	}
	if c, _ = c.CapSet(0, 0, kill); c.Ambient != 0 {
		t.Error("ambient outlives permitted")
	}
	d, e := Root().DropBounding(CAP_KILL)
	if e != 0 || d.Bounding.Has(CAP_KILL) {
		t.Fatal(e)
	}
	if _, e := Root().DropBounding(64); e != unix.EINVAL {
		t.Error(e)
	}
}

func TestSecurebits(t *testing.T) {
	c, e := Root().SetSecurebits(SECBIT_NOROOT | SECBIT_NOROOT<<1)
	if e != 0 {
		t.Fatal(e)
	}
	for _, b := range []uint64{0, SECBIT_NOROOT, SECBIT_NOROOT << 1} {
		if _, e := c.SetSecurebits(b); e != unix.EPERM {
			t.Errorf("%#x: %v", b, e)
		}
	}
	if _, e := Root().SetSecurebits(1 << 20); e != unix.EPERM {
		t.Error(e)
	}
	if _, e := user(5).SetSecurebits(0); e != unix.EPERM {
		t.Error(e)
	}
}

func fileCaps(permitted, inheritable uint64, effective bool) []byte {
	b := make([]byte, 20)
	magic := uint32(capRevision2)
	if effective {
		magic |= capFlagEffect
	}
	le := binary.LittleEndian
	le.PutUint32(b, magic)
	le.PutUint32(b[4:], uint32(permitted))
	le.PutUint32(b[8:], uint32(inheritable))
	le.PutUint32(b[12:], uint32(permitted>>32))
	le.PutUint32(b[16:], uint32(inheritable>>32))
	return b
}

func TestExec(t *testing.T) {
	raw := uint64(1) << CAP_NET_RAW
	ambient := user(1000)
	ambient.Permitted, ambient.Inheritable, ambient.Ambient = Caps(raw), Caps(raw), Caps(raw)
	nnp := user(1000)
	nnp.NoNewPrivs = true
	unbound := user(1000)
	unbound.Bounding = 0
	noroot := Root()
	noroot.Securebits = SECBIT_NOROOT
	setuid := ExecFile{Mode: modeSetUID | 0o755}
	for name, c := range map[string]struct {
		old            *Creds
		f              ExecFile
		euid, egid     uint32
		permitted, eff Caps
		secure         bool
	}{
		"plain":                 {user(1000), ExecFile{Mode: 0o755}, 1000, 1000, 0, 0, false},
		"root":                  {Root(), ExecFile{Mode: 0o755}, 0, 0, AllCaps, AllCaps, false},
		"root, NOROOT":          {noroot, ExecFile{Mode: 0o755}, 0, 0, 0, 0, false},
		"set-uid root":          {user(1000), setuid, 0, 1000, AllCaps, AllCaps, true},
		"set-uid other":         {user(1000), ExecFile{Mode: modeSetUID | 0o755, UID: 7}, 7, 1000, 0, 0, true},
		"set-uid, nosuid":       {user(1000), ExecFile{Mode: modeSetUID | 0o755, NoSUID: true}, 1000, 1000, 0, 0, false},
		"set-uid, no_new_privs": {nnp, setuid, 1000, 1000, 0, 0, false},
		"set-uid, shared fs":    {user(1000), ExecFile{Mode: modeSetUID | 0o755, SharedFS: true}, 1000, 1000, 0, 0, true},
		"set-gid":               {user(1000), ExecFile{Mode: modeSetGID | 0o755, GID: 7}, 1000, 7, 0, 0, true},
		"set-gid, no x":         {user(1000), ExecFile{Mode: modeSetGID | 0o745, GID: 7}, 1000, 1000, 0, 0, false},
		"file caps":             {user(1000), ExecFile{Mode: 0o755, Caps: fileCaps(raw, 0, true)}, 1000, 1000, Caps(raw), Caps(raw), true},
		"file caps, not eff":    {user(1000), ExecFile{Mode: 0o755, Caps: fileCaps(raw, 0, false)}, 1000, 1000, Caps(raw), 0, true},
		"file caps, nnp":        {nnp, ExecFile{Mode: 0o755, Caps: fileCaps(raw, 0, true)}, 1000, 1000, 0, 0, true},
		"ambient":               {ambient, ExecFile{Mode: 0o755}, 1000, 1000, Caps(raw), Caps(raw), false},
		"ambient, set-uid":      {ambient, ExecFile{Mode: modeSetUID | 0o755, UID: 7}, 7, 1000, 0, 0, true},
		"damaged caps":          {user(1000), ExecFile{Mode: 0o755, Caps: []byte{1, 2, 3}}, 1000, 1000, 0, 0, false},
	} {
		n, secure, e := ExecCreds(c.old, &c.f)
		if e != 0 {
			t.Errorf("%s: %v", name, e)
			continue
		}
		if n.EUID != c.euid || n.EGID != c.egid || n.Permitted != c.permitted || n.Effective != c.eff || secure != c.secure {
			t.Errorf("%s: euid %d egid %d permitted %x effective %x secure %v", name, n.EUID, n.EGID, n.Permitted, n.Effective, secure)
		}
		if n.SUID != n.EUID || n.FSUID != n.EUID {
			t.Errorf("%s: saved ids", name)
		}
	}
	if _, _, e := ExecCreds(unbound, &ExecFile{Caps: fileCaps(raw, 0, true)}); e != unix.EPERM {
		t.Errorf("capabilities outside the bounding set: %v", e)
	}
}
