package primary

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// TestAdminHosts: the host of the admin listener is one of its names, beside those of AdminHosts.
func TestAdminHosts(t *testing.T) {
	for addr, want := range map[string]string{"admin.example:9600": "proxy.example admin.example", ":9600": "proxy.example"} {
		cfg := ControlConfig{Admin: addr, AdminHosts: []string{"proxy.example"}}
		if got := strings.Join(cfg.adminHosts(), " "); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// group is a WorkerGroup that has only reports.
type group struct {
	WorkerGroup
	reports []telemetry.SlotReport
}

// LastReports implements WorkerGroup.
func (g *group) LastReports() []telemetry.SlotReport { return g.reports }

// TestReadiness: the server is ready while a worker takes new clients. During a reload a slot has two workers.
func TestReadiness(t *testing.T) {
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.NewServer(t.Context(), registry.Config{Journal: j, Moving: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	worker := func(slot int, state control.State) telemetry.SlotReport {
		return telemetry.SlotReport{Slot: slot, State: string(state)}
	}
	unready, bare := worker(1, control.StateReady), worker(1, control.StateReady)
	unready.Unready, bare.CertificatesMissing = true, true
	for _, tt := range []struct {
		name    string
		reports []telemetry.SlotReport
		status  int
		want    string
	}{
		{"no workers", nil, 503, `{"ready":false,"workers":0}`},
		{"starting", []telemetry.SlotReport{worker(1, control.StateStarting)}, 503, `{"ready":false,"workers":0}`},
		{"one of two", []telemetry.SlotReport{
			worker(1, control.StateDead), worker(2, control.StateReady),
		}, 200, `{"ready":true,"workers":1}`},
		{"a reload", []telemetry.SlotReport{
			worker(1, control.StateMoving), worker(1, control.StateReady), worker(2, control.StateMoving),
		}, 200, `{"ready":true,"workers":2}`},
		{"a drain", []telemetry.SlotReport{worker(1, control.StateDraining)}, 503, `{"ready":false,"workers":0}`},
		{"without a certificate", []telemetry.SlotReport{bare}, 200, `{"ready":true,"workers":1,"degraded":["certificates"]}`},
		{"with a certificate in one worker", []telemetry.SlotReport{bare, worker(2, control.StateReady)}, 200, `{"ready":true,"workers":2}`},
		{"without Redis, which is required", []telemetry.SlotReport{unready}, 503, `{"ready":false,"workers":0}`},
	} {
		s := &ControlServer{workers: &group{reports: tt.reports}, registry: reg}
		w := httptest.NewRecorder()
		s.serveReady(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != tt.status || got != tt.want {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, w.Code, got, tt.status, tt.want)
		}
	}
}

// TestTLSStatus: status has TLS if an address has it, or had it before a reload. The first certificate to expire counts.
func TestTLSStatus(t *testing.T) {
	plain, secured := []control.ListenerStatus{{}}, []control.ListenerStatus{{}, {TLS: true}}
	if got := tlsStatus(plain, nil, nil); got != nil {
		t.Errorf("without TLS: got %+v", got)
	}
	if got := tlsStatus(secured, nil, nil); got == nil || got.Versions == nil || got.CertificateExpires != "" {
		t.Errorf("before any client: got %+v", got)
	}
	counts := map[string]uint64{"1.2": 1, "1.3": 2, "failed": 3, "challenge": 4}
	got := tlsStatus(plain, counts, []telemetry.SlotReport{
		{}, {Report: telemetry.Report{CertificateExpires: 90, RereadFailing: true}}, {Report: telemetry.Report{CertificateExpires: 60}},
	})
	if got == nil || len(got.Versions) != 2 || got.Versions["1.3"] != 2 || len(got.Failures) != 1 || got.Failures["failed"] != 3 ||
		got.CertificateExpires != "1970-01-01T00:01:00Z" || got.CertificateSeconds > -1e9 || !got.RereadFailing {
		t.Errorf("got %+v", got)
	}
}
