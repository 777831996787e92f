package doctor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/human"
)

// Kernel settings that findings refer to.
const (
	fileMax        = "fs.file-max"
	fileNr         = "fs.file-nr"
	nrOpen         = "fs.nr_open"
	pidMax         = "kernel.pid_max"
	threadsMax     = "kernel.threads-max"
	overcommit     = "vm.overcommit_memory"
	somaxconn      = "net.core.somaxconn"
	tcpMem         = "net.ipv4.tcp_mem"
	tcpRmem        = "net.ipv4.tcp_rmem"
	tcpWmem        = "net.ipv4.tcp_wmem"
	portRange      = "net.ipv4.ip_local_port_range"
	reservedPorts  = "net.ipv4.ip_local_reserved_ports"
	freePorts      = "net.ipv4.ip_unprivileged_port_start"
	synBacklog     = "net.ipv4.tcp_max_syn_backlog"
	synCookies     = "net.ipv4.tcp_syncookies"
	timeWaitMax    = "net.ipv4.tcp_max_tw_buckets"
	timeWaitReuse  = "net.ipv4.tcp_tw_reuse"
	finTimeout     = "net.ipv4.tcp_fin_timeout"
	migrateReq     = "net.ipv4.tcp_migrate_req"
	keepAliveTime  = "net.ipv4.tcp_keepalive_time"
	conntrackMax   = "net.netfilter.nf_conntrack_max"
	conntrackCount = "net.netfilter.nf_conntrack_count"
)

// settings are all that Read looks up.
var settings = [...]string{
	fileMax, fileNr, nrOpen, pidMax, threadsMax, overcommit, somaxconn, tcpMem, tcpRmem, tcpWmem, portRange,
	reservedPorts,
	freePorts, synBacklog, synCookies, timeWaitMax, timeWaitReuse, finTimeout, migrateReq, keepAliveTime, conntrackMax,
	conntrackCount,
}

// ofNamespace are settings of a network namespace, so that a container can have its own.
var ofNamespace = [...]string{somaxconn, portRange, reservedPorts, freePorts, synBacklog, synCookies, timeWaitMax}

// setting is a kernel setting with its wanted value.
type setting struct{ key, value, why string }

// command returns the command that changes it, depending on where the process runs.
func (s setting) command(container string) string {
	quoted := s.key + "=" + s.value
	if strings.ContainsAny(s.value, " ") {
		quoted = fmt.Sprintf("%s=%q", s.key, s.value)
	}
	switch {
	case container == "":
		return "sysctl -w " + quoted
	case !slices.Contains(ofNamespace[:], s.key):
		return "on the host: sysctl -w " + quoted
	case container == "kubernetes":
		return fmt.Sprintf("in the pod: securityContext.sysctls: [{name: %s, value: %q}]", s.key, s.value)
	case container == "podman":
		return "podman run --sysctl " + quoted
	}
	return "docker run --sysctl " + quoted
}

// Sysctl returns a file for /etc/sysctl.d: the settings that are below what is wanted, and why.
func (r Report) Sysctl() []byte {
	var b bytes.Buffer
	b.WriteString("# Written by expedite doctor: kernel settings that were below what is wanted.\n")
	fmt.Fprintf(&b, "# Load it with: sysctl --load FILE. For %s connections with %s.\n",
		human.Number(r.Wanted.Connections), human.Count(int64(r.Wanted.Workers), "worker"))
	n := 0
	for _, f := range r.Findings {
		for _, s := range f.settings {
			b.WriteByte('\n')
			for _, line := range wrap(s.why, lineWidth) {
				fmt.Fprintf(&b, "# %s\n", line)
			}
			fmt.Fprintf(&b, "%s = %s\n", s.key, s.value)
			n++
		}
	}
	if n == 0 {
		b.WriteString("\n# There is nothing to change.\n")
	}
	return b.Bytes()
}
