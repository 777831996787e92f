package acmeclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/crypto/acme"
)

const (
	// orderTimeout bounds an order, and requestTimeout each of its requests.
	orderTimeout   = 5 * time.Minute
	requestTimeout = 30 * time.Second
	// maxRetries bounds how often a request is repeated within an order.
	maxRetries = 3
)

// errNoChallenge means that the authority offers only challenges that no worker answers.
var errNoChallenge = errors.New("the authority offers no challenge that this server can answer")

// obtain gets a certificate, and stores it.
func (a *Client) obtain(ctx context.Context, d *domain) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	if err := a.cfg.Folder.Try(); err != nil { // before an authority has issued what cannot be stored
		return err
	}
	client, err := a.client(ctx)
	if err != nil {
		return err
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(d.name))
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		if err := a.authorize(ctx, client, url, d); err != nil {
			return err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{d.name}}, key)
	if err != nil {
		return err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return err
	}
	return a.cfg.Folder.Write(d.name, key, chain)
}

// client returns the client of the account, which it registers if that is necessary. The terms of service are accepted
// by the setting.
func (a *Client) client(ctx context.Context) (*acme.Client, error) {
	a.accountMu.Lock()
	defer a.accountMu.Unlock()
	if a.account != nil {
		return a.account, nil
	}
	key, err := a.cfg.Folder.AccountKey()
	if err != nil {
		return nil, err
	}
	client := &acme.Client{
		Key: key, DirectoryURL: a.cfg.Directory, UserAgent: "expedite", RetryBackoff: again,
		HTTPClient: &http.Client{Timeout: requestTimeout},
	}
	account := new(acme.Account)
	if a.cfg.Email != "" {
		account.Contact = []string{"mailto:" + a.cfg.Email}
	}
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, err
	}
	a.account = client
	return client, nil
}

// forget has the next order register again: the account may be what is wrong.
func (a *Client) forget() {
	a.accountMu.Lock()
	defer a.accountMu.Unlock()
	a.account = nil
}

// again returns how long to wait before a request is repeated; 0 is never. It is only for what passes soon: a nonce
// that is too old, or a server that restarts.
func again(n int, _ *http.Request, res *http.Response) time.Duration {
	if n > maxRetries || res.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return time.Duration(n) * time.Second
}

// authorize proves to the authority that a domain leads to this server, unless it knows that.
func (a *Client) authorize(ctx context.Context, client *acme.Client, url string, d *domain) error {
	z, err := client.GetAuthorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return err
	}
	kind := a.cfg.Challenges[d.kind]
	for _, c := range z.Challenges {
		if c.Type != kind {
			continue
		}
		remove, err := a.answer(client, c, d.name)
		if err != nil {
			return err
		}
		defer remove()
		if _, err := client.Accept(ctx, c); err != nil {
			return err
		}
		if _, err = client.WaitAuthorization(ctx, url); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		return nil
	}
	return fmt.Errorf("%s: %w", kind, errNoChallenge)
}

// answer stores what workers answer to a challenge.
func (a *Client) answer(client *acme.Client, c *acme.Challenge, domain string) (remove func(), err error) {
	if c.Type == HTTP01 {
		text, err := client.HTTP01ChallengeResponse(c.Token)
		if err == nil {
			err = a.cfg.Folder.WriteAnswer(c.Token, text)
		}
		return func() { _ = a.cfg.Folder.RemoveAnswer(c.Token) }, err
	}
	cert, err := client.TLSALPN01ChallengeCert(c.Token, domain)
	if err == nil {
		err = a.cfg.Folder.WriteToken(domain, &cert)
	}
	return func() { _ = a.cfg.Folder.RemoveToken(domain) }, err // Sweep removes what stays
}
