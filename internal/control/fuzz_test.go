package control

import (
	"encoding/json"
	"net/url"
	"testing"
)

// FuzzSessionsRequest: a query that is accepted is within the limits, and is what a client would send for it.
func FuzzSessionsRequest(f *testing.F) {
	f.Add(SessionsRequest{User: "alice", Limit: 7, After: "x"}.query())
	f.Add("limit=0")
	f.Add("limit=1&limit=2&user=%00")
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		r, err := parseSessionsRequest(query)
		if err != nil {
			return
		}
		if r.Limit < 1 || r.Limit > maxSessions || len(r.User) > maxWho || len(r.After) > maxCursor {
			t.Fatalf("%q: got %+v, beyond the limits", text, r)
		}
		back, err := url.ParseQuery(r.query())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseSessionsRequest(back); err != nil || again != r {
			t.Fatalf("%q: got %+v, %v, want %+v", text, again, err, r)
		}
	})
}

// FuzzRequests: the checks of requests hold for any JSON.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(`{"user":"alice","reason":"x"}`))
	f.Add([]byte(`{"token_id":"t","seconds":60}`))
	f.Add([]byte(`{"follow":true,"worker":3,"level":"info","user":"a"}`))
	f.Add([]byte(`{"workers":4}`))
	f.Add([]byte(`{"canary_seconds":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range []interface{ check() error }{
			new(KickRequest), new(RevokeRequest), new(LogsRequest), new(ScaleRequest), new(ReloadRequest),
		} {
			if json.Unmarshal(b, r) != nil || r.check() != nil {
				continue
			}
			switch r := r.(type) {
			case *KickRequest:
				if len(r.User)+len(r.Session)+len(r.Conn) == 0 || len(r.Reason) > maxReason {
					t.Fatalf("%q: accepted %+v", b, r)
				}
			case *RevokeRequest:
				if len(r.User)+len(r.Session)+len(r.TokenID) == 0 || r.Seconds < 0 {
					t.Fatalf("%q: accepted %+v", b, r)
				}
			case *LogsRequest:
				if r.Worker < 0 || r.Worker > maxWorkers {
					t.Fatalf("%q: accepted %+v", b, r)
				}
			}
		}
	})
}
