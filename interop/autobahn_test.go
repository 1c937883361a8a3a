package interop_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The numbers of the Autobahn suite's cases for RFC 6455 and RFC 7692.
const (
	autobahnCases        = 301
	autobahnDeflateCases = 216
)

// TestAutobahn runs the Autobahn suite's cases for RFC 6455 against a bare echo:
// none may fail, and none may pass only "non-strictly".
func TestAutobahn(t *testing.T) {
	autobahn(t, start(t, "wsecho", "-deflate"), autobahnCases, "-x", "12.*", "-x", "13.*")
}

// TestAutobahnDeflate runs the cases for permessage-deflate: 216,000 messages of up
// to 128 KiB, compressed both ways. Its echo is built without the race detector,
// which makes that several times as slow.
func TestAutobahnDeflate(t *testing.T) {
	autobahn(t, start(t, "wsecho-plain", "-deflate"), autobahnDeflateCases, "-i", "12.*", "-i", "13.*")
}

// autobahn has the suite run cases against p.
func autobahn(t *testing.T, p *process, want int, args ...string) {
	suite := filepath.Join(venv, "kosoku")
	need(t, suite)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, suite, append(args, "-p", "4", "-o", dir, p.addr)...).CombinedOutput()
	if err != nil {
		t.Logf("the suite ended with %v:\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatalf("%v; the suite wrote:\n%s", err, out)
	}
	var agents map[string]map[string]struct{ Behavior, BehaviorClose string }
	if err := json.Unmarshal(data, &agents); err != nil {
		t.Fatal(err)
	}
	n := 0
	verdicts := map[string]int{}
	for _, cases := range agents {
		for id, got := range cases {
			n++
			verdicts[got.Behavior]++
			t.Run(id, func(t *testing.T) {
				if !passed[got.Behavior] || !passed[got.BehaviorClose] {
					t.Errorf("%s, close %s", got.Behavior, got.BehaviorClose)
				}
			})
		}
	}
	if n != want {
		t.Errorf("%d cases were run, want %d", n, want)
	}
	t.Logf("%d cases: %v", n, verdicts)
	p.stop(t, 0)
}

// passed are the suite's verdicts that are none against the server.
var passed = map[string]bool{"OK": true, "INFORMATIONAL": true}
