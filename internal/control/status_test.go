package control

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// example returns a status with everything in it.
func example() Status {
	return Status{
		Version: "v1.2.3", PID: 4711, Generation: 3, UptimeSeconds: 93784.5,
		Addresses: []string{"127.0.0.1:8080"}, Scheduling: "round-robin",
		Workers: []WorkerStatus{
			{
				Slot: 1, Generation: 1, PID: 4712, State: StateReady, Connections: 12034,
				RSSBytes: 91_234_567, HeapBytes: 23_456_789, MessagesIn: 1_234_567, MessagesOut: 7_654_321,
				BytesIn: 812, BytesOut: 4_321_987_654, LoopLagSeconds: 0.00034,
				Limits: map[string]uint64{"queue": 2},
			},
			{Slot: 2, Generation: 4, State: StateDead, Stale: true, Restarts: 3},
		},
		Totals: Totals{
			Connections: 12034, MessagesIn: 1_234_999, MessagesOut: 7_654_999, BytesIn: 1024, BytesOut: 4_321_987_999,
			RSSBytes: 91_234_567, HeapBytes: 23_456_789, Restarts: 3, Limits: map[string]uint64{"queue": 2, "head": 1},
		},
		Handoff: Handoff{Moved: 24000, Drained: 2, Failed: 1, LastSeconds: 1.234},
		Rolling: &Progress{
			Slot: 2, Step: StepMoving, Generation: 5, Moved: 812, Left: 120, Total: 932, RatePerSecond: 18_000.5,
			SlotsDone: 1, Slots: 4,
		},
		Auth: "required",
		TLS: &TLSStatus{
			Versions: map[string]uint64{"1.2": 3, "1.3": 1204}, Failures: map[string]uint64{"failed": 2},
			CertificateExpires: "2026-05-02T15:04:05Z", CertificateSeconds: 259_200, RereadFailing: true,
		},
		Sessions: &SessionStatus{
			Store: "redis", Connected: new(int64(80)), Degraded: true, Since: "2026-01-02T15:04:05Z",
			Cause: "dial tcp 127.0.0.1:6379: connection refused",
		},
		Revocations: &RevocationStatus{
			Revocations: 3, Degraded: true, Since: "2026-01-02T15:04:06Z", Cause: "cannot be read: NOPERM",
		},
		Degraded: []string{"redis", "revocations"},
	}
}

// golden compares got with a file, or writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (UPDATE_GOLDEN=1 writes it)\n%s", got, want)
	}
}

// TestLargestStatus checks that the status of the highest number of workers, two in each slot and with many limits,
// fits into an answer.
func TestLargestStatus(t *testing.T) {
	path, target := socket(t), newFake()
	limits := make(map[string]uint64)
	for n := range uint64(60) {
		limits[fmt.Sprint("some_limit_of_a_worker_", n)] = math.MaxUint64 - n
	}
	for slot := range 2 * maxWorkers {
		target.status.Workers = append(target.status.Workers, WorkerStatus{
			Slot: slot / 2, PID: 1 << 22, State: StateDraining, Stale: true, Connections: math.MaxInt64,
			RSSBytes: math.MaxUint64, HeapBytes: math.MaxUint64, MessagesIn: math.MaxUint64, MessagesOut: math.MaxUint64,
			BytesIn: math.MaxUint64, BytesOut: math.MaxUint64, LoopLagSeconds: 1.0 / 3, Limits: limits,
		})
	}
	start(t, path, target)
	st, err := dial(t, path).Status(t.Context())
	if err != nil || len(st.Workers) != 2*maxWorkers || st.Workers[0].Limits["some_limit_of_a_worker_59"] == 0 {
		t.Errorf("got %d workers, %v", len(st.Workers), err)
	}
}

// TestStatusJSON checks the names of fields, which are a contract with users' scripts.
func TestStatusJSON(t *testing.T) {
	for name, st := range map[string]Status{"status.json": example(), "empty.json": {}} {
		b, err := json.MarshalIndent(st, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(b)+"\n")
	}
}
