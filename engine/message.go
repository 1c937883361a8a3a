package engine

import (
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"

	"github.com/sockeye-io/sockeye/proto/ws"
)

// Message is one Engine.IO message, encoded once for any number of sessions
// and for every transport: its bytes are laid out so that the WebSocket frame
// and the polling record are views into one buffer.
//
// A Message is built by one goroutine (NewMessage, append to B, Attach, Seal)
// and immutable from Seal on. It is reference-counted; Retain and Release are
// safe from any goroutine.
type Message struct {
	// B holds reserved headroom and then the payload. Only append to it.
	B []byte

	// Tag is for the layer above; 0 for none. It is set before the message is sent.
	Tag uint64

	// NoCompress sends the message as it is, where transports compress.
	NoCompress bool

	binary bool
	next   *Message // sent directly after this one
	size   int      // of the chain, in payload bytes
	frame  []byte   // the WebSocket frame
	record []byte   // the polling record; nil for binary, see base64

	buf    *netpoll.Buffer
	base64 atomic.Pointer[netpoll.Buffer]

	deflated atomic.Pointer[netpoll.Buffer] // the compressed WebSocket frame
	refs     atomic.Int32
}

var messages = sync.Pool{New: func() any { return new(Message) }}

// messageHeadroom is in front of each payload: a frame header and the packet type.
const messageHeadroom = ws.FrameHeadroom + 1

// NewMessage returns an empty message with one reference: text, or binary
// (which WebSocket sends as a binary frame and polling as base64).
func NewMessage(binary bool) *Message {
	m := messages.Get().(*Message)
	m.buf = netpoll.NewBuffer(256)
	m.B = m.buf.B[:messageHeadroom]
	m.B[messageHeadroom-1] = byte(eio.Message)
	m.binary = binary
	m.refs.Store(1)
	return m
}

// Attach has next, for which it takes over the caller's reference, sent
// directly after m to every session: a binary attachment.
func (m *Message) Attach(next *Message) {
	last := m
	for last.next != nil {
		last = last.next
	}
	last.next = next
}

// Seal ends the building of m, and of what is attached to it, and returns m.
func (m *Message) Seal() *Message {
	m.size = 0
	for p := m; p != nil; p = p.next {
		p.seal()
		m.size += len(p.B) - messageHeadroom
	}
	return m
}

func (m *Message) seal() {
	m.buf.B = m.B
	from := messageHeadroom - 1 // text carries its packet type, binary none
	if m.binary {
		from = messageHeadroom
	} else {
		m.record = m.B[from:]
	}
	m.frame = m.B[ws.PutFrameHeader(m.B, from, m.binary):]
}

// Size is the number of payload bytes of the whole chain.
func (m *Message) Size() int { return m.size }

// messageBytes is what a message takes besides its buffer.
const messageBytes = 192

// Memory is what m, and what is attached to it, takes: capacities, in bytes.
func (m *Message) Memory() (n int) {
	for p := m; p != nil; p = p.next {
		n += cap(p.buf.B) + messageBytes
	}
	return n
}

// Payload is that of m, and of what is attached to it: m's own memory.
func (m *Message) Payload() (payload []byte, attached [][]byte, binary bool) {
	for p := m.next; p != nil; p = p.next {
		attached = append(attached, p.B[messageHeadroom:])
	}
	return m.B[messageHeadroom:], attached, m.binary
}

// Charge charges m, and what is attached to it, to a budget until it is released:
// it is kept. Any goroutine that holds a reference.
func (m *Message) Charge(memory *netpoll.Memory) {
	for p := m; p != nil; p = p.next {
		p.buf.Charge(memory)
	}
}

// Retain adds a reference and returns m.
func (m *Message) Retain() *Message {
	m.refs.Add(1)
	return m
}

// Release drops a reference; with the last one m must no longer be used.
func (m *Message) Release() {
	for m != nil && m.refs.Add(-1) == 0 {
		next := m.next
		m.buf.Release()
		if b := m.base64.Swap(nil); b != nil {
			b.Release()
		}
		if b := m.deflated.Swap(nil); b != nil {
			b.Release()
		}
		m.B, m.buf, m.next, m.frame, m.record, m.size, m.NoCompress, m.Tag = nil, nil, nil, nil, nil, 0, false, 0
		messages.Put(m)
		m = next
	}
}

// pollingRecord is m as one record of a polling payload.
//
// Engine.IO v4, "HTTP long-polling": binary is 'b' and base64.
func (m *Message) pollingRecord() []byte {
	if m.record != nil {
		return m.record
	}
	b := m.base64.Load()
	if b == nil {
		payload := m.B[messageHeadroom:]
		b = netpoll.NewBuffer(1 + base64.StdEncoding.EncodedLen(len(payload)))
		b.B = append(b.B, 'b')
		b.B = base64.StdEncoding.AppendEncode(b.B, payload)
		if !m.base64.CompareAndSwap(nil, b) {
			b.Release() // another loop was faster
			b = m.base64.Load()
		}
	}
	return b.B
}

// deflateLater is the size up to which messages are compressed when a session
// first needs it, on its loop, in under a millisecond at any level. Larger ones have to be
// compressed by whoever makes them: Message.Deflate.
const deflateLater = 16 << 10

// Deflate compresses the large ones among m and what is attached to it for
// WebSockets with permessage-deflate, if cfg wants that, so that no loop has to. m
// must be sealed.
func (m *Message) Deflate(cfg *ws.DeflateConfig) {
	if cfg == nil {
		return
	}
	for p := m; p != nil; p = p.next {
		if len(p.B)-messageHeadroom > deflateLater {
			p.deflate(cfg)
		}
	}
}

// deflate compresses m, once.
func (m *Message) deflate(cfg *ws.DeflateConfig) *netpoll.Buffer {
	if b := m.deflated.Load(); b != nil {
		return b
	}
	payload := m.B[messageHeadroom-1:]
	if m.binary {
		payload = m.B[messageHeadroom:]
	}
	b := netpoll.NewBuffer(64 + len(payload)/2)
	b.B = ws.AppendDeflatedFrame(b.B, payload, m.binary, cfg.Level)
	if !m.deflated.CompareAndSwap(nil, b) {
		b.Release() // another loop was faster
		b = m.deflated.Load()
	}
	return b
}

// A packet without data, or with the data of a probe, made once.
func fixedMessage(text string) *Message {
	m := &Message{}
	m.buf = netpoll.NewBuffer(messageHeadroom + len(text))
	m.B = append(m.buf.B[:messageHeadroom-1], text...)
	m.refs.Store(1)
	return m.Seal()
}

var (
	pingPacket      = fixedMessage("2")
	pongPacket      = fixedMessage("3")
	closePacket     = fixedMessage("1")
	noopPacket      = fixedMessage("6")
	probePongPacket = fixedMessage("3probe")
)

// packet is the message as a packet.
func (m *Message) packet() eio.Packet {
	if m.binary {
		return eio.Packet{Type: eio.Message, Binary: true, Data: m.B[messageHeadroom:]}
	}
	return eio.Packet{Type: eio.PacketType(m.B[messageHeadroom-1]), Data: m.B[messageHeadroom:]}
}
