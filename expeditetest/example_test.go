package expeditetest_test

import (
	"net/http/httptest"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/expeditetest"
)

// setup is what main passes to command.Main.
func setup(cfg expedite.Config) (*expedite.App, error) {
	app := expedite.New(cfg)
	app.Handle("/chat/{room}", expedite.Handler{
		Auth: expedite.AuthRequired,
		Open: func(c *expedite.Conn) { _ = c.Subscribe(c.PathValue("room")) },
		Message: func(c *expedite.Conn, m expedite.Message) {
			_ = c.Publish(c.PathValue("room"), expedite.Text(c.User()+": "+m.String()))
		},
	})
	app.HTTP(app.Healthz())
	return app, nil
}

// Example shows a test of a chat. In a file that ends with _test.go, its name is TestChat.
func Example() {
	TestChat := func(t *testing.T) {
		t.Parallel()
		s := expeditetest.Start(t, setup)

		alice, bob := s.Dial("/chat/go", s.As("alice")), s.Dial("/chat/go", s.As("bob"))
		alice.Send("hello")
		if got := bob.Receive(); got != "alice: hello" {
			t.Errorf("bob received %q", got)
		}

		if got := s.Refused("/chat/go"); got.Code != 401 {
			t.Errorf("without a token: got %d, want 401", got.Code)
		}
		if got := s.Do(httptest.NewRequest("GET", "/healthz", nil)); got.Code != 200 {
			t.Errorf("healthz: got %d: %s", got.Code, got.Body)
		}
	}
	_ = TestChat
	// Output:
}
