//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is one that was started here: it ends when its input does.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// endTime is how long one has to end.
const endTime = 10 * time.Second

// start starts a process, on a core if that is not negative.
func start(ctx context.Context, core int, name string, args ...string) (*process, error) {
	if core >= 0 { // taskset becomes the program
		name, args = "taskset", append([]string{"-c", strconv.Itoa(core), name}, args...)
	}
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr = os.Stderr
	p.cmd.Env = append(os.Environ(), "NODE_ENV=production")
	in, err := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// line is the next line that it writes.
func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s has ended: %q, %w", filepath.Base(p.cmd.Path), line, err)
	}
	return strings.TrimSpace(line), nil
}

// do sends a command and waits for the answer.
func (p *process) do(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", err
	}
	return p.line()
}

// end ends it, and returns what it still wrote.
func (p *process) end() []byte {
	_ = p.in.Close()
	t := time.AfterFunc(endTime, func() { _ = p.cmd.Process.Kill() })
	defer t.Stop()
	rest, _ := io.ReadAll(p.out)
	_ = p.cmd.Wait()
	return rest
}

// buildLoad builds the load client.
func (c *config) buildLoad(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(c.root, "bench/load"), "-o", c.load, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// pids are what is measured.
type pids []int

// memory is their proportional set size, in bytes.
func (ps pids) memory() (sum float64) {
	for _, p := range ps {
		sum += kilobytes("/proc/"+strconv.Itoa(p)+"/smaps_rollup", "Pss:")
	}
	return sum
}

// cpu is their user and system time, in seconds.
func (ps pids) cpu() (sum float64) {
	for _, p := range ps {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(p) + "/stat")
		if f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]); len(f) > 12 {
			user, _ := strconv.ParseFloat(string(f[11]), 64)
			system, _ := strconv.ParseFloat(string(f[12]), 64)
			sum += (user + system) / 100
		}
	}
	return sum
}

// slab is the memory of the kernel's own objects, the whole machine's.
func slab() float64 { return kilobytes("/proc/meminfo", "Slab:") }

func kilobytes(file, name string) float64 {
	b, _ := os.ReadFile(file)
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == name {
			v, _ := strconv.ParseFloat(string(f[1]), 64)
			return v * 1024
		}
	}
	return 0
}

// field is the value of the first line "name: value" of a file.
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

// machine is what the figures were taken on.
type machine struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
}

func describe() machine {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
	return machine{time.Now().UTC().Format(time.DateOnly), field("/proc/cpuinfo", "model name"), "Linux " + release}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %s, %s", m.CPU, m.Kernel, m.Date)
}

// save writes results as JSON.
func save(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644)
}

func read(dir, name string, v any) error {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
