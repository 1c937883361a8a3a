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

// autobahnCases is the number of the suite's cases without those for
// permessage-deflate, which is not offered.
const autobahnCases = 301

// TestAutobahn runs the Autobahn suite's cases for RFC 6455 against a bare echo:
// none may fail, and none may pass only "non-strictly".
func TestAutobahn(t *testing.T) {
	suite := filepath.Join(venv, "kosoku")
	need(t, suite)
	p := start(t, "wsecho")
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, suite, "-x", "12.*", "-x", "13.*", "-p", "4", "-o", dir, p.addr).CombinedOutput()
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
	for _, cases := range agents {
		for id, got := range cases {
			n++
			t.Run(id, func(t *testing.T) {
				if !passed[got.Behavior] || !passed[got.BehaviorClose] {
					t.Errorf("%s, close %s", got.Behavior, got.BehaviorClose)
				}
			})
		}
	}
	if n != autobahnCases {
		t.Errorf("%d cases were run, want %d", n, autobahnCases)
	}
	p.stop(t, 0)
}

// passed are the suite's verdicts that are none against the server.
var passed = map[string]bool{"OK": true, "INFORMATIONAL": true}
