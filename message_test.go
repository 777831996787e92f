package expedite

import (
	"errors"
	"testing"
)

// TestTextThatIsNoText: a text that is not UTF-8 reaches no client, by no way, and the sender is told; a client that
// was given one would have to leave (RFC 6455 §8.1).
func TestTextThatIsNoText(t *testing.T) {
	addr, app := runApp(t, Config{Workers: -1})
	hearer := visit(t, addr, "user=a&topic=news")
	for name, bad := range map[string]Message{
		"Text": Text("caf\xe9"), "TextBytes": TextBytes([]byte{0xff}), "cut off": Text("caf\xc3"), "clone": Text("\x80").Clone(),
	} {
		for way, err := range map[string]error{
			"Publish": app.Publish("news", bad), "SendUser": app.SendUser("a", bad), "Send": app.Send(hearer.ID, bad),
		} {
			if !errors.Is(err, ErrText) {
				t.Errorf("%s of %s: got %v, want ErrText", way, name, err)
			}
		}
		if got := new(Conn).Send(bad); got != Invalid || got.String() != "invalid" {
			t.Errorf("Conn.Send of %s: got %v, want Invalid", name, got)
		}
	}
	if err := app.Publish("news", Text("café")); err != nil {
		t.Fatal(err)
	}
	hearer.want("café")
}
