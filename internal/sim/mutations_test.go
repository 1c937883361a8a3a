package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutation is a way in which the server is broken.
type mutation struct {
	kind, what, file string
	old, new         []string // lines, from the i-th place
	secure           bool     // it is looked for over TLS
}

func readMutations(t *testing.T) (all []*mutation) {
	text, err := os.ReadFile("mutations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var m *mutation
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "== "):
			m = new(mutation)
			m.kind, m.what, _ = strings.Cut(line[len("== "):], ": ")
			all = append(all, m)
		case line == "over TLS":
			m.secure = true
		case strings.HasPrefix(line, "in "):
			m.file = line[len("in "):]
		case strings.HasPrefix(line, "-"):
			m.old = append(m.old, line[1:])
		case strings.HasPrefix(line, "+"):
			m.new = append(m.new, line[1:])
		}
	}
	return all
}

// overlay writes the broken file, and what has the go command take it.
func (m *mutation) overlay(t *testing.T) (path string) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(root, m.file)
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	before, after := strings.Join(m.old, "\n"), strings.Join(m.new, "\n")
	if n := strings.Count(string(source), before); n != 1 {
		t.Fatalf("mutations.txt: %q: its lines are %d times in %s; it has to follow what has changed there", m.what, n, m.file)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), before, after, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{original: broken}})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMutations: the simulation sees what is broken on purpose. It takes minutes:
// make sim-mutations.
func TestMutations(t *testing.T) {
	if os.Getenv("SOCKEYE_SIM_MUTATIONS") == "" {
		t.Skip("make sim-mutations runs it")
	}
	for _, m := range readMutations(t) {
		t.Run(m.what, func(t *testing.T) {
			path := m.overlay(t)
			test := filepath.Join(t.TempDir(), "sim.test")
			if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", path, "-o", test, ".").CombinedOutput(); err != nil {
				t.Fatalf("it does not compile: %s", out)
			}
			// The kinds are looked for one seed after the other: what is broken shows in
			// other ways, too.
			cmd := exec.CommandContext(t.Context(), test, "-test.run", "^TestSeeds$", "-sim.seeds", fmt.Sprint(mutationSeeds), "-sim.stop", "0", "-sim.until", m.kind+":", fmt.Sprintf("-sim.tls=%v", m.secure))
			out, _ := cmd.CombinedOutput()
			seed := regexp.MustCompile(`seed (\d+) fails`).FindAllSubmatch(out, -1)
			found := regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(m.kind) + `: .*$`).Find(out)
			if found == nil {
				t.Errorf("%d seeds do not see it: %.2000s", mutationSeeds, out)
				return
			}
			t.Logf("seed %s: %s", seed[len(seed)-1][1], bytes.TrimSpace(found))
		})
	}
}

// mutationSeeds is by when each has to be seen.
const mutationSeeds = 4000
