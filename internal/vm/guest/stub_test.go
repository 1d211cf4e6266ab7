package guest

import (
	"bytes"
	"debug/elf"
	"testing"
)

func TestStubKernel(t *testing.T) {
	b := StubKernel()
	if err := checkPVH(b); err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	code := make([]byte, 1)
	if _, err := f.Progs[0].ReadAt(code, 0); err != nil || code[0] != 0xf4 || f.Entry != f.Progs[0].Paddr {
		t.Errorf("its entry is %#x, %v, %v", f.Entry, code, err)
	}
}
