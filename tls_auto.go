package expedite

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/acmeclient"
	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/listener"
)

// maxAutoDomains bounds the domains of TLSAuto. Each worker reads all their files.
const maxAutoDomains = 100

// on reports whether certificates are obtained.
func (t *TLSAuto) on() bool { return len(t.Domains) > 0 }

// ca returns the URL of the authority.
func (t *TLSAuto) ca() string { return cmp.Or(t.CA, acmeclient.LetsEncrypt) }

// store returns the folder of the certificates.
func (t *TLSAuto) store() certstore.Folder { return certstore.Folder(t.Folder) }

// resolve sets the folder to its default.
func (t *TLSAuto) resolve(stateDir string) {
	if t.on() && t.Folder == "" && stateDir != "" {
		t.Folder = filepath.Join(stateDir, "certificates")
	}
}

// check returns what is wrong with t.
func (t *TLSAuto) check() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("expedite: Config.TLS.Auto."+format, args...))
	}
	if !t.on() {
		for name, given := range map[string]string{"Email": t.Email, "CA": t.CA, "Folder": t.Folder} {
			if given != "" {
				fault("%s is of no use without Config.TLS.Auto.Domains", name)
			}
		}
		return errors.Join(errs...)
	}
	for i, name := range t.Domains {
		err := certstore.CheckDomain(name)
		if err == nil && t.ca() == acmeclient.LetsEncrypt {
			err = certstore.CheckPublic(name)
		}
		switch {
		case err != nil:
			fault("Domains: %w", err)
		case slices.Contains(t.Domains[:i], name):
			fault("Domains has %q twice", name)
		}
	}
	if len(t.Domains) > maxAutoDomains {
		fault("Domains has %d names: want at most %d", len(t.Domains), maxAutoDomains)
	}
	if u, err := url.Parse(t.ca()); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		fault("CA is %q: want the https URL of an ACME directory", t.ca())
	}
	if at := strings.IndexByte(t.Email, '@'); t.Email != "" && (at < 1 || strings.ContainsAny(t.Email, " ,;<>?\t\r\n")) {
		fault("Email is %q: want one address, like admin@example.com", t.Email)
	}
	if t.Folder == "" {
		fault("Folder is empty, and so is Config.StateDir: certificates need a folder, or each start asks for new ones")
	}
	if err := t.checkFolder(); err != nil {
		fault("Folder: %w", err)
	}
	return errors.Join(errs...)
}

// checkFolder returns an error if the folder can never be one, as it is now. A process that takes over from another
// does without it: it serves what it can.
func (t *TLSAuto) checkFolder() error {
	if t.Folder == "" || cluster.IsWorker() || cluster.HasInheritance() {
		return nil
	}
	info, err := os.Stat(t.Folder)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return err
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder", t.Folder)
	}
	return nil
}

// challenges returns how an authority can reach workers at addresses.
func (t *TLSAuto) challenges(specs []listener.Spec) (kinds []string) {
	for _, s := range specs {
		switch {
		case s.Network == listener.Unix:
		case s.Plain == listener.On && !slices.Contains(kinds, acmeclient.HTTP01):
			kinds = append(kinds, acmeclient.HTTP01)
		case s.Plain != listener.On && !slices.Contains(kinds, acmeclient.TLSALPN01):
			kinds = slices.Insert(kinds, 0, acmeclient.TLSALPN01)
		}
	}
	return kinds
}

// client returns what obtains the certificates, or nil if nothing does.
func (t *TLSAuto) client(specs []listener.Spec, log *slog.Logger) *acmeclient.Client {
	if !t.on() {
		return nil
	}
	return acmeclient.New(acmeclient.Config{
		Folder: t.store(), Domains: t.Domains, Directory: t.ca(), Email: t.Email, Challenges: t.challenges(specs), Log: log,
	})
}
