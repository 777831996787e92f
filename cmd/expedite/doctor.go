package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/expedite-go/expedite/internal/doctor"
	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/internal/terminal"
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
		err = report.WriteText(c.out, terminal.HasColor(c.out))
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
	addr, err := checkAddr("--addr", d.Addr)
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
		return w, nil
	}
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	probe, err := redisconn.NewProbe(address)
	if err != nil {
		return w, usageError{fmt.Errorf("--redis: %w", err)}
	}
	w.Redis, w.Probe = probe.Address, probe.Memory
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
