package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
)

// TestNothingIsSmuggled sends what two servers might read differently, and compares what the application sees of it
// here and behind net/http alone. Here it must see the same requests, or fewer: a request that net/http does not see
// would be one that a proxy in front took for a body.
func TestNothingIsSmuggled(t *testing.T) {
	s := launch(t, "", serverConfig{Workers: -1})
	mux := http.NewServeMux()
	mux.Handle(PlainPath, Requests())
	alone := httptest.NewServer(mux)
	defer alone.Close()
	seen := 0
	for _, r := range slices.Concat(bodyRules(), lengthRules()) {
		for _, c := range r.Cases {
			if strings.Contains(c.Request, "{path}") {
				continue // net/http has no such endpoint
			}
			theirs, ours := sees(t, alone.Listener.Addr().String(), c.Request), sees(t, s.addr, c.Request)
			seen += len(theirs)
			if len(ours) > len(theirs) || !slices.Equal(ours, theirs[:len(ours)]) {
				t.Errorf("%s, %s: the application sees %q, and %q behind net/http", r.ID, c.Name, ours, theirs)
			}
		}
	}
	if seen == 0 {
		t.Error("net/http saw no request")
	}
}

// sees sends bytes and returns the requests that the application saw, by its answers.
func sees(t *testing.T, addr, request string) (list []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(forever)); err != nil {
		t.Fatal(err)
	}
	// The address would have another length for each server, and with it some bodies.
	request = strings.ReplaceAll(request, "{host}", "test.example")
	if _, err := conn.Write([]byte(request)); err != nil && !isReset(err) {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil // the server has closed it
	}
	br := bufio.NewReader(conn)
	for {
		r, err := readResponse(br, false)
		if err != nil {
			if !gone(err) && !errors.Is(err, errServer) {
				t.Fatal(err)
			}
			return list
		}
		if strings.HasPrefix(r.Body, "saw ") {
			list = append(list, r.Body)
		}
	}
}

// TestBombsTakeNoMemory sends compression bombs on many connections at once, again and again: each would decompress to
// more than LargestMessage. The process may grow by what a few of them are allowed, not by all.
func TestBombsTakeNoMemory(t *testing.T) {
	const clients, rounds = 64, 1
	s := launch(t, "", serverConfig{Workers: -1, Compression: expedite.CompressionTakeover})
	before := s.peakRSS()
	bomb := standard(strings.Repeat("\x00", 8*LargestMessage))
	for _, path := range []string{pathInline, pathGoroutine} {
		for round := range rounds {
			var all sync.WaitGroup
			for range clients {
				all.Go(func() { // ends with its connection
					c := &Case{
						Name: "bomb", Fields: plainOffer, Script: func(Agreed) ([]byte, []Event) {
							return compressedIn(opBinary, pieces(bomb, 10_000)...), fails(1009)
						},
					}
					x := &exchange{target: s.target("one process", path), c: c, plan: &Plan{}, pass: &pass{}}
					if err := x.run(); err != nil {
						t.Errorf("%s, round %d: %v", path, round, err)
					}
				})
			}
			all.Wait()
		}
	}
	grown := s.peakRSS() - before
	t.Logf("%d bombs of %d bytes for %d: the server has grown by %d KiB", 2*rounds*clients, len(bomb), 8*LargestMessage, grown>>10)
	// A heap may double before it is collected. All bombs together would take 64 times LargestMessage.
	if grown > clients/2*LargestMessage {
		t.Errorf("the server has grown by %d MiB, want less than %d", grown>>20, clients/2*LargestMessage>>20)
	}
}

// peakRSS returns the largest resident memory of the server so far, or skips the test where it cannot be read.
func (s *server) peakRSS() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skip("this platform has no /proc")
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		s.t.Fatalf("no VmHWM in %q", b)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}
