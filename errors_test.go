package expedite

import (
	"net"
	"strings"
	"testing"
)

// TestErrorsNameFields: what is wrong with a program's settings is told by the name of the field, not by a flag.
func TestErrorsNameFields(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for field, cfg := range map[string]Config{
		"Config.Addr":           {Addr: taken.Addr().String()},
		"Config.Admin":          {Admin: taken.Addr().String()},
		"Config.Control":        {Control: "/dev/null/control"},
		"Config.LogDir":         {LogDir: "/dev/null/logs"},
		"Config.Sessions.Redis": {Sessions: Sessions{Redis: "nonsense://"}},
		"Config.MoreRedis":      {MoreRedis: []string{"redis://a"}},
		"Config.Sessions.Redis: backplane: Redis: URL 2": {
			Sessions: Sessions{Redis: "redis://a"}, MoreRedis: []string{"nonsense://"},
		},
		"Config.Tuning.Procs": {Tuning: Tuning{Procs: -1}},
	} {
		if cfg.Workers = -1; cfg.Addr == "" {
			cfg.Addr = "127.0.0.1:0"
		}
		err := New(cfg).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "--") {
			t.Errorf("got %v, want an error that names %s, and no flag", err, field)
		}
	}
}
