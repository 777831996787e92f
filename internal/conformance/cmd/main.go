// Command cmd runs the conformance rules against a WebSocket server that echoes messages:
//
//	go run ./internal/conformance/cmd -url ws://localhost:8080/echo
//
// It prints which rules the server breaks, and exits with 1 if there are any. The report is written with -report.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/conformance"
)

func main() {
	failed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

// run runs all rules once. It reports whether the server broke one.
func run() (failed bool, err error) {
	address := flag.String("url", "", "the endpoint, such as ws://localhost:8080/echo")
	features := flag.String("features", "",
		"what the server has, separated by commas: deflate, subprotocols, http, large, limited, proxied, direct")
	patience := flag.Duration("patience", 3*time.Second, "how long the server may take for a case")
	report := flag.String("report", "", "file for the report in Markdown")
	delivery := flag.String("delivery", "whole", "how the bytes are sent: whole, together or bytewise")
	later := flag.Bool("later", false, "send a plain request first on each connection")
	flag.Parse()
	target, err := targetOf(*address)
	if err != nil {
		return false, err
	}
	target.Patience = *patience
	for f := range strings.SplitSeq(*features, ",") {
		target.Features = append(target.Features, conformance.Feature(f))
	}
	plan := conformance.Plan{Name: *delivery, Later: *later}
	switch *delivery {
	case "whole":
	case "together":
		plan.Delivery = conformance.Together
	case "bytewise":
		plan.Delivery = conformance.Bytewise
	default:
		return false, fmt.Errorf("-delivery %q: want whole, together or bytewise", *delivery)
	}
	r := conformance.Report{Rules: conformance.Rules()}
	if r.Results, err = conformance.Run(target, &plan, r.Rules); err != nil {
		return false, err
	}
	for _, b := range r.Bad() {
		fmt.Printf("%-5s %s, %s: %s\n", b.Outcome, b.Rule, b.Case, b.Detail)
	}
	strict, all := r.Broken(false), r.Broken(true)
	fmt.Printf("%d rules run; %d failed, %d weak: %s\n", r.Run(), len(strict), len(all)-len(strict), strings.Join(all,
		" "))
	if *report == "" {
		return len(all) > 0, nil
	}
	f, err := os.Create(*report)
	if err != nil {
		return false, err
	}
	if err := r.WriteMarkdown(f); err != nil {
		return false, err
	}
	return len(all) > 0, f.Close()
}

func targetOf(address string) (*conformance.Target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "ws" || u.Host == "" {
		return nil, fmt.Errorf("-url %q: want ws://host:port/path", address)
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "80")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &conformance.Target{Name: address, Addr: addr, Path: path}, nil
}
