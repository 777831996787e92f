package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// healthcheckCmd implements `expedite healthcheck`.
type healthcheckCmd struct {
	Control  string        `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	URL      string        `help:"Ask this URL, such as http://127.0.0.1:8080/readyz." name:"url" placeholder:"URL"`
	CA       string        `help:"Authorities (PEM) for https:// URLs." name:"ca" placeholder:"FILE" xor:"ca" env:"-"`
	Insecure bool          `help:"Accept any certificate of a server on a loopback address." xor:"ca" env:"-"`
	Live     bool          `help:"Only whether the server lives: it may start, drain, or lack Redis."`
	Timeout  time.Duration `help:"Time to wait for the answer." default:"3s"`
}

// Help returns the text of `expedite healthcheck --help`.
func (healthcheckCmd) Help() string {
	return `Prints one line. The exit code is 0 if the server takes new clients, or lives, and 1 otherwise. It is for
images without a shell, and probes that execute a command.

Examples:
  expedite healthcheck
  expedite healthcheck --live --timeout 1s
  expedite healthcheck --url http://127.0.0.1:8080/readyz
  expedite healthcheck --url https://127.0.0.1:9600/readyz --insecure`
}

// Run asks the server.
func (h *healthcheckCmd) Run(stdout io.Writer) error {
	if (h.CA != "" || h.Insecure) && h.URL == "" {
		return usageError{errors.New("--ca and --insecure are for --url: the control socket has no TLS")}
	}
	if h.Live && h.URL != "" {
		return usageError{errors.New("--live and --url: want one of them; the URL of a server that lives is /healthz")}
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.Timeout)
	defer cancel()
	said, err := h.ask(ctx)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	_, err = fmt.Fprintln(stdout, said)
	return err
}

func (h *healthcheckCmd) ask(ctx context.Context) (said string, err error) {
	if h.URL != "" {
		return h.fetch(ctx)
	}
	client, err := control.Dial(ctx, controlPath(h.Control))
	if err != nil {
		return "", err
	}
	defer client.Close()
	r, err := client.Readiness(ctx)
	switch {
	case err != nil:
		return "", err
	case h.Live:
		return "alive", nil
	case !r.Ready:
		return "", errors.New(r.Reason)
	}
	said = fmt.Sprintf("ready: %d workers", r.Workers)
	if r.Reason != "" {
		said += ", " + r.Reason
	}
	return said, nil
}

// fetch expects the status 200 at the URL.
func (h *healthcheckCmd) fetch(ctx context.Context) (said string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return "", usageError{err}
	}
	authorities, err := Authorities(h.CA)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: h.dial,
		TLSClientConfig: &tls.Config{RootCAs: authorities, InsecureSkipVerify: h.Insecure},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	const most = 200
	body, _ := io.ReadAll(io.LimitReader(resp.Body, most)) // as much as there is
	line := strings.TrimSpace(resp.Status + " " + strings.ReplaceAll(string(body), "\n", " "))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(line)
	}
	return line, nil
}

// dial connects to a server. A certificate that nobody verifies is accepted from this machine only.
func (h *healthcheckCmd) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); h.Insecure && (!ok || !tcp.IP.IsLoopback()) {
		_ = conn.Close()
		return nil, errors.New("--insecure is for loopback addresses only")
	}
	return conn, nil
}
