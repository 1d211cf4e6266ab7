package qemu

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// stateWait bounds the question: a QEMU that is stuck does not answer.
const stateWait = 5 * time.Second

// registers finds each CPU's number, instruction pointer and whether it waits
// for an interrupt (HLT) in what `info registers -a` says.
var registers = regexp.MustCompile(`(?s)CPU#(\d+)\b.*?\b[RE]IP=([0-9a-fA-F]+).*?\bHLT=(\d)`)

// State says what the machine is doing, for the error that a guest does not
// answer: whether it runs, and where its CPUs are. What QEMU says is shortened,
// never interpreted.
func (v *machineVM) State() string {
	out := make(chan string, 1)
	go func() { out <- v.state() }()
	select {
	case s := <-out:
		return s
	case <-v.ended:
		return "QEMU has ended"
	case <-time.After(stateWait):
		return fmt.Sprintf("QEMU does not answer within %v", stateWait)
	}
}

func (v *machineVM) state() string {
	var st struct {
		Status string `json:"status"`
	}
	if err := v.qmp.Do("query-status", nil, &st); err != nil {
		return err.Error()
	}
	var text string
	if err := v.qmp.Do("human-monitor-command", map[string]string{"command-line": "info registers -a"}, &text); err != nil {
		return fmt.Sprintf("the machine is %.20q; %v", st.Status, err)
	}
	return fmt.Sprintf("the machine is %.20q%s", st.Status, cpuStates(text))
}

// cpuStates shortens the registers of all CPUs.
func cpuStates(text string) string {
	const most = 16
	var b strings.Builder
	for _, m := range registers.FindAllStringSubmatch(text, most) {
		doing := "runs"
		if m[3] == "1" {
			doing = "waits"
		}
		fmt.Fprintf(&b, ", CPU %.4s %s at %.16s", m[1], doing, m[2])
	}
	return b.String()
}
