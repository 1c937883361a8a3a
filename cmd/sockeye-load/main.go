package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Codes that the command ends with.
const (
	codeMissed      = 1   // a threshold, or nothing could be measured
	codeUsage       = 2   // the command line, or this machine, does not allow it
	codeInterrupted = 130 // by Ctrl-C, with all thresholds kept
)

func main() {
	stop := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // the next one ends the process
		close(stop)
	}()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, stop))
}

// run runs the command. When stop is closed it ends soon, with what it has.
func run(args []string, stdout, stderr io.Writer, stop <-chan struct{}) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "sockeye-load:", err)
		return codeUsage
	}
	// A place that cannot be written is noticed before, not after.
	out, err := openOutputs(o, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "sockeye-load:", err)
		return codeUsage
	}
	p := newProgress(stderr, o)
	r, err := measure(o, p, stop)
	p.end()
	if err == nil || r != nil {
		if err := out.write(r); err != nil {
			fmt.Fprintln(stderr, "sockeye-load:", err)
			return codeMissed
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "sockeye-load:", err)
		if errors.As(err, new(unfit)) {
			return codeUsage
		}
		return codeMissed
	}
	switch {
	case !r.passed():
		return codeMissed
	case r.Interrupted:
		return codeInterrupted
	}
	return 0
}

// unfit is an error of this machine, or of the command line, before any load.
type unfit string

func (u unfit) Error() string { return string(u) }

// outputs are the places for the result.
type outputs struct {
	text, json, html io.Writer
	close            []io.Closer
}

func openOutputs(o *options, stdout io.Writer) (*outputs, error) {
	out := &outputs{text: stdout}
	for _, f := range []struct {
		name string
		to   *io.Writer
	}{{o.json, &out.json}, {o.html, &out.html}} {
		switch f.name {
		case "":
		case "-":
			*f.to, out.text = stdout, io.Discard
		default:
			file, err := os.Create(f.name)
			if err != nil {
				return nil, err
			}
			*f.to = file
			out.close = append(out.close, file)
		}
	}
	return out, nil
}

func (out *outputs) write(r *report) error {
	r.print(out.text)
	var errs []error
	if out.json != nil {
		errs = append(errs, r.writeJSON(out.json))
	}
	if out.html != nil {
		errs = append(errs, r.writeHTML(out.html))
	}
	for _, c := range out.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
