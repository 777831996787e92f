package cluster

import "testing"

func TestParseRole(t *testing.T) {
	want := role{slot: 2, slots: 4, generation: 3, id: 9, listener: true}
	if got, err := parseRole(want.String()); err != nil || got != want {
		t.Errorf("parseRole = %+v (%v), want %+v", got, err, want)
	}
	for _, s := range []string{
		"", "slot=1", "slot=0 slots=4 generation=1 id=1 listener=false", "slot=1 slots=0 generation=1 id=1 listener=false",
		"slot=1 slots=4 generation=-1 id=1 listener=false", "slot=1 slots=4 generation=1 id=1 listener=true and more",
		"slot=+1 slots=4 generation=1 id=1 listener=true", "slot=1 slots=4 generation=1 id=-1 listener=true",
	} {
		if got, err := parseRole(s); err == nil || got != (role{}) {
			t.Errorf("parseRole(%q) = %+v, %v; want an error", s, got, err)
		}
	}
}

func FuzzParseRole(f *testing.F) {
	f.Add(role{slot: 1, slots: 1, generation: 1, id: 1}.String())
	f.Add("slot=1 slots=4 generation=1 id=1 listener=maybe")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRole(s)
		if err != nil {
			return
		}
		if r.String() != s || r.slot < 1 || r.slots < 1 || r.generation < 1 {
			t.Errorf("parseRole(%q) = %+v", s, r)
		}
	})
}

func FuzzParseAddr(f *testing.F) {
	f.Add([]byte("tcp\x00127.0.0.1:80"))
	f.Add([]byte("unix\x00/run/x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseAddr(b); ok && a.Network() == "" {
			t.Errorf("parseAddr(%q) = %v", b, a)
		}
	})
}
