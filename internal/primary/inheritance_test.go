package primary

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// TestInheritanceFormat: the names of the fields are part of the contract between releases.
func TestInheritanceFormat(t *testing.T) {
	i := inheritance{
		Version: inheritanceVersion, Began: time.Unix(1, 0).UTC(), Hub: []byte("hub"), Totals: json.RawMessage("{}"),
		Reports: map[uint64]telemetry.Report{}, Control: "/run/e.sock", Admin: ":9600",
		State: registry.State{Node: "ab", Current: true}, StateDir: "/var/e", Again: true,
		Settings: &settings{Addr: ":80", Scheduling: "none", Control: "/run/e.sock", Workers: 2, Auth: "off", Origins: []string{"*"}},
	}
	const want = `{"version":1,"began":"1970-01-01T00:00:01Z","hub":"aHVi","totals":{},"reports":{},` +
		`"control":"/run/e.sock","admin":":9600","node":"ab","current":true,"state_dir":"/var/e",` +
		`"terms":{"addr":":80","scheduling":"none","control":"/run/e.sock","workers":2,"auth":"off","origins":["*"]},` +
		`"again":true}`
	got, err := json.Marshal(i)
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	got, err = json.Marshal(answer{Version: "v", Env: []string{"A=1"}, Workers: []string{"B=2"}, Warnings: []string{"w"}})
	if want := `{"version":"v","env":["A=1"],"workers":["B=2"],"warnings":["w"]}`; err != nil || string(got) != want {
		t.Errorf("answer: got %s, %v, want %s", got, err, want)
	}
}
