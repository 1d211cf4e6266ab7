package container

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/wire"
)

// sameAsJSON holds fastDecode to encoding/json: what it takes, that takes too,
// with the same result.
func sameAsJSON(t *testing.T, raw []byte) (taken bool) {
	t.Helper()
	var fast, slow Config
	if !fastDecode(raw, &fast) {
		return false
	}
	if err := json.Unmarshal(raw, &slow); err != nil {
		t.Errorf("%s: taken; encoding/json says %v", raw, err)
	} else if !reflect.DeepEqual(fast, slow) {
		t.Errorf("%s:\n got %+v\nwant %+v", raw, fast, slow)
	}
	return true
}

func TestFastDecode(t *testing.T) {
	full, err := json.MarshalIndent(SpecTemplate(true), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if !sameAsJSON(t, full) {
		t.Error("the template of `spec` is not a plain case")
	}
	for raw, want := range map[string]bool{
		`{}`: true, ` { "hostname" : "a" } `: true, `{"hostname":"é"}`: true, `{"process":null}`: true, `{"mounts":null}`: true,
		`{"annotations":{"a":"b","c":"d"}}`: true, `{"linux":{"resources":{"memory":{"limit":-5}}}}`: true,
		`{"process":{"user":{"uid":4294967295,"gid":0},"args":[],"cwd":"/"}}`: true, `{"process":{"noNewPrivileges":true}}`: true,
		`{"mounts":[{"destination":"/a","options":["x"]},{"destination":"/b"}]}`: true,
		`{"process":{"user":{"uid":4294967296}}}`:                                false, `{"process":{"user":{"uid":01}}}`: false, `{"process":{"user":{"uid":-0}}}`: false,
		`{"process":{"user":{"uid":1.0}}}`: false, `{"process":{"user":{"uid":1e2}}}`: false, `{"process":{"user":{"uid":}}}`: false,
		`{"hostname":"a\n"}`: false, "{\"hostname\":\"a\n\"}": false, "{\"hostname\":\"\xff\"}": false, `{"hostname":null}`: false,
		`{"Hostname":"a"}`: false, `{"nonsense":1}`: false, `{"hostname":"a","hostname":"b"}`: false, `{"annotations":{"a":"b","a":"c"}}`: false,
		`{"hostname":"a"}x`: false, `{"hostname":"a",}`: false, `{"hostname":"a"`: false, ``: false, `null`: false, `[]`: false, `{"mounts":[}`: false,
		`{"mounts":[{},]}`: false, `{"windows":{}}`: false, `{"process":{"noNewPrivileges":tru}}`: false, `{"hostname"}`: false, `{"mounts":{}}`: false,
	} {
		if got := sameAsJSON(t, []byte(raw)); got != want {
			t.Errorf("%s: taken %v, want %v", raw, got, want)
		}
	}
}

func TestFastEncode(t *testing.T) {
	limit, adj := 3, -7
	umask := uint32(0o22)
	for _, rec := range []record{
		{},
		{ID: "a<b>&\"\\\x01é\u2028", Created: time.Now().UTC(), Annotations: map[string]string{"z": "1", "a": "2"}, Cgroup: &cgroupRecord{Paths: map[string]string{"": "/x"}},
			Hooks:   &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true", Args: []string{"a"}, Timeout: &limit}}},
			Process: wire.Process{Args: []string{"sh"}, Env: []string{}, GIDs: []uint32{4}, Umask: &umask, OOMScore: &adj, Rlimits: []wire.Rlimit{{Resource: 7, Soft: 1<<64 - 1}}}},
	} {
		want, err := json.Marshal(&rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fastEncode(&rec)
		if err != nil || string(got) != string(want) {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
		var back record
		if !fastDecode(got, &back) != (rec.ID != "") || (rec.ID == "" && !reflect.DeepEqual(back, rec)) {
			t.Errorf("decoded: %+v", back)
		}
		e := fastEncoder{ok: true}
		if e.value(reflect.ValueOf(rec)); !e.ok {
			t.Error("a record is not a plain case")
		}
	}
	if got, err := fastEncode(&specs.State{Version: "1"}); err != nil || len(got) == 0 {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzFastDecode(f *testing.F) {
	raw, _ := json.Marshal(SpecTemplate(false))
	f.Add(raw)
	f.Add([]byte(`{"mounts":[{"destination":"/a","options":["x"]}],"linux":{"resources":{"pids":{"limit":3}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) { sameAsJSON(t, raw) })
}
