package command

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/doctor"
	"github.com/expedite-go/expedite/internal/human"
)

// banner shows where the server listens and what limits it.
func (p *Program) banner(w io.Writer, st expedite.Started, cfg *expedite.Config) {
	var text bytes.Buffer // written at once: workers write, too
	fmt.Fprintf(&text, "\n  %s %s\n\n", p.title(), Version())
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	var redirecting []string
	for _, a := range st.Addresses {
		if strings.HasPrefix(a, "unix:") {
			row("socket", "%s", a)
			continue
		}
		if cfg.TLS.Redirect && !slices.Contains(st.TLS, a) {
			redirecting = append(redirecting, a)
			continue
		}
		schemes := strings.NewReplacer()
		if slices.Contains(st.TLS, a) {
			schemes = strings.NewReplacer("ws://", "wss://", "http://", "https://")
		}
		for _, place := range p.places(browsable(a)) {
			row(place.Name, "%s", schemes.Replace(place.Text))
		}
	}
	for _, a := range redirecting {
		row("redirect", "http://%s/ to https://", browsable(a))
	}
	row("tokens", "%s", tokens(st.Auth))
	if st.Workers > 0 {
		from := ""
		if st.WorkersFrom != "" {
			from = " (auto: " + st.WorkersFrom + ")"
		}
		row("workers", "%s%s, %s", human.Count(st.Workers, "process"), from, explain(st.Scheduling))
	} else {
		row("workers", "none: everything in this process")
	}
	for i, line := range limits(st) {
		row(map[bool]string{true: "limits"}[i == 0], "%s", p.named(line))
	}
	if st.Admin != "" {
		at := st.Admin
		if !strings.HasPrefix(at, "https://") {
			at = "http://" + at
		}
		row("admin", "%s/  (metrics, pprof)", at)
	}
	if cfg.Control != "" {
		row("control", "%s  %s", cfg.Control, p.named("(expedite status, expedite stop)"))
	}
	_ = t.Flush()
	fmt.Fprintln(&text)
	_, _ = w.Write(text.Bytes())
}

// title returns the name of the program.
func (p *Program) title() string {
	if p.Name == product {
		return "Expedite"
	}
	return p.Name
}

// places returns what the banner shows of an address.
func (p *Program) places(host string) []Place {
	if p.Places != nil {
		return p.Places(host)
	}
	return []Place{{"address", "http://" + host + "/ and ws://" + host + "/"}}
}

// tokens returns whether clients need a token.
func tokens(m expedite.AuthMode) string {
	switch m {
	case expedite.AuthRequired:
		return "required"
	case expedite.AuthOptional:
		return "optional: clients without one are let in as nobody"
	default:
		return "off: everyone is let in; a key turns them on (" + SecretVariable + ", --auth-keys, --auth-jwks)"
	}
}

// browsable returns an address that a browser on this machine can open.
func browsable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

func explain(p cluster.Policy) string {
	return p.String() + map[cluster.Policy]string{
		cluster.RoundRobin:       " (one after the other)",
		cluster.LeastConnections: " (to the emptiest)",
		cluster.None:             " (the kernel decides)",
	}[p]
}

// limits returns what limits the number of connections on this machine, in short; `expedite doctor` shows the details.
func limits(st expedite.Started) []string {
	m, err := doctor.Read("", doctor.Options{})
	if err != nil { // doctor does not know this system
		return []string{openFilesLimit(max(st.Workers, 1))}
	}
	want := doctor.Want{Workers: max(st.Workers, 1), TLS: len(st.TLS) > 0}
	for _, a := range st.Addresses {
		if _, port, err := net.SplitHostPort(a); err == nil {
			if n, err := strconv.Atoi(port); err == nil {
				want.Ports = append(want.Ports, n)
			}
		}
	}
	return doctor.Examine(m, want).Summary()
}

// openFilesLimit returns how many connections the descriptors of the processes suffice for.
func openFilesLimit(workers int) string {
	parts := []string{human.Count(runtime.NumCPU(), "core")}
	if n := openFiles(); n > 0 {
		// A worker needs some descriptors for itself.
		parts = append(parts, fmt.Sprintf("%s per process: about %s in all",
			human.Count(n, "open file"), human.Count((n-64)*workers, "connection")))
	}
	return strings.Join(parts, ", ")
}
