// Command release builds what a release of expedite consists of: an archive for each platform, and their checksums. The
// version is that of the first section of CHANGELOG.md. The same commit and the same Go give the same bytes.
//
//	go run ./scripts/release -prepare    dates the section of the next release
//	go run ./scripts/release             builds the archives in dist
//	go run ./scripts/release -snapshot   the same, of any commit
//	go run ./scripts/release -notes      prints the section of the release
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	prepare := flag.Bool("prepare", false, "date the first section of CHANGELOG.md, and build nothing")
	notes := flag.Bool("notes", false, "print the first section of CHANGELOG.md, and build nothing")
	snapshot := flag.Bool("snapshot", false, "build what is no release: any commit")
	only := flag.String("platforms", strings.Join(platforms(), ","), "platforms to build for")
	out := flag.String("o", "dist", "folder for the archives")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *prepare:
		err = prepareChangelog(".", time.Now())
	case *notes:
		err = printNotes(".", os.Stdout)
	default:
		err = run(ctx, *out, *only, *snapshot)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run builds a release of the working directory, and tells what is left to do.
func run(ctx context.Context, out, only string, snapshot bool) (err error) {
	s, err := newSource(ctx, ".", snapshot)
	if err != nil {
		return err
	}
	files, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(files)) }()
	if err := s.export(ctx, files); err != nil {
		return err
	}
	var names []string
	for _, platform := range strings.Split(only, ",") {
		name, err := s.build(ctx, platform, out)
		if err != nil {
			return err
		}
		fmt.Println(filepath.Join(out, name))
		names = append(names, name)
	}
	if err := writeSums(out, names); err != nil {
		return err
	}
	fmt.Println(filepath.Join(out, sumsName))
	if !snapshot && !s.tagged {
		fmt.Printf("this commit has no tag: git tag -a %s -m %s\n", s.version, s.version)
	}
	return nil
}
