package main

import (
	"fmt"
	"strconv"
	"time"
)

// pick returns one of two values.
func pick[T any](first bool, one, other T) T {
	if first {
		return one
	}
	return other
}

// openSealed starts clients with TLS and waits until all are connected. They are those of the handoff benchmark: after
// the handshake they need no crypto/tls.
func (m *million) openSealed() error {
	start := time.Now()
	for first := 0; first < m.connections; first += m.perProcess {
		n := min(m.perProcess, m.connections-first)
		c, err := startChild([]string{"GOGC=50"}, "handoff-clients", m.addr, strconv.Itoa(n), strconv.Itoa(first), "/")
		if err != nil {
			return err
		}
		m.crowd = append(m.crowd, c)
	}
	if err := m.awaitOpen(start); err != nil {
		return err
	}
	for _, c := range m.crowd {
		if line, err := c.out.ReadString('\n'); err != nil || line != "open\n" {
			return fmt.Errorf("clients: %q, %w", line, err)
		}
		if _, err := c.ask(); err != nil { // the greetings
			return err
		}
	}
	var err error
	m.res.OpenClientCPU, err = m.crowdCPU()
	return err
}

func (m *million) crowdCPU() (time.Duration, error) {
	var pids []int
	for _, c := range m.crowd {
		pids = append(pids, c.cmd.Process.Pid)
	}
	return processorTime(pids)
}

// closeSealed asks the clients what they have received since the last greeting, and which of them were lost.
func (m *million) closeSealed() (err error) {
	if m.res.ClientCPU, err = m.crowdCPU(); err != nil {
		return err
	}
	for _, c := range m.crowd {
		b, err := privateMemory(c.cmd.Process.Pid)
		if err != nil {
			return err
		}
		m.res.UserPerClient += b / float64(m.res.Opened)
		n, err := c.ask()
		if err != nil {
			return err
		}
		m.res.Received, m.res.Lost = m.res.Received+n.got, m.res.Lost+n.lost
	}
	m.res.ClientPeak = m.res.Opened
	return nil
}
