package expedite

import (
	"net/http"
	"strings"
	"testing"
)

// TestSessionsKeepNoSecrets: what a client shows in a field or a parameter that is kept for log lines is redacted
// before it comes to its session, and to the record of its connection.
func TestSessionsKeepNoSecrets(t *testing.T) {
	const planted = "planted-s3cret"
	record := make(chan []byte, 1)
	known := make(chan struct{})
	var d *door
	d = openDoor(t, Config{
		LogHeaders: []string{"Cookie", "Authorization", "Proxy-Authorization", "X-Api-Key", "User-Agent"},
		LogQuery:   []string{"session", "api_key", "device"},
	}, func(a *App) {
		a.Handle("/kept", Handler{Session: true, Inline: true, Open: func(c *Conn) {
			record <- c.end.save(c.client.Conn)
			<-known
			d.greet(c)
		}})
	})
	close(known)
	g, _, err := d.dial("/kept?device=phone&api_key="+planted+"&session="+strings.Repeat("ab", 24), http.Header{
		"Authorization": {"Bearer alice/" + planted + "/99"}, "Cookie": {"sid=" + planted}, "Proxy-Authorization": {planted},
		"X-Api-Key": {planted}, "User-Agent": {"test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.app.role.Load().worker.Tracker().Store.Find(t.Context(), g.Session)
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
	_, got, _ := strings.Cut(string(<-record), "&Cookie=") // the headers that are kept
	if strings.Contains(got, planted) || !strings.Contains(got, "User-Agent=test") {
		t.Errorf("the connection has %q", got)
	}
}
