package acmeclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/statedir"
)

// Challenges by which an authority verifies that a domain leads to this server.
const (
	TLSALPN01 = "tls-alpn-01" // RFC 8737
	HTTP01    = "http-01"     // RFC 8555 §8.3
)

// LetsEncrypt is the URL of the default authority.
const LetsEncrypt = acme.LetsEncryptURL

// Config configures a Client.
type Config struct {
	Folder certstore.Folder
	// Domains get a certificate each.
	Domains []string
	// Directory is the URL of the authority's directory, and Email, which may be empty, is for its messages.
	Directory, Email string
	// Challenges are those that workers answer, the preferred one first.
	Challenges []string
	Log        *slog.Logger
}

// Client keeps certificates valid from Start until it is stopped.
type Client struct {
	cfg     Config
	domains []*domain
	slots   chan struct{} // holds a token for each order

	accountMu sync.Mutex
	account   *acme.Client // registered; nil: not yet

	mu             sync.Mutex
	issued, failed uint64
}

// maxOrders is how many orders are under way at a time.
const maxOrders = 4

// New returns a Client.
func New(c Config) *Client {
	a := &Client{cfg: c, slots: make(chan struct{}, maxOrders)}
	for _, name := range c.Domains {
		a.domains = append(a.domains, &domain{name: name})
	}
	return a
}

// Start begins to obtain what is missing. Call it once clients are served: the authority is one of them. stop ends the
// orders that are under way, and waits for that. A nil Client does nothing.
func (a *Client) Start() (stop func()) {
	if a == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		a.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// run keeps the certificates until ctx ends, while this process owns the folder.
func (a *Client) run(ctx context.Context) {
	dir := a.own(ctx)
	if dir == nil {
		return
	}
	defer dir.Close()
	if err := a.cfg.Folder.Sweep(time.Now()); err != nil {
		a.cfg.Log.Warn("old answers to challenges not removed", "error", err)
	}
	var keepers sync.WaitGroup
	for _, d := range a.domains {
		a.resume(d)
		keepers.Go(func() { a.keep(ctx, d) })
	}
	keepers.Wait()
}

// resume takes over what the process before has met: it asks again at once, or two minutes after that one. A domain
// without a certificate that lasts has failed until an attempt succeeds, also through restarts.
func (a *Client) resume(d *domain) {
	before, err := a.cfg.Folder.Failure(d.name)
	if err != nil {
		a.cfg.Log.Warn("earlier failures are not known", "domain", d.name, "error", err)
	}
	now := time.Now()
	if before.Refusals == 0 || before.At.After(now) {
		return
	}
	d.refusals, d.retry = before.Refusals, before.At.Add(firstRefusal)
	if c := a.read(d); c != nil && RenewAt(c.Leaf).After(now) {
		return
	}
	cause := cmp.Or(before.Cause, "the authority has refused before the start of this program")
	d.set(func(s *Status) { s.Failures, s.Cause = before.Refusals, cause })
	if d.retry.After(now) {
		a.cfg.Log.Warn("certificate not obtained yet: waiting because of an earlier refusal", "domain", d.name,
			"refused", before.At, "error", cause, "failures", before.Refusals, "next_attempt", d.retry)
	}
}

const (
	// ownEvery is how often a folder is tried that another process owns.
	ownEvery = time.Second
	// ownQuietly is how often that is not worth a line: the process before this one may be about to end.
	ownQuietly = 10
)

// own waits until this process owns the folder, and returns nil if ctx ends before.
func (a *Client) own(ctx context.Context) *statedir.Dir {
	told := ""
	for tries := 0; ; tries++ {
		dir, err := statedir.Open(string(a.cfg.Folder))
		a.barred(err)
		if err == nil {
			return dir
		}
		switch text := err.Error(); {
		case errors.Is(err, statedir.ErrInUse) && tries < ownQuietly, text == told:
		case errors.Is(err, statedir.ErrInUse):
			told = text
			a.cfg.Log.Info("another server obtains the certificates of this folder", "error", err)
		default:
			told = text
			a.cfg.Log.Error("certificates not obtained: the folder cannot be used", "error", err)
		}
		if !wait(ctx, ownEvery) {
			return nil
		}
	}
}

// barred stores for all domains what has come of opening the folder. One that another process owns is no failure.
func (a *Client) barred(err error) {
	unusable := err != nil && !errors.Is(err, statedir.ErrInUse)
	for _, d := range a.domains {
		_, _ = a.load(d) // what is wrong with the folder is the error
		d.set(func(s *Status) {
			if !unusable {
				s.Failures, s.Cause, s.Next = 0, "", time.Time{}
				return
			}
			s.Failures++
			s.Cause, s.Next = "the folder cannot be used: "+err.Error(), time.Now().Add(ownEvery)
		})
	}
}

// wait reports false if ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// keep keeps the certificate of a domain valid until ctx ends.
func (a *Client) keep(ctx context.Context, d *domain) {
	for {
		now := time.Now()
		next := a.due(d, now)
		d.set(func(s *Status) { s.Next = next })
		if next.After(now) {
			// The folder may change meanwhile, and so may the clock.
			if !wait(ctx, min(next.Sub(now), lookEvery)) {
				return
			}
			continue
		}
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := a.obtain(ctx, d)
		<-a.slots
		if ctx.Err() != nil {
			return
		}
		a.note(d, err)
	}
}

// lookEvery is how often the folder is read while nothing is to do.
const lookEvery = time.Minute

// due returns when the next attempt for a domain is due.
func (a *Client) due(d *domain, now time.Time) time.Time {
	renew := now
	if c := a.read(d); c != nil {
		renew = RenewAt(c.Leaf)
	}
	if d.retry.After(renew) {
		return d.retry
	}
	return renew
}

// load reads the certificate of a domain, which is nil if there is an error, and stores when it expires.
func (a *Client) load(d *domain) (*tls.Certificate, error) {
	c, err := a.cfg.Folder.Read(d.name)
	d.set(func(s *Status) {
		s.Expires = time.Time{}
		if c != nil {
			s.Expires = c.Leaf.NotAfter
		}
	})
	return c, err
}

// read returns the certificate of a domain, or nil if there is none that can be used.
func (a *Client) read(d *domain) *tls.Certificate {
	c, err := a.load(d)
	text := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		text = err.Error()
	}
	if text != "" && text != d.unusable {
		a.cfg.Log.Error("a certificate in the folder cannot be used: another one is obtained",
			"domain", d.name, "error", err)
	}
	d.unusable = text
	return c
}

// note takes the result of an attempt: it logs what has changed, and plans the next one.
func (a *Client) note(d *domain, err error) {
	now := time.Now()
	if err == nil {
		if c := a.read(d); c == nil || !RenewAt(c.Leaf).After(now) {
			err = errStale
		}
	}
	a.mu.Lock()
	if err == nil {
		a.issued++
	} else {
		a.failed++
	}
	a.mu.Unlock()
	if err == nil {
		d.succeeded()
		_ = a.cfg.Folder.WriteFailure(d.name, certstore.Failure{}) // one that stays makes the next failure wait longer
		s := d.status()
		a.cfg.Log.Info("certificate obtained", "domain", d.name, "expires", s.Expires)
		return
	}
	a.forget()
	pause := d.failed(err, len(a.cfg.Challenges))
	d.retry = now.Add(pause)
	text := reason(err)
	if refused(err) {
		// If it cannot be written, only a restart asks sooner.
		_ = a.cfg.Folder.WriteFailure(d.name, certstore.Failure{Refusals: d.refusals, At: now, Cause: text})
	}
	if text != d.told {
		d.told = text
		a.cfg.Log.Error("certificate not obtained", "domain", d.name, "error", text, "failures", d.status().Failures,
			"next_attempt", d.retry)
	}
	d.set(func(s *Status) { s.Cause = text })
}

// Status is the state of a domain.
type Status struct {
	Domain string
	// Expires is when its certificate expires; zero: there is none.
	Expires time.Time
	// Next is when it is renewed, or the next attempt to obtain it.
	Next time.Time
	// Failures counts attempts in a row that have failed, the last one because of Cause.
	Failures int
	Cause    string
}

// Statuses returns the states of all domains; a nil Client has none.
func (a *Client) Statuses() []Status {
	if a == nil {
		return nil
	}
	list := make([]Status, len(a.domains))
	for i, d := range a.domains {
		list[i] = d.status()
	}
	return list
}

// Counts returns how many attempts have led to a certificate since Start, and how many have not.
func (a *Client) Counts() (issued, failed uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued, a.failed
}
