package command

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/doctor"
	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/internal/settings"
	"github.com/expedite-go/expedite/internal/terminal"
)

// doctorCmd implements `expedite doctor`.
type doctorCmd struct {
	Connections int      `help:"Connections that should fit. Default: as many as fit into the memory." placeholder:"N"`
	Workers     string   `help:"Workers that share them; auto: as many as necessary." default:"auto"`
	Addr        []string `help:"Addresses to serve on." default:":8080" placeholder:"ADDRESS" env:"EXPEDITE_ADDR,PORT"`
	Redis       []string `help:"Check these Redis servers." placeholder:"URL" env:"EXPEDITE_REDIS,REDIS_URL" sep:"none"`
	TLSCert     []string `help:"Check these certificates." name:"tls-cert" placeholder:"FILE" env:"EXPEDITE_TLS_CERT"`
	TLSKey      []string `help:"Their private keys." name:"tls-key" placeholder:"FILE" env:"EXPEDITE_TLS_KEY"`
	JSON        bool     `help:"Print JSON." name:"json"`
	WriteSysctl string   `help:"Write the kernel settings that are too low to this file." placeholder:"FILE" env:"-"`
	Force       bool     `help:"Overwrite that file." env:"-"`
}

// maxDoctorConnections is more than any machine can hold.
const maxDoctorConnections = 1_000_000_000

// Help returns the text of `expedite doctor --help`.
func (doctorCmd) Help() string {
	return `Shows how many connections this machine holds, what limits that, and the command that raises each limit.
The limits are those of this shell. A service may have others: run the command there (systemd-run, docker exec).
The exit code is 1 if there are errors for the wanted number of connections.

Examples:
  expedite doctor
  expedite doctor --connections 1000000
  expedite doctor --connections 1000000 --workers 8 --redis redis://10.0.0.5:6379
  expedite doctor --tls-cert site.pem --tls-key site.key    (or those of expedite.yaml)
  expedite doctor --json | jq .capacity
  expedite doctor --connections 1000000 --write-sysctl /etc/sysctl.d/60-expedite.conf`
}

// Run examines the machine and prints what it found.
func (d *doctorCmd) Run(c *Console) error {
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
	var text strings.Builder
	if d.JSON {
		err = PrintJSON(&text, report)
	} else {
		err = report.WriteText(&text, terminal.HasColor(c.Out))
	}
	if err == nil {
		_, err = io.WriteString(c.Out, c.program.named(text.String()))
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("doctor: there are errors, see above")
	}
	return nil
}

// want returns what the flags ask for.
func (d *doctorCmd) want() (doctor.Want, error) {
	var w doctor.Want
	if d.Connections < 0 || d.Connections > maxDoctorConnections {
		return w, usageError{fmt.Errorf("--connections %d: want a number from 1 to %d", d.Connections, maxDoctorConnections)}
	}
	workers, err := settings.ParseWorkers(d.Workers)
	if err != nil {
		return w, usageError{fmt.Errorf("--workers: %q: %w", d.Workers, err)}
	}
	addrs, err := settings.ParseAddresses(d.Addr)
	if err != nil {
		return w, usageError{fmt.Errorf("--addr: %w", err)}
	}
	w = doctor.Want{Connections: d.Connections, Workers: workers}
	for _, a := range addrs {
		_, name, _ := net.SplitHostPort(a.Address) // other sockets have no port
		if port, err := net.LookupPort("tcp", name); err == nil && port != 0 {
			w.Ports = append(w.Ports, port)
		}
	}
	if len(d.TLSCert) != len(d.TLSKey) {
		return w, usageError{fmt.Errorf("--tls-cert and --tls-key name %d and %d files: each certificate needs its key",
			len(d.TLSCert), len(d.TLSKey))}
	}
	for i, cert := range d.TLSCert {
		c := doctor.Certificate{Cert: cert, Key: d.TLSKey[i]}
		c.Pair, c.Err = tls.LoadX509KeyPair(cert, d.TLSKey[i])
		if info, err := os.Stat(d.TLSKey[i]); err == nil && runtime.GOOS != "windows" { // which has no such modes
			c.Readable = info.Mode()&0o004 != 0
		}
		w.Certificates = append(w.Certificates, c)
		w.Now, w.TLS = time.Now(), true
	}
	for _, address := range settings.SplitURLs(strings.Join(d.Redis, " ")) {
		if !strings.Contains(address, "://") {
			address = "redis://" + address
		}
		probe, err := redisconn.NewProbe(address)
		if err != nil {
			return w, usageError{fmt.Errorf("--redis: %w", err)}
		}
		w.Redis = append(w.Redis, doctor.Redis{Address: probe.Address, Probe: probe.Memory})
	}
	return w, nil
}

// writeSysctl writes the settings to the file of --write-sysctl.
func (d *doctorCmd) writeSysctl(c *Console, r doctor.Report) error {
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
	fmt.Fprintf(c.Err, "wrote %s: load it with `sysctl --load %s`\n", d.WriteSysctl, d.WriteSysctl)
	return nil
}
