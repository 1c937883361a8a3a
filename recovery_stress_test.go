package sockeye

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
)

// TestRecoveryCuts: clients by both transports, whose connections are cut at any byte,
// by an end or a reset, while several goroutines emit to all, to rooms and to each of
// them. Each client gets what was addressed to it, each event once, in the order of
// its emitter; and nothing is left when all have gone. SOCKEYE_CUTS=full has 500
// clients and 10,000 cuts.
func TestRecoveryCuts(t *testing.T) {
	clients, cuts, patience := 50, 500, time.Second
	switch {
	case os.Getenv("SOCKEYE_CUTS") == "full":
		clients, cuts, patience = 500, 10_000, 5*time.Second
	case testing.Short():
		clients, cuts = 20, 60
	}
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime has descriptors of its own
		_ = ln.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	w := newCutWorld(t, clients, patience)
	begun := time.Now()
	w.run(cuts)
	stats := w.srv.RecoveryStats()
	t.Logf("%d clients, %d cuts, %d of them before the client was in, in %v; %d recovered, %d missed; %d events emitted, %d received; %v",
		clients, w.cuts.Load(), w.early.Load(), time.Since(begun).Round(time.Millisecond), stats.Recovered, stats.Missed, w.emitted(), w.received.Load(), w.reasons())
	w.leave()
	_ = w.srv.Close()
	w.eventually("no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	w.eventually("no descriptor is left", func() bool { return openDescriptors() <= descriptors })
}

// openDescriptors is 0 where the system does not tell.
func openDescriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

const (
	cutEmitters = 3
	cutRooms    = 16
)

// cutWorld is a server, its clients, and those who emit to them.
type cutWorld struct {
	t        *testing.T
	srv      *Server
	addr     string
	patience time.Duration // of the server, with a session that does not answer
	peers    []*cutPeer

	total    [cutEmitters]atomic.Int64 // emitted
	received atomic.Int64
	cuts     atomic.Int64
	early    atomic.Int64 // cuts before the client was in

	mu  sync.Mutex
	why map[Reason]int
}

// cutPeer is a client and the proxy that cuts it.
type cutPeer struct {
	w      *cutWorld
	index  int
	client *client.Client
	ln     net.Listener
	in     chan struct{} // the client is connected
	pipes  sync.WaitGroup
	next   [cutEmitters]int64

	mu     sync.Mutex
	socket *Socket // the latest, also when it has gone
	id     string
	pid    string
	live   bool // socket is in
	doubt  bool // a CONNECT is being sent that has not arrived
	budget int  // bytes until the cut; -1 if there is none
	reset  bool // how it will be
	cut    chan struct{}
	links  map[*cutLink]struct{}
	done   int // cuts of at least one link
	ending int // links that were cut, and that the server may not have seen the end of
}

// cutLink is one connection through the proxy.
type cutLink struct {
	client, server *net.TCPConn
	cut            bool // guarded by cutPeer.mu
}

func newCutWorld(t *testing.T, clients int, patience time.Duration) *cutWorld {
	w := &cutWorld{t: t, patience: patience, why: map[Reason]int{}}
	var err error
	w.srv, err = New(Config{
		PingInterval: patience / 5, PingTimeout: patience * 4 / 5, // a session between two polls is missed by that alone
		Recovery: &Recovery{MaxBytes: 256 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.srv.Close() })
	w.srv.OnConnect(func(s *Socket) error {
		var auth struct{ N int }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		p := w.peer(auth.N)
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case p.socket == nil:
			p.id, p.pid = s.ID(), s.who().pid
			s.SetData(auth.N)
			if err := s.Join(p.rooms()...); err != nil {
				return err
			}
		default:
			recovered, id, data, rooms := s.Recovered(), s.ID(), s.Data(), s.Rooms()
			if !recovered || id != p.id || data != auth.N || len(rooms) != len(p.rooms())+1 {
				t.Errorf("client %d, %q, comes back as %q, recovered %v, data %v, rooms %q", auth.N, p.id, id, recovered, data, rooms)
			}
		}
		p.socket, p.live, p.doubt = s, true, false
		return nil
	})
	w.srv.OnDisconnect(func(s *Socket, reason Reason) {
		w.mu.Lock()
		w.why[reason]++
		w.mu.Unlock()
		n, _ := s.Data().(int) // or it is an error that has been told
		p := w.peer(n)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.socket == s {
			p.live = false
		}
	})
	w.srv.On("up", func(string) {})
	addr, err := w.srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = addr.String()
	for e := range cutEmitters { // for nobody: there is nobody yet
		for range 100 {
			w.emit(e, w.total[e].Add(1)-1)
		}
	}
	var peers []*cutPeer
	for i := range clients {
		peers = append(peers, w.newPeer(i))
	}
	w.mu.Lock()
	w.peers = peers
	w.mu.Unlock()
	for _, p := range w.peers {
		p.connect()
	}
	return w
}

// peer is for hooks, which know of the test's goroutine by the kernel alone.
func (w *cutWorld) peer(n int) *cutPeer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peers[n]
}

// rooms are those that the client is in.
func (p *cutPeer) rooms() []string {
	rooms := []string{fmt.Sprint("room", p.index%cutRooms)}
	if other := p.index * 7 % cutRooms; other != p.index%cutRooms {
		rooms = append(rooms, fmt.Sprint("room", other))
	}
	if p.index%2 == 0 {
		rooms = append(rooms, "half")
	}
	return rooms
}

// target tells to whom emitter e emits its event k: to all, a room, two rooms, all but
// a room, or one socket.
func target(e int, k int64, peers int) (kind, who int) {
	r := rand.New(rand.NewPCG(uint64(e), uint64(k)))
	switch n := r.IntN(100); {
	case n < 3:
		return 'a', 0
	case n < 5:
		return 'x', r.IntN(cutRooms)
	case n < 30:
		return 'r', r.IntN(cutRooms)
	case n < 34:
		return '2', r.IntN(cutRooms)
	case n < 60:
		return 'i', r.IntN(peers)
	}
	return 's', r.IntN(peers)
}

// addressed tells whether emitter e's event k is for the client.
func (p *cutPeer) addressed(e int, k int64) bool {
	in := func(room int) bool { return p.index%cutRooms == room || p.index*7%cutRooms == room }
	switch kind, who := target(e, k, len(p.w.peers)); kind {
	case 'a':
		return true
	case 'x':
		return !in(who)
	case 'r':
		return in(who)
	case '2':
		return in(who) || p.index%2 == 0
	default:
		return who == p.index
	}
}

// emit has emitter e emit its event k.
func (w *cutWorld) emit(e int, k int64) {
	kind, who := target(e, k, max(len(w.peers), 1))
	room := fmt.Sprint("room", who)
	args := []any{e, k, strings.Repeat("x", int(k%50))}
	if k%20 == 0 {
		args = append(args, []byte("binary"))
	}
	var err error
	switch kind {
	case 'a':
		err = w.srv.Emit("n", args...)
	case 'x':
		err = w.srv.Except(room).Emit("n", args...)
	case 'r':
		err = w.srv.To(room).Emit("n", args...)
	case '2':
		err = w.srv.To(room, "half").Emit("n", args...)
	case 'i':
		err = w.srv.To(w.idOf(who)).Emit("n", args...)
	case 's':
		if len(w.peers) == 0 {
			return
		}
		p := w.peers[who]
		p.mu.Lock()
		s := p.socket
		p.mu.Unlock()
		err = s.Emit("n", args...) // wherever the client is
	}
	if err != nil {
		w.t.Errorf("emit: %v", err)
	}
}

func (w *cutWorld) idOf(peer int) string {
	if len(w.peers) == 0 {
		return "nobody"
	}
	return w.peers[peer].id
}

func (w *cutWorld) emitted() (n int64) {
	for e := range w.total {
		n += w.total[e].Load()
	}
	return n
}

func (w *cutWorld) reasons() map[Reason]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.why)
}

// run cuts, while all emit, and waits until everybody has everything.
func (w *cutWorld) run(cuts int) {
	var emitting, cutting sync.WaitGroup
	var stop atomic.Bool
	for e := range cutEmitters {
		emitting.Go(func() {
			for !stop.Load() {
				for range 1 + rand.IntN(4) {
					w.emit(e, w.total[e].Load())
					w.total[e].Add(1)
				}
				time.Sleep(time.Duration(rand.IntN(4000*len(w.peers)/50)) * time.Microsecond)
			}
		})
	}
	for i, p := range w.peers {
		n := cuts / len(w.peers)
		if i < cuts%len(w.peers) {
			n++
		}
		cutting.Go(func() { p.cutTimes(n) })
	}
	cutting.Wait()
	stop.Store(true)
	emitting.Wait()
	for _, p := range w.peers {
		w.eventually("everything arrives", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			for e := range cutEmitters {
				if p.skip(e) != w.total[e].Load() {
					return false
				}
			}
			return true
		})
	}
}

// skip moves next to the next event for the client, or to the end. mu is held.
func (p *cutPeer) skip(e int) int64 {
	for p.next[e] < p.w.total[e].Load() && !p.addressed(e, p.next[e]) {
		p.next[e]++
	}
	return p.next[e]
}

// leave has all clients go, and looks at what is left.
func (w *cutWorld) leave() {
	for _, p := range w.peers {
		_ = p.client.Close()
	}
	w.eventually("all have gone", func() bool { s := w.srv.Stats(); return w.srv.Len() == 0 && s.Engine.Sessions == 0 && s.Net.Open == 0 })
	for _, p := range w.peers {
		_ = p.ln.Close()
		p.pipes.Wait()
	}
	if n := w.srv.rooms.Count(); n != 0 {
		w.t.Errorf("%d rooms are left", n)
	}
	h := w.srv.history
	h.mu.Lock()
	h.trim(time.Since(started) + h.cfg.MaxDisconnection + 1) // one that had been cut again, and has not come back, may be remembered
	if len(h.saved) != 0 || h.order.Len() != 0 {
		w.t.Errorf("%d sockets are remembered for ever", len(h.saved))
	}
	if h.bytes != 0 || h.charged != 0 || h.events.len() != 0 || len(h.logs)+len(h.direct)+h.toAll.offsets.Len() != 0 {
		w.t.Errorf("%d bytes of history are left, %d charged, %d events, %d+%d+%d in logs", h.bytes, h.charged, h.events.len(), len(h.logs), len(h.direct), h.toAll.offsets.Len())
	}
	h.mu.Unlock()
	w.eventually("no memory is charged", func() bool { return w.srv.Stats().Net.MemoryBytes == 0 })
}

func (w *cutWorld) eventually(what string, cond func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			w.t.Logf("%s", b[:runtime.Stack(b, true)])
			w.t.Fatalf("it did not come true in time: %s", what)
		}
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// newPeer makes a client, and its proxy.
func (w *cutWorld) newPeer(i int) *cutPeer {
	p := &cutPeer{w: w, index: i, in: make(chan struct{}, 1), budget: -1, links: map[*cutLink]struct{}{}}
	for e := range cutEmitters {
		p.next[e] = w.total[e].Load()
	}
	var err error
	if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.ln.Close() })
	go p.accept()
	cfg := client.Config{
		Transports: []string{[]string{"websocket", "polling"}[i%2]}, Auth: p.auth,
		ReconnectDelay: time.Millisecond, ReconnectDelayMax: 5 * time.Millisecond,
	}
	if p.client, err = client.New("http://"+p.ln.Addr().String(), cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.client.Close() })
	p.client.OnConnect(func() {
		select {
		case p.in <- struct{}{}:
		default:
		}
	})
	p.client.On("n", p.receive)
	return p
}

func (p *cutPeer) connect() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.client.Connect(ctx); err != nil {
		p.w.t.Fatal(err)
	}
	<-p.in
}

// receive checks what comes.
func (p *cutPeer) receive(ev *client.Event) {
	var e int
	var k int64
	if err := ev.Decode(&e, &k); err != nil {
		p.w.t.Errorf("client %d: %v", p.index, err)
		return
	}
	p.w.received.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	// The emitter counts an event after it has emitted it.
	want := p.next[e]
	for want <= k && !p.addressed(e, want) {
		want++
	}
	if p.w.t.Failed() {
		return
	}
	switch {
	case k < want && !p.addressed(e, k):
		p.w.t.Errorf("client %d: event %d of %d is for others", p.index, k, e)
	case k < want:
		p.w.t.Errorf("client %d: event %d of %d comes again, or late: the next is %d", p.index, k, e, want)
	case k > want:
		p.w.t.Errorf("client %d: event %d of %d, but %d has not come", p.index, k, e, want)
	}
	p.next[e] = max(k+1, p.next[e])
}

// cutTimes cuts n times.
func (p *cutPeer) cutTimes(n int) {
	for p.done < n && !p.w.t.Failed() {
		budget := rand.IntN(3000)
		if rand.IntN(3) == 0 {
			budget = rand.IntN(400) // while it comes back
		}
		done := make(chan struct{})
		p.mu.Lock()
		p.budget, p.reset, p.cut = budget, rand.IntN(2) == 0, done
		p.mu.Unlock()
		if rand.IntN(2) == 0 {
			_ = p.client.Emit("up", strings.Repeat("u", rand.IntN(200)))
		}
		wait := time.NewTimer(time.Duration(rand.IntN(200)) * time.Millisecond)
		select {
		case <-done:
		case <-wait.C:
			p.cutNow()
		}
		wait.Stop()
		<-done
		if rand.IntN(3) > 0 { // or it is cut again while it comes back
			p.comeBack()
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		}
	}
}

// comeBack waits until the client is in again. One that was between two polls may not
// have seen the cut.
func (p *cutPeer) comeBack() {
	for deadline := time.Now().Add(time.Minute); ; {
		select {
		case <-p.in:
			return
		case <-time.After(200 * time.Millisecond):
		}
		p.mu.Lock()
		live := p.live
		p.mu.Unlock()
		switch {
		case live && p.client.Connected():
			return
		case time.Now().After(deadline):
			p.w.t.Errorf("client %d does not come back: for the server it is in: %v; it is connected: %v, active: %v; it may connect: %v", p.index, live, p.client.Connected(), p.client.Active(), p.mayConnect())
			return
		}
	}
}

// take tells how many of n bytes may pass, and whether then all is cut.
func (p *cutPeer) take(n int) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.budget < 0:
		return n, false
	case n < p.budget:
		p.budget -= n
		return n, false
	}
	pass, p.budget = p.budget, 0
	return pass, true
}

// cutNow ends all connections. A reset is for those alone who are in: what the server
// has read of a client that is not could still bring it in, later.
func (p *cutPeer) cutNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget < 0 {
		return
	}
	p.budget = -1
	if len(p.links) > 0 {
		p.done++
		p.w.cuts.Add(1)
		if !p.live {
			p.w.early.Add(1)
		}
	}
	select { // it is not in any more
	case <-p.in:
	default:
	}
	for l := range p.links {
		if p.reset && p.live {
			_ = l.client.SetLinger(0)
			_ = l.server.SetLinger(0)
			_ = l.server.Close()
		} else {
			_ = l.server.CloseWrite()
		}
		l.cut = true
		p.ending++
		_ = l.client.Close()
		delete(p.links, l)
	}
	close(p.cut)
}

// accept lets the client's connections through.
func (p *cutPeer) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.w.addr)
		if err != nil {
			_ = c.Close() // the server is closed
			continue
		}
		l := &cutLink{client: c.(*net.TCPConn), server: s.(*net.TCPConn)}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.pipes.Add(2)
		go p.pipe(l, l.server, l.client)
		go p.pipe(l, l.client, l.server)
	}
}

// auth is the client's. It waits until the server has seen the end of what was there
// before: who is still here for it cannot come back.
func (p *cutPeer) auth() any {
	p.mu.Lock()
	doubt := p.doubt
	p.mu.Unlock()
	if doubt { // the CONNECT before may still arrive, while its session lives
		time.Sleep(p.w.patience + p.w.patience/4)
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.doubt = true
	}()
	for deadline := time.Now().Add(time.Minute); !p.mayConnect(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.w.t.Errorf("client %d: the server does not notice the cut", p.index)
			break
		}
	}
	return map[string]int{"n": p.index}
}

func (p *cutPeer) mayConnect() bool {
	p.mu.Lock()
	pid, wait := p.pid, p.live || p.ending > 0
	p.mu.Unlock()
	if pid == "" || wait {
		return pid == ""
	}
	h := p.w.srv.history
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.saved[pid] != nil
}

// pipe copies until the end, or the cut. The server is read to the end in any case.
func (p *cutPeer) pipe(l *cutLink, to, from *net.TCPConn) {
	defer p.pipes.Done()
	b := make([]byte, 4<<10)
	for {
		n, err := from.Read(b)
		pass, cut := p.take(n)
		if pass > 0 {
			_, _ = to.Write(b[:pass])
		}
		if cut {
			p.cutNow()
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	delete(p.links, l)
	cut := l.cut
	if from == l.server && cut {
		p.ending--
	}
	p.mu.Unlock()
	if !cut { // it has ended by itself
		_ = to.CloseWrite()
	}
	if from == l.server {
		_ = l.server.Close()
		_ = l.client.Close()
	}
}
