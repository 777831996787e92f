package statedir

import (
	"os"
	"os/exec"
	"testing"
)

// TestMain: with holdEnv this process locks a directory and holds it until its standard input ends.
func TestMain(m *testing.M) {
	path := os.Getenv(holdEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	d, err := Open(path)
	if err != nil {
		os.Exit(1)
	}
	f, err := d.File()
	if err != nil || d.Close() != nil { // the duplicate holds it
		os.Exit(1)
	}
	defer f.Close()
	_, _ = os.Stdout.WriteString("held\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

const holdEnv = "STATEDIR_HOLD"

func holder(path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	return cmd
}
