package netpoll

import (
	"sync"
	"sync/atomic"
)

// table finds the connection of a descriptor, for all loops of a group: a table
// for each of them would take its 8 bytes a descriptor as often as there are
// loops.
type table struct {
	near pages[Conn] // by the kernel's descriptors
	far  *bridge     // has those from farFD on
}

// get is the connection of fd, or nil. It may be another loop's: an event can be
// stale.
func (t *table) get(fd int) *Conn {
	if fd >= farFD {
		return t.far.conn(fd)
	}
	return t.near.get(fd)
}

// set enters c, or nil, for fd.
func (t *table) set(fd int, c *Conn) {
	if fd >= farFD {
		t.far.setConn(fd, c)
		return
	}
	t.near.set(fd, c)
}

// each calls f for every connection of a loop, which is the caller.
func (t *table) each(l *Loop, f func(*Conn)) {
	own := func(c *Conn) {
		if c.home.Load() == int32(l.index) {
			f(c)
		}
	}
	t.near.each(own)
	t.far.each(func(d *bridged) {
		if c := d.owner.Load(); c != nil {
			own(c)
		}
	})
}

// pages are a table by small numbers that are used again. It grows by pages and never
// shrinks.
type pages[T any] struct {
	// Any goroutine (atomic).
	all atomic.Pointer[[]*page[T]]

	// Guarded by mu.
	mu sync.Mutex // of those who make pages
}

const pageConns = 512

type page[T any] [pageConns]atomic.Pointer[T]

func (t *pages[T]) get(i int) *T {
	all := t.all.Load()
	if all == nil || i/pageConns >= len(*all) {
		return nil
	}
	return (*all)[i/pageConns][i%pageConns].Load()
}

func (t *pages[T]) set(i int, v *T) {
	all := t.all.Load()
	if all == nil || i/pageConns >= len(*all) {
		all = t.grow(i)
	}
	(*all)[i/pageConns][i%pageConns].Store(v)
}

func (t *pages[T]) grow(i int) *[]*page[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*page[T]
	if old := t.all.Load(); old != nil {
		all = append(all, *old...)
	}
	for i/pageConns >= len(all) {
		all = append(all, new(page[T]))
	}
	t.all.Store(&all)
	return &all
}

func (t *pages[T]) each(f func(*T)) {
	all := t.all.Load()
	if all == nil {
		return
	}
	for _, p := range *all {
		for i := range p {
			if v := p[i].Load(); v != nil {
				f(v)
			}
		}
	}
}
