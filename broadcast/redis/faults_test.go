package redis_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/client"
)

// kinds are the adapters that faults are tried on.
var kinds = []string{"classic", "sharded", "streams"}

// traffic are two servers that emit numbered events all the time, each with a client.
type traffic struct {
	t     testing.TB
	nodes [2]*node
	in    [2]inbox
	stop  chan struct{}
	all   sync.WaitGroup

	emitted, refused [2]atomic.Int64
	slowest          [2]atomic.Int64 // Emit, in ns
}

// inbox is what has come to a client: the numbers of each server's events.
type inbox struct {
	mu    sync.Mutex
	from  [2][]int64
	ahead [2]int64 // the slowest of its own server's, in ns
}

func newTraffic(t testing.TB, kind string, addrs [2]string) *traffic {
	t.Helper()
	tr := &traffic{t: t, stop: make(chan struct{})}
	for i, addr := range addrs {
		tr.nodes[i] = newNode(t, addr, kind)
	}
	together(t, tr.nodes[:]...)
	for i, n := range tr.nodes {
		c := n.connect(t, "red")
		in := &tr.in[i]
		c.On("n", func(e *client.Event) {
			var from, number, at int64
			if err := e.Args.Decode(&from, &number, &at); err != nil {
				t.Error(err)
				return
			}
			in.mu.Lock()
			defer in.mu.Unlock()
			in.from[from] = append(in.from[from], number)
			if int(from) == i {
				in.ahead[i] = max(in.ahead[i], time.Now().UnixNano()-at)
			}
		})
	}
	for i := range tr.nodes {
		tr.until("both reach each other at first", func() bool { return tr.last(1-i, i) >= 0 || !tr.emit(i) })
	}
	for i := range tr.nodes {
		tr.all.Go(func() {
			for {
				select {
				case <-tr.stop:
					return
				case <-time.After(5 * time.Millisecond):
					tr.emit(i)
				}
			}
		})
	}
	return tr
}

// emit emits the next number; it always returns true.
func (tr *traffic) emit(i int) bool {
	began := time.Now()
	k := tr.emitted[i].Add(1) - 1
	room := []string{"red"}
	if k%3 == 0 {
		room = nil // to all
	}
	err := tr.nodes[i].To(room...).Emit("n", i, k, began.UnixNano())
	switch {
	case errors.Is(err, sockeye.ErrUnavailable):
		tr.refused[i].Add(1)
	case err != nil:
		tr.t.Error(err)
	}
	tr.slowest[i].Store(max(tr.slowest[i].Load(), int64(time.Since(began))))
	return true
}

// last is the last number of a server's that has come to a client; -1 if there is none.
func (tr *traffic) last(at, from int) int64 {
	in := &tr.in[at]
	in.mu.Lock()
	defer in.mu.Unlock()
	if list := in.from[from]; len(list) > 0 {
		return list[len(list)-1]
	}
	return -1
}

func (tr *traffic) until(what string, cond func() bool) {
	tr.t.Helper()
	for end := time.Now().Add(40 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tr.t.Fatalf("not within 40 s: %s", what)
		}
	}
}

// flows waits until what is emitted from now on arrives at the other, both ways.
func (tr *traffic) flows() {
	tr.t.Helper()
	for i := range tr.nodes {
		now := tr.emitted[i].Load()
		tr.until(fmt.Sprintf("what %d emits reaches %d", i, 1-i), func() bool { return tr.last(1-i, i) >= now })
	}
}

// soon is less than Redis is away, or slow, and more than a machine with much to do takes.
const soon = 5 * time.Second

// end ends the traffic, and checks what has come: of the own server everything, soon; of
// the other nothing twice, and all in order. It returns how many have not come to the other.
func (tr *traffic) end() (lost [2]int64) {
	tr.t.Helper()
	tr.flows()
	close(tr.stop)
	tr.all.Wait()
	for i := range tr.nodes { // one behind which nothing is on its way
		last := int64(-1)
		var at time.Time
		tr.until("the last has come to the other's client", func() bool {
			if time.Since(at) > time.Second {
				at = time.Now()
				last = tr.emitted[i].Load()
				tr.emit(i)
			}
			return tr.last(1-i, i) >= last
		})
	}
	for i := range tr.nodes {
		n := tr.emitted[i].Load()
		tr.until("the last has come to its own server's client", func() bool { return tr.last(i, i) == n-1 })
		in := &tr.in[i]
		in.mu.Lock()
		if got := int64(len(in.from[i])); got != n {
			tr.t.Errorf("server %d has emitted %d, its own client has %d", i, n, got)
		}
		if !slices.IsSorted(in.from[i]) {
			tr.t.Errorf("server %d's own client has them out of order", i)
		}
		other := in.from[1-i]
		for k := 1; k < len(other); k++ {
			if other[k] <= other[k-1] {
				tr.t.Errorf("to the client of %d comes %d after %d", i, other[k], other[k-1])
			}
		}
		if d := time.Duration(in.ahead[i]); d > soon {
			tr.t.Errorf("server %d's own client waited up to %v", i, d)
		}
		lost[1-i] = tr.emitted[1-i].Load() - other[0] - int64(len(other)) // before, they did not hear each other yet
		in.mu.Unlock()
		if d := time.Duration(tr.slowest[i].Load()); d > soon {
			tr.t.Errorf("an Emit of server %d took %v", i, d)
		}
	}
	return lost
}

func (tr *traffic) log() {
	tr.t.Helper()
	for i, n := range tr.nodes {
		s := n.adapter.Stats()
		tr.t.Logf("server %d: %d emitted, %d refused, %+v, local delivery up to %v", i, tr.emitted[i].Load(), tr.refused[i].Load(), s, time.Duration(tr.in[i].ahead[i]))
	}
}

// outage is for how long Redis is away: SOCKEYE_OUTAGE, or 10 s; 2 s in short tests.
func outage(t testing.TB) time.Duration {
	t.Helper()
	switch text := os.Getenv("SOCKEYE_OUTAGE"); {
	case text != "":
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	case testing.Short():
		return 2 * time.Second
	}
	return 10 * time.Second
}

// TestRedisDies: Redis is killed, and comes back with nothing of what it had.
func TestRedisDies(t *testing.T) {
	t.Parallel()
	for _, kind := range append(kinds, "streams, queueing", "classic, queueing") {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			tr := newTraffic(t, kind, [2]string{srv.Addr, srv.Addr})
			tr.flows()
			srv.Kill()
			for range int(outage(t) / (10 * time.Millisecond)) {
				time.Sleep(10 * time.Millisecond)
				for _, n := range tr.nodes {
					if q := n.adapter.Stats().Queued; q > 16<<20 {
						t.Fatalf("%d bytes are queued", q)
					}
				}
			}
			for i, n := range tr.nodes {
				if !n.adapter.Stats().Down {
					t.Errorf("server %d does not know that Redis is away", i)
				}
				if queues := strings.HasSuffix(kind, "queueing"); queues == (tr.refused[i].Load() > 0) {
					t.Errorf("%d were refused", tr.refused[i].Load())
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				began := time.Now()
				if _, err := n.FetchSockets(ctx); !errors.Is(err, sockeye.ErrUnavailable) {
					t.Errorf("FetchSockets without Redis: %v after %v", err, time.Since(began))
				}
				cancel()
			}
			srv.Restart(t)
			tr.flows()
			together(t, tr.nodes[:]...)
			lost := tr.end()
			tr.log()
			for i := range lost {
				known := tr.refused[i].Load() + int64(tr.nodes[i].adapter.Stats().Lost)
				t.Logf("of server %d's %d did not arrive, %d were refused or counted as lost", i, lost[i], known)
				switch kind {
				case "classic, queueing", "streams, queueing":
					if known > 2000 || lost[i] > known+200 { // but what was on the way
						t.Errorf("of what was queued %d did not arrive", lost[i])
					}
				case "streams":
					if lost[i] > known+100 { // but what nobody had read when it was killed
						t.Errorf("%d are lost, %d are known to be", lost[i], known)
					}
				}
			}
		})
	}
}

// eachKind runs a test by each adapter, with a Redis of its own.
func eachKind(t *testing.T, f func(t *testing.T, kind string, srv *redistest.Server)) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, kind, redistest.Start(t))
		})
	}
}

// TestResets: connections are reset all the time.
func TestResets(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string, srv *redistest.Server) {
		p := [2]*adaptertest.Proxy{adaptertest.NewProxy(t, srv.Addr), adaptertest.NewProxy(t, srv.Addr)}
		tr := newTraffic(t, kind, [2]string{p[0].Addr(), p[1].Addr()})
		for k := range 20 {
			time.Sleep(150 * time.Millisecond)
			p[k%2].Reset()
		}
		tr.flows()
		lost := tr.end()
		tr.log()
		for i := range lost {
			known := tr.refused[i].Load() + int64(tr.nodes[i].adapter.Stats().Lost)
			if kind == "streams" && lost[i] > known {
				t.Errorf("of server %d's %d are lost, %d are known to be", i, lost[i], known)
			}
		}
	})
}

// TestSlow: the way to Redis is slow, then it stops; nobody here notices, what is queued is
// bounded, and it goes on.
func TestSlow(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string, srv *redistest.Server) {
		p := adaptertest.NewProxy(t, srv.Addr)
		tr := newTraffic(t, kind, [2]string{p.Addr(), srv.Addr})
		p.Delay(100 * time.Millisecond)
		tr.flows()
		p.Delay(0)
		p.Stall(true)
		flood(t, tr.nodes[0])
		time.Sleep(4 * time.Second) // longer than the client waits for an answer
		p.Stall(false)
		tr.flows()
		tr.end()
		tr.log()
	})
}

// flood emits 30 MB to a bus that takes nothing: what is too much is refused.
func flood(t *testing.T, n *node) {
	t.Helper()
	refused := false
	for range 600 {
		err := n.To("nobody").Emit("big", make([]byte, 50_000))
		refused = refused || errors.Is(err, sockeye.ErrUnavailable)
		if q := n.adapter.Stats().Queued; q > 16<<20 {
			t.Fatalf("%d bytes are queued", q)
		}
	}
	if !refused {
		t.Error("nothing was refused")
	}
}

// TestSlowMemory: what waits for a bus that takes nothing costs what it is counted as. It is
// not parallel: the heap is all tests'.
func TestSlowMemory(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			p := adaptertest.NewProxy(t, redistest.Start(t).Addr)
			n := newNode(t, p.Addr(), kind)
			p.Stall(true)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			flood(t, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			grown, queued := int64(after.HeapInuse)-int64(before.HeapInuse), int64(n.adapter.Stats().Queued)
			t.Logf("%d bytes of heap for %d that are queued", grown, queued)
			if grown > 2*queued+8<<20 {
				t.Errorf("%d bytes of heap for %d that are queued", grown, queued)
			}
			p.Stall(false)
		})
	}
}

// TestPartition: one server cannot reach Redis, and nothing tells so; the other can.
func TestPartition(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string, srv *redistest.Server) {
		p := adaptertest.NewProxy(t, srv.Addr)
		tr := newTraffic(t, kind, [2]string{p.Addr(), srv.Addr})
		p.Stall(true)
		for i, n := range tr.nodes {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			began := time.Now()
			list, err := n.FetchSockets(ctx)
			missing := new(sockeye.MissingError)
			if d := time.Since(began); d > 4*time.Second || len(list) != 1 || !errors.As(err, &missing) && !errors.Is(err, sockeye.ErrUnavailable) {
				t.Errorf("server %d: %d sockets, %v after %v", i, len(list), err, d)
			}
			cancel()
		}
		tr.until("the one without Redis knows", func() bool { return tr.refused[0].Load() > 0 })
		p.Stall(false)
		tr.flows()
		together(t, tr.nodes[:]...)
		tr.end()
		tr.log()
	})
}

// TestMain is a server of its own if it is told to be: see child.
func TestMain(m *testing.M) {
	addr := os.Getenv("SOCKEYE_CHILD_REDIS")
	if addr == "" {
		flag.Parse()
		_ = flag.Set("test.parallel", "8") // they mostly wait
		os.Exit(m.Run())
	}
	c, err := serveChild(addr, os.Getenv("SOCKEYE_CHILD_KIND"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// child is a server in another process; it returns its URL and its name on the bus.
func child(t *testing.T, addr, kind string) (process *os.Process, url, uid string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SOCKEYE_CHILD_REDIS="+addr, "SOCKEYE_CHILD_KIND="+kind)
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
	if _, err := fmt.Fscan(out, &url, &uid); err != nil {
		t.Fatal(err)
	}
	return cmd.Process, url, uid
}

// TestKilledServer: a server is killed while others wait for its sockets: they have what
// has come in time, and are told who is missing, by name where servers have names.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, stopped := range []bool{true, false} { // before it has been asked; or afterwards
			t.Run(fmt.Sprintf("%s/%v", kind, stopped), func(t *testing.T) {
				t.Parallel()
				srv := redistest.Start(t)
				a, b := newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind)
				process, url, uid := child(t, srv.Addr, kind)
				c := &node{url: url}
				adaptertest.Eventually(t, "the servers know of each other", func() bool {
					n, err := a.Servers(t.Context())
					m, err2 := b.Servers(t.Context())
					return err == nil && err2 == nil && n == 3 && m == 3
				})
				asked := make(chan struct{}, 1)
				for _, n := range []*node{a, b, c} {
					n.connect(t).On("q", func(e *client.Event) {
						if n == c {
							asked <- struct{}{}
							return
						}
						_ = e.Ack("yes")
					})
				}
				if kind != "classic" {
					// It is known by name once it has said something.
					adaptertest.Eventually(t, "its socket is known", func() bool {
						list, err := a.FetchSockets(t.Context())
						return err == nil && len(list) == 3
					})
				}
				if stopped {
					if err := process.Signal(syscall.SIGSTOP); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				killed := make(chan struct{})
				go func() {
					defer close(killed)
					if stopped {
						time.Sleep(300 * time.Millisecond) // the question is on its way
					} else {
						<-asked
					}
					_ = process.Kill()
				}()
				began := time.Now()
				answers, err := a.All().Call(ctx, "q")
				<-killed
				missing := new(sockeye.MissingError)
				if d := time.Since(began); len(answers) != 2 || !errors.As(err, &missing) || d > 4*time.Second {
					t.Fatalf("%d answers, %v after %v", len(answers), err, d)
				}
				t.Log(err)
				switch {
				case !stopped:
					// Whether it has still told how many sockets it has asked is chance.
					if missing.Asked != 2 || missing.Answered == 2 && missing.Sockets != 1 {
						t.Errorf("%+v", missing)
					}
				case missing.Asked != 2 || missing.Answered != 1:
					t.Errorf("%+v", missing)
				case kind != "classic" && !slices.Equal(missing.Servers, []string{uid}):
					t.Errorf("%q are missing, not %q", missing.Servers, uid)
				}
				adaptertest.Eventually(t, "two are left", func() bool {
					n, err := a.Servers(t.Context())
					return err == nil && n == 2
				})
				ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if answers, err := a.All().Call(ctx, "q"); err != nil || len(answers) != 2 {
					t.Errorf("afterwards: %d answers, %v", len(answers), err)
				}
			})
		}
	}
}

// TestNodeDies: one of the three nodes of a Redis Cluster is killed, and comes back: what goes
// by the others goes on, and what goes by it does again.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	dir := map[string]string{} // a room's node
	var rooms []string
	for i := 0; len(rooms) < 3; i++ {
		room := fmt.Sprint("room", i)
		master, err := c.Client(t).MasterForKey(t.Context(), "socket.io#/#"+room+"#")
		if err != nil {
			t.Fatal(err)
		}
		addr := master.Options().Addr
		if !slices.ContainsFunc(rooms, func(r string) bool { return dir[r] == addr }) {
			dir[room] = addr
			rooms = append(rooms, room)
		}
	}
	var nodes []*node
	for range 2 {
		n, err := makeNodeOn(c.Client(t), "sharded")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
	}
	together(t, nodes...)
	type event struct {
		room string
		n    int
	}
	got := make(chan event, 10_000)
	nodes[1].connect(t, rooms...).On("e", func(e *client.Event) {
		var v event
		_ = e.Args.Decode(&v.room, &v.n)
		got <- v
	})
	n := 0
	last := map[string]int{}
	reach := func(room string) {
		t.Helper()
		began := n
		adaptertest.Eventually(t, "an event for "+room+" arrives", func() bool {
			n++
			if err := nodes[0].To(room).Emit("e", room, n); err != nil && !errors.Is(err, sockeye.ErrUnavailable) {
				t.Fatal(err)
			}
			for end := time.After(50 * time.Millisecond); ; {
				select {
				case e := <-got:
					if e.n <= last[e.room] {
						t.Errorf("%d comes after %d", e.n, last[e.room])
					}
					last[e.room] = e.n
					if e.room == room && e.n > began {
						return true
					}
				case <-end:
					return false
				}
			}
		})
	}
	for _, room := range rooms {
		reach(room)
	}
	victim := c.Servers[1]
	victim.Kill()
	for range 20 {
		for _, room := range rooms {
			if dir[room] != victim.Addr {
				reach(room)
			}
		}
	}
	victim.Restart(t)
	for range 3 {
		for _, room := range rooms {
			reach(room)
		}
	}
}

// TestKilledBridge: the server that has the bridge at work is killed; one that has waited takes
// over. What comes meanwhile stays on its side, and nothing comes twice.
func TestKilledBridge(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, b := newNode(t, srv.Addr, "classic"), newNode(t, srv.Addr, "streams")
	var mu sync.Mutex
	var got []int64
	b.connect(t).On("n", func(e *client.Event) {
		var number int64
		if err := e.Args.Decode(&number); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, number)
	})
	number := int64(0)
	flows := func(what string) {
		t.Helper()
		from := number
		adaptertest.Eventually(t, what, func() bool {
			number++
			if err := a.Emit("n", number); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			return len(got) > 0 && got[len(got)-1] > from
		})
	}
	process, _, _ := child(t, srv.Addr, "bridge")
	flows("the first bridge passes on")
	waits := newNode(t, srv.Addr, "bridge").adapter.(*bridge.Bridge)
	for end := time.Now().Add(time.Second); time.Now().Before(end); { // longer than its lease
		flows("the first bridge goes on")
		if waits.AtWork() {
			t.Fatal("two bridges are at work")
		}
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "the other bridge is at work", waits.AtWork)
	flows("the other bridge passes on")
	mu.Lock()
	defer mu.Unlock()
	for i := range got[1:] {
		if got[i+1] <= got[i] {
			t.Fatalf("%d comes after %d", got[i+1], got[i])
		}
	}
}
