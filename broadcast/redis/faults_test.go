package redis_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/client"
)

// kinds are the adapters that faults are tried on.
var kinds = []string{"classic", "sharded", "streams"}

// TestFaults: Redis is killed, slow and stopped, connections are reset, and one server cannot
// reach it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			adaptertest.RunFaults(t, func(t testing.TB) adaptertest.Faulty { return faulty(t, kind) })
		})
	}
	for _, kind := range []string{"classic, queueing", "streams, queueing"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := faulty(t, kind)
			f.Queues, f.Unknown = true, 200 // what was on its way
			f.Outage(t)
		})
	}
}

// faulty is a Redis of its own.
func faulty(t testing.TB, kind string) adaptertest.Faulty {
	t.Helper()
	srv := redistest.Start(t)
	f := adaptertest.Faulty{
		Addr: srv.Addr, Kill: srv.Kill, Restart: srv.Restart, Unknown: -1,
		Adapter: func(t testing.TB, addr string) broadcast.Adapter {
			c := goredis.NewClient(&goredis.Options{Addr: addr})
			t.Cleanup(func() { _ = c.Close() })
			a, err := makers[kind](c)
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
	}
	if kind == "streams" {
		f.Unknown = 100 // what nobody had read when it was killed
	}
	return f
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
func child(t testing.TB, addr, kind string) (process *os.Process, url, uid string) {
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

// stop stops a process; its threads do so one by one, soon after the signal.
func stop(t testing.TB, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "all threads have stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid))
		return err == nil && !slices.ContainsFunc(threads, func(file string) bool {
			stat, err := os.ReadFile(file)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err != nil || !strings.HasPrefix(state, "T")
		})
	})
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
					stop(t, process)
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

// TestRecoveryKills: clients are cut, and servers killed, and nothing is lost or doubled.
func TestRecoveryKills(t *testing.T) {
	srv := redistest.Start(t)
	adaptertest.RunKills(t, func(t testing.TB) broadcast.Adapter {
		a, err := makers["streams"](srv.Client(t))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}, func(t testing.TB, name string) (string, func()) {
		process, url, _ := child(t, srv.Addr, "roaming "+name)
		return url, func() { _ = process.Kill() }
	}, adaptertest.Cuts(60))
}
