package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Device rules are an eBPF program of the cgroup (cgroup v2 has no files for
// them), whose context is struct bpf_cgroup_dev_ctx: access_type (the type in
// the lower 16 bits, the access in the upper), major, minor. The last rule that
// matches decides, so that the program tries them from the end:
//
//	r2 = type; r3 = access; r4 = major; r5 = minor
//	for each rule: does it not match? next rule; return 1 or 0
//	return 0

// Of linux/bpf.h.
const (
	devMknod, devRead, devWrite = 1, 2, 4
	devBlock, devChar           = 1, 2
)

// deviceRule is a rule with all numbers; −1 is any.
type deviceRule struct {
	allow        bool
	kind         int // devBlock, devChar, or 0 for both
	major, minor int64
	access       uint32
}

const devAll = devMknod | devRead | devWrite

// defaultDevices are allowed to every container, as the runtime specification
// and runc have it.
var defaultDevices = []deviceRule{
	{true, devChar, -1, -1, devMknod},
	{true, devBlock, -1, -1, devMknod},
	{true, devChar, 1, 3, devAll},    // null
	{true, devChar, 1, 5, devAll},    // zero
	{true, devChar, 1, 7, devAll},    // full
	{true, devChar, 1, 8, devAll},    // random
	{true, devChar, 1, 9, devAll},    // urandom
	{true, devChar, 5, 0, devAll},    // tty
	{true, devChar, 5, 1, devAll},    // console
	{true, devChar, 5, 2, devAll},    // ptmx
	{true, devChar, 136, -1, devAll}, // pts/*
}

// deviceRules puts a container's rules between the default ones: first of all
// everything is denied.
func deviceRules(list []*agentpb.DeviceRule) ([]deviceRule, error) {
	out := append([]deviceRule(nil), defaultDevices...)
	for i, r := range list {
		rule := deviceRule{allow: r.Allow, major: r.Major, minor: r.Minor}
		switch r.Type {
		case "c", "u":
			rule.kind = devChar
		case "b":
			rule.kind = devBlock
		case "a", "":
			rule.major, rule.minor = -1, -1
		default:
			return nil, fmt.Errorf("linux.resources.devices[%d].type %q %w", i, r.Type, errInvalid)
		}
		for letter, bit := range map[string]uint32{"m": devMknod, "r": devRead, "w": devWrite} {
			if strings.Contains(r.Access, letter) {
				rule.access |= bit
			}
		}
		if r.Type == "a" || r.Access == "" {
			rule.access = devAll
		}
		// A general denial is where everyone's configuration begins; what it
		// denies is denied already, and the devices of every container stay.
		if !rule.allow && rule.kind == 0 && rule.access == devAll {
			out = append([]deviceRule(nil), defaultDevices...)
			continue
		}
		out = append(out, rule)
	}
	return out, nil
}

// insn is struct bpf_insn.
func insn(op, regs uint8, off int16, imm int32) []byte {
	b := []byte{op, regs}
	b = binary.LittleEndian.AppendUint16(b, uint16(off))
	return binary.LittleEndian.AppendUint32(b, uint32(imm))
}

// eBPF opcodes used.
const (
	ldxW    = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	movX    = unix.BPF_ALU64 | 0xb0 | unix.BPF_X // BPF_MOV
	movK    = unix.BPF_ALU64 | 0xb0 | unix.BPF_K
	andK32  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	rshK32  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	jneK    = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
	jneK32  = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	bpfExit = unix.BPF_JMP | unix.BPF_EXIT
)

// deviceProgram assembles the rules.
func deviceProgram(rules []deviceRule) []byte {
	var code []byte
	emit := func(parts ...[]byte) {
		for _, p := range parts {
			code = append(code, p...)
		}
	}
	emit(
		insn(ldxW, 0x12, 0, 0), insn(andK32, 2, 0, 0xffff), // r2 = *(r1+0) & 0xffff
		insn(ldxW, 0x13, 0, 0), insn(rshK32, 3, 0, 16), // r3 = *(r1+0) >> 16
		insn(ldxW, 0x14, 4, 0), insn(ldxW, 0x15, 8, 0), // r4 = major, r5 = minor
	)
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		// tests are what must hold; each is jumped from to the rule's end.
		var tests [][]byte
		if r.kind != 0 {
			tests = append(tests, insn(jneK32, 2, 0, int32(r.kind)))
		}
		// A request for several kinds of access matches a rule that allows if
		// all are in it, and one that denies if any is.
		if r.access != devAll {
			tests = append(tests, insn(movX, 0x31, 0, 0))
			if r.allow {
				tests = append(tests, insn(andK32, 1, 0, int32(devAll&^r.access)), insn(jneK32, 1, 0, 0))
			} else {
				tests = append(tests, insn(andK32, 1, 0, int32(r.access)), insn(unix.BPF_JMP32|unix.BPF_JEQ|unix.BPF_K, 1, 0, 0))
			}
		}
		if r.major >= 0 {
			tests = append(tests, insn(jneK32, 4, 0, int32(r.major)))
		}
		if r.minor >= 0 {
			tests = append(tests, insn(jneK32, 5, 0, int32(r.minor)))
		}
		left := len(tests) + 2
		for _, t := range tests {
			left--
			if class := t[0] & 7; class == unix.BPF_JMP32 {
				binary.LittleEndian.PutUint16(t[2:], uint16(left))
			}
			emit(t)
		}
		verdict := int32(0)
		if r.allow {
			verdict = 1
		}
		emit(insn(movK, 0, 0, verdict), insn(bpfExit, 0, 0, 0))
		if len(tests) == 0 { // the verifier refuses what can never be reached
			return code
		}
	}
	emit(insn(movK, 0, 0, 0), insn(bpfExit, 0, 0, 0))
	return code
}

// setDevices replaces the cgroup's device rules.
func (c *cgroup) setDevices(list []*agentpb.DeviceRule) error {
	rules, err := deviceRules(list)
	if err != nil {
		return err
	}
	code := deviceProgram(rules)
	if c.devices >= 0 && bytes.Equal(code, c.code) {
		return nil
	}
	prog, err := loadDeviceProgram(code, c.fd, c.devices)
	if err != nil {
		return err
	}
	c.code = code
	if c.devices >= 0 {
		unix.Close(c.devices)
	}
	c.devices = prog
	return nil
}
