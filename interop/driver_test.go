package interop_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// client is a client library and the driver that runs it.
type client struct {
	name     string // for subtests
	language string // js or python, as in cases.txt
	needs    string // a path that is there when it is installed
	command  func(group, url, mode string) []string
}

var clients = []client{
	{"js", "js", nodeModules, func(group, url, mode string) []string {
		return []string{"node", "clients/js/driver.mjs", group, url, mode}
	}},
	{"python", "python", venv, pythonCommand("sync")},
	{"python-asyncio", "python", venv, pythonCommand("async")},
}

func pythonCommand(flavour string) func(group, url, mode string) []string {
	return func(group, url, mode string) []string {
		return []string{filepath.Join(venv, "python"), "clients/python/driver.py", group, url, mode, "flavour=" + flavour}
	}
}

var modes = []string{"websocket", "polling", "upgrade"}

// eachClient runs a group of cases with every client and in every mode that it
// is for. It returns how often each case was run.
func eachClient(t *testing.T, group, url string, extra ...string) map[string]int {
	t.Helper()
	runs := map[string]int{}
	for _, c := range clients {
		for _, mode := range modes {
			want := expected(t, group, c.language, mode)
			if len(want) == 0 {
				continue
			}
			t.Run(c.name+"/"+mode, func(t *testing.T) {
				record(t, c.name, mode)
				need(t, c.needs)
				drive(t, append(c.command(group, url, mode), extra...), want)
				for _, name := range want {
					runs[name]++
				}
			})
		}
	}
	return runs
}

// result is a driver's line.
type result struct {
	Case string `json:"case"`
	OK   bool   `json:"ok"`
	Why  string `json:"why"`
}

// driverDeadline is for all cases of one driver; they take seconds.
const driverDeadline = 3 * time.Minute

// drive runs a driver and makes each of its lines a subtest. It fails if a case
// is missing or not listed.
func drive(t *testing.T, command, want []string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var stderr wiretest.Output
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(driverDeadline, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	missing := slices.Clone(want)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("the driver printed %q", lines.Text())
			continue
		}
		t.Run(r.Case, func(t *testing.T) {
			i := slices.Index(missing, r.Case)
			if i < 0 {
				t.Fatal("not listed in testdata/cases.txt, or run twice")
			}
			missing = slices.Delete(missing, i, i+1)
			if !r.OK {
				t.Error(r.Why)
			}
		})
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the driver ended with %v", err)
	}
	for _, name := range missing {
		t.Run(name, func(t *testing.T) { t.Error("the driver did not run this case") })
	}
	if t.Failed() {
		t.Logf("the driver wrote:\n%s", stderr.String())
	}
}

// expected lists the cases of a group that a client must report in a mode.
func expected(t *testing.T, group, language, mode string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != group {
			continue
		}
		where := fields[2:]
		named := func(all ...string) bool {
			return slices.ContainsFunc(where, func(w string) bool { return slices.Contains(all, w) })
		}
		if named("js", "python") && !named(language) || named(modes...) && !named(mode) {
			continue
		}
		names = append(names, fields[1])
	}
	return names
}
