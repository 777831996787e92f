package expedite

import (
	"net/http"
	"strings"
	"testing"
)

// TestSessionsKeepNoSecrets: what a client shows in a field or a parameter that is kept for log lines is redacted before
// it comes to its session, and to the record of its connection.
func TestSessionsKeepNoSecrets(t *testing.T) {
	const planted = "planted-s3cret"
	d := openDoor(t, Config{
		LogHeaders: []string{"Cookie", "Authorization", "Proxy-Authorization", "X-Api-Key", "User-Agent"},
		LogQuery:   []string{"session", "api_key", "device"},
	})
	g, _, err := d.dial("/?device=phone&api_key="+planted+"&session="+strings.Repeat("ab", 24), http.Header{
		"Authorization": {"Bearer alice/" + planted + "/99"}, "Cookie": {"sid=" + planted}, "Proxy-Authorization": {planted},
		"X-Api-Key": {planted}, "User-Agent": {"test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.app.node.Load().gate.keeper.store.Find(t.Context(), g.Session)
	if err != nil || len(list) != 1 || list[0].User != "alice" {
		t.Fatalf("got %+v, %v", list, err)
	}
	s := list[0]
	for name, v := range s.Params {
		if strings.Contains(v, planted) || strings.Contains(v, "abab") {
			t.Errorf("%s: the session has %q", name, v)
		}
	}
	for name, want := range map[string]string{"device": "phone", "User-Agent": "test", "Cookie": "[redacted]"} {
		if got := s.Params[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	found := make(chan string, 1)
	d.app.node.Load().eng.Post(func() {
		found <- owner(d.app.node.Load().eng.Lookup(uint64(g.Conn))).who.Load().headers
	})
	if got := <-found; strings.Contains(got, planted) || !strings.Contains(got, "User-Agent=test") {
		t.Errorf("the connection has %q", got)
	}
}
