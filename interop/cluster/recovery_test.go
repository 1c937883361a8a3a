package cluster_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

// roamer is the reference's client, behind an address that goes to one server or another.
type roamer struct {
	*far.Process
	t     *testing.T
	board *adaptertest.Switchboard
}

type clientState struct {
	ID                   string
	Connected, Recovered bool
	Got                  []string
}

func roam(t *testing.T, to string, transports ...string) *roamer {
	t.Helper()
	board := adaptertest.NewSwitchboard(t)
	r := &roamer{t: t, board: board}
	r.to(to)
	options := `{"transports":["` + strings.Join(transports, `","`) + `"]}`
	r.Process = far.Start(t, "client", "node", "client.mjs", "http://"+board.Addr(), options)
	adaptertest.Eventually(t, "the client is connected", func() bool { return r.state().Connected })
	r.join()
	return r
}

func (r *roamer) to(url string) { r.board.Switch(strings.TrimPrefix(url, "http://")) }

func (r *roamer) join() {
	r.t.Helper()
	if err := r.Do("ask", nil, map[string]any{"event": "join", "args": []string{"red"}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *roamer) state() (s clientState) {
	r.t.Helper()
	if err := r.Do("state", &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// away cuts the client; gone tells whether its server has seen that.
func (r *roamer) away(gone func(id string) bool) {
	r.t.Helper()
	id := r.state().ID
	r.board.Switch("")
	r.board.Cut()
	adaptertest.Eventually(r.t, "the client is away", func() bool { return !r.state().Connected && gone(id) })
}

// back lets it come to a server.
func (r *roamer) back(url string, recovered bool) {
	r.t.Helper()
	r.to(url)
	adaptertest.Eventually(r.t, "the client is back", func() bool { return r.state().Connected })
	if s := r.state(); s.Recovered != recovered {
		r.t.Errorf("recovered: %v, not %v", s.Recovered, recovered)
	}
}

// holds waits until exactly want has come; servers' orders may differ.
func (r *roamer) holds(want ...string) {
	r.t.Helper()
	want = slices.Sorted(slices.Values(want))
	var got []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = slices.Sorted(slices.Values(r.state().Got)); slices.Equal(got, want) {
			return
		}
	}
	r.t.Errorf("%q has come, not %q", got, want)
}

func (r *roamer) count() (n int) { return len(r.state().Got) }

// recovering is one of Sockeye's servers with recovery.
func recovering(t *testing.T, srv *redistest.Server) (s *sockeye.Server, url string) {
	t.Helper()
	a, err := redis.NewStreams(srv.Client(t), redis.StreamsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err = sockeye.New(sockeye.Config{Adapter: a, Loops: 2, Recovery: &sockeye.Recovery{MaxDisconnection: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	addr, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return s, "http://" + addr.String()
}

// recoveryServers are two of Sockeye's servers and two of the reference's, on one stream.
func recoveryServers(t *testing.T) (goes [2]*sockeye.Server, urls [2]string, nodes [2]*far.Process) {
	t.Helper()
	srv := redistest.Start(t)
	for i := range goes {
		goes[i], urls[i] = recovering(t, srv)
		nodes[i] = node(t, "streams", "redis://"+srv.Addr, map[string]any{"recovery": 20_000})
	}
	adaptertest.Eventually(t, "all servers know of each other", func() bool {
		for i := range goes {
			n, err := goes[i].Servers(t.Context())
			m, err2 := nodes[i].Servers()
			if err != nil || err2 != nil || n != 4 || m != 4 {
				return false
			}
		}
		return true
	})
	return goes, urls, nodes
}

var red = far.Target{Rooms: []string{"red"}}

// TestRecoveryOfNodesClient: the reference's client comes back on another server of
// Sockeye's, with what both kinds of servers have sent meanwhile.
func TestRecoveryOfNodesClient(t *testing.T) {
	need(t)
	goes, urls, nodes := recoveryServers(t)
	for _, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}} {
		r := roam(t, urls[0], transports...)
		want := []string{`["first",1]`}
		emit(t, goes[0].To("red"), "first", 1)
		r.holds(want...)
		id := r.state().ID
		for k := range 4 {
			r.away(func(id string) bool { return transports[0] == "polling" || goes[k%2].Socket(id) == nil })
			emit(t, goes[0].To("red"), "go", k)
			emit(t, goes[1].To("red"), "binary", []byte{1, 2})
			emit(t, goes[1].To("blue"), "not for it", k)
			if err := nodes[0].Emit(red, "node", k, "a text"); err != nil {
				t.Fatal(err)
			}
			want = append(want, `["go",`+string(rune('0'+k))+`]`, `["binary",[1,2]]`, `["node",`+string(rune('0'+k))+`,"a text"]`)
			r.back(urls[(k+1)%2], true)
			r.holds(want...)
			if now := r.state().ID; now != id {
				t.Errorf("it is %s, not %s", now, id)
			}
		}
	}
}

func emit(t *testing.T, op sockeye.Operator, event string, args ...any) {
	t.Helper()
	if err := op.Emit(event, args...); err != nil {
		t.Error(err)
	}
}

// TestRecoveryByBothKinds: a client of the reference's server that is killed, or that cuts
// it, is a new socket at Sockeye's, and the other way round, and hears what comes then. One
// that stays with the reference's gets from it what Sockeye's have sent.
func TestRecoveryByBothKinds(t *testing.T) {
	need(t)
	goes, urls, nodes := recoveryServers(t)
	anew := func(r *roamer, to string) {
		t.Helper()
		was, n := r.state().ID, r.count()
		emit(t, goes[0].To("red"), "missed")
		r.back(to, false)
		if now := r.state(); now.ID == was || len(now.Got) != n {
			t.Errorf("a new socket has the ID %s, as before %s, and has got %q", now.ID, was, now.Got[n:])
		}
		r.join()
		emit(t, goes[1].To("red"), "after")
		adaptertest.Eventually(t, "what comes then", func() bool {
			got := r.state().Got
			return len(got) == n+1 && got[n] == `["after"]`
		})
	}
	goneFrom := func(i int) func(id string) bool {
		return func(id string) bool {
			list, err := nodes[i].Fetch(far.Target{})
			return err == nil && !slices.ContainsFunc(list, func(s far.Socket) bool { return s.ID == id })
		}
	}

	t.Run("Go, then Node, then Go", func(t *testing.T) {
		r := roam(t, urls[0], "websocket")
		emit(t, goes[0].To("red"), "first")
		r.holds(`["first"]`)
		r.away(func(id string) bool { return goes[0].Socket(id) == nil })
		anew(r, nodes[1].URL())
		r.away(goneFrom(1))
		anew(r, urls[1])
		r.away(func(id string) bool { return goes[1].Socket(id) == nil })
		emit(t, goes[0].To("red"), "go", 1)
		n := r.count()
		r.back(urls[0], true)
		adaptertest.Eventually(t, "what was missed", func() bool { return slices.Equal(r.state().Got[n:], []string{`["go",1]`}) })
	})
	t.Run("Node, with what Go sends", func(t *testing.T) {
		r := roam(t, nodes[0].URL(), "websocket")
		emit(t, goes[0].To("red"), "first")
		r.holds(`["first"]`)
		r.away(goneFrom(0))
		emit(t, goes[0].To("red"), "go", 1)
		emit(t, goes[1].To("blue"), "not for it")
		emit(t, goes[1].All(), "binary", []byte{1, 2})
		adaptertest.Eventually(t, "both are in the stream", func() bool {
			return goes[0].Stats().Cluster.Queued == 0 && goes[1].Stats().Cluster.Queued == 0
		})
		r.back(nodes[1].URL(), true)
		r.holds(`["first"]`, `["go",1]`, `["binary",[1,2]]`)
	})
	t.Run("Node is killed", func(t *testing.T) {
		r := roam(t, nodes[0].URL(), "websocket")
		emit(t, goes[0].To("red"), "first")
		r.holds(`["first"]`)
		r.board.Switch("")
		nodes[0].Kill()
		adaptertest.Eventually(t, "the client is away", func() bool { return !r.state().Connected })
		anew(r, urls[0])
	})
}
