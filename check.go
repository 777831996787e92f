package expedite

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/route"
)

// Check returns the errors that Run would return at once for the configuration and the endpoints: everything that would
// panic, or refuse every client, once clients come. It opens and starts nothing.
func (a *App) Check() error {
	c := &a.cfg
	faults := append(slices.Clone(a.faults), c.Tuning.check(), c.Auth.check(), c.checkLimits(), c.checkRates(),
		c.checkListeners(), c.checkPresence(), c.TLS.check())
	if a.cfg.WorkerOutput != nil && isNil(a.cfg.WorkerOutput) {
		faults = append(faults, fmt.Errorf("expedite: Config.WorkerOutput is a nil %T", a.cfg.WorkerOutput))
	}
	if s := &a.cfg.Sessions; s.Store != nil && (isNil(s.Store) || s.Redis != "") {
		faults = append(faults, errors.New("expedite: Config.Sessions.Store: want a store that is not nil, and no Redis"))
	}
	if len(c.MoreRedis) > 0 && (c.Sessions.Redis == "" || c.Backplane != nil) {
		faults = append(faults, errors.New("expedite: Config.MoreRedis: want a Sessions.Redis, and no Backplane"))
	}
	if _, _, err := c.plane(); err != nil {
		faults = append(faults, err)
	}
	if err := c.checkHistory(); err != nil {
		faults = append(faults, err)
	}
	if isNil(a.http) {
		faults = append(faults, errors.New("expedite: App.HTTP was given no handler"))
	}
	faults = append(faults, a.checkPatterns())
	for _, path := range slices.Sorted(maps.Keys(a.handlers)) {
		h := a.handlers[path]
		faults = append(faults, h.checkLimits(path, c))
		if h.Auth == AuthRequired && a.cfg.Auth.Verifier == nil {
			faults = append(faults, fmt.Errorf("expedite: the handler of %s has AuthRequired: %w", path, errNoVerifier))
		}
	}
	return errors.Join(faults...)
}

// checkListeners reports addresses that cannot be opened whatever the machine does, and what checkProxies does.
func (c *Config) checkListeners() error {
	specs, err := c.listeners()
	if err != nil {
		_, errProxies := c.proxies()
		return errors.Join(err, errProxies)
	}
	faults := []error{c.checkProxies(specs), c.checkSecure(specs)}
	if t := &c.TLS.Auto; t.on() && len(t.challenges(specs)) == 0 {
		faults = append(faults, errors.New("expedite: Config.TLS.Auto.Domains: no address is one of TCP, where an "+
			"authority reaches this server"))
	}
	own, errOwn := listener.Parse(c.Admin) // opening it tells an error
	for _, s := range specs {
		if !cluster.IsWorker() { // a worker opens no file
			if err := s.CheckOwner(); err != nil {
				faults = append(faults, fmt.Errorf("expedite: Config.Addr: %w", err))
			}
		}
		if errOwn == nil && listener.Overlap(own, s) {
			faults = append(faults, fmt.Errorf("expedite: Config.Admin is %q, and its port is in use by %q of Config.Addr",
				c.Admin, s))
		}
		if s.Network == listener.Unix && c.Control != "" && s.Address == filepath.Clean(c.Control) {
			faults = append(faults, fmt.Errorf("expedite: Config.Control is %q, which is in Config.Addr, too", c.Control))
		}
	}
	return errors.Join(faults...)
}

// checkProxies reports malformed trusted proxies, and required PROXY headers that no peer is trusted to send.
func (c *Config) checkProxies(specs []listener.Spec) error {
	p, err := c.proxies()
	if err != nil {
		return err
	}
	someone := !p.Trust.Empty()
	for _, s := range specs {
		someone = someone || s.Trusted == listener.On
		if s.ProxyProtocol == listener.On && s.Trusted != listener.On && (p.Trust.Empty() || s.Trusted == listener.Off) {
			return fmt.Errorf("expedite: Config.Addr: %q expects PROXY headers, and no peer is trusted to send one: "+
				"list your proxies in Config.TrustedProxies, or add the option trusted", s)
		}
	}
	if c.ProxyProtocol && !someone {
		return errors.New("expedite: Config.ProxyProtocol is set, and no peer is trusted to send a PROXY header: " +
			"list the networks of your proxies in Config.TrustedProxies")
	}
	return nil
}

// checkPatterns reports patterns of which it is not clear which one wins.
func (a *App) checkPatterns() error {
	var list []*route.Pattern
	for _, text := range slices.Sorted(maps.Keys(a.patterns)) {
		list = append(list, a.patterns[text])
	}
	if _, err := route.NewSet(list); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// errNoVerifier reports that tokens are required and none can be verified.
var errNoVerifier = errors.New("without Config.Auth.Verifier nobody could come in")

// check reports a Verifier that cannot verify any token, and a missing one.
func (a *Auth) check() error {
	switch {
	case a.Verifier == nil && a.Mode == AuthRequired:
		return fmt.Errorf("expedite: Config.Auth.Mode is AuthRequired: %w", errNoVerifier)
	case a.Verifier != nil:
		if err := auth.Check(a.Verifier); err != nil {
			return fmt.Errorf("expedite: Config.Auth.Verifier: %w", err)
		}
	}
	return nil
}

// checkState reports why a handler's State cannot move.
func checkState(s State) error {
	switch {
	case s == nil:
		return nil
	case isNil(s):
		return fmt.Errorf("expedite: Handler.State is a nil %T", s)
	default:
		return s.check()
	}
}

// isNil reports whether v is nil, or an interface that holds a nil pointer or function.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}

const (
	// leastHangTimeout leaves a worker that wakes from a sleep the time to report, even on a busy machine.
	leastHangTimeout = 2 * time.Second
	// leastHead is less than the shortest opening handshake of a browser.
	leastHead = 512
	// freshWorker is a little more than what a new worker holds, in bytes.
	freshWorker = 24 << 20
)

// checkLimits reports settings that cannot work, alone or together.
func (c *Config) checkLimits() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("expedite: Config."+format, args...))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"HandoffStall", c.HandoffStall},
		{"HandshakeTimeout", c.HandshakeTimeout},
		{"Auth.TicketTTL", c.Auth.TicketTTL},
		{"Sessions.TTL", c.Sessions.TTL},
	} {
		if d.value < 0 {
			fault("%s is %s: want 0 or more", d.field, d.value)
		}
	}
	for _, name := range c.AdminHosts {
		if err := admin.CheckHost(name); err != nil {
			fault("AdminHosts: %w", err)
		}
	}
	if name := c.Sessions.Cookie; name != "" && (&http.Cookie{Name: name}).Valid() != nil {
		fault("Sessions.Cookie is %q, which is no name of a cookie", name)
	}
	if c.HangTimeout > 0 && c.HangTimeout < leastHangTimeout {
		fault("HangTimeout is %s: idle workers would be killed; want %s or more",
			c.HangTimeout, leastHangTimeout)
	}
	if c.MaxHead != 0 && c.MaxHead < leastHead {
		fault("MaxHead is %d: every handshake is longer; want %d or more", c.MaxHead, leastHead)
	}
	if c.MaxConnections < 0 || c.MaxHandshakes < 0 || c.MaxSubscriptions < 0 || c.MaxAuthorizing < 0 {
		faults = append(faults, errors.New("expedite: Config: a limit is negative"))
	}
	if c.Compression > CompressionTakeover {
		fault("Compression is %d: want off, shared or takeover", c.Compression)
	}
	if c.MessageMinRate.Bytes > 0 && c.MessageMinRate.Per <= 0 {
		fault("MessageMinRate is %d bytes in %s: want a time",
			c.MessageMinRate.Bytes, c.MessageMinRate.Per)
	}
	if err := c.checkSilence(); err != nil {
		faults = append(faults, fmt.Errorf("expedite: %w", err))
	}
	return errors.Join(faults...)
}

// checkLimits reports settings of a handler that cannot work, alone or together.
func (h *Handler) checkLimits(path string, c *Config) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("expedite: the handler of "+path+": "+format, args...)
	}
	if h.MaxMessage < 0 || h.MaxFragments < 0 || h.QueueLimit < 0 || h.LowMark < 0 || h.MailboxLimit < 0 ||
		h.CloseTimeout < 0 || h.MaxLifetime < 0 {
		return fail("a limit is negative")
	}
	queue := h.QueueLimit
	if queue == 0 {
		queue = engine.DefaultQueueLimit
	}
	if err := cmp.Or(h.checkRates(), h.checkSilence(c)); err != nil {
		return fail("%w", err)
	}
	if h.LowMark >= queue {
		return fail("Handler.LowMark is %d, and Handler.QueueLimit %d: want a lower mark", h.LowMark, queue)
	}
	return nil
}

// warnLimits logs settings that are probably not what was meant.
func (a *App) warnLimits() {
	if most := a.cfg.MaxWorkerMemory; most > 0 && most < freshWorker {
		a.Logger().Warn("a new worker holds more memory than a worker may: each will be replaced again and again",
			"setting", "MaxWorkerMemory", "limit_bytes", most, "fresh_worker_bytes", freshWorker)
	}
	for path, h := range a.handlers {
		if most := a.cfg.MaxPartial; most > 0 && h.maxMessage(&a.cfg) > most {
			a.Logger().Warn("the largest message of a handler is larger than all incomplete ones together may be",
				"setting", "MaxPartial", "limit_bytes", most, "path", path, "max_message_bytes", h.maxMessage(&a.cfg))
		}
	}
}
