package expedite

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/secure"
)

// TLS makes clients use TLS (wss:// and https://) at all TCP addresses, except those that are written http://host:port.
// Unix sockets stay plain. The zero TLS is none. docs/tls.md describes it.
//
// A connection with TLS 1.3 moves to another worker as others do. One with TLS 1.2 cannot: a reload closes it with
// 1012.
type TLS struct {
	// Cert and Key name PEM files: those of a certificate, followed by its intermediates, and in the same place those
	// of its private key. A pair is chosen by the name that a client asks for; the first one is for all others. The
	// files are read again twice a minute. If what they contain then is not valid, what was there before stays in use.
	Cert, Key []string
	// Auto obtains and renews certificates by itself. A name of it is served that certificate as soon as there is one;
	// the pairs of Cert and Key are for all other names.
	Auto TLSAuto
	// ClientCA names a PEM file with the authorities whose certificates clients have to present. Authorize finds that
	// of a client in http.Request.TLS. Empty: clients present none.
	ClientCA string
	// MinVersion is the earliest version that clients may use: tls.VersionTLS12 or tls.VersionTLS13. 0 is 1.2.
	MinVersion uint16
	// Standard leaves all records to crypto/tls, at a goroutine or two per connection. Such connections cannot move to
	// another worker. Otherwise, on Linux, the event loop reads and writes the records of TLS 1.3 after the handshake
	// of crypto/tls; TLS 1.2 is always left to it.
	Standard bool
	// Redirect answers requests at addresses that are written http://host:port with a redirection to https://, except
	// those of /healthz, /readyz and /.well-known/acme-challenge/. A WebSocket does not open there either.
	Redirect bool
}

// TLSAuto obtains certificates from an authority with the protocol ACME (RFC 8555), one for each domain. Whoever sets
// Domains accepts the terms of service of that authority. One process of the server does this, and all workers use the
// certificates. The authority verifies that a domain leads to this server: it connects to port 443 of it (tls-alpn-01)
// or, if an address is written http://host:port, to port 80 (http-01). docs/tls.md describes it.
type TLSAuto struct {
	// Domains are the names of hosts in lower case, like example.com: no wildcards, and no IP addresses.
	Domains []string
	// Email is an address for messages of the authority. It may be empty.
	Email string
	// CA is the URL of the directory of the authority. Empty is that of Let's Encrypt.
	CA string
	// Folder has the certificates and their keys, with the mode 0600. It is created with the mode 0700. Servers may
	// share one: one of them obtains certificates for all. Empty is the folder certificates in Config.StateDir.
	Folder string
}

// on reports whether there is TLS.
func (t *TLS) on() bool { return len(t.Cert) > 0 || t.Auto.on() }

// check returns what is wrong with t.
func (t *TLS) check() error {
	var errs []error
	switch t.MinVersion {
	case 0, tls.VersionTLS12, tls.VersionTLS13:
	default:
		errs = append(errs, fmt.Errorf("expedite: Config.TLS.MinVersion is %#x: want tls.VersionTLS12 or "+
			"tls.VersionTLS13", t.MinVersion))
	}
	if len(t.Cert) != len(t.Key) {
		return errors.Join(append(errs, fmt.Errorf("expedite: Config.TLS.Cert and Config.TLS.Key name %d and %d "+
			"files: each certificate needs its key, in the same place", len(t.Cert), len(t.Key)))...)
	}
	for _, setting := range []struct {
		name  string
		given bool
	}{
		{"ClientCA", t.ClientCA != ""}, {"MinVersion", t.MinVersion != 0}, {"Standard", t.Standard}, {"Redirect", t.Redirect},
	} {
		if setting.given && !t.on() {
			errs = append(errs, fmt.Errorf("expedite: Config.TLS.%s is of no use without Config.TLS.Cert or "+
				"Config.TLS.Auto.Domains", setting.name))
		}
	}
	if err := t.Auto.check(); err != nil {
		return errors.Join(append(errs, err)...)
	}
	late := cluster.IsWorker() || cluster.HasInheritance() // these get what is in use
	_, err := t.server(nil, filesOf{late: late})
	return errors.Join(append(errs, err)...)
}

// filesOf tells what a process does with the files: with late, it is no error if they cannot be used, because what they
// contained before follows. With alarm, it logs when certificates are about to expire. With named, it leaves automatic
// ones to others.
type filesOf struct{ late, alarm, named bool }

// server returns what makes the server's ends of TLS, or nil if there is no TLS.
func (t *TLS) server(log *slog.Logger, of filesOf) (*secure.Server, error) {
	if !t.on() {
		return nil, nil
	}
	files := secure.Files{ClientCA: t.ClientCA, Auto: secure.Auto{Folder: t.Auto.store(), Domains: t.Auto.Domains}}
	if of.named {
		files.Auto = secure.Auto{}
	}
	for i := range t.Cert {
		files.Pairs = append(files.Pairs, secure.KeyPair{Cert: t.Cert[i], Key: t.Key[i]})
	}
	s, err := secure.NewServer(secure.Config{
		Files: files, MinVersion: t.MinVersion, Log: log, Late: of.late, Alarm: of.alarm,
		Loop: runtime.GOOS == "linux" && !t.Standard,
	})
	if err != nil {
		return nil, inFields(err)
	}
	return s, nil
}

// inFields names the fields of TLS in errors of its files.
func inFields(err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok { // of errors.Join
		var errs []error
		for _, e := range list.Unwrap() {
			errs = append(errs, inFields(e))
		}
		return errors.Join(errs...)
	}
	field := "Cert"
	if f, ok := errors.AsType[*secure.FileError](err); ok {
		field = f.Field
	}
	return fmt.Errorf("expedite: Config.TLS.%s: %w", field, err)
}

// checkSecure reports addresses that want TLS, if there is no certificate, and what checkUsed does if there is one.
func (c *Config) checkSecure(specs []listener.Spec) error {
	if c.TLS.on() {
		return c.checkUsed(specs)
	}
	var errs []error
	for _, s := range specs {
		if s.Plain == listener.Off {
			errs = append(errs, fmt.Errorf("expedite: Config.Addr: %q wants TLS, and there is no certificate: "+
				"name one in Config.TLS.Cert", s))
		}
	}
	if _, secure := c.admin(); secure {
		errs = append(errs, fmt.Errorf("expedite: Config.Admin is %q, and there is no certificate: "+
			"name one in Config.TLS.Cert", c.Admin))
	}
	return errors.Join(errs...)
}

// checkUsed reports certificates that no client would see, and a redirection from or to nowhere: otherwise clients
// would go on without TLS, and nobody would notice.
func (c *Config) checkUsed(specs []listener.Spec) error {
	secure, plain := false, false
	for _, s := range specs {
		switch {
		case s.Network == listener.Unix:
		case s.Plain == listener.On:
			plain = true
		default: // also sockets of systemd, of which it is not known yet whether they are TCP
			secure = true
		}
	}
	var errs []error
	for name, given := range map[string]bool{"Cert": len(c.TLS.Cert) > 0, "Auto.Domains": c.TLS.Auto.on() && plain} {
		if _, admin := c.admin(); given && !secure && !admin {
			errs = append(errs, fmt.Errorf("expedite: Config.TLS.%s is of no use, because no address has TLS: "+
				"write one without http:// in Config.Addr", name))
		}
	}
	if c.TLS.Redirect && !secure {
		errs = append(errs, errors.New("expedite: Config.TLS.Redirect leads nowhere, because no address has TLS: "+
			"write one without http:// in Config.Addr"))
	}
	if c.TLS.Redirect && !plain {
		errs = append(errs, errors.New("expedite: Config.TLS.Redirect is of no use without an address that redirects: "+
			"write one with http:// in Config.Addr"))
	}
	return errors.Join(errs...)
}

// admin returns the address of the admin listener, and whether its clients use TLS.
func (c *Config) admin() (address string, secure bool) {
	address, plain := listener.CutScheme(c.Admin)
	return address, plain == listener.Off
}

// secureAdmin sets how clients of the admin listener use TLS, if they do. watch begins to read the files again, until
// end is called.
func (a *App) secureAdmin(c *primary.ControlConfig) (watch func() (end func()), err error) {
	if _, secure := a.cfg.admin(); !secure {
		return watchFiles(nil), nil
	}
	s, err := a.cfg.TLS.server(a.Logger(), filesOf{})
	if err != nil {
		return nil, err
	}
	c.AdminTLS = s.Operators()
	return watchFiles(s), nil
}

// keepCertificates does what secureAdmin does for a primary, which also keeps the certificates in use: for workers that
// start when the files cannot be used, and for the program that replaces this one. With late, there was such a program
// before this one.
func (a *App) keepCertificates(c *primary.Config, late bool) (watch func() (end func()), err error) {
	_, admin := a.cfg.admin()
	s, err := a.cfg.TLS.server(a.Logger(), filesOf{late: late, alarm: true, named: !admin})
	if err != nil || s == nil {
		return watchFiles(nil), err
	}
	c.Files, c.Registry.Certificates = s, s.Keep
	if admin {
		c.AdminTLS = s.Operators()
	}
	return watchFiles(s), nil
}

// watchFiles returns what begins to read the files of s again, until end is called. Without s it does nothing.
func watchFiles(s *secure.Server) (watch func() (end func())) {
	if s == nil {
		return func() func() { return func() {} }
	}
	return func() func() {
		go s.Watch() // ends with Close
		return s.Close
	}
}

// serves returns how connections begin.
func (c *Config) serves() primary.Serves {
	return primary.Serves{ProxyProtocol: c.ProxyProtocol, TLS: c.TLS.on()}
}
