package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// keepingBus is a bus with recovery: see docs/decisions/0017.
type keepingBus struct{ *bus }

var _ cluster.Keeper = keepingBus{}

// place is a place in a stream.
type place struct {
	made uint64 // when the stream was made, in ms
	seq  uint64
	at   uint32 // when the event was stored: the end of it, in ms; 0: not known
}

// String is an offset: the numbers in hexadecimal digits. It has no dot, which is
// broadcast.History's.
func (p place) String() string {
	b := strconv.AppendUint(make([]byte, 0, 48), p.made, 16)
	b = strconv.AppendUint(append(b, '-'), p.seq, 16)
	if p.at != 0 {
		b = strconv.AppendUint(append(b, '-'), uint64(p.at), 16)
	}
	return string(b)
}

func parsePlace(text string) (p place, ok bool) {
	made, rest, _ := strings.Cut(text, "-")
	seq, at, timed := strings.Cut(rest, "-")
	var ok1, ok2 bool
	p.made, ok1 = parseHex(made, 64)
	p.seq, ok2 = parseHex(seq, 64)
	if timed {
		n, ok3 := parseHex(at, 32)
		p.at, ok = uint32(n), ok3 && n != 0
		return p, ok && ok1 && ok2
	}
	return p, ok1 && ok2
}

// parseHex reads a number as place writes it.
func parseHex(text string, bits int) (n uint64, ok bool) {
	n, err := strconv.ParseUint(text, 16, bits)
	return n, err == nil && strconv.FormatUint(n, 16) == text
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.made, q.made), cmp.Compare(p.seq, q.seq))
}

// stamp is a time as place has it.
func stamp(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return max(uint32(t.UnixMilli()), 1)
}

// Position is the last event that has been taken.
func (b keepingBus) Position(string) string { return b.kept.at() }

// Compare compares places.
func (b keepingBus) Compare(x, y string) (order int, ok bool) {
	p, ok1 := parsePlace(x)
	q, ok2 := parsePlace(y)
	if !ok1 || !ok2 {
		return 0, false
	}
	return p.compare(q), true
}

// at is up to where everything has been taken; "" before that is known.
func (k *kept) at() string {
	if p := k.position.Load(); p != nil {
		return *p
	}
	return ""
}

// reached notes how far everything has been taken.
func (k *kept) reached(p place) {
	text := p.String()
	if k.position.Swap(&text) == nil {
		close(k.ready)
	}
}

// firstLook bounds how long what is to be kept waits until the stream is being read.
const firstLook = time.Second

// readFirst waits until the stream is read, so that this server reads what it writes there.
func (k *kept) readFirst(ctx context.Context) {
	if k == nil || !k.o.Recovery || k.at() != "" {
		return
	}
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	select {
	case <-k.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stored is a message as the stream has it.
type stored struct {
	subject string
	data    []byte
	when    time.Time
	copied  bool // by an operator's mirror, which may be an older stream's
	place
}

// header is what the stream has put behind what others may have written.
func header(m *nats.Msg, name string) string {
	if list := m.Header[name]; len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

// Headers of what a stream hands on, and of direct gets.
const (
	headerSubject = "Nats-Subject"
	headerTime    = "Nats-Time-Stamp"
)

var errForeign = errors.New("it is not the stream's")

// readStored reads a message with the stream's headers.
func readStored(m *nats.Msg, stream string) (s stored, err error) {
	seq, err := strconv.ParseUint(header(m, headerSequence), 10, 64)
	if err != nil || seq == 0 {
		return s, errForeign
	}
	s = stored{subject: header(m, headerSubject), data: m.Data, copied: header(m, headerStream) != stream, place: place{seq: seq}}
	if text := header(m, headerTime); text != "" {
		if s.when, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return s, errForeign
		}
		s.at = stamp(s.when)
	}
	return s, nil
}

// decode reads what is stored in the stream that was made then.
func (k *kept) decode(s stored, made uint64) (*cluster.Message, error) {
	m, err := cluster.Decode(s.data)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(s.subject, space(k.b.o.Prefix, m.Namespace)+".") {
		return nil, errForeign
	}
	s.made = made
	m.Offset = s.String()
	return m, nil
}

const (
	batchMessages = 256
	batchBytes    = 1 << 20 // while a server catches up
)

var errBehind = errors.New("nats: who was asked has not got it yet")

// batch reads what is stored from a number on, of the stream that was made then: some messages,
// at least one, whatever its size.
func (k *kept) batch(ctx context.Context, made, from uint64, maxBytes int) (list []stored, err error) {
	err = k.direct(ctx, k.o.Stream, fmt.Sprintf(`{"seq":%d,"batch":%d,"max_bytes":%d}`, from, batchMessages, maxBytes), func(s stored) error {
		if len(list) > 0 && s.seq <= list[len(list)-1].seq || s.seq < from {
			return errForeign
		}
		if s.copied && uint64(max(s.when.UnixMilli(), 0)) < made {
			return errBehind
		}
		list = append(list, s)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = errBehind
	}
	return list, err
}

// direct asks for messages, any replica, and hands them to take.
func (k *kept) direct(ctx context.Context, stream, request string, take func(s stored) error) error {
	ask := &nats.Msg{Subject: k.api + "DIRECT.GET." + stream, Data: []byte(request)}
	return k.x.ask(ctx, []*nats.Msg{ask}, batchMessages+1, func(_ int, m *nats.Msg) (bool, error) {
		if header(m, headerStream) == "" { // a status: there is no more
			switch status := m.Header.Get("Status"); status {
			case "204", "404":
				return true, nil
			default:
				return true, fmt.Errorf("nats: stream %q: %s %s", stream, status, m.Header.Get("Description"))
			}
		}
		s, err := readStored(m, stream)
		if err == nil {
			err = take(s)
		}
		return false, err
	})
}

// ReadKept reads the stream.
func (b keepingBus) ReadKept(ctx context.Context, namespace, after, upto string, rooms []string, maxBytes int) (list []*cluster.Message, next string, err error) {
	k := b.kept
	from, ok1 := parsePlace(after)
	to, ok2 := parsePlace(upto)
	switch {
	case !ok1 || !ok2:
		return nil, after, errForeign
	case from.compare(to) == 0 && from.at != to.at && from.at != 0 && to.at != 0:
		return nil, after, broadcast.ErrTrimmed // another event has its number
	case from.compare(to) >= 0:
		return nil, upto, nil
	case from.made != to.made:
		return nil, after, broadcast.ErrTrimmed
	}
	at := space(b.o.Prefix, namespace)
	wanted := map[string]bool{at + ".all": true}
	for _, room := range rooms {
		wanted[roomSubject(at, room)] = true
	}
	bytes := 0
	for began := from.seq; from.seq == began; { // where much is for others, what was read is not read again
		first := from.seq + 1
		if from.at != 0 { // whose event is looked at, if it is still there
			first = max(from.seq, 1)
		}
		got, err := k.batch(ctx, to.made, first, maxBytes)
		if errors.Is(err, errBehind) {
			if next, e := k.after(ctx, from.seq); e == nil && next != from.seq+1 {
				err = broadcast.ErrTrimmed
			}
		}
		if err != nil {
			return nil, after, err
		}
		for _, s := range got {
			switch {
			case s.seq == from.seq:
				if from.at != s.at {
					return nil, after, broadcast.ErrTrimmed // another event has its number
				}
				from.at = 0
				continue
			case s.seq != from.seq+1:
				return nil, after, broadcast.ErrTrimmed
			}
			if wanted[s.subject] {
				if bytes += len(s.data); bytes > maxBytes && len(list) > 0 {
					return list, from.String(), nil
				}
				// What cannot be read was ignored when it came.
				if m, err := k.decode(s, to.made); err == nil && m.Type == cluster.Broadcast && m.RequestID == "" {
					list = append(list, m)
				}
			}
			from = place{made: from.made, seq: s.seq}
			if s.seq == to.seq {
				if to.at != 0 && s.at != to.at {
					return nil, after, errBehind // this server: the stream has gone back
				}
				return list, upto, nil
			}
		}
		from.at = 0
	}
	return list, from.String(), nil
}

// after is the number of what the stream has behind a number, as its leader has it; 0 if there
// is nothing.
func (k *kept) after(ctx context.Context, seq uint64) (uint64, error) {
	s, err := k.leaders(ctx, k.o.Stream, fmt.Sprintf(`{"seq":%d,"next_by_subj":">"}`, seq+1))
	if errors.Is(err, errNone) {
		return 0, nil
	}
	return s.seq, err
}

var errNone = errors.New("nats: there is no such message")

// patience is how long a leader has to answer before it is asked again: it may have changed.
const (
	patience    = 250 * time.Millisecond
	mostAnswers = 32 // with a wait that is doubled
)

// leaders asks a stream's leader for a message.
func (k *kept) leaders(ctx context.Context, stream, request string) (s stored, err error) {
	ask := &nats.Msg{Subject: k.api + "STREAM.MSG.GET." + stream, Data: []byte(request)}
	err = k.x.insist(ctx, patience, []*nats.Msg{ask}, mostAnswers, func(_ int, m *nats.Msg) (bool, error) {
		s, err = readAnswer(m.Data)
		return true, err
	})
	return s, err
}

// readAnswer reads a leader's answer.
func readAnswer(data []byte) (s stored, err error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(data, &answer); {
	case err != nil:
		return s, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return s, errNone
	case answer.Error != nil:
		return s, answer.Error
	case answer.Message == nil || answer.Message.Seq == 0:
		return s, errForeign
	}
	m := answer.Message
	return stored{subject: m.Subject, data: m.Data, when: m.Time, place: place{seq: m.Seq, at: stamp(m.Time)}}, nil
}

// readAll hands on what is in the stream up to a number.
func (k *kept) readAll(ctx context.Context, to uint64) error {
	for k.last < to {
		list, err := k.batch(ctx, k.made, k.last+1, batchBytes)
		if errors.Is(err, errBehind) || err == nil && list[0].seq != k.last+1 { // who was asked is behind, or has trimmed more
			next, err := k.after(ctx, k.last)
			switch {
			case err != nil:
				return err
			case next == k.last+1:
				return errBehind
			case next == 0 || next > to:
				next = to + 1
			}
			k.pass(next - 1)
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.seq != k.last+1 {
				break
			}
			k.hand(s)
		}
	}
	return nil
}

var errTrimmed = errors.New("the stream no longer has them")

// pass passes over what is no longer in the stream.
func (k *kept) pass(to uint64) {
	k.b.a.Miss(int(min(to-k.last, 1<<30)), k.o.Stream, errTrimmed)
	k.last = to
	k.reached(place{made: k.made, seq: to})
}

// quiet is after which time without an event a server looks whether the stream has some.
const quiet = 5 * time.Second

// watch has the stream read where what it has handed on has been lost, and nothing came
// behind it, and the bucket made again.
func (k *kept) watch() {
	t := time.NewTicker(quiet)
	defer t.Stop()
	before := ""
	for {
		select {
		case <-t.C:
		case <-k.lacks:
			ctx, cancel := context.WithTimeout(k.ctx, quiet)
			if err := k.ensureBucket(ctx); err != nil {
				k.log.Warn("bucket", "nats: there is no bucket for sessions", "bucket", k.o.Sessions, "error", err)
			}
			cancel()
			continue
		case <-k.ctx.Done():
			return
		}
		at := k.at()
		if at == before && at != "" {
			k.check(at)
		}
		before = at
	}
}

// check looks whether the stream is where this server is.
func (k *kept) check(at string) {
	ctx, cancel := context.WithTimeout(k.ctx, quiet)
	defer cancel()
	s, err := k.ensure(ctx)
	if err != nil {
		return // who sends finds out, or the connection comes back
	}
	here, _ := parsePlace(at)
	if now := s.CachedInfo(); (here.made != made(now) || here.seq < now.State.LastSeq) && k.at() == at {
		k.log.Warn("silence", "nats: what the stream has handed on has not come; is this server allowed to subscribe?", "stream", k.o.Stream, "subject", k.prefix+">")
		k.inbox.gap()
	}
}

// made is when a stream was made, in ms.
func made(info *jetstream.StreamInfo) uint64 { return uint64(max(info.Created.UnixMilli(), 0)) }
