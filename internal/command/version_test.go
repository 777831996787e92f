package command

import (
	"bytes"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// TestBuild checks what is said of a program: of expedite, of one that depends on it, and of one without a version.
func TestBuild(t *testing.T) {
	vcs := []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}, {Key: "vcs.time", Value: "2026-11-29T20:00:00Z"},
	}
	local := &debug.Module{Path: "../expedite"}
	for _, tt := range []struct {
		name, program, want, version, expedite string
		info                                   debug.BuildInfo
	}{
		{
			"a release", "expedite", "expedite v0.1.0 (commit 0123456789ab, 2026-11-29T20:00:00Z, ", "v0.1.0", "v0.1.0",
			debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.1.0"}, Settings: vcs},
		},
		{
			"go install", "expedite", "expedite v0.1.0 (go", "v0.1.0", "v0.1.0",
			debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.1.0"}},
		},
		{
			"a program", "chat", "chat v3.0.0 (expedite v0.1.0, commit 0123456789ab, ", "v3.0.0", "v0.1.0",
			debug.BuildInfo{
				Main: debug.Module{Path: "example.com/chat", Version: "v3.0.0"}, Settings: vcs,
				Deps: []*debug.Module{{Path: "example.com/x", Version: "v9.0.0"}, {Path: module, Version: "v0.1.0"}},
			},
		},
		{
			"a program beside a checkout", "chat", "chat devel (expedite devel, go", "devel", "devel",
			debug.BuildInfo{
				Main: debug.Module{Path: "example.com/chat", Version: "(devel)"},
				Deps: []*debug.Module{{Path: module, Version: "v0.1.0", Replace: local}},
			},
		},
		{"nothing", "chat", "chat devel (expedite devel, go", "devel", "devel", debug.BuildInfo{}},
	} {
		b := newBuild(tt.program, &tt.info)
		if got := b.String(); !strings.HasPrefix(got, tt.want) || !strings.HasSuffix(got, ", "+runtime.GOOS+"/"+runtime.GOARCH+")") {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if b.Version != tt.version || b.Expedite != tt.expedite {
			t.Errorf("%s: got %+v, want %s and %s", tt.name, b, tt.version, tt.expedite)
		}
	}
}

// TestVersion checks that the command and the flag say the same, and what programs read.
func TestVersion(t *testing.T) {
	var flag, text, out bytes.Buffer
	if code := run([]string{"--version"}, &flag, &flag) + run([]string{"version"}, &text, &text); code != 0 || text.String() != flag.String() {
		t.Errorf("got %d, %q and %q", code, &text, &flag)
	}
	if code := run([]string{"version", "--json"}, &out, &out); code != 0 {
		t.Fatalf("got %d, %s", code, &out)
	}
	var b map[string]string
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b["program"] != "expedite" || b["version"] == "" || b["go"] != runtime.Version() || b["platform"] != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("got %v", b)
	}
}
