//go:build linux

// Command recording starts a server and a load, reloads the server under it, and makes a picture of what the terminals
// show: docs/pictures/reload.svg. The picture is that of a real run, at its speed. If a connection failed or was
// closed, there is no picture.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The scene. The server listens on the port that README.md names.
const (
	columns = 118
	serve   = "./expedite serve --log-level warn &"
	bench   = "./expedite bench ws://localhost:8080/echo --mode echo -c 1000 --ramp 2s --rate 2 --duration 9s"
	deploy  = "mv expedite-v2 expedite && ./expedite reload"

	beforeDeploy = 3 * time.Second // of traffic
	afterEnd     = 6 * time.Second // to read the report
	limit        = 2 * time.Minute
)

func main() {
	out := flag.String("o", "docs/pictures/reload.svg", "file for the picture")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	svg, err := record(ctx)
	if err == nil {
		err = os.WriteFile(*out, []byte(svg), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
	fmt.Printf("recording: %s, %d KB\n", *out, len(svg)>>10)
}

// record builds two versions of the program, plays the scene, and returns the picture.
func record(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, version := range map[string]string{"expedite": "v1.0.0", "expedite-v2": "v1.1.0"} {
		if err := build(ctx, filepath.Join(dir, name), version); err != nil {
			return "", err
		}
	}
	began := time.Now()
	server, err := openTerminal(began, columns)
	if err != nil {
		return "", err
	}
	clients, err := openTerminal(began, columns)
	if err != nil {
		return "", err
	}
	err = play(ctx, dir, server, clients)
	end := time.Since(began) + afterEnd
	panes := []pane{{"server", server.close()}, {"1,000 clients", clients.close()}}
	if err != nil {
		return "", err
	}
	return picture(panes, end), nil
}

func build(ctx context.Context, path, version string) error {
	flags := "-s -w -X github.com/expedite-go/expedite/internal/command.version=" + version
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", flags, "-o", path, "./cmd/expedite")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// play is the scene: a server, clients, a reload under their traffic, and their report.
func play(ctx context.Context, dir string, server, clients *terminal) error {
	// Other servers of this user are left alone.
	env := []string{"XDG_RUNTIME_DIR=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state")}
	cmd, err := server.start(ctx, dir, serve, env...)
	if err != nil {
		return err
	}
	defer stop(cmd)
	if err := server.wait(ctx, "control "); err != nil {
		return err
	}
	load, err := clients.start(ctx, dir, bench, env...)
	if err != nil {
		return err
	}
	if err := clients.wait(ctx, "1,000 open"); err != nil {
		return err
	}
	pause(ctx, beforeDeploy)
	if err := server.run(ctx, dir, deploy, env...); err != nil {
		return err
	}
	if err := load.Wait(); err != nil {
		return fmt.Errorf("bench: %w: %s", err, clients.text())
	}
	if err := clients.wait(ctx, "sent late"); err != nil { // the last line of the report
		return err
	}
	for _, want := range []string{" 0 failed ", " 0 closed by the server", " 0 unanswered"} {
		if !strings.Contains(clients.text(), want) {
			return fmt.Errorf("not%s: %s", want, clients.text())
		}
	}
	return nil
}

// stop ends a server gracefully, as its terminal is still there.
func stop(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	_ = cmd.Wait() // killed at the end of its context
}

// pause waits for a while, in which the clients send.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
