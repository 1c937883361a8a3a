package engine

import (
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// pollQueue is what waits for a poll, in order. Small messages are copied, as
// records, into runs that the queue alone has: a reference would hold a Message
// and a buffer of its own for as long as the peer likes. A record has no form of a
// version or transport yet: which one is known when it leaves. Loop-owned.
type pollQueue struct {
	items []queueItem
	count int // messages
	held  int // bytes of memory, which Config.MaxQueuedBytes bounds
	size  int // bytes of them as a payload of version 4

	compress bool // some message may be compressed
	binary   bool // some message is
}

// queueItem is a message, or a run of records.
type queueItem struct {
	m   *Message
	run *netpoll.Buffer
}

const (
	// copyBytes is the largest message that is copied.
	copyBytes = 2 << 10

	// runBytes is the largest run. The first has space for one record, each further
	// one is twice the one before.
	runBytes = 16 << 10

	// itemBytes is what an item takes in addition to its buffer.
	itemBytes = 64

	// keepItems is how many items an empty queue keeps space for, and how many
	// messages are not copied while a poll waits: they leave with the batch.
	keepItems = 16
)

// A record is its flags, the length of what follows, and the text, type first, or
// the binary data.
const (
	recordBinary = 1 << iota
	recordNoCompress

	maxRecordHead = 1 + binary.MaxVarintLen32
)

func (q *pollQueue) empty() bool { return q.count == 0 }

// push appends m alone. When it leaves with the batch a reference will do.
func (q *pollQueue) push(m *Message, leaves bool, memory *netpoll.Memory) {
	if q.count > 0 {
		q.size++ // a separator
	}
	q.count++
	data := m.record
	flags := byte(0)
	if m.binary {
		data, flags = m.B[messageHeadroom:], recordBinary
		q.binary = true
		q.size += 1 + base64.StdEncoding.EncodedLen(len(data))
	} else {
		q.size += len(data)
	}
	if m.NoCompress {
		flags |= recordNoCompress
	} else {
		q.compress = true
	}
	switch {
	case len(data) > copyBytes:
		m.buf.Charge(memory)
		fallthrough
	case leaves && len(q.items) < keepItems:
		q.items = append(q.items, queueItem{m: m.Retain()})
		q.held += cap(m.buf.B) + itemBytes
	default:
		q.copy(data, flags, memory)
	}
}

func (q *pollQueue) copy(data []byte, flags byte, memory *netpoll.Memory) {
	var run *netpoll.Buffer
	if n := len(q.items); n > 0 {
		run = q.items[n-1].run
	}
	if need := maxRecordHead + len(data); run == nil || len(run.B)+need > cap(run.B) {
		if run != nil {
			need = max(need, min(2*cap(run.B), runBytes))
		}
		run = netpoll.NewBuffer(need)
		run.Charge(memory)
		q.items = append(q.items, queueItem{run: run})
		q.held += cap(run.B) + itemBytes
	}
	run.B = binary.AppendUvarint(append(run.B, flags), uint64(len(data)))
	run.B = append(run.B, data...)
}

// cutRecord takes the first record off a run.
func cutRecord(run []byte) (p eio.Packet, flags byte, rest []byte) {
	flags = run[0]
	size, n := binary.Uvarint(run[1:])
	data := run[1+n:]
	data, rest = data[:size:size], data[size:]
	if flags&recordBinary != 0 {
		return eio.Packet{Type: eio.Message, Binary: true, Data: data}, flags, rest
	}
	return eio.Packet{Type: eio.PacketType(data[0]), Data: data[1:]}, flags, rest
}

// appendPayload appends the queue as a payload of version 4.
func (q *pollQueue) appendPayload(dst []byte) []byte {
	first := true
	separate := func() {
		if !first {
			dst = append(dst, eio.Separator)
		}
		first = false
	}
	for _, item := range q.items {
		if item.m != nil {
			separate()
			dst = append(dst, item.m.pollingRecord()...)
			continue
		}
		for rest := item.run.B; len(rest) > 0; {
			var p eio.Packet
			p, _, rest = cutRecord(rest)
			separate()
			dst = eio.AppendPacket(dst, p)
		}
	}
	return dst
}

// each calls f with each message, of which f has no reference.
func (q *pollQueue) each(f func(m *Message)) {
	for _, item := range q.items {
		if item.m != nil {
			f(item.m)
			continue
		}
		for rest := item.run.B; len(rest) > 0; {
			var p eio.Packet
			var flags byte
			p, flags, rest = cutRecord(rest)
			m := NewMessage(p.Binary)
			m.B[messageHeadroom-1] = byte(p.Type)
			m.B = append(m.B, p.Data...)
			m.NoCompress = flags&recordNoCompress != 0
			m.Seal()
			f(m)
			m.Release()
		}
	}
}

// split cuts off, and returns, what an answer of so many bytes has no space for; the
// first item is left in any case.
func (q *pollQueue) split(limit int) (rest pollQueue) {
	if q.size <= limit || len(q.items) < 2 {
		return pollQueue{}
	}
	size, count, held, k := 0, 0, 0, 0
	for ; k < len(q.items) && (k == 0 || size < limit); k++ {
		item := q.items[k]
		if item.m != nil {
			size += 1 + item.m.recordSize()
			count++
			held += cap(item.m.buf.B) + itemBytes
			continue
		}
		held += cap(item.run.B) + itemBytes
		for run := item.run.B; len(run) > 0; count++ {
			var p eio.Packet
			p, _, run = cutRecord(run)
			size += 1 + recordSize(p.Binary, len(p.Data))
		}
	}
	if k == len(q.items) {
		return pollQueue{}
	}
	rest = pollQueue{items: slices.Clone(q.items[k:]), count: q.count - count, held: q.held - held, size: q.size - size, compress: q.compress, binary: q.binary}
	clear(q.items[k:])
	q.items, q.count, q.held, q.size = q.items[:k], count, held, size-1 // no separator behind the last
	return rest
}

// recordSize is what a message takes in a payload of version 4.
func recordSize(binary bool, data int) int {
	if binary {
		return 1 + base64.StdEncoding.EncodedLen(data)
	}
	return 1 + data
}

func (m *Message) recordSize() int {
	if m.binary {
		return recordSize(true, len(m.B)-messageHeadroom)
	}
	return len(m.record)
}

// clear empties the queue and keeps a small one's memory.
func (q *pollQueue) clear() {
	for _, item := range q.items {
		if item.m != nil {
			item.m.Release()
		} else {
			item.run.Release()
		}
	}
	clear(q.items)
	items := q.items[:0]
	if cap(items) > keepItems {
		items = nil
	}
	*q = pollQueue{items: items}
}
