package load

import (
	"fmt"
	"strings"
	"time"
)

// Fault is why a connection has ended by itself, or has never come to be.
type Fault struct {
	Kind string // one of the kinds below
	Text string // what the server, or this machine, has said; printable and short
}

// Kinds of faults.
const (
	KindConnect     = "connect"           // TCP: refused, reset, unreachable
	KindTLS         = "TLS"               // the handshake, or a record
	KindRefused     = "refused"           // an HTTP status to a handshake
	KindNamespace   = "namespace refused" // CONNECT_ERROR
	KindStatus      = "HTTP status"       // of a session that was there
	KindClosed      = "closed"            // by the server
	KindTimeout     = "timeout"           // a handshake, or a POST, has had no answer
	KindHeartbeat   = "heartbeat"         // no ping came
	KindProtocol    = "protocol"          // what came is neither Engine.IO nor Socket.IO
	KindTooLarge    = "too large"         // a message above Config.MaxMessage
	KindMemory      = "memory"            // Config.MaxHeld is spent
	KindDescriptors = "descriptors"       // of this process, or this machine
	KindPorts       = "no port left"      // of the source addresses
)

func (f *Fault) Error() string { return f.Kind + ": " + f.Text }

func faultf(kind, format string, args ...any) *Fault {
	return &Fault{kind, fmt.Sprintf(format, args...)}
}

// saidBytes is how much of what a server has said is told.
const saidBytes = 160

// said is the beginning of what a server has said, as one printable line.
func said(b []byte) string {
	more := ""
	if len(b) > saidBytes {
		b, more = b[:saidBytes], "…"
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(string(b), "·"))
	return strings.Join(strings.Fields(clean), " ") + more
}

// Count is how often a fault has been, and when first.
type Count struct {
	Fault
	Count int64
	First time.Duration // since the beginning
}

// Faults counts them by kind and text, in bounded memory.
type Faults struct {
	counts map[Fault]*Count
	order  []*Count
	total  int64
}

// maxFaults is how many are told apart.
const maxFaults = 64

// Add counts one, or n at once.
func (fs *Faults) Add(f Fault, n int64, at time.Duration) {
	if fs.counts == nil {
		fs.counts = map[Fault]*Count{}
	}
	fs.total += n
	c := fs.counts[f]
	if c == nil && len(fs.order) >= maxFaults {
		f = Fault{"others", fmt.Sprintf("beyond the first %d kinds", maxFaults)}
		c = fs.counts[f]
	}
	if c == nil {
		c = &Count{Fault: f, First: at}
		fs.counts[f] = c
		fs.order = append(fs.order, c)
	}
	c.Count += n
}

// Total is the number of all.
func (fs *Faults) Total() int64 { return fs.total }

// All are the counts, in the order of their first time.
func (fs *Faults) All() []*Count { return fs.order }
