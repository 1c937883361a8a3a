package adaptertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
)

// ServeRoaming makes a server for RunKills, in a process of its own. It emits by itself.
func ServeRoaming(a broadcast.Adapter, name string) (url string, err error) {
	srv, err := roamingServer(a)
	if err != nil {
		return "", err
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for n := 0; ; n++ {
			_ = srv.To("red").Emit("child", name, n)
			time.Sleep(15 * time.Millisecond)
		}
	}()
	return "http://" + addr.String(), nil
}

func roamingServer(a broadcast.Adapter) (*sockeye.Server, error) {
	srv, err := sockeye.New(sockeye.Config{
		Adapter: a, Loops: 2, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Recovery: &sockeye.Recovery{MaxDisconnection: time.Minute},
	})
	if err != nil {
		return nil, err
	}
	srv.OnConnect(func(s *sockeye.Socket) error {
		if s.Recovered() {
			return nil
		}
		return s.Join("red")
	})
	srv.On("join", func(s *sockeye.Socket, room string) { _ = s.Join(room) })
	return srv, nil
}

// slowRound is from when on a round of RunKills is told of.
const slowRound = 2 * time.Second

// Cuts is how many clients RunKills cuts: few, or as many as the variable SOCKEYE_CUTS says.
func Cuts(few int) int {
	if n, err := strconv.Atoi(os.Getenv("SOCKEYE_CUTS")); err == nil && n > 0 {
		return n
	}
	return few
}

// RunKills cuts clients, a number of times: by the network, and by killing their servers,
// which are processes that child starts. Every client gets every event, once, but for
// those of a server that was killed that have not reached the bus: of these no client gets
// any.
func RunKills(t *testing.T, adapter func(t testing.TB) broadcast.Adapter, child func(t testing.TB, name string) (url string, kill func()), cuts int) {
	const servers, clients = 3, 9
	srv, err := roamingServer(adapter(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	w := &world{t: t, recovers: true}
	var kills [servers]func()
	born := 0
	start := func(i int) {
		url, kill := child(t, fmt.Sprint(born))
		born++
		w.urls[i], kills[i] = url, kill
	}
	w.urls = make([]string, servers)
	for i := range servers {
		start(i)
	}
	var list []*roamer
	for i := range clients {
		list = append(list, w.roam(i%servers))
	}
	var stop atomic.Bool
	defer stop.Store(true)
	ended := make(chan int, 1)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			op := srv.To("red")
			if n%7 == 0 {
				op = srv.All()
			}
			if err := op.Emit("parent", n); err != nil && !stop.Load() {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		ended <- n
	}()
	for i, r := range list {
		Eventually(t, fmt.Sprintf("client %d hears all servers", i), func() bool {
			return r.waits(0, func(got []string) bool {
				for _, from := range []string{"child[0 ", "child[1 ", "child[2 ", "parent["} {
					if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, from) }) {
						return false
					}
				}
				return true
			})
		})
	}
	done, killed, began := 0, 0, time.Now()
	worst := time.Duration(0)
	for done < cuts && !t.Failed() {
		var gone []*roamer
		at := time.Now()
		move := func(r *roamer, to int) {
			r.to(to)
			gone = append(gone, r)
			done++
		}
		kill := func(i int) {
			for _, r := range list {
				if r.in == i {
					move(r, (i+1+rand.N(servers-1))%servers)
				}
			}
			kills[i]()
			killed++
			start(i)
		}
		if rand.N(3) == 0 { // some, by the network
			for _, r := range list {
				if rand.N(3) == 0 {
					move(r, rand.N(servers))
					r.board.Cut()
				}
			}
		} else {
			i := rand.N(servers)
			kill(i)
			switch rand.N(4) { // and while they come back
			case 0, 1:
				for _, r := range slices.Clone(gone) {
					move(r, i)
					r.board.Cut()
				}
			case 2: // where they come to, too
				time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
				kill((i + 1 + rand.N(servers-1)) % servers)
			}
		}
		for _, r := range gone {
			asked := 0
			Eventually(t, "the client is back", func() bool {
				asked++
				return r.Connected() && r.answers(t)
			})
			if !r.Recovered() {
				t.Fatalf("a client is back as another, after %d cuts", done)
			}
			if d := time.Since(at); d > slowRound {
				t.Logf("after %d cuts a client has not been back for %v, asked %d times", done, d, asked)
			}
		}
		worst = max(worst, time.Since(at))
	}
	stop.Store(true)
	sent := <-ended
	Eventually(t, "the end comes", func() bool {
		_ = srv.Emit("end")
		return !slices.ContainsFunc(list, func(r *roamer) bool {
			return !r.waits(0, func(got []string) bool { return slices.Contains(got, "end[]") })
		})
	})
	// A bus that is slow for a moment has a server's own clients get its events before
	// others, so that the order of two servers' events may differ; that of one never does.
	var common map[string]int
	parents, events := 0, 0
	for i, r := range list {
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		got = got[:slices.Index(got, "end[]")]
		next := map[string]int{}
		for k, g := range got {
			name, n := "parent", 0
			if _, err := fmt.Sscanf(g, "parent[%d]", &n); err != nil {
				if _, err := fmt.Sscanf(g, "child[%s %d]", &name, &n); err != nil {
					t.Fatal(g)
				}
			}
			// Who comes first has not got the first ones.
			if due, ok := next[name]; ok && n != due || !ok && n != 0 && name != "0" && name != "1" && name != "2" {
				t.Fatalf("client %d: %d of %s comes where %d is due: %.300q", i, n, name, due, got[max(k-5, 0):min(k+5, len(got))])
			}
			next[name] = n + 1
		}
		if i == 0 {
			common = next
		}
		if !maps.Equal(common, next) {
			t.Fatalf("client %d has got %v, client 0 %v", i, next, common)
		}
		parents, events = next["parent"], len(got)
	}
	if parents != sent {
		t.Errorf("%d of %d events have come", parents, sent)
	}
	t.Logf("%d cuts of %d clients, %d servers killed, in %v: %d events for each, 0 lost, 0 doubled; the longest round took %v", done, clients, killed, time.Since(began).Round(time.Millisecond), events, worst.Round(time.Millisecond))
}

// answers tells whether the client's server answers it: it is not one that has been killed.
func (r *roamer) answers(t *testing.T) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	began := time.Now()
	id := r.ID()
	_, err := r.Call(ctx, "join", "red")
	if d := time.Since(began); d > slowRound {
		r.mu.Lock()
		n := len(r.got)
		r.mu.Unlock()
		t.Logf("socket %s, now %s, at server %d (%s), answered a question after %v: %v; connected: %v, %d events have come", id, r.ID(), r.in, r.w.urls[r.in], d, err, r.Connected(), n)
	}
	return err == nil
}
