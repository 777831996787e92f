package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// ask sends a request and returns the status of the response.
func (g *group) ask() (int, error) {
	c, err := net.DialTimeout("tcp", g.Addr().String(), patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+fmt.Sprintf("%04000d", 0)+"\r\n\r\n"); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "later" || resp.Header.Get("Retry-After") != "5" {
		return 0, fmt.Errorf("body %q, Retry-After %q, %w", b, resp.Header.Get("Retry-After"), err)
	}
	return resp.StatusCode, nil
}

func TestWithoutWorkersClientsAreRefused(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, None} {
		t.Run(policy.String(), func(t *testing.T) {
			g := start(t, Config{
				Workers: 2, Listen: anyPort, Scheduling: policy,
				Restart: Restart{Delay: time.Millisecond, MaxCrashes: 3, Window: time.Hour, Rest: time.Hour},
				Refusal: []byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 5\r\n\r\nlater"),
			}, "crash")
			workers := g.Workers()
			_ = workers[0].Kill(9)
			g.await(EventDead, 1)
			if c, err := g.dial(); err != nil || c.slot != 2 {
				t.Fatalf("with one slot dead: worker %d, %v", c.slot, err)
			}
			silent, err := net.Dial("tcp", g.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			_ = workers[1].Kill(9)
			g.await(EventDead, 2)
			errs := make(chan error)
			const many = maxRefusals / 2
			for range many {
				go func() { // ends with the answer
					code, err := g.ask()
					if err == nil && code != http.StatusServiceUnavailable {
						err = fmt.Errorf("status %d", code)
					}
					errs <- err
				}()
			}
			for range many {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if got := g.Stats().Refused; got < many {
				t.Errorf("%d refused, want %d", got, many)
			}
			_ = silent.SetReadDeadline(time.Now().Add(patience))
			if n, err := io.Copy(io.Discard, silent); err != nil && n > 10 {
				t.Errorf("a silent client gets %d bytes, %v", n, err)
			}
			g.Setup(Settings{Env: []string{playEnv + "=serve"}})
			if _, err := g.Reload(t.Context(), RollOptions{}); err != nil {
				t.Fatal(err)
			}
			g.dialSome(3)
		})
	}
}
