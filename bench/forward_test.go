package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// BenchmarkForward reports what WebSockets cost that have come to their session's server,
// and to another one that passes them on: the CPU time of both servers for an event and
// its answer, and the heap and stacks of both for an idle connection. The clients are a
// process of their own.
func BenchmarkForward(b *testing.B) {
	for _, at := range []string{"owner", "wrong"} {
		b.Run(at, func(b *testing.B) {
			owner, to, servers := forwarding(b, at)
			const n, few = 2_000, 100
			small := startForwarded(b, owner, to, few) // pools and tables have their first size
			before := inUse()
			startForwarded(b, owner, to, n)
			per := float64(inUse()-before) / n
			if got := servers[1].Stats().Net.ForwardedSockets; (at == "wrong") != (got == n+few) {
				b.Fatalf("%d WebSockets are passed on", got)
			}
			spent, messages := time.Duration(0), 0
			for b.Loop() {
				begun := cpu()
				messages += small.echo(b)
				spent += cpu() - begun
			}
			b.ReportMetric(float64(spent.Microseconds())/float64(messages), "us-CPU/echo")
			b.ReportMetric(per, "B/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkForwardPolls reports what long-polling costs that comes to its session's server,
// or to another one that passes each request on: the CPU time of both servers for a
// request, of which an event and its answer take two, a POST and a poll; and how long such
// a pair takes when nothing else happens. The clients are a process of their own, and keep
// their connections, as a balancer does.
func BenchmarkForwardPolls(b *testing.B) {
	for _, at := range []string{"owner", "wrong"} {
		b.Run(at, func(b *testing.B) {
			owner, to, servers := forwarding(b, at)
			in, out := child(b, "TestForwardedPolls", "SOCKEYE_OWNER="+owner, "SOCKEYE_TO="+to)
			c := &forwardedClients{in, out, 1}
			c.wait(b)
			c.echo(b) // connections are there
			before := servers[1].Stats().Net.Forwarded
			spent, elapsed, events := time.Duration(0), time.Duration(0), 0
			for b.Loop() {
				begun, at := cpu(), time.Now()
				events += c.echo(b)
				spent, elapsed = spent+cpu()-begun, elapsed+time.Since(at)
			}
			if got := servers[1].Stats().Net.Forwarded - before; (at == "wrong") != (got == uint64(2*events)) {
				b.Fatalf("%d of %d requests were passed on", got, 2*events)
			}
			b.ReportMetric(float64(spent.Nanoseconds())/1e3/float64(2*events), "us-CPU/request")
			b.ReportMetric(float64(elapsed.Nanoseconds())/1e3/float64(events), "us/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// TestForwardedPolls is the child process of BenchmarkForwardPolls.
func TestForwardedPolls(t *testing.T) {
	owner, to := os.Getenv("SOCKEYE_OWNER"), os.Getenv("SOCKEYE_TO")
	if owner == "" {
		return // not a test of its own
	}
	p := wiretest.ConnectPoll(t, owner)
	p.URL = strings.Replace(p.URL, owner, to, 1)
	fmt.Println("done")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for range echoRounds {
			p.Post(`421["ask","0123456789"]`, http.StatusOK, "ok")
			if _, got := p.Get(); got != `431["0123456789"]` {
				t.Fatal(got)
			}
		}
		fmt.Println("done")
	}
}

// forwarding starts two servers that pass on to each other what is not theirs: clients
// have their sessions at owner, and go to the address to, which is at it or not.
func forwarding(b *testing.B, at string) (owner, to string, servers []*sockeye.Server) {
	b.Helper()
	hub := new(adaptertest.Hub)
	var addrs []string
	for range 2 {
		addr, srv := serve(b, sockeye.Config{
			Adapter: hub.Adapter(b, cluster.Options{}), Forward: &sockeye.Forward{}, Loops: 1,
			MaxPendingSessions: -1, TrimAfter: -1, PingInterval: time.Hour, Inline: true,
		})
		srv.On("ask", func(text string) string { return text })
		addrs, servers = append(addrs, addr), append(servers, srv)
	}
	known(b, addrs[0], addrs[1])
	if at == "owner" {
		return addrs[0], addrs[0], servers
	}
	return addrs[0], addrs[1], servers
}

// known waits until a request at one server reaches a session of the other.
func known(b *testing.B, owner, wrong string) {
	b.Helper()
	p := wiretest.OpenPoll(b, owner)
	for end := time.Now().Add(wiretest.Limit); ; {
		resp, err := http.Post("http://"+wrong+"/socket.io/?EIO=4&transport=polling&sid="+p.SID, "text/plain", strings.NewReader("3"))
		if err != nil || time.Now().After(end) {
			b.Fatal(err, "the servers do not find each other")
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
}

// forwardedClients are a child process.
type forwardedClients struct {
	in  io.Writer
	out *bufio.Reader
	n   int
}

const echoRounds = 50

func startForwarded(b *testing.B, owner, to string, n int) *forwardedClients {
	b.Helper()
	in, out := child(b, "TestForwardedClients", "SOCKEYE_OWNER="+owner, "SOCKEYE_TO="+to, "SOCKEYE_HOLD_N="+strconv.Itoa(n))
	c := &forwardedClients{in, out, n}
	c.wait(b)
	return c
}

func (c *forwardedClients) wait(b *testing.B) {
	b.Helper()
	if line, err := c.out.ReadString('\n'); err != nil || line != "done\n" {
		b.Fatalf("child: %q, %v", line, err)
	}
}

// echo has each client send so many events, one after the other; it returns how many.
func (c *forwardedClients) echo(b *testing.B) int {
	b.Helper()
	_, _ = io.WriteString(c.in, "echo\n")
	c.wait(b)
	return c.n * echoRounds
}

// TestForwardedClients is the child process of startForwarded.
func TestForwardedClients(t *testing.T) {
	owner, to := os.Getenv("SOCKEYE_OWNER"), os.Getenv("SOCKEYE_TO")
	if owner == "" {
		return // not a test of its own
	}
	n, _ := strconv.Atoi(os.Getenv("SOCKEYE_HOLD_N"))
	var all []*wiretest.WS
	for range n {
		p := wiretest.OpenPoll(t, owner)
		w := wiretest.DialWS(t, to, "/socket.io/?EIO=4&transport=websocket&sid="+p.SID)
		w.Write("2probe")
		w.Expect("3probe")
		w.Write("5")
		w.Write("40")
		w.Expect(`40{"sid":"*`)
		all = append(all, w)
	}
	fmt.Println("done")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for range echoRounds {
			for _, w := range all {
				w.Write(`421["ask","0123456789"]`)
			}
			for _, w := range all {
				w.Expect(`431["0123456789"]`)
			}
		}
		fmt.Println("done")
	}
}
