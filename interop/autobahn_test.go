package interop_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	autobahn(t, start(t, "wsecho", "-deflate"), autobahnCases, nil, "-x", "12.*", "-x", "13.*")
}

// TestAutobahnDeflate runs the cases for permessage-deflate: 216,000 messages of up
// to 128 KiB, compressed both ways. Its echo is built without the race detector,
// which makes that several times as slow. Most of the time goes into three of the
// five texts at the six greatest volumes of section 12; these are left to make
// conformance.
func TestAutobahnDeflate(t *testing.T) {
	args := []string{"-i", "12.*", "-i", "13.*"}
	want := autobahnDeflateCases
	if os.Getenv("SOCKEYE_CONFORMANCE") == "" {
		for _, section := range []string{"12.2.", "12.3.", "12.5."} {
			for _, volume := range []string{"10", "14", "15", "16", "17", "18"} {
				args = append(args, "-x", section+volume)
				want--
			}
		}
	}
	autobahn(t, start(t, "wsecho-plain", "-deflate"), want, smallWindows(), args...)
}

// smallWindows are the cases whose client offers server_max_window_bits=9 and
// nothing else. The server declines (RFC 7692 section 7.1.2.1), so that the suite
// calls them unimplemented.
func smallWindows() []string {
	var ids []string
	for _, section := range []string{"13.3.", "13.5."} {
		for n := 1; n <= 18; n++ {
			ids = append(ids, section+strconv.Itoa(n))
		}
	}
	return ids
}

// autobahn has the suite run cases against p. Those in unimplemented, and no
// others, must be what the suite calls so.
func autobahn(t *testing.T, p *process, want int, unimplemented []string, args ...string) {
	suite := filepath.Join(venv, "kosoku")
	need(t, suite)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
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
				declined := slices.Contains(unimplemented, id)
				switch {
				case declined && got.Behavior == "UNIMPLEMENTED" && passed[got.BehaviorClose]:
				case !passed[got.Behavior] || !passed[got.BehaviorClose]:
					t.Errorf("%s, close %s", got.Behavior, got.BehaviorClose)
				case declined:
					t.Errorf("%s, no longer UNIMPLEMENTED: shorten the list of accepted cases", got.Behavior)
				}
			})
		}
		for _, id := range unimplemented {
			if _, ran := cases[id]; !ran {
				t.Errorf("case %s of the list of accepted cases was not run", id)
			}
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
