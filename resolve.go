package expedite

import (
	"encoding/base64"
	"fmt"
	"os"

	"github.com/expedite-go/expedite/cluster"
)

// settingsVariable holds what Resolve has loaded, encoded, for the other processes of the program.
const settingsVariable = "EXPEDITE_SETTINGS"

// maxSettings is the largest size of settings in bytes: they must fit into the environment of a process.
const maxSettings = 64 << 10

// Resolve returns the settings of a program, so that all its processes have the same ones. The process that was started
// by hand calls load. Every worker that it starts, at whatever time, gets what load returned then, even if the
// configuration on disk has changed. Code before Run that reads a configuration should read it in load.
//
// A reload calls load once, in a trial of the new program, before anything is replaced. There load receives the
// settings of the running program, else nil. If it fails, the reload is refused and nothing changes. Settings are bytes
// in any form, at most 64 KiB. Whoever may read the environment of the process can see them. Call Resolve once, before
// App.Run.
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
