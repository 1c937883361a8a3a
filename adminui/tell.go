package adminui

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
)

// message is an event for admins.
type message struct {
	event string
	args  []any
	bytes int64 // its memory, while it is queued
}

const (
	maxQueued      = 4096      // messages that wait for the teller
	maxQueuedBytes = 16 << 20  // their memory, which is much more than their text
	maxUnread      = 512 << 10 // bytes that wait for an admin: with more it is behind
	statsInterval  = 2 * time.Second
	catchUpEvery   = 50 * time.Millisecond
	resyncEvery    = 5 * time.Second // how often an admin is shown all sockets, at most
	maxNamespaces  = 1000            // in server_stats
)

// full tells whether tell would drop what it is given.
func (a *Admin) full() bool {
	if len(a.queue) < cap(a.queue) && a.queued.Load() < maxQueuedBytes {
		return false
	}
	a.lost.Add(1)
	return true
}

// tell has the teller tell all admins. It never waits.
func (a *Admin) tell(event string, args ...any) {
	m := message{event, args, memoryOf(args)}
	if a.queued.Add(m.bytes) > maxQueuedBytes {
		a.queued.Add(-m.bytes)
		a.lost.Add(1)
		return
	}
	select {
	case a.queue <- m:
	default:
		a.queued.Add(-m.bytes)
		a.lost.Add(1)
	}
}

// take takes a message off the queue.
func (a *Admin) take(m message) message {
	a.queued.Add(-m.bytes)
	return m
}

// memoryOf is about what a value takes that plain, or shown, has made.
func memoryOf(v any) int64 {
	n := int64(16)
	switch v := v.(type) {
	case string:
		n += 16 + int64(len(v))
	case []string:
		n += 24
		for _, s := range v {
			n += 16 + int64(len(s))
		}
	case []any:
		n += 24
		for _, x := range v {
			n += memoryOf(x)
		}
	case map[string]any:
		n += 64
		for k, x := range v {
			n += 32 + int64(len(k)) + memoryOf(x)
		}
	default:
		n += 8
	}
	return n
}

// run is the teller: the one goroutine that tells admins anything after config.
func (a *Admin) run() {
	stats := time.NewTicker(statsInterval)
	defer stats.Stop()
	catchUp := time.NewTicker(catchUpEvery)
	defer catchUp.Stop()
	_ = a.sendStats() // nobody is there yet
	for {
		var err error
		select {
		case <-a.done:
			return
		case m := <-a.queue:
			err = a.send(a.take(m))
		case <-stats.C:
			err = a.sendStats()
		case <-a.kick:
			err = a.catchUp()
		case <-catchUp.C:
			if a.watched.Load() {
				err = a.catchUp()
			}
		}
		if errors.Is(err, sockeye.ErrServerClosed) {
			a.stop()
			return
		}
	}
}

// viewers are the admins of this server.
func (a *Admin) viewers() map[*sockeye.Socket]*viewer {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[*sockeye.Socket]*viewer, len(a.admins))
	for s, v := range a.admins {
		all[s] = v
	}
	return all
}

// send tells the admins that read, of all servers.
func (a *Admin) send(m message) error {
	if !a.news(&m) {
		return nil
	}
	lost := a.lost.Swap(0)
	if lost > 0 {
		clear(a.rooms) // all are shown all sockets again
	}
	for s, v := range a.viewers() {
		queued := s.QueuedBytes()
		switch {
		case v.behind:
		case queued > v.allowed || lost > 0:
			v.behind = true
			_ = s.Join(behindRoom)
		case queued < maxUnread:
			v.allowed = maxUnread // all sockets have been read
		}
		if v.behind && v.welcome {
			v.missed += lost + 1
			a.dropped.Add(lost + 1)
		}
	}
	return a.ns.Except(behindRoom).Emit(m.event, m.args...)
}

// catchUp shows all sockets to admins that have come, or that were behind and have read.
func (a *Admin) catchUp() error {
	var all []any
	var left int
	for s, v := range a.viewers() {
		if !v.behind || s.QueuedBytes() > maxUnread/2 || v.welcome && time.Since(v.since) < resyncEvery {
			continue
		}
		if a.opts.Mode == Development {
			if all == nil {
				var err error
				if all, left, err = a.snapshot(); err != nil {
					return err
				}
			}
			emit := s.Timeout(time.Second).Emit
			if emit("all_sockets", all) != nil {
				continue
			}
			if left > 0 {
				_ = emit("event_received", a.ns.Name(), s.ID(), []any{"sockets that are not shown", left}, timestamp())
			}
			if v.missed > 0 {
				_ = emit("event_received", a.ns.Name(), s.ID(), []any{"messages that were dropped", v.missed}, timestamp())
			}
		}
		v.behind, v.welcome, v.missed, v.since = false, true, 0, time.Now()
		v.allowed = maxUnread + s.QueuedBytes()
		s.Leave(behindRoom)
	}
	return nil
}

// news tells whether the page is to know m, and does not yet: told of a room twice, it would
// count the socket twice. A room that a socket has joined before it was shown is in what is
// shown. Rooms of sockets that are not shown are not told.
func (a *Admin) news(m *message) bool {
	switch m.event {
	case "socket_connected":
		s, joined := m.args[0].(*sockeye.Socket), m.args[1].([]string)
		rooms := a.rooms[shownKey(s.Namespace().Name(), s.ID())]
		if rooms == nil {
			return false
		}
		socket := a.describe(s, joined)
		maps.Copy(rooms, roomsOf(socket))
		m.args = []any{socket, m.args[2]}
	case "socket_disconnected":
		delete(a.rooms, shownKey(m.args[0], m.args[1]))
	case "room_left":
		delete(a.rooms[shownKey(m.args[0], m.args[2])], m.args[1].(string))
	case "room_joined":
		key, room := shownKey(m.args[0], m.args[2]), m.args[1].(string)
		rooms := a.rooms[key]
		switch {
		case rooms != nil:
		case room == m.args[2]: // its own: a socket begins with it
			if len(a.rooms) >= a.opts.MaxSockets {
				return false
			}
			rooms = map[string]bool{}
			a.rooms[key] = rooms
		default:
			return a.elsewhere.Load() // others may have been shown it
		}
		if rooms[room] {
			return false
		}
		rooms[room] = true
	}
	return true
}

func shownKey(nsp, id any) string { return nsp.(string) + " " + id.(string) }

func roomsOf(socket map[string]any) map[string]bool {
	rooms := map[string]bool{}
	for _, room := range socket["rooms"].([]string) {
		rooms[room] = true
	}
	return rooms
}

// snapshot is all sockets, when all that has been queued before is told. What it has and
// admins have not been told of yet is told to them first.
func (a *Admin) snapshot() (all []any, left int, err error) {
	for range len(a.queue) {
		if err := a.send(a.take(<-a.queue)); err != nil {
			return nil, 0, err
		}
	}
	anew := true
	for s, v := range a.viewers() {
		if len(a.rooms) > 2*a.opts.MaxSockets && !v.behind { // all have been shown others
			v.behind = true
			_ = s.Join(behindRoom)
		}
		anew = anew && v.behind
	}
	if anew && !a.elsewhere.Load() { // nobody has anything
		clear(a.rooms)
	}
	all, own, left := a.allSockets()
	for _, x := range all[:own] {
		socket := x.(map[string]any)
		nsp, id := socket["nsp"], socket["id"]
		known, rooms := a.rooms[shownKey(nsp, id)], roomsOf(socket)
		for room := range rooms {
			if known != nil && !known[room] {
				if err := a.send(message{event: "room_joined", args: []any{nsp, room, id, timestamp()}}); err != nil {
					return nil, 0, err
				}
			}
		}
		a.rooms[shownKey(nsp, id)] = rooms
	}
	return all, left, nil
}

// lookAround asks how many servers there are: admins of others are told, too.
func (a *Admin) lookAround() {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		n, err := a.srv.Servers(ctx)
		cancel()
		if err == nil {
			a.elsewhere.Store(n > 1)
			a.mu.Lock()
			a.watched.Store(!a.closed && (len(a.admins) > 0 || n > 1))
			a.mu.Unlock()
		}
		select {
		case <-a.done:
			return
		case <-t.C:
		}
	}
}

// sendStats tells counters, as differences since the last time.
func (a *Admin) sendStats() error {
	now, last := a.srv.Stats(), a.last
	a.last = now
	namespaces := []map[string]any{}
	all := a.srv.Namespaces()
	slices.SortFunc(all, compareNamespaces)
	for _, ns := range all[:min(len(all), maxNamespaces)] {
		namespaces = append(namespaces, map[string]any{"name": ns.Name(), "socketsCount": ns.Len()})
	}
	second := time.Now().Truncate(time.Second).UnixMilli()
	aggregated := []map[string]any{}
	add := func(kind, reason string, before, now uint64) {
		if now > before {
			e := map[string]any{"timestamp": second, "type": kind, "count": now - before}
			if reason != "" {
				e["subType"] = reason
			}
			aggregated = append(aggregated, e)
		}
	}
	add("rawConnection", "", last.Engine.Opened, now.Engine.Opened)
	closed := func(s *sockeye.Stats) uint64 { return s.Engine.Opened - uint64(s.Engine.Sessions) }
	add("rawDisconnection", "", closed(&last), closed(&now))
	add("packetsIn", "", last.Engine.PacketsIn, now.Engine.PacketsIn)
	add("packetsOut", "", last.Engine.PacketsOut, now.Engine.PacketsOut)
	add("bytesIn", "", last.Net.BytesIn, now.Net.BytesIn)
	add("bytesOut", "", last.Net.BytesOut, now.Net.BytesOut)
	host, _ := os.Hostname()
	return a.send(message{event: "server_stats", args: []any{map[string]any{
		"serverId": a.opts.ServerID, "hostname": host, "pid": os.Getpid(), "uptime": time.Since(a.begin).Seconds(),
		"clientsCount": now.Engine.Sessions, "pollingClientsCount": now.Engine.PollingSessions,
		"aggregatedEvents": aggregated, "namespaces": namespaces,
	}}})
}

// compareNamespaces has those that peers make last: there may be too many.
func compareNamespaces(a, b *sockeye.Namespace) int {
	if a.Dynamic() != b.Dynamic() {
		if b.Dynamic() {
			return -1
		}
		return 1
	}
	return strings.Compare(a.Name(), b.Name())
}
