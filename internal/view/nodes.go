package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

// maxReason is the longest text of another machine, in characters.
const maxReason = 200

// Nodes writes the machines of a status, one row each and then the totals of those that have answered, in one Write.
func Nodes(w io.Writer, s control.Status) error {
	rows := [][]string{{"HOST", "NODE", "STATE", "PID", "VERSION", "UP", "WORKERS", "CONNECTIONS", "ADDRESSES"}}
	var workers int
	var connections int64
	var missing []string
	for _, n := range s.Nodes {
		state := "ready"
		switch {
		case n.Missing != "":
			state = "missing"
			missing = append(missing, fmt.Sprintf("%s (%s): %s",
				cell(n.Host, maxCell), cell(n.Node, maxCell), cell(oneLine(n.Missing), maxReason)))
		case n.Status != nil && len(n.Status.Degraded) > 0:
			state = "degraded: " + cell(strings.Join(n.Status.Degraded, ", "), maxCell)
		case n.Workers == 0:
			state = "not ready"
		}
		if n.Missing == "" {
			workers += n.Workers
			connections += n.Connections
		}
		up := "-"
		if n.Status != nil {
			up = human.Age(n.Status.UptimeSeconds)
		}
		rows = append(rows, []string{
			cell(n.Host, maxCell), cell(n.Node, maxCell), state, strconv.Itoa(n.PID), cell(n.Version, maxCell), up,
			strconv.Itoa(n.Workers), strconv.FormatInt(n.Connections, 10), addresses(n.Addresses),
		})
	}
	if len(s.Nodes) > 1 {
		rows = append(rows, []string{
			"total", "", "", "", "", "", strconv.Itoa(workers), strconv.FormatInt(connections, 10), "",
		})
	}
	var b strings.Builder
	table(&b, rows, "lllrlrrrl")
	for _, one := range missing {
		fmt.Fprintf(&b, "\nmissing: %s\n", one)
	}
	if s.NodesCause != "" {
		fmt.Fprintf(&b, "\nthere may be further machines: %s\n", oneLine(s.NodesCause))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// addresses returns the addresses of a machine as a cell. They come from another machine.
func addresses(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return cell(strings.Join(list, ", "), maxReason)
}

// oneLine returns a text without line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
