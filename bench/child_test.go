package bench

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

// child runs a test of this binary in a process of its own, with more environment, and
// returns its input and output. It ends when its input does: at the latest with tb.
func child(tb testing.TB, test string, env ...string) (in io.WriteCloser, out *bufio.Reader) {
	tb.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+test+"$")
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return in, bufio.NewReader(stdout)
}

// waitHeld waits until a child has all that it is to hold.
func waitHeld(tb testing.TB, out *bufio.Reader) {
	tb.Helper()
	if line, err := out.ReadString('\n'); err != nil || line != "held\n" {
		tb.Fatalf("child: %q, %v", line, err)
	}
}
