package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/ws"
)

// pod is the container of deploy/kubernetes, as far as the test wants it.
type pod struct {
	env    map[string]string // of the ConfigMap and the Secret
	grace  time.Duration
	links  bool
	probes map[string]probe // startup, readiness, liveness, preStop
	args   []string
}

// probe is what Kubernetes does to find out about a container, or to prepare its end.
type probe struct {
	HTTPGet *struct{ Path, Port string } `yaml:"httpGet"`
	Exec    *struct{ Command []string }
}

// readPod reads the files of deploy/kubernetes.
func readPod(t *testing.T) pod {
	t.Helper()
	p := pod{env: make(map[string]string)}
	files, err := filepath.Glob("../../deploy/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var m struct {
				Data       map[string]string
				StringData map[string]string `yaml:"stringData"`
				Spec       struct {
					Template struct {
						Spec struct {
							Grace      int  `yaml:"terminationGracePeriodSeconds"`
							Links      bool `yaml:"enableServiceLinks"`
							Containers []struct {
								Args      []string
								Startup   probe `yaml:"startupProbe"`
								Readiness probe `yaml:"readinessProbe"`
								Liveness  probe `yaml:"livenessProbe"`
								Lifecycle struct {
									PreStop probe `yaml:"preStop"`
								}
							}
						}
					}
				}
			}
			if err := d.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			maps.Copy(p.env, m.Data)
			maps.Copy(p.env, m.StringData)
			s := m.Spec.Template.Spec
			for _, c := range s.Containers {
				p.args, p.links, p.grace = c.Args, s.Links, time.Duration(s.Grace)*time.Second
				p.probes = map[string]probe{
					"startup": c.Startup, "readiness": c.Readiness, "liveness": c.Liveness, "preStop": c.Lifecycle.PreStop,
				}
			}
		}
	}
	return p
}

// do carries out a probe, with some words of its command replaced.
func (p pod) do(s *server, name string, replaced ...string) error {
	s.t.Helper()
	switch at := p.probes[name]; {
	case at.HTTPGet != nil && at.HTTPGet.Port == "admin":
		resp, err := http.Get("http://" + s.adminAddr() + at.HTTPGet.Path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	case at.Exec != nil:
		args := strings.Fields(substitute(s.t, strings.Join(at.Exec.Command[1:], " "), replaced...))
		out, err := exec.Command(command, append(args, "--control", s.control)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	default:
		s.t.Fatalf("%s: this test does not know %+v", name, at)
		return nil
	}
}

// TestDeploymentKubernetes runs the container of deploy/kubernetes with its settings, and does what Kubernetes does to
// it, from the first probe to the end. make deployment checks the files against the API.
func TestDeploymentKubernetes(t *testing.T) {
	p := readPod(t)
	for name, value := range p.env {
		switch name {
		case "REDIS_URL":
			value = redistest.Start(t).URL()
		case "EXPEDITE_ADMIN":
			value = "127.0.0.1:0"
		}
		t.Setenv(name, value)
	}
	// What enableServiceLinks would add for a Service of this name.
	for name, value := range map[string]string{
		"EXPEDITE_SERVICE_HOST": "10.0.0.1", "EXPEDITE_SERVICE_PORT": "80", "EXPEDITE_SERVICE_PORT_WEB": "80",
		"EXPEDITE_PORT": "tcp://10.0.0.1:80", "EXPEDITE_PORT_80_TCP": "tcp://10.0.0.1:80",
		"EXPEDITE_PORT_80_TCP_PROTO": "tcp", "EXPEDITE_PORT_80_TCP_PORT": "80", "EXPEDITE_PORT_80_TCP_ADDR": "10.0.0.1",
	} {
		t.Setenv(name, value)
	}
	if p.links || p.args[0] != "serve" {
		t.Errorf("got %+v, want no service links, and the command serve", p)
	}
	s := serveAs(t, func(cmd *exec.Cmd) { // the address of the admin listener comes from the environment
		for i, arg := range cmd.Args {
			if arg == "--admin" {
				cmd.Args = append(cmd.Args[:i:i], cmd.Args[i+2:]...)
				break
			}
		}
	}, "--workers", "2")
	if strings.Contains(s.output.String(), "unknown variable") {
		t.Error("it warns of variables of the Service")
	}
	for _, name := range []string{"startup", "readiness", "liveness"} {
		if err := p.do(s, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := s.mustDial(t.Context(), "/echo")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.wantClose(t.Context(), t, "the client", ws.CloseServiceRestart)
	}()
	if err := p.do(s, "preStop", "10s", "0s", "2m", "1s"); err != nil {
		t.Errorf("preStop: %v", err)
	}
	<-closed
	if err := p.do(s, "readiness"); err == nil {
		t.Error("it is ready after preStop")
	}
	if err := p.do(s, "liveness"); err != nil {
		t.Errorf("liveness after preStop: %v", err)
	}
	const drainTimeout, reserve = 30 * time.Second, 10 * time.Second
	if drain := 10*time.Second + 2*time.Minute; p.grace < drain+drainTimeout+reserve {
		t.Errorf("the grace period %v is too short for a drain of %v and the stop", p.grace, drain)
	}
	s.must("stop")
	if code := s.waitEnd(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}
