// Package idtable finds things by their ID in a third of the memory of a map
// from string: the ID is the thing's own, and the table has only pointers.
package idtable

import "hash/maphash"

// Table is an open-addressing hash table with linear probing. It is not safe
// for concurrent use.
type Table[E comparable] struct {
	id    func(E) string
	slots []E // a power of two of them, at most three quarters in use
	n     int
}

// New returns an empty table. id is the ID of an entry, which must not change
// while it is in the table.
func New[E comparable](id func(E) string) Table[E] { return Table[E]{id: id} }

// seed keeps peers from choosing IDs that collide.
var seed = maphash.MakeSeed()

const minSlots = 8

// Len is the number of entries.
func (t *Table[E]) Len() int { return t.n }

// Get finds the entry with an ID; the zero value if there is none.
func (t *Table[E]) Get(id string) (e E) {
	if t.n == 0 {
		return e
	}
	return t.slots[t.find(id)]
}

// Add enters e; false if its ID is taken.
func (t *Table[E]) Add(e E) bool {
	var none E
	if 4*(t.n+1) > 3*len(t.slots) {
		t.resize(max(2*len(t.slots), minSlots))
	}
	i := t.find(t.id(e))
	if t.slots[i] != none {
		return false
	}
	t.slots[i] = e
	t.n++
	return true
}

// Remove takes e out, and tells whether it was there.
func (t *Table[E]) Remove(e E) bool {
	var none E
	if t.n == 0 {
		return false
	}
	i := t.find(t.id(e))
	if t.slots[i] != e {
		return false
	}
	t.n--
	// What follows moves up, unless that would put it before its place.
	mask := uint64(len(t.slots) - 1)
	for j := (i + 1) & mask; t.slots[j] != none; j = (j + 1) & mask {
		home := maphash.String(seed, t.id(t.slots[j])) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i], i = t.slots[j], j
		}
	}
	t.slots[i] = none
	if len(t.slots) > minSlots && 8*t.n < len(t.slots) {
		t.resize(len(t.slots) / 2) // the memory of a crowd is given back
	}
	return true
}

// All calls f for every entry.
func (t *Table[E]) All(f func(E)) {
	var none E
	for _, e := range t.slots {
		if e != none {
			f(e)
		}
	}
}

// find is the slot of the entry with an ID, or the one that it would take.
func (t *Table[E]) find(id string) uint64 {
	var none E
	mask := uint64(len(t.slots) - 1)
	i := maphash.String(seed, id) & mask
	for t.slots[i] != none && t.id(t.slots[i]) != id {
		i = (i + 1) & mask
	}
	return i
}

func (t *Table[E]) resize(n int) {
	old := t.slots
	t.slots = make([]E, n)
	var none E
	for _, e := range old {
		if e != none {
			t.slots[t.find(t.id(e))] = e
		}
	}
}
