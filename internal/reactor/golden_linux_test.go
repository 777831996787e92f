package reactor_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
)

var update = flag.Bool("update", false, "write the golden states of this version, which is done once for each")

// TestGoldenSealedStates: the states of TLS that a version has written stay readable forever, with the same meaning.
func TestGoldenSealedStates(t *testing.T) {
	specimens, err := reactor.Specimens()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range specimens {
		file := filepath.Join("testdata", "states", "v1-"+name+".hex")
		if *update {
			if err := os.WriteFile(file, []byte(hex.EncodeToString(want)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reactor.SuspendAgain(golden); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v, want %x", name, got, err, want)
		}
	}
}
