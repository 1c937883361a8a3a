package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

const (
	maxNotify = 8000 // NOTIFY takes less
	maxName   = 63   // bytes of an identifier (NAMEDATALEN)
	hashLen   = 22   // of a name that would be longer
	maxPrefix = maxName - hashLen - 3
)

// format is how messages are written.
type format struct {
	pool      *pgxpool.Pool
	prefix    string
	table     string
	threshold int
}

// isText tells whether PostgreSQL takes s as a text.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// channel is a namespace's channel. No namespace's name begins with ~.
func (f *format) channel(namespace string) string {
	name := f.prefix + "#" + namespace
	if len(name) <= maxName && isText(name) {
		return name
	}
	sum := sha256.Sum256([]byte(namespace))
	return f.prefix + "#~" + base64.RawURLEncoding.EncodeToString(sum[:])[:hashLen]
}

// quote writes a channel as an identifier.
func quote(channel string) string { return `"` + strings.ReplaceAll(channel, `"`, `""`) + `"` }

// encode makes a frame of a message. Its kind is 0, or, if it goes into the table, the
// message's type.
func (f *format) encode(m *cluster.Message) (frame cluster.Frame, err error) {
	frame.Channel = f.channel(m.Namespace)
	if len(m.Payload.Attachments) == 0 {
		if frame.Data = cluster.AppendJSON(nil, m); len(frame.Data) < f.threshold {
			return frame, nil
		}
	}
	frame.Kind = int(m.Type)
	frame.Data, err = cluster.AppendMsgpack(nil, m)
	return frame, err
}

const (
	// Nothing of a notification has to be on a disk.
	sqlAsync  = `SELECT set_config('synchronous_commit', 'off', true)`
	sqlNotify = `SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)`
)

// sqlAttach notifies of a row that it makes: those who hear of it see it.
func (f *format) sqlAttach() string {
	return `WITH a AS (INSERT INTO ` + f.table + ` (payload) VALUES ($1::bytea) RETURNING id) SELECT pg_notify($2::text, $3::text || id || '"}') FROM a`
}

// batch is one transaction that sends frames: all, or none. Two notifications of a
// transaction that are the same would be one: spaces tell them apart.
func (f *format) batch(uid string, frames []cluster.Frame) *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue(sqlAsync)
	type notification struct{ channel, payload string }
	seen := map[notification]int{}
	var channels, payloads []string
	flush := func() {
		if len(channels) > 0 {
			b.Queue(sqlNotify, channels, payloads)
			channels, payloads = nil, nil
		}
	}
	for _, frame := range frames {
		if frame.Kind != 0 {
			flush()
			b.Queue(f.sqlAttach(), frame.Data, frame.Channel, fmt.Sprintf(`{"uid":"%s","type":%d,"attachmentId":"`, uid, frame.Kind))
			continue
		}
		n := notification{frame.Channel, string(frame.Data)}
		k := seen[n]
		seen[n]++
		channels, payloads = append(channels, frame.Channel), append(payloads, n.payload+strings.Repeat(" ", k))
	}
	flush()
	return b
}

// fits is how many of the frames fit into one transaction: with the spaces that it may
// need, a notification must not become too long.
func fits(frames []cluster.Frame) int {
	for i, f := range frames {
		if f.Kind == 0 && len(f.Data)+i >= maxNotify {
			return max(i, 1)
		}
	}
	return len(frames)
}

// send sends frames in one transaction. sure tells whether an error means that none has
// been sent.
func (f *format) send(ctx context.Context, c *pgxpool.Conn, uid string, frames []cluster.Frame) (sure bool, err error) {
	err = c.SendBatch(ctx, f.batch(uid, frames)).Close()
	refused := new(pgconn.PgError)
	return pgconn.SafeToRetry(err) || errors.As(err, &refused) && refused.Severity == "ERROR", err
}

// isFrames tells whether an error is one of what is sent, not of PostgreSQL's state.
func isFrames(err error) (code string, ok bool) {
	e := new(pgconn.PgError)
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return "", false
	}
	switch e.Code[:2] {
	case "22", "42", "54": // data, syntax and rights, limits
		return e.Code, true
	}
	return "", false
}

// header is what tells of a message in the table.
type header struct {
	UID          string `json:"uid"`
	AttachmentID id     `json:"attachmentId"`
}

// id is a row's: a decimal number, which Node writes as a string.
type id struct {
	n   int64
	set bool
}

// UnmarshalJSON reads a number, or a string with one.
func (i *id) UnmarshalJSON(b []byte) (err error) {
	if string(b) == "null" {
		return nil
	}
	if len(b) > 1 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	i.set = true
	i.n, err = strconv.ParseInt(string(b), 10, 64)
	return err
}

// readHeader tells whether a notification only tells of a message in the table.
func readHeader(payload []byte) (h header, ok bool, err error) {
	if !bytes.Contains(payload, []byte(`"attachmentId"`)) {
		return h, false, nil
	}
	err = json.Unmarshal(payload, &h)
	return h, h.AttachmentID.set, err
}
