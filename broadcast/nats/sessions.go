package nats

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/broadcast"
)

// Sessions are the last messages of a key-value bucket's subjects. Their numbers in its
// stream are what KV calls revisions.

const (
	bucketStream  = "KV_"
	bucketSubject = "$KV."
	// maxKey is less than what a subject may have; longer keys are = and their SHA-256.
	maxKey = 300
	// recordSpace is what headers take of what NATS allows for a record.
	recordSpace = 512
)

// bucket is what New makes.
func (k *kept) bucket() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: bucketStream + k.o.Sessions, Description: "sockets of Socket.IO servers, which may come back",
		Subjects: []string{bucketSubject + k.o.Sessions + ".>"}, MaxMsgsPerSubject: 1, MaxBytes: k.o.MaxSessionBytes,
		AllowDirect: true, AllowMsgTTL: true, AllowRollup: true, DenyDelete: true,
	}
}

// key is the subject of a session.
func (k *kept) key(pid string) string {
	name := b64.EncodeToString([]byte(pid))
	if len(name) > maxKey {
		sum := sha256.Sum256([]byte(pid))
		name = "=" + b64.EncodeToString(sum[:])
	}
	return bucketSubject + k.o.Sessions + "." + name
}

// record is what is known of a session, as it is in the bucket: the two owners, each on a
// line, and the data.
type record struct {
	owner string // "": nobody's any more
	was   string // who owned it before owner has taken it
	data  []byte // empty: it is over

	none bool   // there is nothing that can be read
	seq  uint64 // of its message; 0: there is none
}

func appendRecord(dst []byte, r record) []byte {
	dst = append(append(dst, r.owner...), '\n')
	dst = append(append(dst, r.was...), '\n')
	return append(dst, r.data...)
}

var errRecord = errors.New("it is no session")

// maxOwner bounds what a record may have for an owner.
const maxOwner = 256

func readRecord(b []byte) (r record, err error) {
	owner, rest, ok1 := bytes.Cut(b, []byte{'\n'})
	was, data, ok2 := bytes.Cut(rest, []byte{'\n'})
	if !ok1 || !ok2 || len(owner) > maxOwner || len(was) > maxOwner {
		return r, errRecord
	}
	return record{owner: string(owner), was: string(was), data: data}, nil
}

// record reads what the bucket has. What cannot be read is nobody's.
func (k *kept) record(s stored) record {
	r, err := readRecord(s.data)
	if err != nil && len(s.data) > 0 { // not what KV writes of a key that was deleted
		k.b.a.Ignore(s.subject, err)
	}
	r.none, r.seq = err != nil, s.seq
	return r
}

// current asks the bucket's leader.
func (k *kept) current(ctx context.Context, key string) (record, error) {
	request, _ := json.Marshal(map[string]string{"last_by_subj": key})
	s, err := k.leaders(ctx, bucketStream+k.o.Sessions, string(request))
	switch {
	case errors.Is(err, errNone):
		return record{none: true}, nil
	case err != nil:
		return record{}, err
	}
	return k.record(s), nil
}

// write is a request to write a record in place of that of r.seq.
func write(key string, r record, lease time.Duration) *nats.Msg {
	m := nats.NewMsg(key)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(r.seq, 10))
	m.Header.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(max(math.Ceil(lease.Seconds()), 1))))
	m.Data = appendRecord(nil, r)
	return m
}

// written tells from the answer whether a record was written; false if another one is
// there.
func written(m *nats.Msg) (bool, error) {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return false, err
	case answer.Error == nil && answer.Seq > 0:
		return true, nil
	case answer.Error == nil:
		return false, errForeign
	}
	switch answer.Error.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return false, nil
	}
	return false, answer.Error
}

// replace writes one record; false if another one is there.
func (k *kept) replace(ctx context.Context, key string, r record, lease time.Duration) (ok bool, err error) {
	err = k.x.ask(ctx, []*nats.Msg{write(key, r, lease)}, 1, func(_ int, m *nats.Msg) (bool, error) {
		ok, err = written(m)
		return true, err
	})
	return ok, err
}

// maxTries bounds how often a record is read anew because another has been written.
const maxTries = 20

var errBusy = errors.New("nats: a session is written all the time")

// TakeSession changes a session's owner.
func (b keepingBus) TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error) {
	k, key := b.kept, b.kept.key(pid)
	defer func() { k.misses(err) }()
	for range maxTries {
		r, err := k.current(ctx, key)
		if err != nil || len(r.data) == 0 {
			return nil, "", err
		}
		if r.owner != owner { // or the answer to who has taken it was lost
			r.owner, r.was = owner, r.owner
		}
		switch ok, err := k.replace(ctx, key, r, lease); {
		case err != nil:
			return nil, "", err
		case ok:
			return r.data, r.was, nil
		}
	}
	return nil, "", errBusy
}

// PutSessions writes sessions.
func (b keepingBus) PutSessions(ctx context.Context, list []broadcast.StoredSession) (lost []int, err error) {
	k := b.kept
	defer func() { k.misses(err) }()
	keys := make([]string, len(list))
	for i, s := range list {
		keys[i] = k.key(s.PID)
	}
	for first := 0; first < len(list); first += batchMessages {
		end := min(first+batchMessages, len(list))
		some, err := k.put(ctx, keys[first:end], list[first:end])
		for _, i := range some {
			lost = append(lost, first+i)
		}
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// misses has the bucket made again, if an error says that it is not there.
func (k *kept) misses(err error) {
	if errors.Is(err, errNobody) || errors.Is(err, jetstream.ErrStreamNotFound) {
		select {
		case k.lacks <- struct{}{}:
		default:
		}
	}
}

// put writes some sessions.
func (k *kept) put(ctx context.Context, keys []string, list []broadcast.StoredSession) (lost []int, err error) {
	before, err := k.some(ctx, keys)
	if err != nil {
		return nil, err
	}
	var requests []*nats.Msg
	var of []int   // their indexes
	var slow []int // the leader is asked
	for i, s := range list {
		if r, ok := before[keys[i]]; !ok || r.none || r.owner == s.Owner {
			requests, of = append(requests, write(keys[i], k.next(s, r.seq), s.Lease)), append(of, i)
		} else {
			slow = append(slow, i)
		}
	}
	err = k.x.ask(ctx, requests, len(requests), func(i int, m *nats.Msg) (bool, error) {
		ok, err := written(m)
		if err == nil && !ok {
			slow = append(slow, of[i])
		}
		return true, err
	})
	for _, i := range slow {
		if err != nil {
			break
		}
		var own bool
		if own, err = k.putOne(ctx, keys[i], list[i]); err == nil && !own {
			lost = append(lost, i)
		}
	}
	return lost, err
}

// some asks for records, any replica.
func (k *kept) some(ctx context.Context, keys []string) (map[string]record, error) {
	request, _ := json.Marshal(map[string][]string{"multi_last": keys})
	list := make(map[string]record, len(keys))
	err := k.direct(ctx, bucketStream+k.o.Sessions, string(request), func(s stored) error {
		list[s.subject] = k.record(s)
		return nil
	})
	return list, err
}

// putOne writes a session as the leader has it; false if another owns it.
func (k *kept) putOne(ctx context.Context, key string, s broadcast.StoredSession) (own bool, err error) {
	for range maxTries {
		r, err := k.current(ctx, key)
		if err != nil {
			return false, err
		}
		if !r.none && r.owner != s.Owner {
			return false, nil
		}
		if ok, err := k.replace(ctx, key, k.next(s, r.seq), s.Lease); ok || err != nil {
			return ok, err
		}
	}
	return false, errBusy
}

// next is what is written of a session in place of a record.
func (k *kept) next(s broadcast.StoredSession, seq uint64) record {
	switch limit := least(k.b.maxPayload.Load(), k.maxRecord.Load()); {
	case s.Data == nil:
		return record{seq: seq} // nobody may write it
	case limit > 0 && int64(len(s.Data))+recordSpace > limit:
		k.log.Warn("session", "nats: a session is too large for the NATS server: it cannot come back", "bytes", len(s.Data), "limit", limit)
		return record{owner: s.Owner, seq: seq}
	}
	return record{owner: s.Owner, data: s.Data, seq: seq}
}
