package audit

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sample is a small record with everything a report has to show.
func sample() *Record {
	names := func(s string) []string { return strings.Fields(s) }
	r := &Record{Schema: Schema, Made: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}
	r.Machine.OS, r.Machine.Kernel = "An <OS>", "6.1"
	r.Profile = &profile{Module: "a profile", Free: names("read write close mmap futex munmap mprotect sched_yield rt_sigreturn exit mremap madvise recvmsg sigaltstack process_vm_readv"),
		Checked: names("clone personality prctl"), Refused: names("keyctl mount")}
	r.Columns = []*Column{
		{Name: "host", Title: "host", Kernel: onHost, Status: audited},
		{Name: "runc", Title: "runc, no profile", Kernel: onShared, Status: audited},
		{Name: "runc+profile", Title: "runc, default profile", Kernel: onShared, Profile: true, Status: audited},
		{Name: "bulkhead", Title: "Ours", Kernel: onUserspace, Status: audited, Version: "1 | 2"},
		{Name: "vm", Title: "Other", Kernel: onVM, Status: audited},
		{Name: "gone", Title: "Gone", Kernel: onVM, Status: "absent", Why: "not installed"},
	}
	add := func(id, family, call, about string, nr uint64, results ...string) {
		c := &CaseResults{ID: id, Family: family, Call: call, About: about, Nr: nr, Results: map[string]string{}}
		for i, v := range results {
			c.Results[r.Columns[i].Name] = v
		}
		r.Cases = append(r.Cases, c)
	}
	add("calls/250", familyCalls, "keyctl", "", 250, "EOPNOTSUPP", "EOPNOTSUPP", "EOPNOTSUPP", "ENOSYS", "EOPNOTSUPP") // a leak
	add("calls/0", familyCalls, "read", "", 0, "EBADF", "EBADF", "EBADF", "EBADF", "EBADF")
	add("calls/165", familyCalls, "mount", "", 165, "EFAULT", "EPERM", "EPERM", "EPERM", "EFAULT")
	add("calls/479", familyCalls, "number 479", "", 479, "ENOSYS", "ENOSYS", "EPERM", "ENOSYS", "ENOSYS")
	add("wide/socket(AF_ALG)", familyWide, "socket", "AF_ALG", 41, "ok", "ok", "EPERM", "EAFNOSUPPORT", "ok")
	add("i386/20", familyI386, "20", "", 20, "ok", "ok", "ok", "SIGSEGV", "ok")
	add("x32/39", familyX32, "getpid", "", 39|x32Bit, "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS")
	add("stub/0", familyStub, "read", "", 0, "-", "-", "-", "SIGKILL", "-")
	add("stub/9", familyStub, "mmap", "", 9, "-", "-", "-", "EINVAL", "-")
	add("stub/prctl(PR_SET_MM)", familyStub, "prctl", "PR_SET_MM", 157, "-", "-", "-", "SIGKILL", "-")
	r.Walls = []*Wall{
		{Column: "runc+profile", Title: "runc, default profile", Kernel: onShared, Processes: []*Process{{Role: roleGuest, Guest: true, Count: 1, Filters: 1, Allowed: r.Profile.Free, Checked: r.Profile.Checked}}},
		{Column: "bulkhead", Title: "Ours", Kernel: onUserspace, Processes: []*Process{
			{Role: roleGuest, Guest: true, Count: 2, Filters: 1, Target: 14, Placed: true, Allowed: names("close mmap munmap mprotect mremap recvmsg sched_yield rt_sigreturn exit sigaltstack"), Checked: names("futex clone prctl madvise")},
			{Role: roleSentry, Count: 1, Filters: 1, Target: 55, Allowed: names("read write"), Checked: names("clone"), Traced: true, Made: []Made{{"read", 7}},
				Rules: []Rule{{Call: "read", Reason: "files <here>", Times: 7}, {Call: "dup", Reason: "never", When: "argument 1 = 0x1"}}},
			{Role: roleGofer, Count: 1, Filters: 1, Target: 45, Allowed: names("read mount")},
		}},
		{Column: "vm", Title: "Other", Kernel: onVM, Processes: []*Process{{Role: roleGuest, Guest: true, Count: 1}, {Role: roleHypervisor, Count: 1, Allowed: names("read mount")}}},
	}
	r.Table = []tableRow{{Nr: 0, Name: "read", State: "full"}, {Nr: 9, Name: "mmap", State: "partial", Lacks: "huge pages"}, {Nr: 250, Name: "keyctl", State: "refused", Errno: "ENOSYS", Reason: "no keys"}}
	r.Notes = []string{"a note"}
	r.judge()
	return r
}

// golden compares with a file of testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -run %s -update ./internal/workbench/audit writes it):\n%s", path, t.Name(), got)
	}
}

func TestGolden(t *testing.T) {
	golden(t, "audit.md", Markdown(sample()))
	golden(t, "audit.txt", text(sample()))
	golden(t, "drill.md", Drill(sample()))
}

// TestPage: nothing is fetched, what comes from elsewhere stays text, the
// tables are whole.
func TestPage(t *testing.T) {
	page := HTML(sample())
	if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|url\(|@import`).FindString(page); m != "" {
		t.Errorf("the page refers to the network: %s", m)
	}
	for _, want := range []string{"An &lt;OS&gt;", "files &lt;here&gt;", "Strictly stronger than the profile.", "never", `<a href="#calls">`, "</html>"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, table := range regexp.MustCompile(`(?s)<table.*?</table>`).FindAllString(page, -1) {
		heads := strings.Count(table, `<th scope="col">`)
		for _, row := range strings.Split(table, "<tr>")[2:] {
			if n := strings.Count(row, "<td") + strings.Count(row, "<th"); n != heads {
				t.Errorf("a row of %d cells under %d heads: %s", n, heads, row)
			}
		}
	}
	for _, id := range regexp.MustCompile(`href="#([a-z0-9-]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+id[1]+`"`) {
			t.Errorf("no section %s", id[1])
		}
	}
}

// An audit of nothing is still one.
func TestLittle(t *testing.T) {
	r := &Record{Schema: Schema, Profile: &profile{}}
	r.judge()
	if !strings.Contains(HTML(r), "</html>") || Markdown(r) == "" || text(r) == "" || Drill(r) == "" {
		t.Error("no report of nothing")
	}
}

func TestVerdicts(t *testing.T) {
	r := sample()
	for _, v := range r.Verdict {
		said := strings.Join(v.Lines, " ")
		switch v.Column {
		case "bulkhead":
			if !v.Stronger || !strings.Contains(said, "Guest code reaches 14 host calls (4 by their arguments), none but from inside the stub; the profile leaves 18") ||
				!strings.Contains(said, "takes over the Gofer first has 2 host calls (0 by their arguments). 1 of them the profile refuses or checks: mount") ||
				!strings.Contains(said, "of 2 numbers tried with the stub's own instruction, 1 came back (mmap)") {
				t.Errorf("ours: %v %s", v.Stronger, said)
			}
		case "vm":
			if v.Stronger || !strings.Contains(said, "without a seccomp filter") {
				t.Errorf("the VM: %v %s", v.Stronger, said)
			}
		case "runc+profile":
			if v.Stronger || !strings.Contains(said, "Answered although the profile refuses them: keyctl") {
				t.Errorf("runc: %v %s", v.Stronger, said)
			}
		}
	}
}
