// Command textegress records the data channels of SyncFlow sessions and delivers them to an object store.
//
// The files beside this one hold a subcommand each. They translate only: flags and environment to options, signals to contexts,
// errors to exit codes.
package main

import (
	"context"
	"io"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(_ context.Context, _ []string, _ io.Reader, _, _ io.Writer) int {
	return exitFailure
}
