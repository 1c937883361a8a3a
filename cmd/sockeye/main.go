// Command sockeye is for who writes a server with Sockeye.
//
//	sockeye contract [-ts file] [-asyncapi file] [-check file] [-write] [package]
//
// It runs the test TestContract of a package (default "."), which calls contract.Test, and
// has the contract from it: handlers are registered while a program runs, so only the
// program knows them all. Without a flag it prints the TypeScript declaration.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sockeye-io/sockeye/contract"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "contract" {
		return errors.New("usage: sockeye contract [flags] [package]; sockeye contract -h lists the flags")
	}
	flags := flag.NewFlagSet("sockeye contract", flag.ContinueOnError)
	ts := flags.String("ts", "", "write the TypeScript declaration to a `file`")
	asyncapi := flags.String("asyncapi", "", "write the AsyncAPI document to a `file`")
	check := flags.String("check", "", "fail if peers break that were built by the AsyncAPI document of a `file`")
	write := flags.Bool("write", false, "write the files that the test gives to contract.Test")
	var packages []string
	for args = args[1:]; len(args) > 0; { // flags may stand behind the package
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil // it is printed
		} else if err != nil {
			return err
		}
		if args = flags.Args(); len(args) > 0 {
			packages, args = append(packages, args[0]), args[1:]
		}
	}
	if len(packages) > 1 {
		return errors.New("one package at a time")
	}
	pkg := "."
	if len(packages) == 1 {
		pkg = packages[0]
	}
	// Before anything is written: it may be the file that is checked.
	var committed *contract.Contract
	if *check != "" {
		b, err := os.ReadFile(*check)
		if err == nil {
			committed, err = contract.Read(b)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", *check, err)
		}
	}
	made, err := contractOf(pkg)
	if err != nil {
		return err
	}
	if *check != "" {
		if err := compare(out, committed, made.asyncapi); err != nil {
			return fmt.Errorf("%s: %w", *check, err)
		}
	}
	if *write {
		if made.files == (contract.Files{}) {
			return errors.New("contract.Test was given no files")
		}
		for _, f := range []file{{made.files.TypeScript, made.ts}, {made.files.AsyncAPI, made.asyncapi}} {
			if f.name != "" && !filepath.IsAbs(f.name) {
				f.name = filepath.Join(made.dir, f.name)
			}
			if err := f.write(out); err != nil {
				return err
			}
		}
	}
	for _, f := range []file{{*ts, made.ts}, {*asyncapi, made.asyncapi}} {
		if err := f.write(out); err != nil {
			return err
		}
	}
	if !*write && *ts == "" && *asyncapi == "" && *check == "" {
		_, err = out.Write(made.ts)
	}
	return err
}

// file is one to be written; without a name, none.
type file struct {
	name    string
	content []byte
}

func (f file) write(out io.Writer) error {
	if f.name == "" {
		return nil
	}
	if b, err := os.ReadFile(f.name); err == nil && bytes.Equal(b, f.content) {
		_, err = fmt.Fprintln(out, "up to date:", f.name)
		return err
	}
	if err := os.WriteFile(f.name, f.content, 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "written:", f.name)
	return err
}

// compare prints what breaks.
func compare(out io.Writer, old *contract.Contract, made []byte) error {
	now, err := contract.Read(made)
	if err != nil {
		return err
	}
	changes := contract.Breaking(old, now)
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
	if n := len(changes); n > 0 {
		return fmt.Errorf("%d changes break peers", n)
	}
	return nil
}

// made is what a package's test has made.
type made struct {
	dir          string // of the package
	ts, asyncapi []byte
	files        contract.Files
}

// contractOf runs the package's test.
func contractOf(pkg string) (made, error) {
	var m made
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-f", "{{.Dir}}", pkg)
	list.Stderr = &stderr
	dir, err := list.Output()
	if err != nil {
		return m, fmt.Errorf("go list %s: %w\n%s", pkg, err, stderr.Bytes())
	}
	if m.dir = strings.TrimSpace(string(dir)); m.dir == "" || strings.Contains(m.dir, "\n") {
		return m, errors.New("one package at a time")
	}
	folder, err := os.MkdirTemp("", "sockeye-contract")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(folder)
	test := exec.Command("go", "test", "-count=1", "-run", "^TestContract$", pkg)
	test.Env = append(os.Environ(), contract.Folder+"="+folder)
	if output, err := test.CombinedOutput(); err != nil {
		return m, fmt.Errorf("go test -run '^TestContract$' %s: %w\n%s", pkg, err, output)
	}
	if m.ts, err = os.ReadFile(filepath.Join(folder, contract.TypeScriptFile)); err != nil {
		return m, fmt.Errorf("%s has no TestContract that calls contract.Test", pkg)
	}
	files, err := os.ReadFile(filepath.Join(folder, contract.FilesFile))
	if err == nil {
		err = json.Unmarshal(files, &m.files)
	}
	if err == nil {
		m.asyncapi, err = os.ReadFile(filepath.Join(folder, contract.AsyncAPIFile))
	}
	return m, err
}
