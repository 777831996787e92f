package settings

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the files in docs that are generated")

// TestReference checks that the generated files in docs are those of the table.
func TestReference(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"configuration.md": WritePage, "expedite.schema.json": WriteJSONSchema,
	} {
		var want bytes.Buffer
		if err := write(&want); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("docs/%s is not that of the table: run make configuration (%v)", name, err)
		}
	}
}
