package adminui

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

const (
	maxNameBytes = 256 // of a room's or an event's name
	maxShownArgs = 32  // of an event
)

func timestamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// clip cuts a text, at a whole character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:cut], len(s))
}

func binary(n int) string { return fmt.Sprintf("(binary, %d bytes)", n) }

// cutReceived is what is shown of a received event. It decodes no more than is shown.
func (a *Admin) cutReceived(e *sockeye.Event) []any {
	shown := []any{clip(e.Name(), maxNameBytes)}
	// Decode goes from the first argument on: to the first that is long.
	n, short := min(e.Len(), maxShownArgs), 0
	for short < n && len(e.Argument(short).JSON) <= a.opts.MaxEventBytes {
		short++
	}
	values, into := make([]any, short), make([]any, short)
	for i := range values {
		into[i] = &values[i]
	}
	decoded := e.Decode(into...) == nil
	for i := range n {
		if i < short && decoded {
			shown = append(shown, a.plain(values[i]))
		} else {
			shown = append(shown, a.plainJSON(e.Argument(i).JSON))
		}
	}
	return more(shown, e.Len())
}

// cutSent is what is shown of an event that is emitted. Arguments are encoded now: they are
// the application's, which may change them later.
func (a *Admin) cutSent(event string, args []any) []any {
	shown := []any{clip(event, maxNameBytes)}
	for _, arg := range args[:min(len(args), maxShownArgs)] {
		shown = append(shown, a.plain(arg))
	}
	return more(shown, len(args))
}

func more(shown []any, n int) []any {
	if n > maxShownArgs {
		shown = append(shown, fmt.Sprintf("(%d more arguments)", n-maxShownArgs))
	}
	return shown
}

// plain is a value that any codec encodes, and that nobody else has: no longer than
// MaxEventBytes, with words in place of binary.
func (a *Admin) plain(v any) (shown any) {
	limit := a.opts.MaxEventBytes
	defer func() {
		if p := recover(); p != nil { // of the application's MarshalJSON
			shown = fmt.Sprintf("(%T)", v)
		}
	}()
	switch v := v.(type) {
	case nil, bool, float64, int, int64:
		return v
	case string:
		return clip(v, limit)
	case []byte:
		return binary(len(v))
	case sockeye.Argument:
		return a.plainJSON(v.JSON)
	}
	b, err := json.Marshal(withoutBinary(v, 0))
	if err != nil {
		return fmt.Sprintf("(%T)", v)
	}
	return a.plainJSON(b)
}

func (a *Admin) plainJSON(b []byte) any {
	if len(b) > a.opts.MaxEventBytes {
		return clipJSON(b, a.opts.MaxEventBytes)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Sprintf("(%d bytes)", len(b)) // of a Parser
	}
	return withoutBinary(v, 0)
}

func clipJSON(b []byte, limit int) any {
	if !utf8.Valid(b[:min(len(b), 64)]) && !utf8.Valid(b[:min(len(b), 61)]) {
		return binary(len(b))
	}
	return clip(string(b[:min(len(b), limit)]), limit) + fmt.Sprintf("... (%d bytes)", len(b))
}

// withoutBinary puts words in place of binary where decoded values have it.
func withoutBinary(v any, depth int) any {
	if depth > 32 {
		return "(deeper)"
	}
	switch v := v.(type) {
	case []byte:
		return binary(len(v))
	case []any:
		own := make([]any, len(v))
		for i, x := range v {
			own[i] = withoutBinary(x, depth+1)
		}
		return own
	case map[string]any:
		if v["_placeholder"] == true && len(v) == 2 {
			return "(binary)"
		}
		own := make(map[string]any, len(v))
		for k, x := range v {
			own[k] = withoutBinary(x, depth+1)
		}
		return own
	}
	return v
}

// describe is a socket as the page knows it.
func (a *Admin) describe(s *sockeye.Socket, rooms []string) map[string]any {
	return a.shown(s.ID(), s.Namespace().Name(), s.Transport(), s.Handshake(), a.object(s.Data()), rooms)
}

func (a *Admin) object(data any) any {
	if data == nil {
		return map[string]any{}
	}
	v := a.plain(data)
	if _, ok := v.(map[string]any); ok {
		return v
	}
	return map[string]any{"data": v}
}

func (a *Admin) describeRemote(s sockeye.RemoteSocket, nsp string) map[string]any {
	var data map[string]any
	_ = json.Unmarshal(s.Data, &data)
	var transport any
	node, _ := data["_admin"].(map[string]any) // of Node's server
	if node != nil {
		transport = node["transport"]
		delete(data, "_admin")
	}
	shown := a.shown(s.ID, nsp, transport, s.Handshake, a.object(data), s.Rooms)
	if id, ok := node["clientId"].(string); ok {
		shown["clientId"] = clip(id, 64)
	}
	return shown
}

const maxShownRooms = 100

func (a *Admin) shown(id, nsp string, transport any, h sockeye.Handshake, data any, rooms []string) map[string]any {
	own := []string{}
	for _, room := range rooms {
		if room != behindRoom && len(own) < maxShownRooms {
			own = append(own, clip(room, maxNameBytes))
		}
	}
	headers := map[string]any{}
	for name, values := range h.Headers {
		name = strings.ToLower(name)
		headers[name] = a.unlessSecret(name, strings.Join(values, ", "))
	}
	query := map[string]any{}
	for name, values := range h.Query {
		query[name] = a.unlessSecret(name, strings.Join(values, ", "))
	}
	return map[string]any{
		"id": id, "clientId": clientID(h), "transport": transport, "nsp": nsp, "data": data, "rooms": own,
		"handshake": map[string]any{
			"address": h.Address, "headers": headers, "query": query, "issued": h.Time.UnixMilli(), "secure": h.Secure,
			"time": h.Time.UTC().Format(time.RFC1123), "url": a.cleanURL(h.URL), "xdomain": h.XDomain,
		},
	}
}

// clientID names the session that sockets share, by how it began. Node's server shows twelve
// characters of the sid, which is a secret.
func clientID(h sockeye.Handshake) string {
	b := sha256.Sum256(fmt.Appendf(nil, "%d\n%s\n%s\n%s", h.Time.UnixMilli(), h.Address, h.URL, h.Headers.Get("Sec-Websocket-Key")))
	return hex.EncodeToString(b[:6])
}

const hidden = "(hidden)"

// secretNames are in the names of headers and queries whose values let somebody in.
var secretNames = []string{
	"auth", "cookie", "token", "secret", "passw", "pwd", "session", "jwt", "api-key", "api_key", "apikey", "access_key", "access-key",
	"signature", "credential", "csrf", "xsrf", "assertion",
}

func (a *Admin) unlessSecret(name, value string) string {
	if !a.opts.ShowSecrets {
		if name = strings.ToLower(name); name == "sid" {
			return hidden
		}
		for _, part := range secretNames {
			if strings.Contains(name, part) {
				return hidden
			}
		}
		if u, err := url.Parse(value); err == nil && u.RawQuery != "" { // a Referer
			value = a.cleanURL(value)
		}
	}
	return clip(value, a.opts.MaxEventBytes)
}

// cleanURL hides secrets in a query.
func (a *Admin) cleanURL(s string) string {
	head, query, found := strings.Cut(s, "?")
	if found && !a.opts.ShowSecrets {
		parts := strings.Split(query, "&")
		for i, part := range parts {
			name, _, _ := strings.Cut(part, "=")
			plainName, err := url.QueryUnescape(name)
			if err != nil || a.unlessSecret(plainName, "") == hidden {
				parts[i] = name + "=" + hidden
			}
		}
		s = head + "?" + strings.Join(parts, "&")
	}
	return clip(s, a.opts.MaxEventBytes)
}

// maxShownBytes bounds the memory of all sockets as they are shown: headers may be long.
const maxShownBytes = 16 << 20

// allSockets are those of this server, which are own, and of others if there are, up to
// MaxSockets; left is how many are not shown.
func (a *Admin) allSockets() (all []any, own, left int) {
	all = []any{}
	room := int64(maxShownBytes)
	show := func(socket map[string]any) {
		all = append(all, socket)
		room -= memoryOf(socket)
	}
	fits := func() bool { return len(all) < a.opts.MaxSockets && room > 0 }
	namespaces := a.srv.Namespaces()
	for _, ns := range namespaces {
		n := ns.Len()
		if n > 0 && fits() {
			for _, s := range ns.Sockets() {
				if !fits() {
					break
				}
				show(a.describe(s, s.Rooms()))
				n--
			}
		}
		left += max(n, 0)
	}
	own = len(all)
	if !a.elsewhere.Load() || !fits() {
		return all, own, left
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, ns := range namespaces {
		remote, _ := ns.FetchSockets(ctx) // those that are known
		for _, s := range remote {
			switch {
			case ns.Socket(s.ID) != nil: // it is this server's
			case fits():
				show(a.describeRemote(s, ns.Name()))
			default:
				left++
			}
		}
	}
	return all, own, left
}
