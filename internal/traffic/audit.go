package traffic

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/expedite-go/expedite"
)

// AuditVariable is the environment variable that names the audit file. Each process of the application appends one line
// to this file per Open and Close callback. If the variable is unset, nothing is recorded.
const AuditVariable = "TRAFFIC_AUDIT"

// audit records callbacks in a file. Each line is a single write to a file opened for appending, so processes need no
// further coordination. It is safe for concurrent use.
type audit struct{ file *os.File }

func openAudit() *audit {
	name := os.Getenv(AuditVariable)
	if name == "" {
		return &audit{}
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		slog.Error("traffic: no audit", "error", err) // CheckAudit will report this process's lines as missing
	}
	return &audit{f}
}

func (a *audit) note(what string, id expedite.ID) {
	if a.file == nil {
		return
	}
	if _, err := fmt.Fprintf(a.file, "%s %s\n", what, id); err != nil {
		slog.Error("traffic: audit", "error", err)
	}
}

// maxAuditFaults limits the number of faults in the error of CheckAudit.
const maxAuditFaults = 20

// CheckAudit reads an audit file and returns the numbers of Open and Close callbacks. It returns an error unless each
// connection was opened exactly once and then closed exactly once.
func CheckAudit(file string) (opens, closes int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, fmt.Errorf("traffic: %w", err)
	}
	defer f.Close()
	type life struct{ opens, closes int }
	lives := make(map[string]life)
	var faults []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		what, id, _ := strings.Cut(lines.Text(), " ")
		l := lives[id]
		switch what {
		case "open":
			opens++
			l.opens++
		case "close":
			if closes++; l.opens == 0 {
				faults = append(faults, id+" closed before it was opened")
			}
			l.closes++
		default:
			faults = append(faults, fmt.Sprintf("line %q", lines.Text()))
		}
		lives[id] = l
	}
	if err := lines.Err(); err != nil {
		return opens, closes, fmt.Errorf("traffic: %w", err)
	}
	for id, l := range lives {
		if l.opens != 1 || l.closes != 1 {
			faults = append(faults, fmt.Sprintf("%s opened %d times, closed %d times", id, l.opens, l.closes))
		}
	}
	if len(faults) == 0 {
		return opens, closes, nil
	}
	slices.Sort(faults)
	n := len(faults)
	return opens, closes, errors.New("traffic: audit: " + fmt.Sprint(n) + " faults: " +
		strings.Join(faults[:min(n, maxAuditFaults)], "; "))
}
