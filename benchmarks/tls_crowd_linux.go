package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// runCrowd is the process of a crowd: clients that connect at once. args has the address of the server, and how many.
func runCrowd(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("tls-crowd %q: want an address and a number", args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var open, failed atomic.Int64
	conns := make([]net.Conn, n)
	for i := range n {
		wg.Go(func() {
			c, err := openOne(args[0], i)
			if err != nil {
				failed.Add(1)
				return
			}
			conns[i] = c
			open.Add(1)
		})
	}
	wg.Wait()
	fmt.Printf("%d open, %d failed\n", open.Load(), failed.Load())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// openOne opens a WebSocket with TLS.
func openOne(addr string, number int) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+number/perSource))}}
	raw, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	req := ws.ClientRequest{Host: addr, Target: "/echo"}
	b, err := req.AppendRequest(nil)
	if err == nil {
		_, err = c.Write(b)
	}
	var answer []byte
	for err == nil && !bytes.Contains(answer, []byte("\r\n\r\n")) {
		buf := make([]byte, 512)
		var got int
		got, err = c.Read(buf)
		answer = append(answer, buf[:got]...)
	}
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		err = fmt.Errorf("answer: %q", answer)
	}
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return c, nil
}

// residentPeak returns the most memory that was resident in a process, in bytes.
func residentPeak(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "VmHWM:" {
			kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}
