package primary

import (
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/acmeclient"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// takeCertificates finds out, in a trial, whether those in files may replace those in use, and otherwise takes those in
// use over if the files are of no use: they may have changed after the trial.
func (p *Primary) takeCertificates(i *inheritance) error {
	files := p.cfg.Files
	if files == nil {
		return nil
	}
	var err error
	if i.isTrial() {
		err = files.Succeed(i.Certificates)
	} else if err = files.Restore(i.Certificates); err == nil {
		err = files.Unusable()
	}
	if err != nil {
		return fmt.Errorf("expedite: Config.TLS.Cert: %w", err)
	}
	return nil
}

// certificateStatus returns what status tells of automatic certificates. There may be no client.
func certificateStatus(a *acmeclient.Client) (list []control.CertificateStatus) {
	for _, s := range a.Statuses() {
		list = append(list, control.CertificateStatus{
			Domain: s.Domain, Expires: timeText(s.Expires), Next: timeText(s.Next), Failures: s.Failures, Cause: s.Cause,
		})
	}
	return list
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// certificateReport returns what metrics tell of automatic certificates, or nil if there is no client.
func certificateReport(a *acmeclient.Client) *telemetry.CertificatesReport {
	if a == nil {
		return nil
	}
	r := new(telemetry.CertificatesReport)
	r.Issued, r.Failed = a.Counts()
	for _, s := range a.Statuses() {
		if s.Failures > 0 {
			r.Failing++
		}
		if at := float64(s.Next.Unix()); !s.Next.IsZero() && (r.Next == 0 || at < r.Next) {
			r.Next = at
		}
	}
	return r
}
