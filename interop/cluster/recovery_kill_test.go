package cluster_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

// TestMain is one of Sockeye's servers if it is told to be: see child.
func TestMain(m *testing.M) {
	addr := os.Getenv("SOCKEYE_CHILD_REDIS")
	if addr == "" {
		os.Exit(m.Run())
	}
	a, err := redis.NewStreams(goredis.NewClient(&goredis.Options{Addr: addr}), redis.StreamsOptions{})
	if err == nil {
		var url string
		url, err = adaptertest.ServeRoaming(a, os.Getenv("SOCKEYE_CHILD_NAME"))
		fmt.Printf("{\"url\":%q}\n", url)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// child is one of Sockeye's servers in a process of its own, which emits its name and a number
// to "red" all the time.
func child(t *testing.T, addr, name string) *far.Process {
	t.Helper()
	return far.Start(t, "go "+name, "env", "SOCKEYE_CHILD_REDIS="+addr, "SOCKEYE_CHILD_NAME="+name, os.Args[0])
}

// TestRecoveryOfNodesClientByKills: the servers of the reference's clients are killed, one after
// the other. Each client comes back at another server as itself, with all that was sent
// meanwhile, once, in the order of who has sent it.
func TestRecoveryOfNodesClientByKills(t *testing.T) {
	need(t)
	const servers, rounds = 3, 8
	srv := redistest.Start(t)
	parent, _ := recovering(t, srv)
	var children [servers]*far.Process
	born := 0
	start := func(i int) {
		children[i] = child(t, srv.Addr, fmt.Sprint(born))
		born++
	}
	for i := range servers {
		start(i)
	}
	adaptertest.Eventually(t, "the servers know of each other", func() bool {
		n, err := parent.Servers(t.Context())
		return err == nil && n == 1+servers
	})
	type placed struct {
		*roamer
		in int
		id string
	}
	var list []*placed
	for i, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}, {"websocket"}, {"polling"}, {"polling", "websocket"}} {
		r := roam(t, children[i%servers].URL(), transports...)
		list = append(list, &placed{r, i % servers, r.state().ID})
	}
	var stop atomic.Bool
	sent := make(chan int, 1)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			emit(t, parent.To("red"), "parent", n)
			emit(t, parent.To("blue"), "secret", n)
			time.Sleep(5 * time.Millisecond)
		}
		sent <- n
	}()
	for range rounds {
		time.Sleep(time.Duration(rand.N(100)) * time.Millisecond) // any moment
		i := rand.N(servers)
		var gone []*placed
		for _, r := range list {
			if r.in == i {
				r.in = (i + 1 + rand.N(servers-1)) % servers
				r.to(children[r.in].URL())
				gone = append(gone, r)
			}
		}
		children[i].Kill()
		start(i)
		for _, r := range gone {
			// It may not know yet that its server has gone: an answer is the new one's.
			adaptertest.Eventually(t, "the client is back", func() bool {
				return r.brief().Connected && r.Do("ask", nil, map[string]any{"event": "join", "args": []string{"red"}}) == nil
			})
			if s := r.brief(); !s.Recovered || s.ID != r.id {
				t.Fatalf("%s is back as %s; recovered: %v", r.id, s.ID, s.Recovered)
			}
		}
	}
	stop.Store(true)
	total := <-sent
	var common map[string]int
	for i, r := range list {
		adaptertest.Eventually(t, "the end comes", func() bool {
			emit(t, parent.All(), "end")
			return slices.Contains(r.state().Got, `["end"]`)
		})
		next := map[string]int{}
		got := r.state().Got
		for _, g := range got[:slices.Index(got, `["end"]`)] {
			var event []any
			if err := json.Unmarshal([]byte(g), &event); err != nil {
				t.Fatal(err)
			}
			name, n := event[0].(string), event[len(event)-1].(float64)
			switch {
			case name == "child":
				name = event[1].(string)
			case name != "parent":
				t.Fatalf("client %d has got %s", i, g)
			}
			if due, known := next[name]; known && int(n) != due || !known && name >= "3" && n != 0 { // the first three were there before it
				t.Fatalf("client %d: %s comes where %d is due", i, g, due)
			}
			next[name] = int(n) + 1
		}
		if next["parent"] != total {
			t.Errorf("client %d has got %d of %d events", i, next["parent"], total)
		}
		for name := range next { // who lives goes on emitting
			if slices.ContainsFunc(children[:], func(c *far.Process) bool { return c.Name() == "go "+name }) {
				delete(next, name)
			}
		}
		if common == nil {
			common = next
		}
		if !maps.Equal(common, next) {
			t.Errorf("client %d has got %v, client 0 %v", i, next, common)
		}
	}
	t.Logf("%d servers killed, %d events of a server that lives: 0 lost, 0 doubled", rounds, total)
}

// brief is its state without what it has got.
func (r *roamer) brief() (s clientState) {
	r.t.Helper()
	if err := r.Do("state", &s, map[string]any{"from": math.MaxInt32}); err != nil {
		r.t.Fatal(err)
	}
	return s
}
