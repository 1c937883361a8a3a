package bench

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// crowd is a kernel without sockets: peers that have shaken hands and answer
// pings. What is measured on it is Sockeye's own work.
type crowd struct {
	now    time.Duration
	asked  []int // descriptors that have been written to
	answer []byte
	writes int
}

func (c *crowd) Read(_ int, b []byte) (int, error)        { return copy(b, c.answer), nil }
func (c *crowd) Writev(int, [][]byte) (int, error)        { return 0, syscall.EAGAIN }
func (c *crowd) Watch(_ int, _, _ netpoll.Interest) error { return nil }
func (c *crowd) Shutdown(int) error                       { return nil }
func (c *crowd) Close(int) error                          { return nil }
func (c *crowd) Wake()                                    {}
func (c *crowd) WakeAfter(time.Duration)                  {}
func (c *crowd) Now() time.Duration                       { return c.now }
func (c *crowd) Reset(int) error                          { return nil }
func (c *crowd) Unsent(int) int                           { return 0 }
func (c *crowd) Unread(int) int                           { return 0 }
func (c *crowd) Lend(int) (net.Conn, error)               { return nil, syscall.ENOSYS }
func (c *crowd) TakeBack(net.Conn) (int, error)           { return -1, syscall.ENOSYS }

func (c *crowd) AppendRemoteAddr(b []byte, _ int) ([]byte, bool) {
	return append(b, "192.0.2.1:1234"...), true
}

func (c *crowd) Write(fd int, b []byte) (int, error) {
	c.writes++
	c.asked = append(c.asked, fd)
	return len(b), nil
}

const handshake = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// pong is a masked text frame, "3", with a key of zeros.
var pong = []byte{0x81, 0x81, 0, 0, 0, 0, '3'}

type sessions struct{ last *engine.Session }

func (h *sessions) OnOpen(s *engine.Session)                  { h.last = s }
func (*sessions) OnMessage(*engine.Session, []byte, bool)     {}
func (*sessions) OnClose(*engine.Session, engine.CloseReason) {}

// newCrowd makes a loop of n sessions, whose heartbeats are spread evenly.
func newCrowd(n int) (*crowd, *netpoll.Loop, *sessions) {
	h := &sessions{}
	c := &crowd{answer: []byte(handshake)}
	e, err := engine.New(engine.Config{}, h)
	if err != nil {
		panic(err)
	}
	loop := netpoll.NewManual(netpoll.Config{MaxConns: n + 1}, engine.Mux{e}, c).Loop(0)
	interval := e.Config().PingInterval
	for fd := range n {
		c.now = interval * time.Duration(fd) / time.Duration(n)
		loop.Adopt(fd)
		loop.Deliver(false, fd)
	}
	c.answer, c.asked, c.writes = pong, nil, 0
	return c, loop, h
}

// BenchmarkHeartbeats is the heartbeat of 1,000,000 sessions: timers, pings
// and pongs, without the kernel's part. An op is one second.
func BenchmarkHeartbeats(b *testing.B) {
	const n = 1_000_000
	c, loop, _ := newCrowd(n)
	runtime.GC() // that of the setup is not to be counted
	start, pings := cpu(), 0
	for b.Loop() {
		for range 100 { // a turn by hand costs some microseconds that another does not
			c.now += 10 * time.Millisecond
			loop.Turn()
			pings += len(c.asked)
			loop.Deliver(false, c.asked...)
			c.asked = c.asked[:0]
		}
	}
	used := (cpu() - start).Seconds()
	if want := b.N * n / 26; pings < want {
		b.Fatalf("%d pings in %d s, want %d", pings, b.N, want)
	}
	b.ReportMetric(100*used/float64(b.N), "core-%")
	b.ReportMetric(1e9*used/float64(pings), "ns/heartbeat")
}

// BenchmarkMembers is a room of so many members: the memory of each in the
// index, and the time of a broadcast for each, without sending.
func BenchmarkMembers(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, loop, h := newCrowd(1)
			got := 0
			rooms := broadcast.New(loop.Group(), func(*broadcast.Member, *engine.Message, bool) { got++ })
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprintf("%020d", i)
			}
			before := inUse()
			members := make([]broadcast.Member, n)
			for i := range members {
				members[i] = broadcast.Member{ID: ids[i], Session: h.last}
				rooms.Add(&members[i])
				rooms.Join(&members[i], "room")
			}
			per := float64(inUse()-before) / float64(n)
			m := engine.NewMessage(false).Seal()
			rounds := 0
			for b.Loop() {
				rounds++
				rooms.Broadcast(m, broadcast.Options{Rooms: []string{"room"}})
				for got < n*rounds {
					loop.Turn()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*rounds), "ns/member")
			b.ReportMetric(per, "B/member")
			runtime.KeepAlive(members)
		})
	}
}

// BenchmarkRooms broadcasts to one of many rooms of so many members each, among
// 100,000: the cost follows the members of the room, not of the others. An op
// is one broadcast, with some microseconds of a turn by hand.
func BenchmarkRooms(b *testing.B) {
	const n = 100_000
	for _, size := range []int{10, 1_000, n} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			_, loop, h := newCrowd(1)
			got := 0
			rooms := broadcast.New(loop.Group(), func(*broadcast.Member, *engine.Message, bool) { got++ })
			names := make([]string, n/size)
			for i := range names {
				names[i] = fmt.Sprint("room ", i)
			}
			members := make([]broadcast.Member, n)
			for i := range members {
				members[i] = broadcast.Member{ID: fmt.Sprintf("%020d", i), Session: h.last}
				rooms.Add(&members[i])
				rooms.Join(&members[i], names[i%len(names)])
			}
			m := engine.NewMessage(false).Seal()
			rounds := 0
			for b.Loop() {
				rooms.Broadcast(m, broadcast.Options{Rooms: names[rounds%len(names):][:1]})
				for rounds++; got < size*rounds; {
					loop.Turn()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(size*rounds), "ns/member")
		})
	}
}
