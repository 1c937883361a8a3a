package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is longer than a session without a peer is kept, PingInterval and PingTimeout: a page
// whose request the killed process had comes back as somebody new before it has gone.
const limit = 75 * time.Second

// TestMain is the example itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// cluster is a running parent.
type cluster struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	ended chan struct{}

	mu  sync.Mutex
	log []string
}

// start starts one in a process group of its own.
func start(t *testing.T, args ...string) *cluster {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c := &cluster{t: t, cmd: exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0"}, args...)...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), "CLUSTER=1")
	out, err := c.cmd.StdoutPipe()
	errs, err2 := c.cmd.StderrPipe()
	if err = errors.Join(err, err2); err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // if the test has not ended it
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	var log sync.WaitGroup
	log.Go(func() {
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			c.mu.Lock()
			c.log = append(c.log, lines.Text())
			c.mu.Unlock()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		log.Wait() // all who write there have ended
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	c.url = regexp.MustCompile(`http://[^/]+`).FindString(line)
	if c.url == "" {
		t.Fatalf("%q, %v", line, err)
	}
	return c
}

func (c *cluster) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// wait waits for the parent's end, and that of all who have its standard error.
func (c *cluster) wait() {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(limit):
		c.t.Fatalf("it does not end: %q", c.lines())
	}
}

// stop ends it as a service manager does.
func (c *cluster) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	c.wait()
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("exit code %d: %q", code, c.lines())
	}
}

// pages are clients of npm's, in one process.
type pages struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// tab is what one of them tells.
type tab struct {
	Connected bool
	Heard     []string
	Connects  int
	Error     string
	Online    int
	Processes []process
	On        int // a pid
}

// open opens n pages.
func (c *cluster) open(n int) *pages {
	c.t.Helper()
	folder, err := filepath.Abs("../../interop/clients")
	if err == nil {
		_, err = os.Stat(filepath.Join(folder, "node_modules/socket.io-client"))
	}
	if err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" {
			c.t.Fatal(err)
		}
		c.t.Skip("not installed: ci/clients.sh does it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*limit)
	cmd := exec.CommandContext(ctx, "node", "client.cjs", folder, c.url)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		cancel()
	})
	p := &pages{c.t, in, bufio.NewReader(out)}
	p.do(map[string]any{"op": "open", "n": n}, nil)
	return p
}

func (p *pages) do(cmd, result any) {
	p.t.Helper()
	b, err := json.Marshal(cmd)
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	var line []byte
	if err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err == nil && result != nil {
		err = json.Unmarshal(line, result)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pages) say(by int, text string) {
	p.t.Helper()
	var ok bool
	p.do(map[string]any{"op": "say", "by": by, "text": text}, &ok)
	if !ok {
		p.t.Errorf("%q was not accepted", text)
	}
}

// until waits until what the pages tell is as wanted; fault says what is not.
func (p *pages) until(fault func(all []tab) string) []tab {
	p.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		var all []tab
		p.do(map[string]any{"op": "view"}, &all)
		why := fault(all)
		if why == "" {
			return all
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: %+v", why, all)
		}
	}
}

// together: all see all, on so many processes.
func together(processes int) func(all []tab) string {
	return func(all []tab) string {
		for i, p := range all {
			switch {
			case !p.Connected:
				return fmt.Sprintf("page %d is not connected: %s", i, p.Error)
			case p.Online != len(all) || p.On == 0:
				return fmt.Sprintf("page %d sees %d of %d people", i, p.Online, len(all))
			case len(p.Processes) != processes:
				return fmt.Sprintf("page %d sees %d of %d processes", i, len(p.Processes), processes)
			}
		}
		return ""
	}
}

func heard(text string) func(all []tab) string {
	return func(all []tab) string {
		for i, p := range all {
			if !slices.Contains(p.Heard, text) {
				return fmt.Sprintf("page %d has not heard %q", i, text)
			}
		}
		return ""
	}
}

// TestCluster: pages on four processes that share a port are one hall, whatever transport
// they use, and without stickiness; kill -9 of one is seen by its own pages alone, and by
// them for a moment; SIGTERM ends all.
func TestCluster(t *testing.T) {
	const n, processes = 32, 4
	c := start(t, "-n", fmt.Sprint(processes))
	p := c.open(n)
	all := p.until(together(processes))
	on := map[int]int{}
	for _, x := range all {
		on[x.On]++
	}
	if len(on) < 2 {
		t.Fatalf("the pages are on %v: the kernel should spread %d", on, n)
	}
	for i := range 8 {
		p.say(i, fmt.Sprint("hello ", i))
		all = p.until(heard(fmt.Sprint("hello ", i)))
	}
	forwarded := uint64(0)
	for _, x := range all[0].Processes {
		forwarded += x.Forwarded
	}
	if forwarded < n {
		t.Errorf("%d requests were passed on: half of the pages poll", forwarded)
	}

	// One that has pages is killed.
	victim := all[0].On
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.say(0, "I am back") // to another one
	after := p.until(func(all []tab) string {
		if slices.ContainsFunc(all[0].Processes, func(x process) bool { return x.PID == victim }) {
			return "the one that was killed is still seen"
		}
		return together(processes)(all)
	})
	for i, x := range after {
		if all[i].On == victim && (x.Connects < 2 || x.On == victim) || all[i].On != victim && all[i].On != x.On && x.Connects < 2 {
			t.Errorf("page %d was on %d and is on %d after %d connects", i, all[i].On, x.On, x.Connects)
		}
	}
	p.say(1, "all of us")
	all = p.until(heard("all of us"))
	for i, x := range all {
		for k, text := range x.Heard {
			if slices.Index(x.Heard, text) != k {
				t.Errorf("page %d has heard %q twice", i, text)
			}
		}
	}
	if log := strings.Join(c.lines(), "\n"); strings.Count(log, "has ended: signal: killed") != 1 || strings.Count(log, " is pid ") != 1 {
		t.Errorf("the log says %s", log)
	}
	pids := []int{}
	for _, x := range all[0].Processes {
		pids = append(pids, x.PID)
	}
	t.Logf("pages on %v, %d requests passed on", on, forwarded)
	c.stop()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// TestTwoMachines: the processes of two parents that share Redis, and reach each other by
// TCP, are one hall. A parent is killed: its processes end, and its Redis.
func TestTwoMachines(t *testing.T) {
	own := start(t, "-n", "1") // for its Redis
	var socket string
	for _, x := range children(t, own.cmd.Process.Pid) {
		if i := slices.Index(x, "-redis"); i >= 0 {
			socket = x[i+1]
		}
	}
	if socket == "" {
		t.Fatal("the process has no -redis")
	}
	a, b := start(t, "-n", "2", "-link", "127.0.0.1:0", "-redis", socket), start(t, "-n", "2", "-link", "127.0.0.1:0", "-redis", socket)
	pa, pb := a.open(4), b.open(4)
	see := func(all []tab) string {
		for i, x := range all {
			if x.Online != 8 || len(x.Processes) != 5 {
				return fmt.Sprintf("page %d sees %d people on %d processes", i, x.Online, len(x.Processes))
			}
		}
		return ""
	}
	pa.until(see)
	pb.until(see)
	pa.say(0, "hello")
	pb.until(heard("hello"))
	a.stop()
	b.stop()
	if err := own.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	own.wait() // for all who have its standard error
}

// children are the command lines of a process's children.
func children(t *testing.T, parent int) (all [][]string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		t.Skip("there is no /proc here")
	}
	for _, file := range files {
		b, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == fmt.Sprint(parent) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			all = append(all, strings.Split(string(line), "\x00"))
		}
	}
	return all
}

// TestWithoutRedis: it says what to do.
func TestWithoutRedis(t *testing.T) {
	for _, c := range []struct{ path, args, want string }{
		{t.TempDir(), "", "install it"},
		{os.Getenv("PATH"), "-redis unix:///none/redis.sock", "no Redis at unix:///none/redis.sock"},
		{os.Getenv("PATH"), "-redis nonsense", "-redis nonsense"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		cmd := exec.CommandContext(ctx, os.Args[0], strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "CLUSTER=1", "PATH="+c.path)
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%q: %v, %q; want %q", c.args, err, out, c.want)
		}
	}
}
