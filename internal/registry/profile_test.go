package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/expedite-go/expedite/internal/rpc"
)

// TestProfileComesInParts: a profile that is longer than a message arrives whole, also if the way to the worker or back
// is full once, and the worker keeps it no longer than that.
func TestProfileComesInParts(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), profilePart/8)
	var kept profiles
	var primary, worker *rpc.Peer
	refused := false
	worker = rpc.NewPeer(func(m []byte) error { primary.Receive(m); return nil },
		func(op byte, payload []byte, reply func([]byte, error)) {
			switch op {
			case opProfile:
				var req profileRequest
				_ = json.Unmarshal(payload, &req)
				p := &profile{cancel: func() {}, header: http.Header{}}
				_, _ = p.Write(want)
				kept.list = map[uint64]*profile{req.ID: p}
				reply(json.Marshal(ProfileHead{Status: p.status, Size: p.body.Len()}))
			case opProfilePart:
				reply(kept.part(payload))
			case opProfileEnd:
				kept.list = nil
			}
		})
	primary = rpc.NewPeer(func(m []byte) error {
		if m[5] == opProfilePart && !refused {
			refused = true
			return errors.New("full")
		}
		worker.Receive(m)
		return nil
	}, nil)
	var head ProfileHead
	var body []byte
	r := httptest.NewRequest(http.MethodGet, "/debug/pprof/heap?worker=1", nil)
	err := (&Worker{peer: primary}).Profile(r, func(h ProfileHead) { head = h },
		func(part []byte) error { body = append(body, part...); return nil })
	if err != nil || head.Status != http.StatusOK || !bytes.Equal(body, want) {
		t.Errorf("got status %d, %d bytes, %v; want %d bytes", head.Status, len(body), err, len(want))
	}
	if !refused || kept.list != nil {
		t.Errorf("refused once: %v; still kept: %d", refused, len(kept.list))
	}
}

// TestRefusedProfilesCount: profiles beyond those that a worker makes at a time are refused and counted.
func TestRefusedProfilesCount(t *testing.T) {
	l := profiles{list: map[uint64]*profile{1: nil, 2: nil}}
	b, err := json.Marshal(profileRequest{ID: 3, Path: "/debug/pprof/heap"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = l.serve(nil, b); err != nil || l.refused.Load() != 1 {
		t.Errorf("got %v, %d refused; want 1", err, l.refused.Load())
	}
}
