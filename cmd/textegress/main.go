// Command textegress records the data channels of LiveKit rooms and delivers them to an object
// store or a directory.
//
// Each subcommand has its own file. Subcommands only translate flags and environment to options,
// signals to contexts, and errors to exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the page shows times in the reader's zone, also where no zones are installed

	"github.com/alecthomas/kong"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const description = `Record the data channels of LiveKit rooms and deliver them to an object store or a directory.

Settings come from the environment, a YAML file and .env in the working directory;
"textegress config check" shows and tests them.

Exit codes:

    0  success; serve: stopped cleanly
    1  failure; serve: also stopped at once by a second signal
    2  invalid arguments or configuration; nothing was tried
    3  completed, but problems were found or work remains (verify, config check, forget)
`

type cli struct {
	ConfigFile string `name:"config" placeholder:"FILE" type:"path" help:"YAML file with settings. The environment overrides it, and it overrides .env."`

	Serve  serveCmd `cmd:"" default:"withargs" help:"Record rooms and deliver the recordings, until SIGTERM (the default)."`
	Config struct {
		Check configCheckCmd `cmd:"" help:"Show the effective settings and test each part: platform, broker, bucket."`
	} `cmd:"" help:"Show and test the settings."`
	List       listCmd       `cmd:"" help:"List the recordings in the data directory."`
	Tail       tailCmd       `cmd:"" help:"Print the messages of a recording, also of one that is being recorded."`
	Page       pageCmd       `cmd:"" help:"Print a link to the page of the running service that logs in once, within five minutes."`
	Record     recordCmd     `cmd:"" help:"Ask the running service to record a session or a room that it does not record by itself."`
	Stop       stopCmd       `cmd:"" help:"Stop a recording of the running service. Its session is not recorded again, unless somebody asks for it."`
	Exclude    excludeCmd    `cmd:"" help:"Stop recording one participant, at once, or end that."`
	Rehearse   rehearseCmd   `cmd:"" help:"Make a test recording with the running service, from a room to the verified bucket, and remove it again."`
	Export     exportCmd     `cmd:"" help:"Derive the objects of a recording into a directory."`
	Report     reportCmd     `cmd:"" help:"Write the report of a recording: what was captured, in words and over time."`
	Merge      mergeCmd      `cmd:"" help:"Merge two recordings that two deployments made of the same session."`
	Verify     verifyCmd     `cmd:"" help:"Check a delivered recording against its manifest."`
	Forget     forgetCmd     `cmd:"" help:"Remove one participant from recordings, on the disk and in the bucket."`
	Pseudonyms pseudonymsCmd `cmd:"" help:"Print the pseudonyms in delivered recordings, and the identities behind them."`
	Deregister deregisterCmd `cmd:"" help:"Delete the queue and the device of this deployment, to retire it."`
	Version    versionCmd    `cmd:"" help:"Show the version."`
}

// shell is the environment of a subcommand.
type environment struct {
	ctx        context.Context // ends with the first SIGINT or SIGTERM
	stdout     io.Writer       // results
	stderr     io.Writer       // messages, logs, progress
	configFile string
}

// run does the work of main and returns the exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exited := -1 // set by --help
	parser, err := kong.New(&c,
		kong.Name("textegress"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		return report(stderr, err)
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		return report(stderr, usageError(fmt.Errorf("%w\nSee: textegress --help", err)))
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		done <- command.Run(&environment{
			ctx: ctx, stdout: stdout, stderr: stderr,
			configFile: c.ConfigFile,
		})
	}()
	for stopping := false; ; {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); stopping &&
				(errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
				err = cause // drops the errors that follow from the interruption
			}
			return report(stderr, err)
		case s := <-signals:
			if stopping {
				return report(stderr, errors.New("stopped at once by a second signal; open "+
					"recordings continue at the next start"))
			}
			stopping = true
			cancel(fmt.Errorf("stopped by a signal: %s", s))
		}
	}
}

// report prints an error and returns the exit code for it.
func report(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(stderr, "textegress: "+escapeLines(err.Error()))
	}
	return exitCode(err)
}
