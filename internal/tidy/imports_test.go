package tidy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// policy lists what each package may import besides the standard library: packages of this module by folder, others by
// module path. Other imports are errors, and so are packages without an entry. Tests may import more.
var policy = map[string]string{
	"ws":                         "", // nor internal/record: the lengths in the state of a Reader are single bytes up to 131, not uvarints
	"ws/deflate":                 "ws github.com/klauspost/compress/flate",
	"auth":                       "internal/strictjson internal/urlquery github.com/golang-jwt/jwt/v5 github.com/MicahParks/jwkset",
	"session":                    "",
	"backplane":                  "",
	"backplane/backplanetest":    "backplane",
	"backplane/redisplane":       "backplane internal/redisconn github.com/redis/rueidis",
	"internal/relay":             "backplane internal/broker internal/connid internal/record",
	"client":                     "",
	"session/memstore":           "session internal/sessionwire",
	"session/redisstore":         "session internal/redisconn internal/sessionwire github.com/redis/rueidis",
	"internal/sessionwire":       "session internal/record",
	"internal/storeguard":        "session internal/sessionwire",
	"internal/remotestore":       "session internal/record internal/sessionwire",
	"internal/redisconn":         "session github.com/redis/rueidis",
	"internal/redisfeed":         "session internal/redisconn github.com/redis/rueidis",
	"internal/redistest":         "",
	"internal/fakeclock":         "",
	"session/sessiontest":        "session",
	"internal/rpc":               "",
	"internal/chatjson":          "",
	"internal/connid":            "",
	"internal/primary":           "backplane session cluster internal/admin internal/broker internal/connid internal/control internal/history internal/human internal/listener internal/presence internal/registry internal/relay internal/resource internal/rpc internal/statedir internal/systemd internal/telemetry internal/acmeclient golang.org/x/sys",
	"internal/registry":          "auth session session/memstore session/redisstore internal/denylist internal/record internal/remotestore internal/storeguard internal/redisfeed internal/connid internal/ratchet internal/rpc internal/statedir internal/telemetry",
	"internal/broker":            "internal/record",
	"internal/history":           "internal/broker internal/topic",
	"internal/broker/brokertest": "internal/broker",
	"internal/presence":          "backplane internal/broker internal/record internal/topic",
	"internal/record":            "",
	"internal/denylist":          "internal/record",
	"internal/identity":          "auth internal/record internal/strictjson",
	"internal/strictjson":        "",
	"internal/urlquery":          "",
	"internal/wheel":             "",
	"internal/topic":             "",
	"internal/route":             "",
	"internal/tidy":              "",
	"internal/doctest":           "",
	"internal/resource":          "",
	"internal/access":            "auth session ws internal/connid internal/denylist internal/engine internal/identity internal/reactor internal/record internal/registry internal/route internal/storeguard internal/telemetry internal/urlquery",
	"internal/worker":            "auth backplane session ws cluster internal/access internal/admin internal/broker internal/connid internal/denylist internal/engine internal/handoff internal/listener internal/presence internal/ratchet internal/reactor internal/record internal/registry internal/relay internal/resource internal/route internal/rpc internal/secure internal/storeguard internal/telemetry internal/topic session/redisstore",
	"internal/statedir":          "",
	"expeditetest":               ". auth ws github.com/coder/websocket",
	"internal/fdpass":            "golang.org/x/sys",
	"internal/reactor":           "internal/tlsrecord internal/wheel golang.org/x/sys",
	"internal/tlsrecord":         "golang.org/x/crypto",
	"internal/ratchet":           "",
	"internal/certtest":          "",
	"internal/certstore":         "",
	"internal/acmeclient":        "internal/certstore internal/statedir golang.org/x/crypto/acme",
	"internal/secure":            "internal/certstore internal/ratchet internal/reactor internal/tlsrecord",
	"internal/engine":            "ws ws/deflate internal/forwarded internal/proxyproto internal/reactor internal/record internal/topic",
	"internal/forwarded":         "",
	"internal/proxyproto":        "",
	"internal/handoff":           "internal/fdpass",
	"internal/admin":             "",
	"internal/control":           "internal/unixsocket golang.org/x/sys",
	"internal/unixsocket":        "golang.org/x/sys",
	"internal/systemd":           "golang.org/x/sys",
	"internal/listener":          "internal/spelling internal/unixsocket golang.org/x/sys",
	"internal/traffic":           ". ws ws/deflate internal/chatjson auth session",
	"internal/conformance":       "", // its client shares nothing with the server
	"internal/conformance/cmd":   "internal/conformance",
	"examples":                   "",
	"deploy":                     "",
	"internal/scaffold":          "deploy examples",
	"examples/cluster":           "cluster",
	"examples/blank":             ". command",
	"examples/chat":              ". auth client command",
	"examples/dashboard":         ". command",
	"examples/echo":              ". command",
	"examples/game":              ". command",
	"examples/notifications":     ". auth command",
	"internal/artillery":         "internal/loadtest internal/spelling go.yaml.in/yaml/v3 github.com/dop251/goja",
	"internal/doctor":            "internal/resource internal/human golang.org/x/sys",
	"internal/loadtest":          "ws ws/deflate internal/reactor cluster internal/human internal/terminal github.com/HdrHistogram/hdrhistogram-go golang.org/x/sys",
	"internal/telemetry":         "internal/spool internal/terminal github.com/prometheus/client_golang github.com/lmittmann/tint golang.org/x/sys",
	"internal/spool":             "",
	"cluster":                    "internal/fdpass internal/spool golang.org/x/sys",
	".":                          "ws ws/deflate auth backplane backplane/redisplane session cluster internal/access internal/acmeclient internal/admin internal/broker internal/certstore internal/connid internal/control internal/engine internal/forwarded internal/history internal/listener internal/presence internal/primary internal/registry internal/relay internal/resource internal/secure internal/route internal/rpc internal/systemd internal/telemetry internal/topic internal/worker",
	"internal/human":             "github.com/dustin/go-humanize",
	"internal/terminal":          "internal/human golang.org/x/sys",
	"internal/spelling":          "",
	"internal/view":              "internal/control internal/human internal/telemetry internal/terminal",
	"internal/inspect":           "auth internal/human",
	"internal/verifier":          "auth",
	"internal/settings":          ". auth backplane/redisplane cluster internal/admin internal/certstore internal/configfile internal/forwarded internal/listener internal/redisconn internal/spelling internal/verifier",
	"internal/configfile":        ". internal/spelling github.com/alecthomas/kong go.yaml.in/yaml/v3",
	"internal/lobby":             ". client ws session internal/telemetry",
	"command":                    ". internal/command",
	"internal/command":           ". auth cluster internal/configfile internal/control internal/doctor internal/human internal/inspect internal/redisconn internal/settings internal/spool internal/statedir internal/telemetry internal/terminal internal/view github.com/alecthomas/kong",
	"cmd/expedite":               ". ws auth cluster internal/artillery internal/command internal/doctor internal/loadtest internal/lobby internal/scaffold",
	"examples/store":             ". session",
	"scripts/exports":            "internal/tidy",
	"scripts/fuzz":               "",
	"scripts/mutants":            "",
	"scripts/recording":          "golang.org/x/sys",
	"scripts/release":            "",
	"scripts/manifests":          "k8s.io/api k8s.io/apimachinery sigs.k8s.io/yaml",
	"benchmarks":                 ". ws backplane/redisplane github.com/lxzan/gws github.com/centrifugal/centrifuge golang.org/x/sys internal/chatjson internal/redistest internal/tlsrecord github.com/klauspost/compress",
}

// pure lists the parts of the standard library that a package must not import, so that it can be tested and used
// anywhere. A name with /... includes everything below it.
var pure = map[string]string{
	"ws":              "net net/http/... os/... time math/rand/... crypto/rand sync/... syscall",
	"ws/deflate":      "net net/http/... os/... time math/rand/... crypto/rand syscall",
	"internal/broker": "net/... os/... time syscall",
	"internal/record": "net/... os/... time syscall",
	"internal/wheel":  "net/... os/... syscall",
	"internal/topic":  "net/... os/... time syscall",
	"internal/route":  "net net/http/... os/... time syscall sync/...",

	"internal/forwarded":  "net net/http/... os/... time sync/... syscall",
	"internal/proxyproto": "net net/http/... os/... time sync/... syscall",
}

// apart lists packages that a package must not depend on, not even indirectly.
var apart = map[string]string{
	"command":          "internal/artillery internal/loadtest internal/lobby",                   // their weight would be in every program
	"internal/primary": ". ws internal/access internal/engine internal/reactor internal/worker", // it runs no code of the application
}

// TestApart checks that the policy allows no chain of imports to a package listed in apart.
func TestApart(t *testing.T) {
	for pkg, refused := range apart {
		for _, to := range strings.Fields(refused) {
			if chain := importChain(pkg, to); chain != nil {
				t.Errorf("the policy lets %s", strings.Join(chain, " import "))
			}
		}
	}
	if got := importChain("internal/worker", "ws"); len(got) < 2 {
		t.Errorf("got no chain from internal/worker to ws: %q", got)
	}
}

// importChain returns a chain of packages from one to another, each of which may import the next, or nil if there is none.
func importChain(from, to string) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			var chain []string
			for ; at != ""; at = before[at] {
				chain = append(chain, at)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, next := range strings.Fields(policy[at]) {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// importFaults finds imports that the policy does not allow.
func importFaults(f *file) (faults []fault) {
	allowed, ok := policy[f.pkg()]
	if !ok {
		return []fault{{f.path, 1, "import", "the policy does not know this package"}}
	}
	if f.isTest() {
		return nil
	}
	for i, path := range f.imports() {
		if !mayImport(path, strings.Fields(allowed), strings.Fields(pure[f.pkg()])) {
			faults = append(faults, f.fault(f.ast.Imports[i].Pos(), "import", path))
		}
	}
	return faults
}

func mayImport(path string, allowed, refused []string) bool {
	own, isOwn := strings.CutPrefix(path, module+"/")
	switch {
	case path == module:
		return slices.Contains(allowed, ".")
	case isOwn:
		return slices.Contains(allowed, own)
	case path == "C":
		return false
	case strings.Contains(strings.Split(path, "/")[0], "."): // of another module
		return slices.ContainsFunc(allowed, func(a string) bool { return path == a || strings.HasPrefix(path, a+"/") })
	}
	return !slices.ContainsFunc(refused, func(r string) bool {
		parent, all := strings.CutSuffix(r, "/...")
		return path == parent || (all && strings.HasPrefix(path, parent+"/"))
	})
}

// TestPolicy checks that all packages of the policy exist.
func TestPolicy(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range goFiles(t) {
		seen[f.pkg()] = true
	}
	for pkg := range policy {
		if !seen[pkg] {
			t.Errorf("the policy knows %s, which does not exist", pkg)
		}
	}
	for pkg := range pure {
		if _, ok := policy[pkg]; !ok {
			t.Errorf("%s is pure, but the policy does not know it", pkg)
		}
	}
}

// TestImportRule checks that the rule finds violations.
func TestImportRule(t *testing.T) {
	const own = "github.com/expedite-go/expedite"
	for _, tt := range []struct{ path, imports, want string }{
		{"ws/a.go", "fmt", ""},
		{"ws/a.go", "net/url", ""},
		{"ws/a.go", "net", "import"},
		{"ws/a.go", "net/http", "import"},
		{"ws/a.go", "net/http/httptest", "import"},
		{"ws/a.go", "os", "import"},
		{"ws/a.go", "os/exec", "import"},
		{"ws/a.go", "time", "import"},
		{"ws/a.go", "math/rand", "import"},
		{"ws/a.go", "math/rand/v2", "import"},
		{"ws/a_linux.go", "C", "import"},
		{"internal/broker/a.go", "net/netip", "import"},
		{"cluster/a.go", own + "/ws", "import"},
		{"cluster/a.go", own + "/internal/engine", "import"},
		{"cluster/a.go", own + "/internal/fdpass", ""},
		{"cluster/a.go", own + "/internal/fdpass/deeper", "import"},
		{"cluster/a.go", "golang.org/x/sys/unix", ""},
		{"cluster/a.go", "golang.org/x/system", "import"},
		{"cluster/a_test.go", "go.uber.org/goleak", ""},
		{"internal/engine/a.go", own, "import"},
		{"internal/engine/a.go", own + "/cluster", "import"},
		{"internal/new/a.go", "fmt", "import"},
		{"internal/new/a_test.go", "fmt", "import"},
		{"cmd/expedite/a.go", own, ""},
		{"internal/command/a.go", "github.com/alecthomas/kong", ""},
		{"cmd/expedite/a.go", "github.com/spf13/cobra", "import"},
	} {
		text := "package a\nimport _ " + strconv.Quote(tt.imports)
		wantRule(t, tt.path+" "+tt.imports, importFaults(parse(t, tt.path, text)), tt.want)
	}
}
