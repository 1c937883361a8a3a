// Package interop_test drives interop/server, interop/wsecho and
// interop/httpserver, as processes of their own, with the clients that users have
// (socket.io-client for JavaScript and Java, python-socketio), a WebSocket
// conformance suite, and the cases of two for HTTP/1.1.
//
// The clients are installed by ci/clients.sh. Without them the tests are
// skipped, unless CI or SOCKEYE_INTEROP is set: then they fail.
//
// A driver (clients/js, clients/python) runs cases and prints a line for each;
// every line becomes a subtest, and testdata/cases.txt says which there must be.
package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where the clients are installed, relative to this folder.
const (
	nodeModules = "clients/node_modules/socket.io-client"
	venv        = "clients/.venv/bin"
	javaLib     = "clients/java/lib"
)

// binaries is the folder that the servers under test are built into.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sockeye-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if raceEnabled {
		args = append(args, "-race") // the servers check loop ownership and poison their pools, too
	}
	build := exec.Command("go", append(args, "./server", "./wsecho", "./httpserver")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the servers:", err)
		return 1
	}
	// The compression cases of the WebSocket suite are too slow for the race detector.
	build = exec.Command("go", "build", "-o", filepath.Join(dir, "wsecho-plain"), "./wsecho")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the echo without the race detector:", err)
		return 1
	}
	build = exec.Command("go", "build", "-C", "../parser/msgpack", "-o", filepath.Join(dir, "msgpack"), "./internal/server")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the msgpack server:", err)
		return 1
	}
	code := m.Run()
	if err := checkTable(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// need skips the test if a client is not installed, or fails it where nothing
// may be skipped.
func need(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	const why = "%s is not installed: run ci/clients.sh"
	if os.Getenv("CI") != "" || os.Getenv("SOCKEYE_INTEROP") != "" {
		t.Fatalf(why, path)
	}
	t.Skipf(why, path)
}
