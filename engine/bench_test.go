package engine

import (
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// benchHandler notes the last session.
type benchHandler struct{ s *Session }

func (h *benchHandler) OnOpen(s *Session)                { h.s = s }
func (h *benchHandler) OnMessage(*Session, []byte, bool) {}
func (h *benchHandler) OnClose(*Session, CloseReason)    {}

// BenchmarkPoll is a polling session, in memory: waiting, what is sent finds a
// poll; queued, 16 messages wait for it.
func BenchmarkPoll(b *testing.B) {
	for _, c := range []struct {
		name    string
		waiting bool
		sends   int
		size    int
	}{{"waiting", true, 1, 20}, {"waiting16", true, 16, 20}, {"waiting4k", true, 1, 4096}, {"queued16", false, 16, 20}, {"queued4k", false, 1, 4096}} {
		b.Run(c.name, func(b *testing.B) {
			h := new(benchHandler)
			e := mustNew(Config{}, h)
			n := netpolltest.New(netpoll.Config{}, Mux{e}, 1)
			p := n.Dial(0)
			p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
			n.Run()
			p.Read()
			poll := fmt.Appendf(nil, "GET /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n", h.s.ID())
			m := NewMessage(false)
			m.B = append(m.B, make([]byte, c.size)...)
			m.Seal()
			send := func(any, any) {
				for range c.sends {
					h.s.Send(m)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if c.waiting {
					p.Write(poll)
					n.Run()
				}
				h.s.Loop().Post(send, nil, nil, 0)
				n.Run()
				if !c.waiting {
					p.Write(poll)
					n.Run()
				}
				if len(p.Read()) < c.sends*c.size {
					b.Fatal("not answered")
				}
			}
		})
	}
}
