package redisconn

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestURL: each kind of URL is parsed.
func TestURL(t *testing.T) {
	for _, tt := range []struct {
		name, url             string
		hosts                 string
		user, password        string
		db                    int
		tls, single           bool
		set, sentinelPassword string
	}{
		{name: "a host", url: "redis://h", hosts: "h:6379", single: true},
		{name: "all of it", url: "redis://u:p@h:1/2", hosts: "h:1", user: "u", password: "p", db: 2, single: true},
		{name: "a password alone", url: "redis://:p@h", hosts: "h:6379", password: "p", single: true},
		{name: "escapes", url: "redis://u:p%40%2F%3A%25@h/0", hosts: "h:6379", user: "u", password: "p@/:%", single: true},
		{name: "an @ in the password", url: "redis://u:p@q@h", hosts: "h:6379", user: "u", password: "p@q", single: true},
		{name: "IPv6", url: "redis://[::1]:7/", hosts: "[::1]:7", single: true},
		{name: "IPv6 without a port", url: "redis://[::1]", hosts: "[::1]:6379", single: true},
		{name: "TLS", url: "rediss://h", hosts: "h:6379", tls: true, single: true},
		{name: "a socket", url: "unix:///run/r.sock?db=3", hosts: "/run/r.sock", db: 3, single: true},
		{name: "a socket with a password", url: "unix://u:p@/r", hosts: "/r", user: "u", password: "p", single: true},
		{name: "a cluster", url: "redis+cluster://:p@a:1,b", hosts: "a:1 b:6379", password: "p"},
		{name: "a cluster with TLS", url: "rediss+cluster://a", hosts: "a:6379", tls: true},
		{
			name: "Sentinels", url: "redis+sentinel://:p@a,b:2/main/4", hosts: "a:26379 b:2", password: "p", db: 4,
			set: "main", sentinelPassword: "p",
		},
		{
			name: "Sentinels with a password of their own", url: "rediss+sentinel://u:p@a/main?sentinel_password=s",
			hosts: "a:26379", user: "u", password: "p", tls: true, set: "main", sentinelPassword: "s",
		},
	} {
		o, err := parseURL(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		slices.Sort(o.InitAddress)
		if got := strings.Join(o.InitAddress, " "); got != tt.hosts {
			t.Errorf("%s: got hosts %q, want %q", tt.name, got, tt.hosts)
		}
		if o.Username != tt.user || o.Password != tt.password || o.SelectDB != tt.db || o.ForceSingleClient != tt.single {
			t.Errorf("%s: got %q, %q, database %d, single %v", tt.name, o.Username, o.Password, o.SelectDB, o.ForceSingleClient)
		}
		if (o.TLSConfig != nil) != tt.tls || o.Sentinel.MasterSet != tt.set || o.Sentinel.Password != tt.sentinelPassword {
			t.Errorf("%s: got TLS %v, Sentinel %+v", tt.name, o.TLSConfig != nil, o.Sentinel)
		}
		if sentinelTLS := o.Sentinel.TLSConfig != nil; sentinelTLS != (tt.tls && tt.set != "") {
			t.Errorf("%s: got TLS to the Sentinels: %v", tt.name, sentinelTLS)
		}
	}
}

// TestURLFaults: an invalid URL is refused at once, with the reason and without its password.
func TestURLFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, says string }{
		{"", "no scheme"},
		{"hunter2", "no scheme"},
		{":hunter2@h:6379", "no scheme"},
		{"hunter2://h", "unknown scheme"},
		{"redis+other://u:hunter2@h", "unknown scheme"},
		{"redis+://h", "unknown scheme"},
		{"unix+cluster:///x", "unknown scheme"},
		{"redis://", "a host is missing"},
		{"redis://u:hunter2@", "a host is missing"},
		{"redis://u:hunter2@:6379", "a host is missing"},
		{"redis://u:hunter2@h:port", "an invalid port"},
		{"redis://u:hunter2@h:0", "an invalid port"},
		{"redis://u:hunter2@h:66666", "an invalid port"},
		{"redis://h:hunter2", "an invalid port"},
		{"redis://u:hunter2@::1", "want host:port or [IPv6]:port"},
		{"redis://u:hun/ter2@h", "an @ after the host"},
		{"redis://u:hun?ter2@h", "an @ after the host"},
		{"redis://u:hun#ter2@h", "an @ after the host"},
		{"redis://u:hunter2%zz@h", "an invalid %"},
		{"redis://hunter2@h", "a user without a password"},
		{"redis://hunter2:@h", "a user without a password"},
		{"redis://u:hunter2@h/hunter2", "an invalid database"},
		{"redis://u:hunter2@h/-1", "an invalid database"},
		{"redis://u:hunter2@h#hunter2", "a #"},
		{"redis://u:hunter2@h?hunter2=1", "an unknown option"},
		{"redis://u:hunter2@h?db=%zz", "invalid options"},
		{"redis://u:hunter2@a,b", "several hosts"},
		{"redis://h?ca=" + empty, "rediss only"},
		{"rediss://u:hunter2@h?ca=" + empty, "no certificates"},
		{"rediss://u:hunter2@h?ca=" + empty + ".not", "no such file"},
		{"redis+cluster://u:hunter2@a/1", "no databases"},
		{"redis+sentinel://u:hunter2@a", "the name of the primary is missing"},
		{"redis+sentinel://u:hunter2@a/main/x", "an invalid database"},
		{"unix://u:hunter2@host/path", "want unix:///path"},
		{"unix://", "want unix:///path"},
	} {
		r, err := Open(tt.url, 0)
		if err == nil {
			_ = r.Close()
			t.Errorf("%s: taken", tt.url)
			continue
		}
		if text := err.Error(); !strings.Contains(text, tt.says) {
			t.Errorf("%s: got %q, want something of %q", tt.url, text, tt.says)
		} else if strings.Contains(text, "hunter2") || strings.Contains(text, "hun") {
			t.Errorf("%s: got %q, which tells the password", tt.url, text)
		}
	}
}
