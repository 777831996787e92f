package settings

import (
	"crypto/tls"
	"log/slog"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
)

// newTable returns the schema of the settings of p.
func newTable(p *Program) table {
	return table{
		{"Listening", listenSettings(p)},
		{"TLS", tlsSettings(p)},
		{"Processes", processSettings(p)},
		{"Identity", identitySettings(p)},
		{KeysOfTokens, keySettings(p)},
		{"Sessions", sessionSettings(p)},
		{"Limits", limitSettings(p)},
		{"Limits of clients", abuseSettings(p)},
		{"Clients", clientSettings(p)},
		{"Resources", resourceSettings(p)},
		{"Logs", logSettings(p)},
	}
}

// KeysOfTokens is the group of the settings that name the keys of tokens.
const KeysOfTokens = "Keys of tokens"

func listenSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "addr", Help: "Addresses to serve on, also unix:/path and systemd:.", Default: ":8080",
			Variables: []string{"PORT"}, to: addresses(&c.Addr, &c.Addrs),
		},
		{
			Name: "trusted-proxies", Help: "Networks of proxies that name the client, and unix.", Auto: "none",
			to: list(&c.TrustedProxies, proxyNetwork()),
		},
		{
			Name: "proxy-protocol", Help: "Those proxies begin with a PROXY header.", Default: "false",
			to: boolean(&c.ProxyProtocol),
		},
		{
			Name: "control", Help: "Unix socket for the other commands, or off.",
			Auto: "expedite.sock in the user's runtime folder", Example: "PATH", to: text(&c.Control),
		},
		{
			Name: "admin", Help: "Address for metrics and profiles, or off; https:// before it: with TLS.",
			Default: "127.0.0.1:9600", to: addressOrOff(&c.Admin),
		},
		{
			Name: "admin-hosts", Help: "Further host names for requests to --admin.", Auto: "none",
			to: list(&c.AdminHosts, hostName()),
		},
	}
}

func tlsSettings(p *Program) []Setting {
	c := &p.Config.TLS
	return []Setting{
		{
			Name: "tls-cert", Help: "Certificates (PEM) with their intermediates: clients use TLS.", Auto: "none",
			to: list(&c.Cert, files()),
		},
		{Name: "tls-key", Help: "Their private keys (PEM), in the same order.", Auto: "none", to: list(&c.Key, files())},
		{
			Name: "tls-auto", Auto: "none", Example: "DOMAIN,…",
			Help: "Domains to obtain certificates for (ACME); this accepts the authority's terms of service.",
			to:   list(&c.Auto.Domains, domain()),
		},
		{
			Name: "tls-auto-ca", Help: "URL of the ACME directory.", Auto: "Let's Encrypt", Example: "URL",
			to: directoryURL(&c.Auto.CA),
		},
		{
			Name: "tls-auto-dir", Help: "Folder for these certificates.", Auto: "certificates in --state-dir",
			Example: "DIR", to: text(&c.Auto.Folder),
		},
		{
			Name: "tls-auto-email", Help: "Address for messages of that authority.", Auto: "none", Example: "ADDRESS",
			to: text(&c.Auto.Email),
		},
		{
			Name: "tls-client-ca", Help: "Authorities (PEM) whose certificates clients have to present.",
			Auto: "clients present none", Example: "FILE", to: text(&c.ClientCA),
		},
		{
			Name: "tls-engine", Default: "loop",
			Help: "What reads and writes records of TLS 1.3: the event loop, whose connections move, or crypto/tls.",
			to:   word(&c.Standard, []bool{false, true}, "loop", "std"),
		},
		{
			Name: "tls-min", Help: "Earliest version of TLS.", Default: "1.2",
			to: word(&c.MinVersion, []uint16{0, tls.VersionTLS13}, "1.2", "1.3"),
		},
		{
			Name: "tls-redirect", Help: "Redirect requests at addresses with http:// to https://.", Default: "false",
			to: boolean(&c.Redirect),
		},
	}
}

func processSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "workers", Help: "Worker processes; auto: one per core, within a CPU quota.", Default: "auto",
			to: workers(&c.Workers),
		},
		{
			Name: "scheduling", Help: "How connections get a worker.", Default: "round-robin",
			to: word(&c.Scheduling, []cluster.Policy{cluster.RoundRobin, cluster.LeastConnections, cluster.None}),
		},
		{
			Name: "hang-timeout", Help: "Replace a worker that hangs for this long; 0: never.", Default: "30s",
			to: timeout(&c.HangTimeout),
		},
		{
			Name: "max-worker-memory", Help: "Replace a larger worker.", Auto: "no limit",
			to: size(&c.MaxWorkerMemory),
		},
		{
			Name: "drain-timeout", Help: "Time limit of a graceful stop.", Default: "30s",
			to: duration(&c.DrainTimeout),
		},
		{
			Name: "state-dir", Help: "Folder for revocations, or off.", Auto: "in the user's state folder",
			Example: "DIR", to: text(&c.StateDir),
		},
	}
}

func identitySettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "auth", Help: "Access tokens.", Auto: "optional if there is a key, else off", Example: "MODE",
			to: word(&c.Auth.Mode, []expedite.AuthMode{expedite.AuthOff, expedite.AuthOptional, expedite.AuthRequired}),
		},
		{
			Name: "origins", Live: true, Help: "Further origins of pages that may connect.", Auto: "none",
			to: list((*[]string)(&c.Auth.Origins), origin()),
		},
		{
			Name: "auth-leeway", Help: "Accept tokens for this long after they expire.", Default: "5s",
			to: timeout(&p.Verifier.Leeway),
		},
		{
			Name: "auth-introspect", Help: "URL to verify opaque tokens at (RFC 7662).", Auto: "none", Example: "URL",
			to: httpURL(&p.Verifier.Introspect),
		},
		{
			Name: "auth-introspect-file", Help: "File with that URL, if it has a password.", Auto: "none",
			FileOf: "auth-introspect",
		},
		{
			Name: "auth-introspect-client", Help: "Name of this server at that URL.", Auto: "none", Example: "ID",
			to: text(&p.Verifier.ClientID),
		},
		{
			Name: "auth-introspect-secret", Help: "Secret of this server at that URL.",
			to: secret(&p.Verifier.ClientSecret),
		},
		{
			Name: "auth-introspect-secret-file", Help: "File with the secret of this server at that URL.", Auto: "none",
			FileOf: "auth-introspect-secret",
		},
	}
}

func keySettings(p *Program) []Setting {
	v := &p.Verifier
	return []Setting{
		{Name: "auth-secret", Help: "Secret of HS256, HS384 and HS512 tokens.", to: secret(&v.Secret)},
		{
			Name: "auth-secret-file", Help: "File with the secret of HS256, HS384 and HS512 tokens.", Auto: "none",
			Example: "FILE", FileOf: "auth-secret", to: text(&v.SecretFile),
		},
		{
			Name: "auth-keys", Help: "File with public keys: PEM or a JWK set.", Auto: "none", Example: "FILE",
			to: text(&v.Keys),
		},
		{
			Name: "auth-jwks", Help: "URL of the public keys of tokens.", Auto: "none", Example: "URL",
			to: httpURL(&v.JWKS),
		},
		{
			Name: "auth-jwks-file", Help: "File with that URL, if it has a password.", Auto: "none", FileOf: "auth-jwks",
		},
		{
			Name: "auth-issuer", Help: "Accept only tokens of these.", Auto: "any", Example: "ISS",
			to: list(&v.Issuers, anyText()),
		},
		{
			Name: "auth-audience", Help: "Accept only tokens for these.", Auto: "any", Example: "AUD",
			to: list(&v.Audiences, anyText()),
		},
	}
}

func sessionSettings(p *Program) []Setting {
	s := &p.Config.Sessions
	return []Setting{
		{
			Name: "redis", Auto: "none",
			Help: "Redis for sessions and other machines; topics are spread over several. " +
				"Put a URL with a password into REDIS_URL or a file.",
			Variables: []string{"REDIS_URL"}, Example: "URL", to: redisURLs(&s.Redis, &p.Config.MoreRedis),
		},
		{
			Name: "redis-file", Help: "File with the URLs of Redis.", Auto: "none",
			Variables: []string{"REDIS_URL_FILE"}, FileOf: "redis",
		},
		{
			Name: "close-on-gap", Help: "Close with 1013 clients that missed messages of other machines.",
			Default: "false", to: boolean(&p.Config.CloseOnGap),
		},
		{
			Name: "history", Help: "Topics that keep their latest messages: how many, and how long. The lobby's topic is lobby.",
			Auto: "none", to: histories(&p.Config.History),
		},
		{
			Name: "max-history", Help: "Memory for the messages that all topics keep.", Auto: "64MiB",
			to: size(&p.Config.MaxHistory),
		},
		{
			Name: "presence", Help: "Pattern of topics whose clients are told who comes and goes; * is any text. " +
				"The lobby's topic is lobby.",
			Auto: "none", to: presenceTopics(&p.Config.Presence),
		},
		{
			Name: "presence-lease", Help: "Time after which the members of a machine that has died are gone.", Auto: "15s",
			to: duration(&p.Config.PresenceLease),
		},
		{
			Name: "require-redis", Help: "Refuse clients with 503 while Redis is unavailable.", Default: "false",
			to: boolean(&s.RequireRedis),
		},
		{
			Name: "session-ttl", Help: "Lifetime of a session without a connection.", Default: "1h",
			to: duration(&s.TTL),
		},
		{
			Name: "session-empty-ttl", Help: "The same for an anonymous session without values.", Default: "2m",
			to: duration(&s.EmptyTTL),
		},
		{Name: "max-sessions", Help: "Sessions in the primary.", Default: "2000000", to: integer(&s.MaxSessions, 1)},
		{
			Name: "max-sessions-per-user", Help: "Sessions of one user.", Auto: "no limit",
			to: integer(&s.MaxPerUser, 0),
		},
		{
			Name: "session-overflow", Help: "What happens when a user has too many sessions.", Default: "close-oldest",
			to: word(&s.RefuseNew, []bool{false, true}, "close-oldest", "refuse-new"),
		},
		{
			Name: "session-cookie", Help: "Cookie with the session to resume.", Auto: "none", Example: "NAME",
			to: text(&s.Cookie),
		},
	}
}

func limitSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "max-connections", Live: true, Help: "WebSockets per worker, then 503.", Auto: "as open files permit",
			to: integer(&c.MaxConnections, 0),
		},
		{
			Name: "max-handshakes", Live: true, Help: "Sockets per worker before the handshake.",
			Auto: "4096, or a quarter of the open files", to: integer(&c.MaxHandshakes, 0),
		},
		{
			Name: "max-per-address", Live: true, Help: "Connections per worker and IPv4 address or IPv6 /64.", Auto: "no limit",
			to: integer(&c.MaxPerAddress, 0),
		},
		{
			Name: "max-http-connections", Live: true, Help: "HTTP connections per worker.",
			Auto: "4096, or a quarter of the open files", to: integer(&c.MaxHTTPConnections, 0),
		},
		{
			Name: "response-timeout", Help: "Time for a client to read from a response; 0: no limit.", Default: "30s",
			to: timeout(&c.ResponseTimeout),
		},
		{
			Name: "body-timeout", Help: "Time between reads of a request body; 0: no limit.", Default: "10s",
			to: timeout(&c.BodyTimeout),
		},
		{
			Name: "max-partial", Help: "Bytes of unfinished messages per worker, or off.", Auto: "an eighth of the heap",
			to: limit(&c.MaxPartial),
		},
		{
			Name: "max-queued", Help: "Bytes of send queues per worker, or off.", Auto: "a quarter of the heap",
			to: limit(&c.MaxQueued),
		},
		{
			Name: "max-pending", Help: "Bytes waiting for callbacks per worker, or off.", Auto: "an eighth of the heap",
			to: limit(&c.MaxPending),
		},
		{
			Name: "message-min-rate", Help: "Lowest rate of a message under way, or off.", Default: "1KiB/10s",
			to: progress(&c.MessageMinRate),
		},
	}
}

func abuseSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{Name: "max-message", Help: "Longest message.", Default: "1MiB", to: size(&c.MaxMessage)},
		{Name: "max-fragments", Help: "Fragments of a message.", Default: "1024", to: integer(&c.MaxFragments, 1)},
		{Name: "max-head", Help: "Longest request head.", Default: "8KiB", to: smallSize(&c.MaxHead)},
		{
			Name: "message-rate", Help: "Messages, pings and pongs of a client per second.", Default: "off",
			Example: "N/BURST", to: eventRate(&c.MessageRate),
		},
		{
			Name: "message-rate-policy", Help: "What happens to a client beyond --message-rate.", Default: "close",
			to: word(&c.OverRate, []expedite.RatePolicy{expedite.RateClose, expedite.RateDrop, expedite.RateWait}),
		},
		{
			Name: "publish-rate", Help: "Publications of a client per second.", Default: "off", Example: "N/BURST",
			to: eventRate(&c.PublishRate),
		},
		{
			Name: "connect-rate", Help: "New connections per second, worker and client address.", Default: "off",
			Example: "N/BURST", to: eventRate(&c.ConnectRate),
		},
		{
			Name: "max-per-user", Help: "Connections of one user per worker.", Auto: "no limit",
			to: integer(&c.MaxPerUser, 0),
		},
	}
}

func clientSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "compression", Help: "Compress messages with permessage-deflate.", Default: "off",
			to: word(&c.Compression, []expedite.Compression{
				expedite.CompressionOff, expedite.CompressionShared, expedite.CompressionTakeover,
			}),
		},
		{
			Name: "ping-interval", Help: "Ping a client after this silence; 0: never.", Default: "50s",
			to: timeout(&c.PingInterval),
		},
		{
			Name: "idle-timeout", Help: "Disconnect a client after this silence; 0: never.", Default: "120s",
			to: timeout(&c.IdleTimeout),
		},
	}
}

func resourceSettings(p *Program) []Setting {
	t := &p.Config.Tuning
	return []Setting{
		{Name: "memory", Help: "Limit of all heaps.", Auto: "80 % of the memory", to: size(&t.Memory)},
		{
			Name: "memory-reserve", Help: "Free memory that is kept, or off.", Auto: "5 % of the memory",
			to: limit(&t.MemoryReserve),
		},
		{
			Name: "gogc", Help: "Heap growth until a collection, in percent; -1: off.", Auto: "100",
			to: integer(&t.GOGC, -1),
		},
		{Name: "procs", Help: "Processors of a worker.", Auto: "its share of the cores, and 1", to: integer(&t.Procs, 0)},
		{
			Name: "conn-rate-in", Help: "Bytes per second from one client.", Auto: "no limit",
			to: byteRate(&t.ConnRate.In),
		},
		{
			Name: "conn-rate-out", Help: "Bytes per second to one client.", Auto: "no limit",
			to: byteRate(&t.ConnRate.Out),
		},
		{Name: "rate-in", Help: "Bytes per second from all clients.", Auto: "no limit", to: byteRate(&t.Rate.In)},
		{Name: "rate-out", Help: "Bytes per second to all clients.", Auto: "no limit", to: byteRate(&t.Rate.Out)},
	}
}

func logSettings(p *Program) []Setting {
	c := &p.Config
	return []Setting{
		{
			Name: "log-format", Help: "Log format; auto is text on a terminal.", Default: "auto",
			to: word(&p.LogFormat, []string{"auto", "text", "json"}),
		},
		{
			Name: "log-level", Live: true, Help: "Lowest level to log.", Default: "info",
			to: word(&p.LogLevel, []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}),
		},
		{
			Name: "log-dir", Help: "Folder for log files, one per process.", Auto: "none, log to stderr",
			Example: "DIR", to: text(&c.LogDir),
		},
		{
			Name: "log-query", Help: "Query parameters to log.", Auto: "none", Example: "NAME",
			to: list(&c.LogQuery, anyText()),
		},
		{
			Name: "log-header", Help: "Header fields of the handshake to log.", Auto: "none", Example: "NAME",
			to: list(&c.LogHeaders, anyText()),
		},
		{
			Name: "log-queue", Help: "Log lines of a process that may wait to be written.", Default: "1024",
			to: integer(&c.LogQueue, 1),
		},
		{
			Name: "log-sample", Help: "Log lines per second about clients that connect and disconnect; -1: none.",
			Default: "20", to: integer(&c.LogSample, -1),
		},
	}
}
