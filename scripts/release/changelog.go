package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// unreleased is in place of the date of the section of the next release.
const unreleased = "unreleased"

// section is the first section of the changelog: that of the latest release, or of the next one.
type section struct {
	version string // without v
	date    string // or unreleased
	text    string // below the heading
}

// heading matches the heading of a release.
var heading = regexp.MustCompile(`(?m)^## (\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?) - (unreleased|\d{4}-\d\d-\d\d)$`)

// parseChangelog returns the first section. It must be that of a release.
func parseChangelog(text string) (section, error) {
	const want = "CHANGELOG.md: the first section is %q: want a version and its date, like ## 0.1.0 - " + unreleased
	all := heading.FindStringSubmatchIndex(text)
	first := strings.Index(text, "\n## ") + 1
	switch {
	case first == 0:
		return section{}, fmt.Errorf(want, "")
	case all == nil || all[0] != first:
		line, _, _ := strings.Cut(text[first:], "\n")
		return section{}, fmt.Errorf(want, line)
	}
	body := text[all[1]:]
	if end := strings.Index(body, "\n## "); end >= 0 {
		body = body[:end]
	}
	s := section{text[all[2]:all[3]], text[all[4]:all[5]], strings.TrimSpace(body)}
	if s.text == "" {
		return s, fmt.Errorf("CHANGELOG.md: the section of %s is empty", s.version)
	}
	return s, nil
}

// readChangelog returns the first section of the changelog in a folder.
func readChangelog(dir string) (section, error) {
	b, err := os.ReadFile(filepath.Join(dir, "CHANGELOG.md"))
	if err != nil {
		return section{}, err
	}
	return parseChangelog(string(b))
}

// prepareChangelog dates the section of the next release.
func prepareChangelog(dir string, now time.Time) error {
	path := filepath.Join(dir, "CHANGELOG.md")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := parseChangelog(string(b))
	if err != nil {
		return err
	}
	if s.date != unreleased {
		return errors.New("CHANGELOG.md: the section of " + s.version + " has the date " + s.date)
	}
	was := "## " + s.version + " - "
	text := strings.Replace(string(b), was+unreleased+"\n", was+now.UTC().Format(time.DateOnly)+"\n", 1)
	return os.WriteFile(path, []byte(text), 0o644)
}

// printNotes writes the text of the first section.
func printNotes(dir string, w io.Writer) error {
	s, err := readChangelog(dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, s.text)
	return err
}
