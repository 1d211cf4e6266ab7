package main

import (
	"bytes"
	"strings"
	"testing"
)

const events = `# a compiler's message
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: said and passed\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:9: this host has none\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC/x","Output":"    c_test.go:12: missing: ip; apt-get install iproute2\n"}
{"Action":"skip","Package":"p","Test":"TestC/x"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
{"Action":"output","Package":"q","Test":"TestD","Output":"    d_test.go:3: wrong\n"}
{"Action":"fail","Package":"q","Test":"TestD"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.1s\n"}
{"Action":"fail","Package":"q"}
{"Action":"output","Package":"r","Output":"?   \tr\t[no test files]\n"}
{"Action":"skip","Package":"r"}
`

func TestList(t *testing.T) {
	var b bytes.Buffer
	l := &list{w: &b, output: map[string][]string{}}
	for line := range strings.Lines(events) {
		l.line(line)
	}
	l.end(true)
	want := `# a compiler's message
ok  	p	0.1s
    d_test.go:3: wrong
FAIL	q	0.1s
?   	r	[no test files]
skipped: 2
  p TestB: this host has none
  p TestC/x: missing: ip; apt-get install iproute2
FAIL: 1 of them lack what root could install or make
`
	if b.String() != want || l.failed != 2 || l.undue != 1 {
		t.Errorf("%d failed, %d undue:\n%s\nwant\n%s", l.failed, l.undue, b.String(), want)
	}
}
