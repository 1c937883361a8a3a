package bridge

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// meeting are the elections of some bridges, with a clock of their own. What is sent to one
// comes to it in order; it may be lost, or wait while the bridge is stopped.
type meeting struct {
	r     *rand.Rand
	now   time.Time
	seats []*seat
	apart func(a, b int) bool
	loss  int   // of 100
	sent  int   // messages of one cluster
	times []int // that each has been passed on
}

type seat struct {
	*election
	m    *meeting
	i    int
	in   []letter
	next time.Time // tick
	held time.Time // stopped until then
}

// letter is what another bridge says, or, with a number, a message to be passed on.
type letter struct {
	at     time.Time
	text   []byte
	number int
}

const (
	meetingLease = time.Second
	delay        = 20 * time.Millisecond // on the bus, at most
	pace         = 5 * time.Millisecond
)

// idle is an adapter that works.
type idle struct{ broadcast.Adapter }

func (idle) Stats() broadcast.AdapterStats { return broadcast.AdapterStats{} }

// voice is how a seat tells the others.
type voice struct {
	broadcast.Remote
	s *seat
}

func (v voice) Broadcast(p broadcast.Payload, _ broadcast.Target) error {
	for i, to := range v.s.m.seats {
		if i != v.s.i && !v.s.m.apart(i, v.s.i) && v.s.m.r.IntN(100) >= v.s.m.loss {
			to.post(letter{text: p.JSON})
		}
	}
	return nil
}

func (s *seat) post(l letter) {
	l.at = s.m.now.Add(time.Duration(s.m.r.Int64N(int64(delay))))
	if n := len(s.in); n > 0 && l.at.Before(s.in[n-1].at) {
		l.at = s.in[n-1].at
	}
	s.in = append(s.in, l)
}

func newSeat(m *meeting, i int) *seat {
	o := Options{Names: [2]string{"a", "b"}, Lease: meetingLease, Logger: slog.New(slog.DiscardHandler)}
	br := &Bridge{sides: [2]broadcast.Adapter{idle{}, idle{}}, o: o, log: ratelog.New(o.Logger), nodes: map[*node]struct{}{}}
	s := &seat{m: m, i: i, next: m.now}
	s.election = &election{br: br, now: func() time.Time { return m.now }, id: fmt.Sprintf("%08x", m.r.Uint32()), began: m.now, since: m.now, peers: map[string]peer{}, wake: make(chan struct{}, 1)}
	s.resumed.Store(-int64(meetingLease))
	s.remotes = [2]broadcast.Remote{voice{s: s}, voice{s: s}}
	br.e = s.election
	return s
}

// act does one thing that is due, whichever comes first; false if there is none.
func (s *seat) act() bool {
	m := s.m
	post, tick := len(s.in) > 0 && !s.in[0].at.After(m.now), !s.next.After(m.now) || len(s.wake) > 0
	switch {
	case m.now.Before(s.held) || !post && !tick:
		return false
	case tick && (!post || m.r.IntN(2) == 0):
		select {
		case <-s.wake:
		default:
			s.next = m.now.Add(meetingLease / 4)
		}
		s.decide()
		s.say(false)
	default:
		l := s.in[0]
		s.in = s.in[1:]
		switch {
		case l.text != nil:
			s.hear(broadcast.Payload{JSON: l.text})
		case s.br.AtWork() && s.holds(m.now):
			m.times[l.number]++
		}
	}
	return true
}

func (m *meeting) pass(d time.Duration) {
	for end := m.now.Add(d); m.now.Before(end); {
		m.now = m.now.Add(pace)
		for _, s := range m.seats {
			s.post(letter{number: m.sent})
		}
		m.sent++
		m.times = append(m.times, 0)
		for busy := true; busy; {
			busy = false
			for _, i := range m.r.Perm(len(m.seats)) {
				busy = m.seats[i].act() || busy
			}
		}
	}
}

func (m *meeting) working() (list []int) {
	for i, s := range m.seats {
		if s.br.AtWork() {
			list = append(list, i)
		}
	}
	return list
}

// TestElections: of some bridges that are stopped for any time, and hear each other otherwise,
// no two pass the same on. If they were apart, or much was lost, some may; from when they have
// heard each other again, each message is passed on once.
func TestElections(t *testing.T) {
	together := func(int, int) bool { return false }
	doubled, most := 0, 0
	for seed := range uint64(100) {
		m := &meeting{r: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1000, 0), apart: together}
		n := 2 + int(seed%3)
		for i := range n {
			m.seats = append(m.seats, newSeat(m, i))
		}
		partitions := seed%2 == 1
		for range 30 {
			s := m.seats[m.r.IntN(n)]
			switch m.r.IntN(4) {
			case 0:
				s.held = m.now.Add(time.Duration(m.r.Int64N(int64(3 * meetingLease))))
			case 1: // another process takes its place
				m.seats[s.i] = newSeat(m, s.i)
			case 2:
				if partitions {
					groups := m.r.IntN(1 << n)
					m.apart = func(a, b int) bool { return groups>>a&1 != groups>>b&1 }
					if m.r.IntN(3) == 0 {
						m.apart = func(int, int) bool { return true }
					}
					m.loss = []int{0, 30, 90}[m.r.IntN(3)]
				}
			default:
				m.apart, m.loss = together, 0
			}
			m.pass(time.Duration(m.r.Int64N(int64(2 * meetingLease))))
		}
		worst := 0
		for _, k := range m.times {
			worst = max(worst, k)
		}
		if most = max(most, worst); worst > 1 {
			doubled++
		}
		if worst > n || worst > 1 && !partitions {
			t.Errorf("seed %d: a message was passed on %d times by %d bridges", seed, worst, n)
		}
		m.apart, m.loss = together, 0
		for _, s := range m.seats {
			s.held = m.now
		}
		m.pass(meetingLease/4 + 3*delay)
		if w := m.working(); len(w) > 1 {
			t.Errorf("seed %d: %v are at work", seed, w)
		}
		from := m.sent
		m.pass(3 * meetingLease)
		first := m.working()
		if len(first) != 1 {
			t.Fatalf("seed %d: %v are at work", seed, first)
		}
		settled := m.sent
		m.pass(3 * meetingLease)
		if w := m.working(); len(w) != 1 || w[0] != first[0] {
			t.Errorf("seed %d: %v, then %v are at work", seed, first, w)
		}
		for i, k := range m.times[from : m.sent-10] { // the last are on their way
			if k > 1 || k == 0 && from+i >= settled {
				t.Errorf("seed %d: message %d was passed on %d times", seed, i, k)
				break
			}
		}
	}
	if doubled == 0 || most < 3 {
		t.Errorf("in %d worlds a message came twice, at most %d times: the worlds are too easy", doubled, most)
	}
}

// TestMadeUpBridges: who makes bridges up, many, or with long names, does not fill the memory.
func TestMadeUpBridges(t *testing.T) {
	m := &meeting{r: rand.New(rand.NewPCG(1, 7)), now: time.Unix(1000, 0)}
	s := newSeat(m, 0)
	for i := range 2 * maxPeers {
		s.hear(broadcast.Payload{JSON: fmt.Appendf(nil, `[%q,{"id":"%0*d"}]`, beatEvent, maxID+1, i)})
	}
	if n := len(s.peers); n != 0 {
		t.Errorf("%d bridges with long names are known", n)
	}
	for i := range 2 * maxPeers {
		s.hear(broadcast.Payload{JSON: fmt.Appendf(nil, `[%q,{"id":"%0*d"}]`, beatEvent, maxID, i)})
	}
	if n := len(s.peers); n != maxPeers {
		t.Errorf("%d bridges are known", n)
	}
}
