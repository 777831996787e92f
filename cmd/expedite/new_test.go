package main

import (
	"context"
	"encoding/base64"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	allTemplates = flag.Bool("templates", false, "make a project of each template, not only of the first one")
	screenshots  = flag.String("screenshots", "", "write screenshots of the pages of projects to this folder")
)

// templatePages has what happens on the page of each template: a script that waits until it has happened.
var templatePages = []struct {
	template, query string
	// act does something from outside, if it is not nil.
	act    func(t *testing.T, addr string)
	script string
}{
	{"chat", "?name=alice&room=go", nil, `new Promise(done => {
		const say = text => { document.getElementById("text").value = text; document.getElementById("say").requestSubmit() }
		const wait = () => document.getElementById("state").className !== "open" ? setTimeout(wait, 20)
			: ["Hello, everybody!", "@bob Are you there?", "This room is in two worker processes."].forEach(say)
		wait()
		const check = () => document.querySelectorAll("#log li.mine").length === 3 && document.querySelector("aside button")
			? done("ok") : setTimeout(check, 20)
		check()
	})`},
	{"notifications", "?user=alice", func(t *testing.T, addr string) {
		for _, text := range []string{"Your parcel has arrived", "Bob has invited you"} {
			r, err := http.NewRequest("POST", "http://"+addr+"/notify/alice", strings.NewReader(`{"text":"`+text+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer key")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if _ = res.Body.Close(); res.StatusCode != http.StatusAccepted {
				t.Fatalf("a notification: got %s", res.Status)
			}
		}
	}, `new Promise(done => {
		const unread = document.getElementById("unread"), list = document.getElementById("list")
		const read = () => list.childElementCount < 2 ? setTimeout(read, 20) : list.lastChild.querySelector("button").click()
		read()
		const check = () => list.childElementCount === 2 && unread.textContent === "1" ? done("ok") : setTimeout(check, 20)
		check()
	})`},
	{"game", "?name=alice", nil, `new Promise(done => {
		dispatchEvent(new KeyboardEvent("keydown", { code: "ArrowRight" }))
		const check = () => drawn.get("alice")?.x > 560 && document.getElementById("scores").childElementCount === 1
			? done("ok") : setTimeout(check, 20)
		check()
	})`},
	{"blank", "", nil, `new Promise(done => {
		const wait = () => document.getElementById("state").textContent !== "connected" ? setTimeout(wait, 20) : (() => {
			document.querySelector("input").value = "hello"
			document.querySelector("form").requestSubmit()
		})()
		wait()
		const check = () => document.querySelector("#log li")?.textContent === "hello" ? done("ok") : setTimeout(check, 20)
		check()
	})`},
}

// TestTemplates makes projects in empty folders. They build, their tests pass, and their pages work, without a request
// to another host.
func TestTemplates(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range templatePages {
		if i > 0 && !*allTemplates {
			break
		}
		t.Run(p.template, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "my-"+p.template)
			in := func(where, program string, args ...string) {
				t.Helper()
				cmd := exec.CommandContext(ctx, program, args...)
				cmd.Dir = where
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
				}
			}
			in(t.TempDir(), command, "new", dir, "--template", p.template, "--replace", root)
			in(dir, "go", "vet", "./...")
			in(dir, "go", "test", "./...")
			program := filepath.Join(dir, "my-"+p.template)
			in(dir, "go", "build", "-o", program, ".")
			in(dir, program, "config", "check")
			s := serveAs(t, func(cmd *exec.Cmd) {
				cmd.Path, cmd.Args[0], cmd.Dir, cmd.Env = program, program, dir, append(os.Environ(), "NOTIFY_KEY=key")
			}, "--workers", "2")
			b := startBrowser(ctx, t, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1000,760")
			tab := b.open(ctx, "http://"+s.addr+"/"+p.query)
			if p.act != nil {
				p.act(t, s.addr)
			}
			var done string
			b.evaluate(ctx, tab, p.script, &done)
			if p.template == "chat" {
				for _, text := range []string{"twice", "twice", "last"} { // as after a crash: an event has a user and a time
					in(dir, program, "publish", "--control", s.control, "room:go", `{"type":"said","user":"`+text+`","text":"`+text+
						`","time":"2026-01-02T03:04:05Z"}`)
				}
				b.evaluate(ctx, tab, onlyOnce, &done)
			}
			var requested []string
			b.evaluate(ctx, tab, `performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"))`, &requested)
			for _, url := range requested {
				if !strings.HasPrefix(url, "http://"+s.addr+"/") {
					t.Errorf("the page requests %s", url)
				}
			}
			b.screenshot(ctx, tab, p.template)
			script := filepath.Join(dir, "load", "artillery.yml")
			replaceIn(t, script, "127.0.0.1:8080", s.addr)
			in(dir, command, "bench", "--environment", "smoke", script)
			if p.template == "chat" {
				// As docs/getting-started.md does.
				replaceIn(t, filepath.Join(dir, "main.go"), "Text: in.Text, Time:", `Text: in.Text + "!", Time:`)
				in(dir, "go", "build", "-o", program, ".")
				in(dir, program, "reload", "--canary", "0s", "--control", s.control)
				b.evaluate(ctx, tab, excited, &done)
			}
		})
	}
}

// replaceIn replaces a text in a file, which must contain it.
func replaceIn(t *testing.T, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), old, new, 1)
	if changed == string(b) {
		t.Fatalf("%s does not contain %q", path, old)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// onlyOnce waits for the last message, and fails if one that was published twice, as after a crash, is shown twice.
const onlyOnce = `new Promise((done, fail) => {
	const shown = text => [...document.querySelectorAll("#log li")].filter(line => line.textContent.endsWith(text)).length
	const check = () => !shown("last") ? setTimeout(check, 20) : shown("twice") === 1 ? done("ok")
		: fail(new Error("shown " + shown("twice") + " times"))
	check()
})`

// excited waits until what a page says comes back from the changed handler, on the connection that it has had all the
// time.
const excited = `new Promise((done, fail) => {
	document.getElementById("text").value = "still here"
	document.getElementById("say").requestSubmit()
	const check = () => {
		const log = document.getElementById("log")
		if (log.textContent.includes("welcome back")) return fail(new Error("the page was disconnected"))
		log.lastChild.textContent.endsWith("still here!") ? done("ok") : setTimeout(check, 20)
	}
	check()
})`

// screenshot writes a screenshot of a page, if somebody wants to look at it.
func (b *browser) screenshot(ctx context.Context, tab, name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	var shot struct{ Data string }
	b.call(ctx, tab, "Page.captureScreenshot", map[string]any{}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
