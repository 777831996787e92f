package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	jsclient "github.com/expedite-go/expedite/client"
)

// TestJSExamples runs the examples of docs/client.md: those of a page in a browser, on a page of the server, and those
// of Node.js. Each client must connect, or end as its example says.
func TestJSExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	var inPage, inNode []string
	for _, m := range regexp.MustCompile("(?s)\n```js\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], `from "expedite-client"`) {
			inNode = append(inNode, m[1])
		} else {
			inPage = append(inPage, m[1])
		}
	}
	if len(inPage) < 4 || len(inNode) != 1 {
		t.Fatalf("found %d examples for a page, and %d for Node.js", len(inPage), len(inNode))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	s := serve(t, "--workers", "1", "--auth", "optional", "--auth-secret-file", secretFile(t))
	token := tokenFor(t, "ann", "1", time.Hour, nil)
	site := httptest.NewServer(s.withToken(token))
	t.Cleanup(site.Close)
	b := startBrowser(ctx, t)
	for _, example := range inPage {
		tab := b.open(ctx, site.URL+"/page")
		var state string
		b.evaluate(ctx, tab, runExample(example), &state)
		if state != "open" {
			t.Errorf("the client is %s:\n%s", state, example)
		}
	}
	node := startNode(ctx, t, "ws")
	for _, example := range inNode {
		example = strings.NewReplacer(`import WebSocket from "ws"`, `const { WebSocket } = common`,
			`import { Expedite } from "expedite-client"`, "", "wss://example.com/", "ws://"+s.addr+"/").Replace(example)
		var state string
		node.eval(ctx, t, "(async () => {"+example+awaitOpen+"})()", &state)
		if state != "open" {
			t.Errorf("the client is %s:\n%s", state, example)
		}
	}
}

// awaitOpen is the end of an example.
const awaitOpen = `
	return new Promise(done => {
		const look = () => ["open", "closed"].includes(socket.state) ? done(socket.state) : setTimeout(look, 10)
		look()
	})`

// runExample returns a script that runs a module.
func runExample(module string) string {
	text, err := json.Marshal(strings.ReplaceAll(module, `"/expedite.js"`, `"${location.origin}/expedite.js"`))
	if err != nil {
		panic(err) // it is a string
	}
	return fmt.Sprintf(`import(URL.createObjectURL(new Blob([%s.replace("${location.origin}", location.origin) +
		"\nexport { socket }"], {type: "text/javascript"}))).then(({socket}) => {%s})`, text, awaitOpen)
}

// withToken passes requests on to the server, except those for a page, the client, and a token.
func (s *server) withToken(token string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.addr}))
	mux.Handle("/expedite.js", jsclient.Handler())
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Example</title>"))
	})
	mux.HandleFunc("/my/token", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(token)) })
	return mux
}
