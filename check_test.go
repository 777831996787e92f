package expedite

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/backplane/redisplane"
)

// TestWrongConfig: what would panic at the first client, or refuse all of them, is an error of Run, and nothing starts.
func TestWrongConfig(t *testing.T) {
	good := auth.VerifierFunc(fakeTokens)
	for _, tt := range []struct {
		name string
		cfg  Config
		add  func(*App)
		want string
	}{
		{"required without a verifier", Config{Auth: Auth{Mode: AuthRequired}}, nil, "Config.Auth.Verifier"},
		{"required by one endpoint", Config{}, func(a *App) { a.Handle("/x", Handler{Auth: AuthRequired}) }, "/x has AuthRequired"},
		{"a nil pointer as verifier", Config{Auth: Auth{Verifier: (*auth.JWT)(nil)}}, nil, "nil Verifier of type *auth.JWT"},
		{"a nil function as verifier", Config{Auth: Auth{Verifier: auth.VerifierFunc(nil)}}, nil, "nil Verifier"},
		{"a cache of nothing", Config{Auth: Auth{Verifier: auth.NewCache(nil, 0, 0)}}, nil, "nil Verifier"},
		{"a chain with a gap", Config{Auth: Auth{Verifier: auth.Chain(good, nil)}}, nil, "nil Verifier"},
		{"a nil pointer in a cache of a chain", Config{Auth: Auth{
			Verifier: auth.NewCache(auth.Chain(good, (*auth.Introspector)(nil)), 0, 0),
		}}, nil, "*auth.Introspector"},
		{"an empty chain", Config{Auth: Auth{Verifier: auth.Chain()}}, nil, "an empty chain"},
		{"a nil backplane", Config{Backplane: (*redisplane.Redis)(nil)}, nil, "Config.Backplane is a nil"},
		{"a nil writer", Config{WorkerOutput: (*bytes.Buffer)(nil)}, nil, "Config.WorkerOutput"},
		{"a hang timeout that kills the healthy", Config{HangTimeout: 300 * time.Millisecond}, nil, "Config.HangTimeout is 300ms"},
		{"a time below zero", Config{HandshakeTimeout: -1}, nil, "Config.HandshakeTimeout"},
		{"a name with a port", Config{AdminHosts: []string{"a.example", "b.example:9600"}}, nil, "Config.AdminHosts"},
		{"a port that is that of another address", Config{Addrs: []string{"127.0.0.1:1", ":1"}}, nil, `Config.Addr: ":1": the port is in use by "127.0.0.1:1"`},
		{"a group that does not exist", Config{Addrs: []string{"unix:/x?group=no-such-group"}}, nil, "Config.Addr: \"unix:/x?group=no-such-group\": group: unknown"},
		{"an admin listener with the port of clients", Config{Addrs: []string{":1"}, Admin: "127.0.0.1:1"}, nil, `Config.Admin is "127.0.0.1:1"`},
		{"an admin listener with TLS and the port of clients", Config{Addrs: []string{":1"}, Admin: "https://:1"}, nil, `Config.Admin is "https://:1", and its port`},
		{"an admin listener with TLS and no certificate", Config{Admin: "https://:1"}, nil, `Config.Admin is "https://:1", and there is no certificate`},
		{"a certificate without a file", Config{TLS: TLS{Cert: []string{"none.pem"}, Key: []string{"none.key"}}}, nil,
			"Config.TLS.Cert: stat none.pem: no such file or directory, in /"},
		{"a key without a file", Config{TLS: TLS{Cert: []string{"none.pem"}, Key: []string{"none.key"}}}, nil,
			"Config.TLS.Key: stat none.key"},
		{"authorities without a file", Config{TLS: TLS{
			Cert: []string{"none.pem"}, Key: []string{"none.key"}, ClientCA: "none.ca",
		}}, nil, "Config.TLS.ClientCA: stat none.ca"},
		{"a certificate without a key", Config{TLS: TLS{Cert: []string{"none.pem"}}}, nil,
			"Config.TLS.Cert and Config.TLS.Key name 1 and 0 files"},
		{"an address with TLS and no certificate", Config{Addrs: []string{"https://:1"}}, nil, `"https://:1" wants TLS`},
		{"a control socket for clients", Config{Addrs: []string{"unix:/x/y"}, Control: "/x/./y"}, nil, `Config.Control is "/x/./y"`},
		{"a cookie that no client can have", Config{Sessions: Sessions{Cookie: "a b"}}, nil, `Config.Sessions.Cookie is "a b"`},
		{"a head that is too short", Config{MaxHead: 100}, nil, "Config.MaxHead"},
		{"a limit below zero", Config{MaxConnections: -1}, nil, "negative"},
		{"a rate without a time", Config{MessageMinRate: Progress{Bytes: 1}}, nil, "Config.MessageMinRate"},
		{"pings that come too late", Config{}, func(a *App) {
			a.Handle("/x", Handler{IdleTimeout: 30 * time.Second, PingInterval: 50 * time.Second})
		}, "the handler of /x: Handler.PingInterval is 50s"},
		{"pings that come too late by default", Config{}, func(a *App) {
			a.Handle("/x", Handler{PingInterval: 5 * time.Minute})
		}, "Handler.PingInterval is 5m0s and Handler.IdleTimeout 2m0s"},
		{"pings of Config that come too late", Config{PingInterval: 50 * time.Second, IdleTimeout: 30 * time.Second}, nil,
			"Config.PingInterval is 50s and Config.IdleTimeout 30s"},
		{"pings that come too late for Config", Config{IdleTimeout: 30 * time.Second}, func(a *App) {
			a.Handle("/x", Handler{PingInterval: 50 * time.Second})
		}, "Handler.PingInterval is 50s and Config.IdleTimeout 30s"},
		{"a mark above its limit", Config{}, func(a *App) {
			a.Handle("/x", Handler{QueueLimit: 1000, LowMark: 1000})
		}, "Handler.LowMark is 1000"},
		{"a handler's limit below zero", Config{}, func(a *App) { a.Handle("/x", Handler{MaxMessage: -1}) }, "/x: a limit"},
		{"a nil state", Config{}, func(a *App) { a.Handle("/x", Handler{State: (*Carried[int])(nil)}) }, "Handler.State is a nil"},
		{"no HTTP handler", Config{}, func(a *App) { a.HTTP(nil) }, "App.HTTP"},
		{"a nil HTTP handler", Config{}, func(a *App) { a.HTTP((*http.ServeMux)(nil)) }, "App.HTTP"},
	} {
		for _, workers := range []int{-1, 1} {
			tt.cfg.Addr, tt.cfg.Workers = "127.0.0.1:0", workers
			tt.cfg.OnStart = func(Started) { t.Errorf("%s: it serves", tt.name) }
			app := New(tt.cfg)
			if tt.add != nil {
				tt.add(app)
			}
			if err := app.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
			}
		}
	}
}

// TestPingsFitTheIdleTimeout: without an interval, clients are pinged well before they count as gone.
func TestPingsFitTheIdleTimeout(t *testing.T) {
	const s, none = time.Second, time.Duration(-1)
	for _, tt := range []struct {
		name       string
		h          Handler
		cfg        Config
		idle, ping time.Duration
	}{
		{"neither", Handler{}, Config{}, 120 * s, 50 * s},
		{"no timeout", Handler{IdleTimeout: none}, Config{}, none, 50 * s},
		{"a long timeout", Handler{IdleTimeout: 60 * s}, Config{}, 60 * s, 50 * s},
		{"a timeout as long as the default interval", Handler{IdleTimeout: 50 * s}, Config{}, 50 * s, 50 * s * 5 / 12},
		{"a short timeout", Handler{IdleTimeout: 12 * s}, Config{}, 12 * s, 5 * s},
		{"a short timeout of Config", Handler{}, Config{IdleTimeout: 12 * s}, 12 * s, 5 * s},
		{"both of Config", Handler{}, Config{IdleTimeout: 30 * s, PingInterval: 20 * s}, 30 * s, 20 * s},
		{"an interval of Config that suits", Handler{IdleTimeout: 24 * s}, Config{PingInterval: 20 * s}, 24 * s, 20 * s},
		{"an interval of Config that does not", Handler{IdleTimeout: 12 * s}, Config{PingInterval: 20 * s}, 12 * s, 5 * s},
		{"no pings of Config", Handler{IdleTimeout: 12 * s}, Config{PingInterval: none}, 12 * s, none},
		{"its own", Handler{IdleTimeout: 12 * s, PingInterval: s}, Config{IdleTimeout: 9 * s, PingInterval: 2 * s}, 12 * s, s},
	} {
		if idle, ping := tt.h.silence(&tt.cfg); idle != tt.idle || ping != tt.ping {
			t.Errorf("%s: got a timeout of %s and a ping each %s, want %s and %s", tt.name, idle, ping, tt.idle, tt.ping)
		}
	}
}
