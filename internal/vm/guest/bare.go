package guest

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// LeftOut is what of a kernel's start nobody in a guest has a use for, and is a
// sixth of its time, on one CPU: names and the looking for doubles for tracing
// (ftrace_check_for_weak_functions, trace_eval_init), the files of tracefs, those
// of /sys/kernel/slab, the certificates that modules could be signed with, a
// self-test, and measuring files for a TPM. A kernel that has no such initcalls
// ignores it.
const LeftOut = " initcall_blacklist=ftrace_check_for_weak_functions,trace_eval_init,tracer_init_tracefs," +
	"slab_sysfs_init,blake2s_mod_init,init_ima" + certificates

const certificates = ",load_system_certificate_list"

// leftOut is LeftOut, but for what this kernel needs.
func (k *Kernel) leftOut() string {
	if k.signaturesForced() {
		return strings.TrimSuffix(LeftOut, certificates)
	}
	return LeftOut
}

// apicRate is that of QEMU's local APIC, 1 GHz, as the kernel divides it (by 16).
const apicRate = 1_000_000_000 / 16

// CommandLine is this kernel's, for the wall's machines and, without
// LeftOut, for the bare ones that it is measured against. tscKHz is the rate
// of the time-stamp counter where the guest cannot find it by itself (QEMU's
// translator), else 0. A panic ends the machine.
//
// Under the translator a second CPU that runs makes everything behind it
// slower, and takes a quarter of a second to measure its delay loop: the kernel
// boots one, who is PID 1 brings up the rest, and the delay is
// said (lpj, from the kernel's own HZ).
func (k *Kernel) CommandLine(tscKHz uint64) string {
	s := "console=ttyS0 quiet rdinit=/init panic=-1 tsc=reliable cryptomgr.notests lsm=capability audit=0 " +
		"random.trust_cpu=on 8250.nr_uarts=1 no_timer_check noreplace-smp rcupdate.rcu_expedited=1 " +
		// The environment of the agent: none of its loops is long enough for a
		// signal to be worth while.
		"GODEBUG=asyncpreemptoff=1" + k.leftOut()
	if tscKHz > 0 {
		s += fmt.Sprintf(" tsc_early_khz=%d maxcpus=1 %s=%d", tscKHz, agentpb.APICRate, apicRate)
		if hz := k.hz(); hz > 0 {
			s += fmt.Sprintf(" lpj=%d", tscKHz*1000/hz)
		}
	}
	return s
}

// BareInitramfs writes an initramfs with one program and no agent. Behind
// another one it adds to that, and the other's modules stay.
func BareInitramfs(w io.Writer, name string, program []byte) error {
	c := newCpio(w)
	c.dir("dev")
	c.device("dev/console", 0o600, 5, 1)
	c.file(name, 0o755, program)
	return c.close()
}

// BareInit is the smallest /init: it writes "BARE\n" to the console and waits.
func BareInit() []byte {
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov $SYS_write, %eax
		0xbf, 1, 0, 0, 0, // mov $1, %edi
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea text(%rip), %rsi
		0xba, 5, 0, 0, 0, // mov $5, %edx
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov $SYS_pause, %eax
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov
	}
	code = append(code, "BARE\n"...)
	const base, head = 0x400000, 64 + 56
	b := make([]byte, head)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], base+head) // e_entry
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p, 1)     // PT_LOAD
	le.PutUint32(p[4:], 5) // r-x
	le.PutUint64(p[16:], base)
	le.PutUint64(p[24:], base)
	le.PutUint64(p[32:], uint64(head+len(code)))
	le.PutUint64(p[40:], uint64(head+len(code)))
	le.PutUint64(p[48:], 0x1000)
	return append(b, code...)
}
