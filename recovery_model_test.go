package sockeye

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestRecoveryModel: random peers connect, vanish, also while they come back, come back,
// two at once, with any offset that they were given, are refused, leave and are
// disconnected, while events go to all, to rooms, to all but rooms and to each. After each
// step rooms, data, what each has got, and what is remembered are what a simple model
// says. A seed leads to the same each time.
func TestRecoveryModel(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 30
	}
	back := 0
	for seed := range uint64(seeds) {
		w := newModelWorld(t, seed)
		for range 60 {
			if w.step(); t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, strings.Join(w.trace, "\n"))
			}
		}
		back += w.back
		w.end()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.trace, "\n"))
		}
	}
	if back < 4*seeds {
		t.Errorf("only %d came back", back)
	}
}

var (
	modelRooms = []string{"a", "b", "c"}
	errModel   = errors.New("refused")
)

// modelWorld is a server in memory, and the model of it.
type modelWorld struct {
	t     *testing.T
	rng   *rand.Rand
	net   *netpolltest.Net
	srv   *Server
	asks  bool // Recovery.AskMiddlewares
	seats []*modelSeat
	trace []string

	n      int // recorded events, numbered from 0
	events []*modelEvent
	floor  int // events before it are forgotten
	held   int // sockets whose handlers wait
	serial int
	back   int

	arrivals int64        // handlers that wait, ever
	arrived  atomic.Int64 // likewise, in truth
	mu       sync.Mutex
	plans    map[int]*modelPlan
	ended    map[*Socket]int
}

// modelEvent is a recorded event: whom it was for, and by which of its addresses, as far as
// they are still in these rooms. "" is no room.
type modelEvent struct {
	n   int
	via map[*modelLife]map[string]bool
}

// modelPlan is what a CONNECT's handlers do.
type modelPlan struct {
	Key         int
	Leave, Join []string // in the middleware
	On          []string // joined in OnConnect
	Refuse      string   // "middleware", "connect" or ""
	Hold        string   // likewise: it waits there
	Emit        bool     // in the middleware

	release chan struct{}
	socket  *Socket
	rooms   []string // that the middleware has seen at first
}

type modelState int

const (
	modelOver   modelState = iota // it does not come back
	modelLive                     // also while OnConnect waits
	modelAway                     // it may come back
	modelComing                   // a middleware waits
)

// modelLife is a socket as its peer knows it: one ID, several Sockets.
type modelLife struct {
	id, pid string
	state   modelState
	rooms   map[string]bool
	data    any
	sockets []*Socket // those that were in
	counted []*Socket // those of which OnDisconnect is called

	seen []modelSeen // what the peer has got, in order
	last int         // the last event that was handed to its session
	from int         // the first event since it is there
}

// modelSeen is an offset, and the last event that had been recorded.
type modelSeen struct {
	offset string
	n      int
}

// modelSeat is a peer and its connection.
type modelSeat struct {
	index int
	wire  *netpolltest.Peer // nil without a connection
	in    bytes.Buffer
	life  *modelLife
	plan  *modelPlan // of a CONNECT that is under way
	base  int        // what it has claimed to have got
	got   []string
	want  []string
	pid   string // that it was told
	id    string
	no    bool // refused
}

func newModelWorld(t *testing.T, seed uint64) *modelWorld {
	w := &modelWorld{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), net: netpolltest.NewNet(2),
		plans: map[int]*modelPlan{}, ended: map[*Socket]int{},
	}
	w.asks = w.rng.IntN(3) > 0
	var err error
	w.srv, err = New(Config{
		Seams: &seam.Seams{Systems: w.net.Systems()}, TLS: w.net.TLS(),
		Recovery: &Recovery{AskMiddlewares: w.asks, MaxDisconnection: time.Hour}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.srv.Use(func(s *Socket) error {
		p := w.planOf(s)
		w.mu.Lock()
		p.socket, p.rooms = s, s.Rooms()[1:]
		w.mu.Unlock()
		if p.Emit {
			_ = s.Emit("early", -1)
		}
		for _, room := range p.Leave {
			s.Leave(room)
		}
		_ = s.Join(p.Join...)
		return w.meet(p, "middleware")
	})
	w.srv.OnConnect(func(s *Socket) error {
		p := w.planOf(s)
		w.mu.Lock()
		p.socket = s
		w.mu.Unlock()
		if !s.Recovered() {
			s.SetData(p.Key)
		}
		if err := w.meet(p, "connect"); err != nil {
			return err
		}
		_ = s.Join(p.On...) // or it has gone
		return nil
	})
	w.srv.OnDisconnect(func(s *Socket, _ Reason) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended[s]++
	})
	for i := range 4 {
		w.seats = append(w.seats, &modelSeat{index: i})
	}
	return w
}

func (w *modelWorld) planOf(s *Socket) *modelPlan {
	var p modelPlan
	_ = s.Auth(&p)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plans[p.Key]
}

// meet is a handler's: it waits, or refuses, if it is to.
func (w *modelWorld) meet(p *modelPlan, where string) error {
	if p.Hold == where {
		w.arrived.Add(1)
		<-p.release
	}
	if p.Refuse == where {
		return errModel
	}
	return nil
}

func (w *modelWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// quiet runs the server until only those who are held have something to do.
func (w *modelWorld) quiet() {
	if !w.net.RunUntil(10*time.Second, func() bool {
		return w.srv.Stats().ActiveSockets == w.held && w.arrived.Load() == w.arrivals && w.net.Idle()
	}) {
		w.t.Fatalf("it does not come to rest: %d are active, %d held; %d have arrived, want %d\n%s",
			w.srv.Stats().ActiveSockets, w.held, w.arrived.Load(), w.arrivals, strings.Join(w.trace, "\n"))
	}
	for _, s := range w.seats {
		s.read(w)
	}
}

// read reads what the server has sent.
func (s *modelSeat) read(w *modelWorld) {
	if s.wire == nil {
		return
	}
	s.in.Write(s.wire.Read())
	for {
		r := bytes.NewReader(s.in.Bytes())
		h, err := ws.ReadHeader(r)
		if err != nil || int64(r.Len()) < h.Length {
			return
		}
		s.in.Next(s.in.Len() - r.Len())
		packet := string(s.in.Next(int(h.Length)))
		switch {
		case strings.HasPrefix(packet, "40"):
			var answer struct{ SID, PID string }
			_ = json.Unmarshal([]byte(packet[2:]), &answer)
			s.id, s.pid = answer.SID, answer.PID
		case strings.HasPrefix(packet, "44"):
			s.no = true
		case strings.HasPrefix(packet, "42"):
			var args []any
			_ = json.Unmarshal([]byte(packet[2:]), &args)
			if len(args) != 3 {
				w.t.Fatalf("an event %q", packet)
			}
			name, n, offset := args[0].(string), int(args[1].(float64)), args[2].(string)
			s.got = append(s.got, fmt.Sprint(name, n))
			at := modelSeen{offset, n}
			switch name {
			case "n":
				s.life.last = n
			case "volatile":
				at.n = w.n - 1
			case "early":
				at.n = s.base
			}
			s.life.seen = append(s.life.seen, at)
		}
	}
}

func (s *modelSeat) send(packet string) { s.wire.Write(maskedFrame(ws.OpText, packet)) }

// some are some of the rooms.
func (w *modelWorld) some(max int) (rooms []string) {
	for range w.rng.IntN(max + 1) {
		rooms = append(rooms, modelRooms[w.rng.IntN(len(modelRooms))])
	}
	return rooms
}

// dial opens a connection and asks to join.
func (w *modelWorld) dial(s *modelSeat, p *modelPlan, pid, offset string) {
	w.serial++
	p.Key, p.release = w.serial, make(chan struct{})
	w.mu.Lock()
	w.plans[p.Key] = p
	w.mu.Unlock()
	s.in.Reset()
	s.plan, s.id, s.pid, s.no, s.got, s.want = p, "", "", false, nil, nil
	s.wire = w.net.Dial(w.rng.IntN(2))
	s.wire.Write([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n" + upgradeLines + "\r\n"))
	for !bytes.Contains(s.in.Bytes(), []byte("\r\n\r\n")) {
		w.net.Run()
		s.in.Write(s.wire.Read())
	}
	s.in.Next(bytes.Index(s.in.Bytes(), []byte("\r\n\r\n")) + 4)
	auth := struct {
		*modelPlan
		PID    string `json:"pid,omitempty"`
		Offset string `json:"offset,omitempty"`
	}{p, pid, offset}
	b, err := json.Marshal(auth)
	if err != nil {
		w.t.Fatal(err)
	}
	s.send("40" + string(b))
}

// emitted enters a recorded event.
func (w *modelWorld) emitted(rooms, except []string, only, but *modelLife) {
	e := &modelEvent{n: w.n, via: map[*modelLife]map[string]bool{}}
	w.n++
	w.events = append(w.events, e)
	for _, s := range w.seats {
		l := s.life
		if l == nil || l.state == modelOver || l == but || only != nil && l != only {
			continue
		}
		via := map[string]bool{}
		if len(rooms) == 0 {
			via[""] = true
		}
		for _, r := range rooms {
			if l.rooms[r] {
				via[r] = true
			}
		}
		if len(via) == 0 || slices.ContainsFunc(except, func(r string) bool { return l.rooms[r] }) {
			continue
		}
		e.via[l] = via
		if l.state == modelLive {
			s.want = append(s.want, fmt.Sprint("n", e.n))
		}
	}
}

func (w *modelWorld) leaves(l *modelLife, room string) {
	delete(l.rooms, room)
	for _, e := range w.events {
		delete(e.via[l], room)
	}
}

// missed is what a life has to get that has got everything up to base.
func (w *modelWorld) missed(l *modelLife, base int) (list []string) {
	for _, e := range w.events {
		if e.n > base && len(e.via[l]) > 0 {
			list = append(list, fmt.Sprint("n", e.n))
		}
	}
	return list
}

// enters has a life enter: what it had missed comes first.
func (w *modelWorld) enters(s *modelSeat) {
	l, p := s.life, s.plan
	if len(l.sockets) == 0 {
		l.from, l.last = w.n, w.n-1
	} else {
		s.want = append(s.want, w.missed(l, s.base)...)
	}
	if w.asks || len(l.sockets) == 0 {
		for _, r := range p.Leave {
			if !slices.Contains(p.Join, r) {
				w.leaves(l, r)
			}
		}
		for _, r := range p.Join {
			l.rooms[r] = true
		}
	}
	l.state = modelLive
	l.sockets = append(l.sockets, p.socket)
	if len(l.sockets) == 1 {
		l.data = p.Key
	} else {
		w.back++
	}
}

// goes on with a CONNECT from where it was held, or from the beginning.
func (w *modelWorld) goesOn(s *modelSeat) {
	l, p := s.life, s.plan
	again := len(l.sockets) > 0
	asked := w.asks || !again
	if l.state != modelLive {
		if p.Emit && asked && !(p.Hold == "middleware" && l.state == modelComing) {
			s.want = append(s.want, "early-1")
		}
		switch {
		case asked && p.Hold == "middleware" && l.state != modelComing:
			l.state = modelComing
			return
		case asked && p.Refuse == "middleware":
			l.state = modelOver
			return
		}
		w.enters(s)
		if p.Hold == "connect" {
			return
		}
	}
	if p.Refuse == "connect" {
		l.state, s.want = modelOver, nil
		return
	}
	for _, r := range p.On {
		l.rooms[r] = true
	}
	l.counted = append(l.counted, p.socket)
	s.plan = nil
}

// connects has a peer connect, as the model says, and looks at who it is then.
func (w *modelWorld) connects(s *modelSeat, l *modelLife, p *modelPlan) {
	again := l != nil
	if !again {
		l = &modelLife{rooms: map[string]bool{}, last: -1}
	}
	s.life = l
	holds := p.Hold == "connect" && (p.Refuse != "middleware" || again && !w.asks) || p.Hold == "middleware" && (w.asks || !again)
	if holds {
		w.held++
		w.arrivals++
	}
	w.quiet()
	if again && w.asks && !slices.Equal(slices.Sorted(maps.Keys(l.rooms)), slices.Sorted(slices.Values(p.rooms))) {
		w.t.Errorf("the middleware sees rooms %q, not %v", p.rooms, l.rooms)
	}
	was := l.state
	w.goesOn(s)
	w.admitted(s, was == modelAway)
}

// admitted looks at how a CONNECT was answered.
func (w *modelWorld) admitted(s *modelSeat, again bool) {
	l := s.life
	if s.plan != nil && l.state != modelOver {
		return // it is held
	}
	// Who decides is not active any more when it tells the loop.
	w.net.RunUntil(10*time.Second, func() bool { s.read(w); return s.id != "" || s.no })
	w.quiet()
	switch {
	case l.state == modelOver:
		if !s.no || s.id != "" {
			w.t.Errorf("seat %d is not refused", s.index)
		}
		s.hangUp(w)
		return
	case again && (s.id != l.id || s.pid != l.pid):
		w.t.Errorf("seat %d comes back as %q, not %q", s.index, s.id, l.id)
	case !again:
		for _, x := range w.seats {
			if x != s && x.life != nil && x.life.id == s.id {
				w.t.Errorf("seat %d is %q, as seat %d is", s.index, s.id, x.index)
			}
		}
		l.id, l.pid = s.id, s.pid
	}
}

// hangUp ends the connection of one who is out.
func (s *modelSeat) hangUp(w *modelWorld) {
	s.wire.Reset()
	w.quiet()
	s.wire, s.plan = nil, nil
	s.got, s.want = nil, nil
}

func (w *modelWorld) plan(again bool) *modelPlan {
	p := &modelPlan{Join: w.some(2), On: w.some(2)}
	switch w.rng.IntN(8) {
	case 0:
		p.Refuse = "middleware"
	case 1:
		p.Refuse = "connect"
	}
	if again {
		p.Leave, p.Emit = w.some(2), w.rng.IntN(3) == 0
		switch w.rng.IntN(4) {
		case 0:
			p.Hold = "middleware"
		case 1:
			p.Hold = "connect"
		}
	}
	return p
}

// claim is the offset that the peer comes back with.
func (w *modelWorld) claim(s *modelSeat) (offset string) {
	l := s.life
	k := len(l.seen) - 1
	switch {
	case w.rng.IntN(6) == 0:
		s.base = l.last
		return "a text of the application's"
	case len(l.seen) > 0 && w.rng.IntN(2) == 0: // what was sent last was lost
		k -= w.rng.IntN(min(4, len(l.seen)))
		if k < len(l.seen)-1 && l.seen[k].n+1 < w.floor {
			k = len(l.seen) - 1
		}
	case l.from >= w.floor && w.rng.IntN(8) == 0:
		k = -1
	}
	if k < 0 {
		if l.from < w.floor { // it has got nothing for long
			s.base = l.last
			return "a text of the application's"
		}
		l.seen, s.base = nil, l.from-1
	} else {
		l.seen, s.base = l.seen[:k+1], l.seen[k].n
		offset = l.seen[k].offset
	}
	l.last = s.base
	return offset
}

func (w *modelWorld) step() {
	s := w.seats[w.rng.IntN(len(w.seats))]
	l := s.life
	switch k := w.rng.IntN(100); {
	case k < 25:
		w.emit(s)
	case s.plan != nil: // it is held
		w.resolve(s)
	case l == nil || l.state == modelOver:
		p := w.plan(false)
		pid := ""
		if l != nil && w.rng.IntN(2) == 0 { // that it had: it is no use any more
			pid = l.pid
		}
		w.note("%d connects: %+v", s.index, *p)
		s.life = nil
		w.dial(s, p, pid, "")
		w.connects(s, nil, p)
	case l.state == modelAway:
		w.comesBack(s)
	case k < 50:
		w.cuts(s)
	default:
		w.acts(s)
	}
	w.check()
}

func (w *modelWorld) comesBack(s *modelSeat) {
	switch l, k := s.life, w.rng.IntN(12); {
	case k == 0 && w.held == 0: // or who is held would have missed something that is forgotten
		w.note("all who are away are forgotten")
		h := w.srv.history
		h.mu.Lock()
		h.trim(time.Since(started) + h.cfg.MaxDisconnection + 1)
		h.mu.Unlock()
		w.floor = w.n
		for _, x := range w.seats {
			if x.life != nil && x.life.state == modelAway {
				x.life.state = modelOver
			}
		}
	case k == 1:
		w.pastIsPast(l)
	default:
		p, offset := w.plan(true), w.claim(s)
		var other *modelSeat
		if i := slices.IndexFunc(w.seats, func(x *modelSeat) bool { return x.wire == nil && (x.life == nil || x.life.state == modelOver) }); i >= 0 && w.rng.IntN(4) == 0 {
			other = w.seats[i]
		}
		w.note("%d comes back, and %v: %+v, %q, events up to %d", s.index, other != nil, *p, offset, s.base)
		w.dial(s, p, l.pid, offset)
		if other != nil { // it is later
			q := &modelPlan{On: w.some(2)}
			w.dial(other, q, l.pid, offset)
			w.connects(s, l, p)
			other.life = &modelLife{rooms: map[string]bool{}, last: -1}
			w.quiet()
			w.goesOn(other)
			w.admitted(other, false)
			return
		}
		w.connects(s, l, p)
	}
}

// resolve lets a held socket go on, or has its peer vanish first.
func (w *modelWorld) resolve(s *modelSeat) {
	l, p := s.life, s.plan
	if w.rng.IntN(2) == 0 && len(l.sockets) > 0 {
		w.note("%d vanishes while its %s waits", s.index, p.Hold)
		s.wire.Reset()
		w.quiet()
		entered := l.state == modelLive
		l.state = modelAway
		s.wire, s.plan, s.got, s.want = nil, nil, nil, nil
		w.check()
		close(p.release)
		w.held--
		w.quiet()
		if entered && p.Refuse != "connect" {
			l.counted = append(l.counted, p.socket)
		}
		return
	}
	w.note("%d goes on after its %s", s.index, p.Hold)
	w.held--
	close(p.release)
	w.quiet()
	w.goesOn(s)
	w.admitted(s, true)
}

// pastIsPast: what is called of a Socket that has gone changes nothing.
func (w *modelWorld) pastIsPast(l *modelLife) {
	old := l.sockets[w.rng.IntN(len(l.sockets))]
	if old.Connected() {
		return
	}
	w.note("the past of %s is called", l.id)
	if err := old.Join(modelRooms[w.rng.IntN(3)]); !errors.Is(err, ErrDisconnected) {
		w.t.Errorf("Join: %v", err)
	}
	old.Leave(modelRooms[w.rng.IntN(3)])
	old.SetData("of the past")
	old.Disconnect()
	w.quiet()
}

func (w *modelWorld) cuts(s *modelSeat) {
	if w.rng.IntN(4) == 0 {
		w.note("%d leaves", s.index)
		s.life.state = modelOver
		s.send("41")
		w.quiet()
		s.hangUp(w)
		return
	}
	w.note("%d is cut", s.index)
	s.life.state = modelAway
	s.hangUp(w)
}

// acts does something with a socket that is there.
func (w *modelWorld) acts(s *modelSeat) {
	l := s.life
	socket := l.sockets[len(l.sockets)-1]
	room := modelRooms[w.rng.IntN(len(modelRooms))]
	switch k := w.rng.IntN(10); {
	case k < 3:
		w.note("%d joins %s", s.index, room)
		if err := socket.Join(room); err != nil {
			w.t.Errorf("Join: %v", err)
		}
		l.rooms[room] = true
	case k < 6:
		w.note("%d goes out of %s", s.index, room)
		socket.Leave(room)
		w.quiet()
		w.leaves(l, room)
	case k < 7:
		l.data = w.n
		socket.SetData(w.n)
	case k < 8:
		w.pastIsPast(l)
	case k < 9:
		i := slices.IndexFunc(w.seats, func(x *modelSeat) bool { return x.wire == nil && (x.life == nil || x.life.state == modelOver) })
		if i < 0 {
			return
		}
		x := w.seats[i]
		w.note("%d connects with the pid of %d, which is here", x.index, s.index)
		p := &modelPlan{}
		x.life = nil
		w.dial(x, p, l.pid, "")
		w.connects(x, nil, p)
	default:
		cut := w.rng.IntN(2) == 0
		w.note("%d is disconnected, and cut %v", s.index, cut)
		l.state = modelOver
		if session := socket.engineSession(); cut {
			session.Loop().PostNow(func(_, _ any) { socket.Disconnect(); session.CloseNow(TransportClose) }, nil, nil, 0)
		} else {
			socket.Disconnect()
		}
		w.quiet()
		s.hangUp(w)
	}
	w.quiet()
}

// emit emits, to somebody.
func (w *modelWorld) emit(s *modelSeat) {
	n, l := w.n, s.life
	rooms, except := w.some(2), w.some(1)
	there := l != nil && l.state != modelOver && len(l.sockets) > 0
	var err error
	switch k := w.rng.IntN(10); {
	case k < 5 || !there:
		w.note("event %d to %q but %q", n, rooms, except)
		w.emitted(rooms, except, nil, nil)
		err = w.srv.To(rooms...).Except(except...).Emit("n", n)
	case k < 8:
		by := l.sockets[w.rng.IntN(len(l.sockets))]
		w.note("event %d to %d, of which there were %d", n, s.index, len(l.sockets))
		w.emitted(nil, nil, l, nil)
		err = by.Emit("n", n)
	case k < 9 && l.state == modelLive:
		w.note("event %d of %d to %q", n, s.index, rooms)
		w.emitted(rooms, nil, nil, l)
		err = l.sockets[w.rng.IntN(len(l.sockets))].To(rooms...).Emit("n", n)
	default:
		w.note("a volatile event")
		err = w.srv.Volatile().Emit("volatile", -1)
		for _, x := range w.seats {
			if x.life != nil && x.life.state == modelLive && x.plan == nil {
				x.want = append(x.want, "volatile-1")
			}
		}
	}
	if err != nil {
		w.t.Errorf("emit: %v", err)
	}
	w.quiet()
}

// check compares the server with the model.
func (w *modelWorld) check() {
	w.quiet()
	away, coming := 0, 0
	in := map[string]int{}
	for _, s := range w.seats {
		l := s.life
		if l == nil {
			continue
		}
		for _, x := range l.counted {
			want := 1
			if x == l.sockets[len(l.sockets)-1] && l.state == modelLive && s.plan == nil {
				want = 0
			}
			w.mu.Lock()
			got := w.ended[x]
			w.mu.Unlock()
			if got != want {
				w.t.Errorf("OnDisconnect of seat %d has been called %d times, want %d", s.index, got, want)
			}
		}
		switch l.state {
		case modelAway:
			away++
		case modelComing:
			coming++
		case modelLive:
			socket := l.sockets[len(l.sockets)-1]
			if got := w.srv.Socket(socket.ID()); got != socket || l.id != "" && socket.ID() != l.id {
				w.t.Errorf("seat %d is not found by its ID", s.index)
			}
			for r := range l.rooms {
				in[r]++
			}
			rooms := socket.Rooms()[1:]
			slices.Sort(rooms)
			if !slices.Equal(rooms, slices.Sorted(maps.Keys(l.rooms))) {
				w.t.Errorf("seat %d is in %q, not %v", s.index, rooms, l.rooms)
			}
			if socket.Data() != l.data {
				w.t.Errorf("the data of seat %d are %v, not %v", s.index, socket.Data(), l.data)
			}
		}
		if s.wire != nil && s.plan == nil && !slices.Equal(s.got, s.want) {
			w.t.Errorf("seat %d has got %q, not %q", s.index, s.got, s.want)
		}
	}
	for _, r := range modelRooms {
		if got := len(w.srv.To(r).Sockets()); got != in[r] {
			w.t.Errorf("%d sockets are in %s, not %d", got, r, in[r])
		}
	}
	h := w.srv.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if asking := len(h.coming); len(h.saved) != away || asking != coming {
		w.t.Errorf("%d are remembered, not %d; %d come back, not %d", len(h.saved), away, asking, coming)
	}
}

// end has all go.
func (w *modelWorld) end() {
	for _, s := range w.seats {
		if s.plan != nil {
			w.held--
			close(s.plan.release)
		}
		if s.wire != nil {
			s.wire.Reset()
		}
	}
	w.quiet()
	h := w.srv.history
	h.mu.Lock()
	h.trim(time.Since(started) + h.cfg.MaxDisconnection + 1)
	if len(h.saved)+len(h.coming)+h.order.Len()+h.bytes+h.pinned+h.events.len()+len(h.logs)+len(h.direct) != 0 {
		w.t.Errorf("%d+%d sockets, %d+%d bytes, %d events are left", len(h.saved), len(h.coming), h.bytes, h.pinned, h.events.len())
	}
	h.mu.Unlock()
	if n := w.srv.Stats().Net.MemoryBytes; n != 0 {
		w.t.Errorf("%d bytes are charged", n)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.srv.Close()
	}()
	w.net.RunUntil(10*time.Second, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}
