package netpoll

import (
	"math/bits"
	"time"
)

// tick is the resolution of loop timers: a timer never fires early and is at
// most a tick late, plus the time that the loop needs to wake up.
const (
	tick       = 4 * time.Millisecond
	wheelSlots = 8192 // one turn of the wheel is 32.8 s: a 25 s ping is looked at once
)

// Timer is one deadline on a loop's wheel. It is embedded by value in what it
// belongs to and costs no allocation; its zero value is a stopped timer.
// Loop-owned.
type Timer struct {
	next, prev *Timer // prev is nil for a stopped timer
	at         int64  // in ticks since the loop's start
	owner      Expirer
}

// Expirer is told on the loop that its timer has run out. The timer is stopped
// by then and may be armed again.
type Expirer interface{ Expire(t *Timer) }

// wheel is a hashed timing wheel: arming, stopping and firing cost O(1).
type wheel struct {
	slots [wheelSlots]Timer // list heads
	used  [wheelSlots / 64]uint64
	tick  int64 // all timers at or before this tick have fired
	count int
}

func (w *wheel) arm(t *Timer, at int64) {
	if at <= w.tick {
		at = w.tick + 1
	}
	t.at = at
	i := at % wheelSlots
	h := &w.slots[i]
	if h.next == nil {
		h.next, h.prev = h, h
	}
	t.prev, t.next = h.prev, h
	h.prev.next = t
	h.prev = t
	w.used[i/64] |= 1 << (i % 64)
	w.count++
}

func (w *wheel) stop(t *Timer) {
	if t.prev == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	if i := t.at % wheelSlots; w.slots[i].next == &w.slots[i] {
		w.used[i/64] &^= 1 << (i % 64)
	}
	t.next, t.prev = nil, nil
	w.count--
}

// next is the first tick after now whose slot holds a timer, perhaps of a
// later turn of the wheel; ok is false when there is no timer at all.
func (w *wheel) next() (at int64, ok bool) {
	if w.count == 0 {
		return 0, false
	}
	first := (w.tick + 1) % wheelSlots
	word, bit := first/64, first%64
	m := w.used[word] &^ (1<<bit - 1)
	for i := int64(0); ; i++ {
		if m != 0 {
			slot := word*64 + int64(bits.TrailingZeros64(m))
			return w.tick + 1 + (slot-first+wheelSlots)%wheelSlots, true
		}
		if i > int64(len(w.used)) {
			return 0, false
		}
		word = (word + 1) % int64(len(w.used))
		m = w.used[word]
	}
}

// advance moves the wheel to tick now and fires what is due, in the order of
// the slots.
func (w *wheel) advance(now int64) {
	for w.tick < now {
		at, ok := w.next()
		if !ok || at > now {
			w.tick = now
			return
		}
		w.tick = at
		h := &w.slots[at%wheelSlots]
		// A callback may arm or stop any timer, so each step looks at the
		// list anew. What stays is of a later turn and goes to the back once.
		for t, n := h.next, w.slotLen(h); t != h && n > 0; n-- {
			w.stop(t)
			if t.at <= at {
				t.owner.Expire(t)
			} else {
				w.arm(t, t.at)
			}
			if h.next == nil {
				break
			}
			t = h.next
		}
	}
}

func (w *wheel) slotLen(h *Timer) (n int) {
	for t := h.next; t != h; t = t.next {
		n++
	}
	return n
}

// Arm sets t to call owner after d, in place of what it was set to before.
// Loop-owned.
func (l *Loop) Arm(t *Timer, owner Expirer, d time.Duration) {
	l.Check()
	l.wheel.stop(t)
	t.owner = owner
	// Rounded up, so that a timer never fires early.
	at := (l.now + int64(d) + int64(tick) - 1) / int64(tick)
	l.wheel.arm(t, at)
	l.wakeAt(t.at)
}

// Stop stops t if it is armed. Loop-owned.
func (l *Loop) Stop(t *Timer) {
	l.Check()
	l.wheel.stop(t)
}

// Armed tells whether t is waiting to fire.
func (t *Timer) Armed() bool { return t.prev != nil }

// wakeAt makes sure that a sleeping loop turns at the given tick.
func (l *Loop) wakeAt(at int64) {
	if l.alarmAt != 0 && l.alarmAt <= at {
		return
	}
	l.alarmAt = at
	l.sys.WakeAfter(time.Duration(at*int64(tick) - l.now))
}

// expire fires the timers that are due. It is called with a fresh l.now.
func (l *Loop) expire() {
	now := l.now / int64(tick)
	if now <= l.wheel.tick {
		return
	}
	l.wheel.advance(now)
	if l.alarmAt != 0 && l.alarmAt <= now {
		l.alarmAt = 0
	}
	if at, ok := l.wheel.next(); ok {
		l.wakeAt(at)
	}
}
