package doctest

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// outside matches what makes a browser ask a server for something, with an address that names one.
var outside = regexp.MustCompile(`(?i)(?:\b(?:src|srcset|href|action|data|poster)\s*=\s*["']?|url\(\s*["']?|@import\s+["']?|` +
	`\b(?:fetch|import|importScripts|sendBeacon|open|WebSocket|EventSource|Worker)\s*\(\s*["'` + "`" + `]|\bfrom\s+["'])` +
	`((?:https?:|wss?:)?//[^"'\s)>` + "`" + `]+)`)

// requestsOutside returns the addresses of other hosts that a page, a picture or a script asks for.
func requestsOutside(text string) (list []string) {
	for _, m := range outside.FindAllStringSubmatch(text, -1) {
		if host := regexp.MustCompile(`//([^/:]+)`).FindStringSubmatch(m[1]); host[1] != "localhost" && host[1] != "127.0.0.1" {
			list = append(list, m[1])
		}
	}
	return list
}

// TestNoRequestsToOtherHosts checks that no page, script or picture in the repository asks another host for anything:
// those that the server serves, those of examples and new projects, and pictures of the documentation.
func TestNoRequestsToOtherHosts(t *testing.T) {
	found := make(map[string]bool)
	(&source{}).walk(t, func(file, text string) {
		switch ext := path.Ext(file); ext {
		case ".html", ".tmpl", ".js", ".svg", ".css":
			found[ext] = true
			for _, address := range requestsOutside(text) {
				t.Errorf("%s asks for %s", file, address)
			}
		}
	})
	if !found[".html"] || !found[".svg"] {
		t.Errorf("found only %v: the rule does nothing", found)
	}
}

// TestOutsideRule checks that requests are found, and names of namespaces and addresses to read are not.
func TestOutsideRule(t *testing.T) {
	for text, want := range map[string]string{
		`<script src="https://cdn.example.com/x.js">`:                  "https://cdn.example.com/x.js",
		`<script src=//cdn.example.com/x.js>`:                          "//cdn.example.com/x.js",
		`<link rel=stylesheet href='http://a.example/b.css'>`:          "http://a.example/b.css",
		`body { background: url("https://a.example/b.png") }`:          "https://a.example/b.png",
		`fetch("https://a.example/b")`:                                 "https://a.example/b",
		`import { x } from "https://a.example/b.js"`:                   "https://a.example/b.js",
		"new WebSocket(`wss://a.example/b`)":                           "wss://a.example/b",
		`<script src="/expedite.js">`:                                  "",
		`new WebSocket("ws://localhost:8080/")`:                        "",
		`<svg xmlns="http://www.w3.org/2000/svg" fill="url(#a)">`:      "",
		`<link rel="icon" href="data:,">`:                              "",
		`// see https://datatracker.ietf.org/doc/html/rfc6455`:         "",
		`const address = location.href.replace(/^http/, "ws").trim()`:  "",
		`<text>a page to try it: http://machine.example:8080/</text> `: "",
	} {
		if got := strings.Join(requestsOutside(text), " "); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
