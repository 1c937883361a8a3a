package browser

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// startExample builds and runs an example whose page uses the official client, and returns
// its address.
func startExample(t *testing.T, name string, args ...string) (url string) {
	t.Helper()
	url, _ = buildExample(t, name, args...).start("127.0.0.1:0")
	return url
}

// example is one that has been built.
type example struct {
	t      *testing.T
	binary string
	args   []string
}

func buildExample(t *testing.T, name string, args ...string) *example {
	t.Helper()
	client, err := filepath.Abs("../clients/node_modules/socket.io-client/dist")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(client); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/clients.sh)")
	}
	binary := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-C", "../../examples/"+name, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return &example{t, binary, append([]string{"-client", client}, args...)}
}

// start runs it; stop ends it, as the end of the test does.
func (e *example) start(addr string) (url string, stop func()) {
	e.t.Helper()
	cmd := exec.Command(e.binary, append([]string{"-addr", addr}, e.args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	e.t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if url = regexp.MustCompile(`http://\S+/`).FindString(line); err != nil || url == "" {
		e.t.Fatalf("no address in %q: %v", line, err)
	}
	return url, stop
}

// host is the address in a URL of an example's.
func host(url string) string { return strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/") }
