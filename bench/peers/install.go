package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// installer puts servers into the cache and runs them from there.
type installer struct {
	config
	ctx  context.Context
	load string // the load client
}

// newInstaller builds the load client.
func newInstaller(ctx context.Context, c config) (*installer, error) {
	in := &installer{config: c, ctx: ctx, load: filepath.Join(c.cache, "load")}
	progress("building the load client")
	return in, in.locked(func() error {
		return in.command(filepath.Join(c.root, "bench", "load"), "go", "build", "-o", in.load, ".")
	})
}

// install installs a server, unless the same one is there, and tells its version.
func (in *installer) install(p peer) (version string, err error) {
	if p.missing != "" {
		return "", errors.New(p.missing)
	}
	dir := filepath.Join(in.cache, p.name)
	source := filepath.Join(in.root, "bench", "peers", p.name)
	version = func() string {
		if _, err := os.Stat(source); err != nil {
			return p.version(in, dir)
		}
		return p.version(in, source)
	}()
	// What is built from the checkout may have changed anywhere: go build knows.
	stamp, want := filepath.Join(dir, ".installed"), ""
	if p.name != "sockeye" && !p.floor {
		if want, err = fingerprint(source, version); err != nil {
			return version, err
		}
		if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
			return version, nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return version, err
		}
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			return version, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return version, err
	}
	if err := in.locked(func() error { return p.build(in, dir) }); err != nil {
		return version, err
	}
	return version, os.WriteFile(stamp, []byte(want), 0o644)
}

// fingerprint is a hash of the files of a folder and the version of what builds
// them.
func fingerprint(dir, version string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, version)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// locked calls f while it holds the lock, if there is to be one.
func (in *installer) locked(f func() error) error {
	if in.lock == "" {
		return f()
	}
	file, err := os.OpenFile(in.lock, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer file.Close() // gives the lock back
	for {
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", in.lock, err)
	}
	return f()
}

// command runs a command to its end; its error ends with what it said last.
func (in *installer) command(dir, name string, args ...string) error {
	cmd := exec.CommandContext(in.ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, in.tell(out))
}

// tell is the line of a program's output that says why it has failed: the first
// one with the word error, or the last, without places of this machine.
func (in *installer) tell(out []byte) string {
	line := ""
	for l := range strings.Lines(string(out)) {
		l = strings.TrimSpace(l)
		if l == "" {
			continue
		}
		line = l
		if strings.Contains(strings.ToLower(l), "error") {
			break
		}
	}
	line = strings.NewReplacer(in.cache, "<cache>", in.root, "<checkout>").Replace(line)
	line = address.ReplaceAllString(line, "<address>")
	return string([]rune(line)[:min(200, len([]rune(line)))])
}

var address = regexp.MustCompile(`\b(https?|git|ssh)://\S+`)

// output is what a command prints, or "?".
func (in *installer) output(dir, name string, args ...string) string {
	cmd := exec.CommandContext(in.ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "?"
	}
	return string(bytes.TrimSpace(out))
}

// revision is the commit of the checkout, marked if Go files differ from it.
func (in *installer) revision() string {
	rev := in.output(in.root, "git", "rev-parse", "--short", "HEAD")
	if in.output(in.root, "git", "status", "--porcelain", "--untracked-files=no", "--", "*.go") != "" {
		rev += " with changes"
	}
	return rev
}
