package nats_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/nats"
)

func withRecovery(o *nats.Options) { o.JetStream = &nats.JetStream{Recovery: true} }

// roamingEnv has this program be a server for RunKills, by NATS at an address.
const roamingEnv = "SOCKEYE_TEST_ROAMING"

// serveRoaming is such a server until its standard input ends.
func serveRoaming(addr, name string) int {
	nc, err := natsgo.Connect("nats://"+addr, natsgo.MaxReconnects(-1))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a, err := nats.New(nc, nats.Options{JetStream: &nats.JetStream{Recovery: true}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, err := adaptertest.ServeRoaming(a, name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(url)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// roaming starts one.
func roaming(t testing.TB, addr, name string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roamingEnv+"="+addr, roamingEnv+"_NAME="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := fmt.Fscan(out, &url); err != nil {
		t.Fatal(err)
	}
	return url, func() { _ = cmd.Process.Kill() }
}

func streams(t testing.TB, addr string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connect(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestRecovery: sockets come back on other servers.
func TestRecovery(t *testing.T) {
	s := startServer(t, true)
	var links []*adaptertest.Proxy
	adaptertest.RunRecovery(t, adaptertest.Bus{
		World: func(testing.TB, int) { links = nil },
		Adapter: func(t testing.TB) broadcast.Adapter {
			p := adaptertest.NewProxy(t, s.addr())
			links = append(links, p)
			return newAdapter(t, p.Addr(), quick(withRecovery))
		},
		Link: func(i int) *adaptertest.Proxy { return links[i] },
		Trim: func(t testing.TB, left int) {
			stream, err := streams(t, s.addr()).Stream(t.Context(), "sockeye")
			if err == nil && left == 0 {
				err = stream.Purge(t.Context())
			} else if err == nil {
				err = stream.Purge(t.Context(), jetstream.WithPurgeKeep(uint64(left)))
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	})
}

// TestRecoveryKills: clients are cut, and servers killed, and nothing is lost or doubled.
func TestRecoveryKills(t *testing.T) {
	s := startServer(t, true)
	adaptertest.RunKills(t, func(t testing.TB) broadcast.Adapter {
		return newAdapter(t, s.addr(), quick(withRecovery))
	}, func(t testing.TB, name string) (string, func()) {
		return roaming(t, s.addr(), name)
	}, adaptertest.Cuts(60))
}
