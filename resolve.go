package expedite

import (
	"encoding/base64"
	"fmt"
	"os"

	"github.com/expedite-go/expedite/cluster"
)

// settingsVariable holds, encoded, what Resolve has loaded, for the other processes of the program.
const settingsVariable = "EXPEDITE_SETTINGS"

// maxSettings is the number of bytes that Resolve takes: they have to fit into the environment of a process.
const maxSettings = 64 << 10

// Resolve returns the settings of a program, in a form of its own, so that all its processes have the same: the process
// that was started by hand calls load, and every worker that it ever starts, one in the place of a dead worker among
// them, is given what load returned then, whatever lies on disk by now. Code before Run that reads a configuration
// should read it in load.
//
// A reload loads anew, once, before anything is replaced, in a trial of the new program. There load receives what the
// program that runs was started with, else nil; an error refuses the reload, and nothing changes. The settings may be
// 64 KiB long. Call it once, before App.Run. They are visible to whoever may read the environment of the process.
func Resolve(load func(before []byte) ([]byte, error)) ([]byte, error) {
	kept, known := os.LookupEnv(settingsVariable)
	var before []byte
	if known && (cluster.IsWorker() || cluster.HasInheritance() || cluster.OnTrial()) {
		b, err := base64.StdEncoding.DecodeString(kept)
		if err != nil {
			return nil, fmt.Errorf("expedite: %s: %w", settingsVariable, err)
		}
		if !cluster.OnTrial() {
			return b, nil
		}
		before = b
	}
	b, err := load(before)
	if err != nil {
		return nil, err
	}
	if len(b) > maxSettings {
		return nil, fmt.Errorf("expedite: settings of %d bytes: want at most %d", len(b), maxSettings)
	}
	if err := os.Setenv(settingsVariable, base64.StdEncoding.EncodeToString(b)); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	return b, nil
}
