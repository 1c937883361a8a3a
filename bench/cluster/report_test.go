//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const published = "../results/cluster"

// TestResultsAreRenderedAnew: the files in the repository are what is made of their figures
// now, and no label of the picture is over another.
func TestResultsAreRenderedAnew(t *testing.T) {
	out := t.TempDir()
	for _, name := range []string{"crowd.json", "nodes.json", "bus.json"} {
		b, err := os.ReadFile(filepath.Join(published, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(out, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var nodes nodesResults
	if err := errors.Join(render(out), read(out, "nodes.json", &nodes)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"results.md", "nodes.svg"} {
		got, err := os.ReadFile(filepath.Join(published, name))
		want, err2 := os.ReadFile(filepath.Join(out, name))
		if errors.Join(err, err2) != nil || string(got) != string(want) {
			t.Errorf("%s is not what render makes: %v, %v", name, err, err2)
		}
	}
	for _, fault := range nodes.picture().Faults() {
		t.Error(fault)
	}
}

// TestCrowd: a small one is measured to its end.
func TestCrowd(t *testing.T) {
	c := small(t)
	c.n, c.processes, c.idle = 200, 2, 0
	if err := run(t.Context(), c, "crowd"); err != nil {
		t.Fatal(err)
	}
	var res crowdResults
	if err := read(c.out, "crowd.json", &res); err != nil {
		t.Fatal(err)
	}
	if res.Connections != 200 || len(res.LastMs) != crowdBroadcasts || res.PresenceJoined != 100 || res.BroadcastOut < 2*crowdPayload {
		t.Errorf("%+v", res)
	}
}

// TestMain is the server in the processes that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

func small(t *testing.T) *config {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return &config{root: "../..", out: t.TempDir(), rounds: 1, serverCore: -1, loadCore: -1}
}
