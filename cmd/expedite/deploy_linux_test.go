package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.yaml.in/yaml/v3"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// composed is deploy/compose.yaml, as far as the tests want it.
type composed struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Build       struct{ Context, Dockerfile string }
		Ports       []string
		Volumes     []string
		Networks    map[string]struct {
			Address string `yaml:"ipv4_address"`
		}
	}
}

func readCompose(t *testing.T) (c composed) {
	t.Helper()
	if err := yaml.Unmarshal(readDeploy(t, "compose.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start starts a server of the file with its settings, here.
func (c *composed) start(t *testing.T, name, redis string) *server {
	t.Helper()
	service := c.Services[name]
	balancer := c.Services["balancer"].Networks["default"].Address
	args := strings.Split(substitute(t, strings.Join(service.Command[1:], " "), "redis://redis:6379", redis,
		balancer, "127.0.0.1"), " ")
	for variable, value := range service.Environment {
		t.Setenv(variable, value)
	}
	if service.Command[0] != "serve" {
		t.Fatalf("%s: got %q, want the command serve", name, service.Command)
	}
	return serve(t, append(args, "--workers", "1", "--log-format", "json")...)
}

// startBalancer runs deploy/haproxy.cfg in front of two servers.
func startBalancer(t *testing.T, one, two *server) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	text := substitute(t, string(readDeploy(t, "haproxy.cfg")), "bind :8080", "bind "+addr, " one:8080", " "+one.addr,
		" two:8080", " "+two.addr)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	p := &realProxy{t: t, addr: addr}
	p.run(file, text, findTool(t, "haproxy", "/usr/sbin/haproxy"), "-db", "-f", file)
	return addr
}

// caller is a client with an address of its own. When its connection ends, it comes again.
type caller struct {
	addr, local string

	mu   sync.Mutex
	conn *websocket.Conn
	got  map[string]bool
	ends []websocket.StatusCode
}

// visit connects to the lobby until ctx ends.
func (v *caller) visit(ctx context.Context) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.local)}}
	options := &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: d.DialContext}},
		HTTPHeader: http.Header{"X-Forwarded-For": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"}},
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if conn, _, err := websocket.Dial(ctx, "ws://"+v.addr+"/", options); err == nil {
			v.read(ctx, conn)
		}
		<-tick.C
	}
}

func (v *caller) read(ctx context.Context, conn *websocket.Conn) {
	defer conn.CloseNow()
	v.mu.Lock()
	v.conn = conn
	v.mu.Unlock()
	for {
		_, b, err := conn.Read(ctx)
		v.mu.Lock()
		if err != nil && ctx.Err() == nil {
			v.ends = append(v.ends, websocket.CloseStatus(err))
		}
		v.got[string(b)] = true
		v.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (v *caller) has(text string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got[text]
}

// wantAllHear checks that everybody hears what each of the callers says.
func wantAllHear(ctx context.Context, t *testing.T, all []*caller, text string) {
	t.Helper()
	for _, v := range all {
		v.mu.Lock()
		conn := v.conn
		v.mu.Unlock()
		mine := text + " from " + v.local
		if err := conn.Write(ctx, websocket.MessageText, []byte(mine)); err != nil {
			t.Fatal(err)
		}
		for _, other := range all {
			eventually(t, other.local+" hears "+mine, func() bool { return other.has(mine) })
		}
	}
}

// TestDeployment runs what deploy/compose.yaml describes, without containers: clients of a load balancer are spread over
// two servers, which know their addresses, and talk to each other. When a server is drained, its clients come to the
// other; then it ends.
func TestDeployment(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	c, redis := readCompose(t), redistest.Start(t)
	servers := []*server{c.start(t, "one", redis.URL()), c.start(t, "two", redis.URL())}
	addr := startBalancer(t, servers[0], servers[1])
	var all []*caller
	var tasks sync.WaitGroup
	defer func() {
		cancel()
		tasks.Wait()
	}()
	for i := range 4 {
		v := &caller{addr: addr, local: fmt.Sprint("127.0.0.", 21+i), got: make(map[string]bool)}
		all = append(all, v)
		tasks.Go(func() { v.visit(ctx) })
		eventually(t, "a server knows the client's address", func() bool {
			return strings.Contains(servers[0].output.String()+servers[1].output.String(), `"remote":"`+v.local+`:0"`)
		})
	}
	for _, s := range servers {
		s.await("it has half of the clients, and hears the other server", func(st control.Status) bool {
			return st.Totals.Connections == 2 && st.Backplane.Up && st.Backplane.Topics >= 3
		})
	}
	wantAllHear(ctx, t, all, "hello")

	servers[0].must("drain", "--settle", "3s", "--over", "2s") // longer than haproxy.cfg needs to notice
	servers[0].signal(syscall.SIGTERM)
	if code := servers[0].waitEnd(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	servers[1].await("it has all clients", func(st control.Status) bool { return st.Totals.Connections == 4 })
	wantAllHear(ctx, t, all, "hello again")
	moved := 0
	for _, v := range all {
		v.mu.Lock()
		if moved += len(v.ends); len(v.ends) > 0 && v.ends[0] != websocket.StatusServiceRestart {
			t.Errorf("%s: the connection ended with %d, want 1012", v.local, v.ends[0])
		}
		v.mu.Unlock()
	}
	if moved != 2 {
		t.Errorf("%d connections ended, want the two of the server that has ended", moved)
	}
}

// TestDeploymentFiles checks that the files of deploy/ agree with each other.
func TestDeploymentFiles(t *testing.T) {
	c, dockerfile := readCompose(t), string(readDeploy(t, "Dockerfile"))
	for _, name := range []string{"one", "two"} {
		build := c.Services[name].Build
		if _, err := os.Stat(filepath.Join("../../deploy", build.Context, build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, volume := range c.Services["balancer"].Volumes {
		file, _, _ := strings.Cut(volume, ":")
		if _, err := os.Stat(filepath.Join("../../deploy", file)); err != nil {
			t.Errorf("balancer: %v", err)
		}
	}
	if unit := string(readDeploy(t, "expedite.service")); !strings.Contains(unit, "\nLimitCORE=0\n") {
		t.Error("expedite.service: core dumps would contain secrets")
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if want := "FROM golang:" + string(language[1]) + " "; !strings.Contains(dockerfile, want) {
		t.Errorf("Dockerfile: no %q, which go.mod wants", want)
	}
}
