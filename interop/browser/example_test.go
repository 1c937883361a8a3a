package browser

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// startExample builds and runs an example whose page uses the official client, and returns
// its address.
func startExample(t *testing.T, name string, args ...string) (url string) {
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
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-client", client}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if url = regexp.MustCompile(`http://\S+/`).FindString(line); err != nil || url == "" {
		t.Fatalf("no address in %q: %v", line, err)
	}
	return url
}
