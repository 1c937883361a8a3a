package adaptertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// wire is a peer by polling, which says what it likes.
type wire struct {
	t   *testing.T
	url string // with the session's ID

	id, pid string   // what CONNECT was answered
	got     []string // events, without their offsets
	offsets []string // of each
	over    bool     // the server has ended it
}

// wire connects one to a server; with auth it sends CONNECT.
func (w *world) wire(server int, auth string) *wire {
	w.t.Helper()
	p := &wire{t: w.t, url: w.urls[server] + "/socket.io/?EIO=4&transport=polling"}
	var open struct {
		SID string `json:"sid"`
	}
	body := p.do(http.MethodGet, "")
	if len(body) == 0 || json.Unmarshal([]byte(body[1:]), &open) != nil || open.SID == "" {
		w.t.Fatalf("the handshake is %q", body)
	}
	p.url += "&sid=" + open.SID
	p.do(http.MethodPost, "40"+auth)
	for p.id == "" && !p.over {
		p.poll()
	}
	return p
}

func (p *wire) do(method, body string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		p.over = true
		return ""
	}
	return string(answer)
}

// poll reads what there is.
func (p *wire) poll() {
	p.t.Helper()
	for _, packet := range strings.Split(p.do(http.MethodGet, ""), "\x1e") {
		switch {
		case packet == "2":
			p.do(http.MethodPost, "3")
		case packet == "1":
			p.over = true
		case strings.HasPrefix(packet, "40"):
			var answer struct {
				SID string `json:"sid"`
				PID string `json:"pid"`
			}
			if err := json.Unmarshal([]byte(packet[2:]), &answer); err != nil {
				p.t.Fatalf("%q: %v", packet, err)
			}
			p.id, p.pid = answer.SID, answer.PID
		case strings.HasPrefix(packet, "42"):
			d := json.NewDecoder(strings.NewReader(packet[2:]))
			d.UseNumber()
			var list []any
			if err := d.Decode(&list); err != nil || len(list) < 2 {
				p.t.Fatalf("%q: %v", packet, err)
			}
			offset, _ := list[len(list)-1].(string)
			p.offsets = append(p.offsets, offset)
			p.got = append(p.got, fmt.Sprint(list[0])+Text(list[1:len(list)-1]))
		}
	}
}

// until polls until an event has come; false if the session is over.
func (p *wire) until(event string) bool {
	p.t.Helper()
	for end := time.Now().Add(limit); !p.over && !slices.Contains(p.got, event); {
		if time.Now().After(end) {
			p.t.Fatalf("%s has not come, but %q", event, p.got)
		}
		p.poll()
	}
	return !p.over
}

// close ends the connection, as one that breaks.
func (p *wire) close() { p.do(http.MethodPost, "1") }

// asks is the auth object of a peer that asks to be another one.
func asks(pid, offset string) string {
	auth := map[string]string{"pid": pid}
	if offset != "" {
		auth["offset"] = offset
	}
	b, _ := json.Marshal(auth)
	return string(b)
}

// gone waits until a server has no socket of an ID.
func (w *world) gone(server int, id string) {
	w.t.Helper()
	Eventually(w.t, "the socket has gone", func() bool { return w.servers[server].Socket(id) == nil })
}

// claims: whatever a client claims to be, or to have got, it gets what it had a right to, or
// nothing, as a new socket.
func claims(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	old := w.wire(0, "")
	w.emit(w.servers[0].All(), "long ago")
	old.until("long ago[]")
	// Who is meant comes later, and joins the room later still.
	first := w.wire(0, "")
	if err := w.servers[0].Socket(old.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("red"), "before")
	old.until("before[]")
	if err := w.servers[0].Socket(first.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		w.emit(w.servers[1].To("red"), "n", i)
	}
	first.until("n[3]")
	first.close()
	w.gone(0, first.id)
	w.emit(w.servers[1].To("red"), "n", 4)
	w.emit(w.servers[1].To("blue"), "secret")
	at := func(event string) string { return first.offsets[slices.Index(first.got, event)] }
	other := at("n[3]")[:len(at("n[3]"))-1] + "x"
	for _, c := range []struct {
		name, pid, offset string
		server            int
		want              []string // nil: a new socket
	}{
		{"another's pid", strings.Repeat("A", 20), at("n[3]"), 1, nil},
		{"a pid that is none", "../" + first.pid, at("n[3]"), 1, nil},
		{"a long pid", strings.Repeat("A", 100_000), at("n[3]"), 1, nil},
		{"an offset that is none", first.pid, other, 1, nil},
		{"a long offset", first.pid, at("n[3]") + strings.Repeat("0", 10_000), 1, nil},
		{"early, without a number", first.pid, at("n[1]") + ".nobody.", 1, nil},
		{"an early number that is huge", first.pid, at("n[1]") + ".nobody.99999999999999999999", 1, nil},
		{"what came last", "", at("n[3]"), 1, []string{"n[4]"}},
		{"an older one", "", at("n[1]"), 0, []string{"n[2]", "n[3]", "n[4]"}},
		{"none", "", "", 1, []string{"n[0]", "n[1]", "n[2]", "n[3]", "n[4]"}},
		{"one of before", "", old.offsets[len(old.offsets)-1], 0, []string{"n[0]", "n[1]", "n[2]", "n[3]", "n[4]"}},
	} {
		p := w.wire(c.server, asks(cmp.Or(c.pid, first.pid), c.offset))
		if c.want == nil {
			if p.over || p.pid == first.pid || p.id == first.id {
				t.Errorf("%s: it is not a new socket", c.name)
			}
			w.emit(w.servers[c.server].To(p.id), "end")
		} else {
			if p.id != first.id || p.pid != first.pid {
				t.Fatalf("%s: not recovered", c.name)
			}
			w.emit(w.servers[c.server].To(first.id).Local(), "end")
		}
		p.until("end[]")
		if got := p.got[:len(p.got)-1]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q has come, not %q", c.name, got, c.want)
		}
		p.close()
		w.gone(c.server, p.id)
	}
	// Offsets that may be right, of what has not come here yet, are waited for.
	for _, forged := range []func(offset string) string{
		func(offset string) string { return "9" + offset },
		func(offset string) string { return offset + ".nobody.3" },
	} {
		first := w.wire(0, "")
		w.emit(w.servers[0].To(first.id), "first")
		first.until("first[]")
		first.close()
		w.gone(0, first.id)
		w.emit(w.servers[0].All(), "missed")
		p := w.wire(1, asks(first.pid, forged(first.offsets[0])))
		if p.over || p.id == first.id || p.pid == first.pid {
			t.Errorf("it is not a new socket")
		}
		w.emit(w.servers[1].To(p.id), "end")
		p.until("end[]")
		if len(p.got) != 1 {
			t.Errorf("%q has come", p.got)
		}
	}
}

// noPart: who has missed something that the bus has forgotten is a new socket, and gets no
// part of it.
func noPart(t *testing.T, bus Bus) {
	if bus.Trim == nil {
		t.Skip("the bus forgets nothing")
	}
	w := recoveryWorld(t, bus, 2, nil)
	for _, left := range []int{3, 0} {
		r := w.roam(0, "red")
		w.emit(w.servers[1].To("red"), "first")
		r.expects("first[]")
		r.away()
		for i := range 6 {
			w.emit(w.servers[1].To("red"), "missed", i)
		}
		see := w.roam(1, "red")
		w.emit(w.servers[1].To("red"), "flushed")
		see.expects("flushed[]")
		bus.Trim(t, left)
		r.back(1, false)
		w.emit(w.servers[0].All(), "end")
		r.expects("first[]", "end[]")
		if n := w.servers[1].RecoveryStats().Missed; n == 0 {
			t.Error("it is not counted")
		}
	}
}

// twins: of two clients that come back with one pid at the same time, on two servers, one
// has the socket in the end, and the other one is told that it has not.
func twins(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 3, func(cfg *sockeye.Config, _ int) { cfg.Recovery.MaxDisconnection = time.Hour }) // no renewal
	p := w.wire(0, "")
	if err := w.servers[0].Socket(p.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("red"), "first")
	p.until("first[]")
	id, pid, offset := p.id, p.pid, p.offsets[0]
	in := 0
	for k := range 10 {
		p.close()
		w.gone(in, id)
		w.emit(w.servers[0].To("red"), "n", k)
		var pair [2]*wire
		var both sync.WaitGroup
		for i := range pair {
			both.Go(func() { pair[i] = w.wire(1+i, asks(pid, offset)) })
		}
		both.Wait()
		count := func() (n int) {
			for _, srv := range w.servers {
				if srv.Socket(id) != nil {
					n++
				}
			}
			return n
		}
		Eventually(t, "one has the socket", func() bool { return count() == 1 })
		w.emit(w.servers[0].To("red"), "after", k)
		after := fmt.Sprintf("after[%d]", k)
		winners := 0
		for i, q := range pair {
			if q.id != id || q.over || !q.until(after) {
				continue
			}
			winners++
			p, in = q, 1+i
			if want := []string{fmt.Sprintf("n[%d]", k), after}; !slices.Equal(q.got, want) {
				t.Errorf("%q has come, not %q", q.got, want)
			}
		}
		if winners != 1 {
			t.Fatalf("%d have the socket", winners)
		}
		offset = p.offsets[len(p.offsets)-1]
	}
}

// backData: Recovery.Data makes a value of the application's own of what SetData had kept.
func backData(t *testing.T, bus Bus) {
	type user struct{ Name string }
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) {
		cfg.Recovery.Data = func(data []byte) any {
			u := new(user)
			if err := json.Unmarshal(data, u); err != nil {
				t.Errorf("%s: %v", data, err)
			}
			return u
		}
	})
	r := w.roam(0)
	w.emit(w.servers[0].All(), "first")
	r.expects("first[]")
	w.servers[0].Socket(r.ID()).SetData(&user{"eve"})
	r.away()
	r.back(1, true)
	if u, ok := w.servers[1].Socket(r.ID()).Data().(*user); !ok || u.Name != "eve" {
		t.Errorf("its data are %v", w.servers[1].Socket(r.ID()).Data())
	}
}

// byPolling: a client by polling comes back, and one that upgrades.
func byPolling(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	for _, transports := range [][]string{{"polling"}, {"polling", "websocket"}} {
		r := w.roamBy(transports, 0, "red")
		w.emit(w.servers[0].To("red"), "first")
		r.expects("first[]")
		want := []string{"first[]"}
		for k := range 4 {
			r.away()
			for i := range 5 {
				w.emit(w.servers[i%2].To("red"), "n", k, i)
				want = append(want, fmt.Sprintf("n[%d %d]", k, i))
			}
			r.back((k+1)%2, true)
			r.holds(want...)
		}
		_ = r.Close()
	}
}

// holds waits until exactly want has come, in any order.
func (r *roamer) holds(want ...string) {
	r.w.t.Helper()
	want = slices.Sorted(slices.Values(want))
	var last []string
	if !r.waits(limit, func(got []string) bool {
		last = slices.Sorted(slices.Values(events(got)))
		return slices.Equal(last, want)
	}) {
		r.w.t.Errorf("%q has come, not %q", last, want)
	}
}

// large: what is missed is more than is read at once.
func large(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	r := w.roam(0, "red")
	w.emit(w.servers[0].To("red"), "first")
	r.expects("first[]")
	want := []string{"first[]"}
	r.away()
	for i := range 30 {
		data := strings.Repeat("x", 1+i*4000)
		w.emit(w.servers[1].To("red"), "big", i, data)
		want = append(want, "big"+Text([]any{i, data}))
	}
	r.back(1, true)
	r.expects(want...)
	for _, srv := range w.servers {
		Eventually(t, "nothing is held", func() bool { return srv.RecoveryStats().Bytes == 0 })
	}
}

// stalls: the way to the bus stops, or breaks, at any moment while clients come back: each is
// connected soon, as itself with everything that it has missed, or as a new socket.
func stalls(t *testing.T, bus Bus) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, nil)
	for _, srv := range w.servers {
		srv.OnConnect(func(s *sockeye.Socket) error {
			if s.Recovered() {
				return nil
			}
			return s.Join("red")
		})
	}
	r := w.roam(0)
	Eventually(t, "it is in the room", func() bool { return len(w.servers[0].To("red").Sockets()) == 1 })
	n, recovered, as := 0, 0, 0
	emit := func() {
		w.emit(w.servers[0].To("red"), "n", n)
		n++
	}
	last := func() int {
		got := -1
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, g := range r.got {
			if _, err := fmt.Sscanf(g, "n[%d]", &got); err != nil {
				t.Fatal(g)
			}
		}
		return got
	}
	emit()
	Eventually(t, "the first comes", func() bool { return last() == 0 })
	for k := range 6 {
		r.to(0) // home, with a bus that works
		if k > 0 {
			r.board.Cut()
			Eventually(t, "it is at home", func() bool { return r.Connected() && w.servers[0].Socket(r.ID()) != nil })
			emit()
			Eventually(t, "what is emitted comes", func() bool { return last() == n-1 })
		}
		before := last()
		r.away()
		r.Forget()
		for range 5 {
			emit()
		}
		link := bus.Link(1)
		at := time.Now()
		go func() {
			time.Sleep(time.Duration(rand.N(4000)) * time.Microsecond)
			if k%3 == 2 {
				link.Reset()
				return
			}
			link.Stall(true)
			time.Sleep(time.Duration([]int{3000, 300}[k%2]) * time.Millisecond)
			link.Stall(false)
		}()
		r.to(1)
		Eventually(t, "the client is back", r.Connected)
		if d := time.Since(at); d > 8*time.Second {
			t.Errorf("it was back after %v", d)
		}
		as++
		missed := n
		if r.Recovered() {
			recovered++
			Eventually(t, "what was missed comes", func() bool { return last() == missed-1 })
		}
		Eventually(t, "what is emitted afterwards comes", func() bool {
			emit()
			time.Sleep(20 * time.Millisecond)
			return last() >= missed
		})
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		due := before + 1
		for i, g := range got {
			var number int
			if _, err := fmt.Sscanf(g, "n[%d]", &number); err != nil {
				t.Fatal(g)
			}
			if i == 0 && !r.Recovered() && number > before {
				due = number // what was on its way when it came may come
			}
			if number != due {
				t.Fatalf("%d comes where %d is due (recovered: %v): %q", number, due, r.Recovered(), got)
			}
			due++
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d of %d came back as themselves", recovered, as)
}

// waits: what a server's own clients wait for while the bus does not answer is bounded, and
// comes in order, once, also to who comes back elsewhere later.
func waits(t *testing.T, bus Bus) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, nil)
	r := w.roam(0, "red")
	w.emit(w.servers[0].To("red"), "first")
	r.expects("first[]")
	want := []string{"first[]"}
	bus.Link(0).Stall(true)
	most := 0
	big := strings.Repeat("x", 500_000)
	for i := range 50 {
		for _, f := range []func() error{
			func() error { return w.servers[0].To("nobody").Local().Emit("big", big) }, // behind the others
			func() error { return w.servers[0].To("red").Emit("n", i) },
		} {
			began := time.Now()
			if err := f(); err != nil && !errors.Is(err, sockeye.ErrUnavailable) { // it is known to be away, after a while
				t.Fatal(err)
			}
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("Emit has taken %v", d)
			}
			most = max(most, w.servers[0].RecoveryStats().Bytes)
		}
		want = append(want, fmt.Sprintf("n[%d]", i))
	}
	r.expects(want...)
	if most < 1<<20 || most > 16<<20 {
		t.Errorf("up to %d bytes waited", most)
	}
	bus.Link(0).Stall(false)
	other := w.connect(1, "/", "blue")
	for end := time.Now().Add(3 * limit); ; { // a client of the bus may wait for what was on its way
		_ = w.servers[0].To("blue").Emit("probe")
		if other.waits(20*time.Millisecond, func(got []string) bool { return slices.Contains(got, "probe[]") }) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the bus is not back")
		}
	}
	w.emit(w.servers[0].To("red"), "after")
	want = append(want, "after[]")
	r.expects(want...)
	r.away()
	w.emit(w.servers[0].To("red"), "missed")
	want = append(want, "missed[]")
	r.back(1, true)
	r.expects(want...)
}

// early: who has got what the bus has not taken yet does not get it again elsewhere.
func early(t *testing.T, bus Bus) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, nil)
	for range 3 {
		r := w.roam(0, "red")
		w.emit(w.servers[0].To("red"), "first")
		r.expects("first[]")
		bus.Link(0).Stall(true)
		want := []string{"first[]"}
		for i := range 5 {
			w.emit(w.servers[0].To("red"), "n", i)
			want = append(want, fmt.Sprintf("n[%d]", i))
		}
		r.expects(want...)
		r.to(1)
		r.board.Cut()
		time.Sleep(200 * time.Millisecond) // it asks to be restored meanwhile, or later
		bus.Link(0).Stall(false)
		Eventually(t, "the client is back", r.Connected)
		if !r.Recovered() {
			continue // the machine was slow
		}
		w.emit(w.servers[1].To("red"), "after")
		r.expects(append(want, "after[]")...)
		return
	}
	t.Error("it was never recovered")
}

// batches: what is read at once is bounded by bytes, and what is no longer there is said to
// be so.
func batches(t *testing.T, bus Bus) {
	if bus.World != nil {
		bus.World(t, 1)
	}
	a := bus.Adapter(t)
	l := &keeper{}
	remote, err := a.Join(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	h := remote.(interface{ History() broadcast.History }).History()
	Eventually(t, "the history is read", func() bool { return h.Position() != "" })
	before := h.Position()
	const n, size = 20, 10_000
	for i := range n {
		p := broadcast.Payload{JSON: []byte(fmt.Sprintf(`["n",%d,"%s"]`, i, strings.Repeat("x", size)))}
		if err := h.Append(p, broadcast.Target{}, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "all have come", func() bool { return l.count() == n })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, limit := range []int{1, 3 * size, 1 << 20} {
		got := 0
		for at, reads := before, 0; at != h.Position(); reads++ {
			list, next, err := h.Read(ctx, at, h.Position(), nil, limit)
			if err != nil {
				t.Fatal(err)
			}
			if reads > 3*n {
				t.Fatal("it does not end")
			}
			bytes := 0
			for _, e := range list {
				got++
				bytes += len(e.Payload.JSON)
				if int(e.Number) != got || e.Origin != h.Origin() {
					t.Fatalf("%d of %s comes where %d is due", e.Number, e.Origin, got)
				}
			}
			if bytes > limit && len(list) > 1 {
				t.Errorf("%d bytes are read at once, not %d", bytes, limit)
			}
			at = next
		}
		if got != n {
			t.Errorf("with %d bytes at once %d have been read", limit, got)
		}
	}
}

// keeper is a Local of events alone.
type keeper struct {
	broadcast.Local // of nothing else

	mu  sync.Mutex
	got []broadcast.Kept
}

func (l *keeper) Name() string { return "/" }

func (l *keeper) Server() string { return "keeper" }

func (l *keeper) Recorded(e broadcast.Kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, e)
}

func (l *keeper) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}

// byParser: events of a Config.Parser have offsets, too.
func byParser(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) { cfg.Parser = textParser{} })
	r := w.roam(0, "red")
	w.emit(w.servers[0].To("red"), "first", 1)
	r.expects("first[1]")
	want := []string{"first[1]"}
	for k := range 4 {
		r.away()
		for i := range 3 {
			w.emit(w.servers[i%2].To("red"), "n", k, i)
			want = append(want, fmt.Sprintf("n[%d %d]", k, i))
		}
		r.back((k+1)%2, true)
		r.holds(want...)
	}
}

// textParser is Socket.IO's own form without binary.
type textParser struct{}

func (textParser) Binary() bool { return false }

func (textParser) Append(dst []byte, p sockeye.Packet, data any) ([]byte, error) {
	dst = sio.AppendHeader(dst, p)
	if data == nil {
		return dst, nil
	}
	if list, ok := data.([]any); ok && list == nil {
		data = []any{}
	}
	b, err := json.Marshal(data)
	return append(dst, b...), err
}

func (textParser) Consume(message []byte) (sockeye.Packet, error) {
	return sio.Limits{}.ConsumePacket(message)
}

func (textParser) Split(data []byte, dst [][]byte) ([][]byte, error) {
	return sio.SplitArray(data, dst, 0)
}

func (textParser) EventName(element []byte) ([]byte, error) { return sio.EventName(element) }

func (textParser) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
