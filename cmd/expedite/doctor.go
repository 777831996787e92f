package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/doctor"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// doctorCmd is `expedite doctor`.
type doctorCmd struct {
	Connections int    `help:"How many shall fit. Default: as many as the memory allows." placeholder:"N"`
	Workers     string `help:"How many share them; auto is as many as it takes." default:"auto" placeholder:"auto"`
	Addr        string `help:"Address that is served on." default:":8080" placeholder:":8080"`
	Redis       string `help:"Look whether this server, or that of REDIS_URL, can be reached." placeholder:"URL"`
	JSON        bool   `help:"Print JSON." name:"json"`
	WriteSysctl string `help:"Write the kernel settings that are too low to this file." placeholder:"FILE" env:"-"`
	Force       bool   `help:"Overwrite that file." env:"-"`
}

// maxDoctorConnections is more than any machine holds.
const maxDoctorConnections = 1_000_000_000

// Help is shown by `expedite doctor --help`.
func (doctorCmd) Help() string {
	return `Says how many connections this machine holds, what limits that, and the command that mends each limit.
The limits are those of this shell. A service may have others: run it as the service (systemd-run, docker exec).
The code is 1 if something is wrong for the wanted number of connections.

Examples:
  expedite doctor
  expedite doctor --connections 1000000
  expedite doctor --connections 1000000 --workers 8 --redis redis://10.0.0.5:6379
  expedite doctor --json | jq .capacity
  expedite doctor --connections 1000000 --write-sysctl /etc/sysctl.d/60-expedite.conf`
}

// Run examines the machine and prints what it found.
func (d *doctorCmd) Run(c *console) error {
	want, err := d.want()
	if err != nil {
		return err
	}
	m, err := doctor.Read("", doctor.Options{})
	if err != nil {
		return err
	}
	report := doctor.Examine(m, want)
	if err := d.writeSysctl(c, report); err != nil {
		return err
	}
	if d.JSON {
		err = printJSON(c.out, report)
	} else {
		err = report.WriteText(c.out, inColor(c.out))
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("doctor: something is wrong, see the errors above")
	}
	return nil
}

// want makes sense of the flags.
func (d *doctorCmd) want() (doctor.Want, error) {
	var w doctor.Want
	if d.Connections < 0 || d.Connections > maxDoctorConnections {
		return w, usageError{fmt.Errorf("--connections %d: want a number from 1 to %d", d.Connections, maxDoctorConnections)}
	}
	workers, err := parseWorkers(d.Workers)
	if err != nil {
		return w, err
	}
	addr, err := checkAddr("--addr", (&serveCmd{Addr: d.Addr}).address())
	if err != nil {
		return w, err
	}
	w = doctor.Want{Connections: d.Connections, Workers: workers}
	_, name, _ := net.SplitHostPort(addr) // which checkAddr has looked at
	if port, err := net.LookupPort("tcp", name); err == nil && port != 0 {
		w.Ports = []int{port}
	}
	address := d.Redis
	if address == "" {
		address = os.Getenv("REDIS_URL")
	}
	if address == "" {
		return w, nil
	}
	if scheme, _, _ := strings.Cut(address, "://"); strings.Contains(scheme, "+") {
		return w, nil // Sentinels and Clusters are not asked
	}
	r, err := parseRedis(address)
	if err != nil {
		return w, err
	}
	w.Redis, w.Probe = r.address, r.memory
	return w, nil
}

// writeSysctl writes the settings to a file, if one is named.
func (d *doctorCmd) writeSysctl(c *console, r doctor.Report) error {
	if d.WriteSysctl == "" {
		return nil
	}
	how := os.O_EXCL
	if d.Force {
		how = os.O_TRUNC
	}
	f, err := os.OpenFile(d.WriteSysctl, os.O_CREATE|os.O_WRONLY|how, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("--write-sysctl %s: the file exists: use --force to overwrite it", d.WriteSysctl)}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(r.Sysctl())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "wrote %s: load it with `sysctl --load %s`\n", d.WriteSysctl, d.WriteSysctl)
	return nil
}

// inColor says whether colors are seen and wanted: https://no-color.org
func inColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && telemetry.IsTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

const (
	maxRedisReply = 64 << 10 // bytes; INFO memory has some two thousand
	redisPort     = "6379"
)

// redisServer is the one that an URL names. Its secrets go nowhere but to it.
type redisServer struct {
	network, address string
	user, password   string
	tls              *tls.Config
}

// parseRedis reads redis://, rediss:// and unix:// URLs, or host:port. Errors do not repeat it: it may hold a secret.
func parseRedis(s string) (redisServer, error) {
	bad := usageError{errors.New("--redis: want redis://host:port, rediss://host:port or unix:///path")}
	if !strings.Contains(s, "://") {
		s = "redis://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return redisServer{}, bad
	}
	r := redisServer{network: "tcp", user: u.User.Username()}
	r.password, _ = u.User.Password()
	switch {
	case u.Scheme == "unix" && u.Path != "":
		r.network, r.address = "unix", u.Path
		return r, nil
	case u.Scheme != "redis" && u.Scheme != "rediss", u.Hostname() == "":
		return redisServer{}, bad
	case u.Scheme == "rediss":
		r.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	port := u.Port()
	if port == "" {
		port = redisPort
	}
	r.address = net.JoinHostPort(u.Hostname(), port)
	return r, nil
}

// memory connects and asks for INFO memory. A server that refuses to tell is reachable all the same, and tells nothing.
func (r redisServer) memory(ctx context.Context) (map[string]string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, r.network, r.address)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer func() { conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if r.tls != nil {
		conn = tls.Client(conn, r.tls)
	}
	in := bufio.NewReader(io.LimitReader(conn, maxRedisReply))
	if r.password != "" {
		auth := []string{"AUTH", r.user, r.password}
		if r.user == "" {
			auth = []string{"AUTH", r.password}
		}
		if _, err := askRedis(conn, in, auth...); err != nil {
			return nil, err
		}
	}
	text, err := askRedis(conn, in, "INFO", "memory")
	if err != nil {
		return nil, err
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	return info, nil
}

// askRedis sends a command and reads its answer, a text. An error that Redis answers is an empty text, but for those
// about a wrong password.
func askRedis(w io.Writer, in *bufio.Reader, command ...string) (string, error) {
	request := fmt.Appendf(nil, "*%d\r\n", len(command))
	for _, s := range command {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(s), s)
	}
	if _, err := w.Write(request); err != nil {
		return "", withoutAddress(err)
	}
	line, err := in.ReadString('\n')
	if err != nil {
		return "", withoutAddress(err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	switch {
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case strings.HasPrefix(line, "-WRONGPASS"), strings.HasPrefix(line, "-ERR") && command[0] == "AUTH":
		return "", errors.New("refuses the password")
	case strings.HasPrefix(line, "-"):
		return "", nil
	case !strings.HasPrefix(line, "$"):
		return "", errors.New("what listens there is no Redis")
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 || n > maxRedisReply {
		return "", errors.New("what listens there is no Redis")
	}
	text := make([]byte, n+2) // the line's end
	if _, err := io.ReadFull(in, text); err != nil {
		return "", withoutAddress(err)
	}
	return string(text[:n]), nil
}

// withoutAddress is what a network error is about, in few words.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errors.New("does not answer within a second")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("closed the connection: what listens there is no Redis, or wants TLS (rediss://)")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}
