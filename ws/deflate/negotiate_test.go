package deflate

import (
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	shared, takeover := Config{}, Config{Takeover: true}
	both := Name + "; server_no_context_takeover; client_no_context_takeover"
	rows := []struct {
		name   string
		c      Config
		offers []string
		want   string // empty if nothing is accepted
	}{
		{"no offer", shared, nil, ""},
		{"an empty field", shared, []string{""}, ""},
		{"another extension", shared, []string{"x-webkit-deflate-frame"}, ""},
		{"shared answers both", shared, []string{Name}, both},
		{"Chromium's offer, shared", shared, []string{Name + "; client_max_window_bits"}, both},
		{"takeover answers nothing", takeover, []string{Name}, Name},
		{"Chromium's offer, takeover", takeover, []string{Name + "; client_max_window_bits"}, Name},
		{"§7.1.1.1", takeover, []string{Name + "; server_no_context_takeover"}, Name + "; server_no_context_takeover"},
		{"§7.1.1.2", takeover, []string{Name + "; client_no_context_takeover"}, Name + "; client_no_context_takeover"},
		{"§7.1.2.1", takeover, []string{Name + "; server_max_window_bits=10"}, Name + "; server_max_window_bits=10"},
		{"§7.1.2.1 of 8", takeover, []string{Name + "; server_max_window_bits=8"}, Name + "; server_max_window_bits=8"},
		{"§7.1.2.1 of 15", takeover, []string{Name + "; server_max_window_bits=15"}, Name + "; server_max_window_bits=15"},
		{
			"§7.1.2.1 may be answered without an offer",
			Config{Takeover: true, ServerMaxWindowBits: 12},
			[]string{Name},
			Name + "; server_max_window_bits=12",
		},
		{
			"§7.1.2.1 the smaller one",
			Config{Takeover: true, ServerMaxWindowBits: 12},
			[]string{Name + "; server_max_window_bits=14"},
			Name + "; server_max_window_bits=12",
		},
		{
			"§7.1.2.2",
			Config{Takeover: true, ClientMaxWindowBits: 12},
			[]string{Name + "; client_max_window_bits"},
			Name + "; client_max_window_bits=12",
		},
		{
			"§7.1.2.2 the smaller one",
			Config{Takeover: true, ClientMaxWindowBits: 12},
			[]string{Name + "; client_max_window_bits=9"},
			Name + "; client_max_window_bits=9",
		},
		{
			"§7.1.2.2 not offered, so the client may not take over",
			Config{Takeover: true, ClientMaxWindowBits: 12},
			[]string{Name},
			Name + "; client_no_context_takeover",
		},
		{"spaces", takeover, []string{"\t" + Name + " ;\tserver_max_window_bits = 9 "}, Name + "; server_max_window_bits=9"},
		{"a quoted value", takeover, []string{Name + `; server_max_window_bits="1\0"`}, Name + "; server_max_window_bits=10"},
		{"the second offer", takeover, []string{Name + "; x, " + Name}, Name},
		{"the second field", takeover, []string{"y", Name + "; server_max_window_bits=7", Name}, Name},
		{"the first of two", takeover, []string{Name + ", " + Name + "; server_no_context_takeover"}, Name},
		{"empty elements", takeover, []string{",, " + Name + " ,"}, Name},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, answer, ok := row.c.Accept(row.offers)
			if answer != row.want || ok != (row.want != "") {
				t.Errorf("got %q, %v, want %q", answer, ok, row.want)
			}
		})
	}
}

// invalid are parameters that RFC 7692 §7.1 declines in an offer and in an answer.
var invalid = []struct{ name, params string }{
	{"unknown parameter", "x"},
	{"case", "Server_no_context_takeover"},
	{"§7.1.1.1 with a value", "server_no_context_takeover=1"},
	{"§7.1.1.2 with a value", "client_no_context_takeover=true"},
	{"§7.1.1.1 twice", "server_no_context_takeover; server_no_context_takeover"},
	{"§7.1.1.2 twice", "client_no_context_takeover; client_no_context_takeover"},
	{"§7.1.2.1 twice", "server_max_window_bits=10; server_max_window_bits=10"},
	{"§7.1.2.2 twice", "client_max_window_bits=15; client_max_window_bits=15"},
	{"§7.1.2.1 without a value", "server_max_window_bits"},
	{"§7.1.2.1 of 7", "server_max_window_bits=7"},
	{"§7.1.2.1 of 16", "server_max_window_bits=16"},
	{"§7.1.2.1 of 0", "server_max_window_bits=0"},
	{"§7.1.2.1 with a leading zero", "server_max_window_bits=08"},
	{"§7.1.2.1 with a sign", "server_max_window_bits=+9"},
	{"§7.1.2.1 of three digits", "server_max_window_bits=150"},
	{"§7.1.2.1 of letters", "server_max_window_bits=1a"},
	{"§7.1.2.2 of 7", "client_max_window_bits=7"},
	{"§7.1.2.2 of 16", "client_max_window_bits=16"},
	{"§7.1.2.2 with a leading zero", "client_max_window_bits=010"},
}

func TestAcceptDeclines(t *testing.T) {
	for _, row := range invalid {
		t.Run(row.name, func(t *testing.T) {
			for _, c := range []Config{{}, {Takeover: true}} {
				if _, answer, ok := c.Accept([]string{Name + "; " + row.params}); ok {
					t.Errorf("got %q, want the offer to be declined", answer)
				}
				if _, _, ok := c.Accept([]string{Name + "; " + row.params + ", " + Name}); !ok {
					t.Error("the next offer is declined too")
				}
			}
		})
	}
	for _, syntax := range []string{Name + ";", Name + `; a="b c"`, Name + " x", Name + "; a=", ";", Name + `; a="b`, "\x80"} {
		if _, answer, ok := (Config{}).Accept([]string{syntax, Name}); ok {
			t.Errorf("%q: got %q, want the field to be malformed", syntax, answer)
		}
	}
}

func TestAgreed(t *testing.T) {
	shared, takeover := Config{}, Config{Takeover: true}
	both := Name + "; server_no_context_takeover; client_no_context_takeover"
	small := Config{Takeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 11}
	rows := []struct {
		name   string
		c      Config
		answer string
		want   Params
	}{
		{"shared", shared, both, Params{true, true, 15, 15}},
		{"shared: the client need not be asked", shared, Name + "; server_no_context_takeover", Params{true, true, 15, 15}},
		{"takeover", takeover, Name, Params{false, false, 15, 15}},
		{"takeover, the server asks for less", takeover, both, Params{true, true, 15, 15}},
		{"windows", takeover, Name + "; server_max_window_bits=8; client_max_window_bits=9", Params{false, false, 8, 9}},
		{"small windows", small, Name + "; server_max_window_bits=10", Params{false, false, 10, 11}},
		{"smaller windows", small, Name + "; server_max_window_bits=9; client_max_window_bits=9", Params{false, false, 9, 9}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, ok, err := row.c.Agreed(row.answer)
			if got != row.want || !ok || err != nil {
				t.Errorf("got %+v, %v, %v, want %+v", got, ok, err, row.want)
			}
		})
	}
	if p, ok, err := shared.Agreed(""); p != (Params{}) || ok || err != nil {
		t.Errorf("got %+v, %v, %v, want the server to have declined", p, ok, err)
	}
}

func TestAgreedRefuses(t *testing.T) {
	takeover := Config{Takeover: true}
	rows := []struct {
		name   string
		c      Config
		answer string
	}{
		{"§7.1.1.1 offered and not answered", Config{}, Name},
		{"§7.1.2.1 offered and not answered", Config{Takeover: true, ServerMaxWindowBits: 10}, Name},
		{"§7.1.2.1 larger than offered", Config{Takeover: true, ServerMaxWindowBits: 10}, Name + "; server_max_window_bits=11"},
		{"§7.1.2.2 larger than offered", Config{Takeover: true, ClientMaxWindowBits: 10}, Name + "; client_max_window_bits=11"},
		{"§7.1.2.2 without a value", takeover, Name + "; client_max_window_bits"},
		{"two answers", takeover, Name + ", " + Name},
		{"an extension that was not offered", takeover, "x"},
		{"another one beside it", takeover, Name + ", x"},
		{"syntax", takeover, Name + ";"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if p, ok, err := row.c.Agreed(row.answer); err == nil || ok || p != (Params{}) {
				t.Errorf("got %+v, %v, %v, want an error", p, ok, err)
			}
		})
	}
	for _, row := range invalid {
		t.Run(row.name, func(t *testing.T) {
			if p, ok, err := takeover.Agreed(Name + "; " + row.params); err == nil || ok {
				t.Errorf("got %+v, %v, want an error", p, err)
			}
		})
	}
}

// TestAnswersAreAgreed runs both roles against each other with all configurations.
func TestAnswersAreAgreed(t *testing.T) {
	var configs []Config
	for s := uint8(8); s <= 15; s++ {
		for c := uint8(8); c <= 15; c++ {
			configs = append(configs, Config{false, s, c}, Config{true, s, c})
		}
	}
	for _, server := range configs {
		for _, client := range configs {
			p, answer, ok := server.Accept([]string{"x, ", client.Offer()})
			got, agreed, err := client.Agreed(answer)
			if !ok || !agreed || err != nil || got != p {
				t.Fatalf("%+v to %+v: %q, got %+v, %v, want %+v", client, server, answer, got, err, p)
			}
			if p.ServerMaxWindowBits > min(server.ServerMaxWindowBits, client.ServerMaxWindowBits) ||
				p.ClientMaxWindowBits > min(server.ClientMaxWindowBits, client.ClientMaxWindowBits) {
				t.Fatalf("%+v to %+v: got %+v", client, server, p)
			}
		}
	}
}

// TestPackIsFixed holds the bytes that saved states contain.
func TestPackIsFixed(t *testing.T) {
	for b := range 256 {
		if got := Unpack(uint8(b)).Pack(); got != uint8(b) {
			t.Errorf("got %#x, want %#x", got, b)
		}
	}
	rows := map[uint8]Params{
		0x00: {false, false, 8, 8}, 0x3f: {false, false, 15, 15}, 0xff: {true, true, 15, 15},
		0x44: {true, false, 12, 8}, 0x8a: {false, true, 10, 9},
	}
	for want, p := range rows {
		if got := p.Pack(); got != want {
			t.Errorf("%+v: got %#x, want %#x", p, got, want)
		}
	}
}

// TestLongOffers checks that a client cannot make Accept slow: the time is linear.
func TestLongOffers(t *testing.T) {
	offer := strings.Repeat(Name+"; x=1, ", 10_000) + Name
	if _, answer, ok := (Config{Takeover: true}).Accept([]string{offer}); !ok || answer != Name {
		t.Errorf("got %q, %v", answer, ok)
	}
}
