package netpoll

import (
	"sync"
	"sync/atomic"
)

// table finds the connection of a descriptor, for all loops of a group: a table
// for each of them would take its 8 bytes a descriptor as often as there are
// loops. It grows by pages and never shrinks: descriptors are small numbers that
// are used again.
type table struct {
	// Any goroutine (atomic).
	pages atomic.Pointer[[]*tablePage]

	// Guarded by mu.
	mu sync.Mutex // of those who make pages
}

const pageConns = 512

type tablePage [pageConns]atomic.Pointer[Conn]

// get is the connection of fd, or nil. It may be another loop's: an event can be
// stale.
func (t *table) get(fd int) *Conn {
	pages := t.pages.Load()
	if pages == nil || fd/pageConns >= len(*pages) {
		return nil
	}
	return (*pages)[fd/pageConns][fd%pageConns].Load()
}

// set enters c, or nil, for fd.
func (t *table) set(fd int, c *Conn) {
	pages := t.pages.Load()
	if pages == nil || fd/pageConns >= len(*pages) {
		pages = t.grow(fd)
	}
	(*pages)[fd/pageConns][fd%pageConns].Store(c)
}

func (t *table) grow(fd int) *[]*tablePage {
	t.mu.Lock()
	defer t.mu.Unlock()
	var pages []*tablePage
	if old := t.pages.Load(); old != nil {
		pages = append(pages, *old...)
	}
	for fd/pageConns >= len(pages) {
		pages = append(pages, new(tablePage))
	}
	t.pages.Store(&pages)
	return &pages
}

// each calls f for every connection of a loop, which is the caller.
func (t *table) each(l *Loop, f func(*Conn)) {
	pages := t.pages.Load()
	if pages == nil {
		return
	}
	for _, page := range *pages {
		for i := range page {
			if c := page[i].Load(); c != nil && c.home.Load() == int32(l.index) {
				f(c)
			}
		}
	}
}
