package primary

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

// answer is what a program on trial tells the one that runs. It is written as JSON; fields may be added.
type answer struct {
	Version   string    `json:"version"`
	Env       []string  `json:"env,omitempty"`     // of all processes of the program
	Workers   []string  `json:"workers,omitempty"` // more of the environment of its workers
	Warnings  []string  `json:"warnings,omitempty"`
	Addresses []address `json:"addresses,omitempty"` // none from early releases, which have one TCP address

	Changed []string `json:"changed,omitempty"` // names of settings
	// Live, if it is set, is what the running program can apply without a new process, if its build is Build. Origins is
	// what a later reload compares with.
	Live    []byte   `json:"live,omitempty"`
	Build   []byte   `json:"build,omitempty"`
	Origins []string `json:"origins,omitempty"`
}

// standTrial answers, in a trial, that this program could replace the one that runs, or returns why it could not.
func (p *Primary) standTrial() error {
	cfg, before := &p.cfg, p.before
	a := answer{
		Version: cfg.Version, Env: cfg.Env, Workers: cfg.workerEnv(), Addresses: answerAddresses(p.addresses),
	}
	a.Changed = cfg.Changed
	if cfg.Live != nil {
		var err error
		if a.Build, err = build(); err != nil {
			return err
		}
		a.Live, a.Origins = cfg.Live, cfg.Origins
	}
	if was := before.Settings; was != nil {
		if err := was.refuse(cfg.settings()); err != nil {
			return err
		}
		a.Warnings = was.warn(cfg.settings())
	}
	if err := errors.Join(before.tryStateDir(cfg.StateDir), before.tryAdmin(cfg.Admin)); err != nil {
		return err
	}
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return before.cluster.Answer(b)
}

// tryAdmin reports, in a trial, whether an admin listener that the running program does not have could be opened.
func (i *inheritance) tryAdmin(addr string) error {
	if addr == "" || addr == i.Admin {
		return nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("expedite: Config.Admin: %w", err)
	}
	return ln.Close()
}

// judge receives the answer of a program on trial, and returns what to add to the environment of its processes and of
// its workers. Early releases give no answer.
func (r *roller) judge(b []byte) (env, workers []string, err error) {
	a := new(answer)
	if len(b) > 0 {
		if err := json.Unmarshal(b, a); err != nil {
			return nil, nil, fmt.Errorf("expedite: the answer of the new program: %w", err)
		}
	}
	for _, w := range a.Warnings {
		r.log.Warn(w, "version", a.Version)
	}
	if r.appliesInPlace(a) {
		r.answer.Store(a)
		return nil, nil, errInPlace
	}
	if len(a.Addresses) == 0 && !isPlain(r.next.addresses) {
		return nil, nil, errors.New("expedite: Config.Addr: the new program is of an early release, " +
			"which cannot take over several addresses or a Unix socket: reload with one TCP address first")
	}
	if len(a.Addresses) > 0 {
		if err := r.stage(a.Addresses); err != nil {
			return nil, nil, err
		}
	}
	r.answer.Store(a)
	return a.Env, a.Workers, nil
}
