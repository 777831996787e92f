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

// AuditVariable is the environment variable that names the file to which each process of the application appends a line
// per Open and Close callback. Unset is none.
const AuditVariable = "TRAFFIC_AUDIT"

// audit writes the callbacks down. Each line is one write to a file opened for appending, so that the processes need no
// other agreement. Any goroutine.
type audit struct{ file *os.File }

func openAudit() *audit {
	name := os.Getenv(AuditVariable)
	if name == "" {
		return &audit{}
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		slog.Error("traffic: no audit", "error", err) // CheckAudit will miss every line of this process
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

// maxAuditFaults bounds what CheckAudit tells.
const maxAuditFaults = 20

// CheckAudit reads what the application noted and counts its lines. It fails unless each connection was opened exactly
// once, and closed exactly once after that.
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
