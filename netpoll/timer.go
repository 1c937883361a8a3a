package netpoll

import (
	"math/bits"
	"time"
)

// tick is the resolution of loop timers: a timer never fires early and is at
// most a tick late, plus the time that the loop needs to wake up.
const (
	tick       = time.Millisecond
	wheelSlots = 1 << 15 // one turn of the wheel is 32.8 s: a 25 s ping is looked at once
)

// Timer is one deadline on a loop's wheel. It is embedded by value in what it
// belongs to and costs no allocation; its zero value is a stopped timer.
// Loop-owned.
type Timer struct {
	next, prev *Timer
	at         int64 // in ticks since the group's start; 0 for a stopped timer
	owner      Expirer
}

// Expirer is told on the loop that its timer has run out. The timer is stopped
// by then and may be armed again.
type Expirer interface{ Expire(t *Timer) }

// wheel is a hashed timing wheel: arming, stopping and firing cost O(1).
type wheel struct {
	slots  [wheelSlots]*Timer
	used   [wheelSlots / 64]uint64
	tick   int64  // all timers at or before this tick have fired
	cursor *Timer // while firing: the next to be looked at
	due    int64  // when the timer being fired was due
	count  int
}

func (w *wheel) arm(t *Timer, at int64) {
	t.at = max(at, w.tick+1)
	i := t.at % wheelSlots
	t.prev, t.next = nil, w.slots[i]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[i] = t
	w.used[i/64] |= 1 << (i % 64)
	w.count++
}

func (w *wheel) stop(t *Timer) {
	if t.at == 0 {
		return
	}
	if t == w.cursor {
		w.cursor = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		i := t.at % wheelSlots
		if w.slots[i] = t.next; t.next == nil {
			w.used[i/64] &^= 1 << (i % 64)
		}
	}
	t.next, t.prev, t.at = nil, nil, 0
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
	for range len(w.used) + 1 {
		if m != 0 {
			slot := word*64 + int64(bits.TrailingZeros64(m))
			return w.tick + 1 + (slot-first+wheelSlots)%wheelSlots, true
		}
		word = (word + 1) % int64(len(w.used))
		m = w.used[word]
	}
	return 0, false
}

// advance moves the wheel to tick now and fires what is due.
func (w *wheel) advance(now int64, expire func(*Timer)) {
	for w.tick < now {
		at, ok := w.next()
		if !ok || at > now {
			w.tick = now
			return
		}
		w.tick = at
		w.fire(at, expire)
	}
}

// fire fires the timers of one slot that are due. A callback may arm or stop
// any timer: new ones go in front of the cursor, and stop moves it on.
func (w *wheel) fire(at int64, expire func(*Timer)) {
	for t := w.slots[at%wheelSlots]; t != nil; t = w.cursor {
		w.cursor = t.next
		if t.at <= at {
			w.due = t.at
			w.stop(t)
			expire(t)
		}
	}
}

// maxDelay is "for ever": times beyond would overflow.
const maxDelay = 100 * 365 * 24 * time.Hour

// Arm sets t to call owner after d, in place of what it was set to before.
// Loop-owned.
func (l *Loop) Arm(t *Timer, owner Expirer, d time.Duration) {
	l.Check()
	l.wheel.stop(t)
	t.owner = owner
	// Rounded up, so that a timer never fires early.
	at := (l.now + int64(min(d, maxDelay)) + int64(tick) - 1) / int64(tick)
	l.wheel.arm(t, at)
	l.wakeAt(t.at)
}

// ArmNext is Arm for an Expirer that goes on: d counts from when the timer that
// has just run out was due, so that delays do not add up. After a long delay,
// when the process was stopped say, it counts from now. Loop-owned.
func (l *Loop) ArmNext(t *Timer, owner Expirer, d time.Duration) {
	if late := l.now - l.wheel.due*int64(tick); late < int64(20*time.Millisecond) {
		d -= time.Duration(late)
	}
	l.Arm(t, owner, d)
}

// Stop stops t if it is armed. Loop-owned.
func (l *Loop) Stop(t *Timer) {
	l.Check()
	l.wheel.stop(t)
}

// DueAt is when an armed timer runs out, on the loop's clock; ok is false for a stopped
// one. Loop-owned.
func (l *Loop) DueAt(t *Timer) (at time.Duration, ok bool) {
	l.Check()
	return time.Duration(t.at) * tick, t.at != 0
}

// LastDue is when the timer that has run out last was due. Loop-owned.
func (l *Loop) LastDue() time.Duration { return time.Duration(l.wheel.due) * tick }

// Armed tells whether t is waiting to fire.
func (t *Timer) Armed() bool { return t.at != 0 }

// wakeAt makes sure that a sleeping loop turns at the given tick.
func (l *Loop) wakeAt(at int64) {
	if l.alarmAt != 0 && l.alarmAt <= at {
		return
	}
	l.alarmAt = at
	l.sys.WakeAfter(time.Duration(at*int64(tick) - l.now))
}

// lateAfter is from how many ticks on a deadline is late: the process has been
// stopped, or the loop was busy.
const lateAfter = 1

// From frozenAfter ticks on the process has been frozen: what peers have sent in time
// may lie in connections that have yet to be accepted, read, and moved to the loop of
// their session. Deadlines wait for them, for thawTicks.
const (
	frozenAfter = 1000
	thawTicks   = 100
)

// expire fires the timers that are due. It is called with a fresh l.now; turn says
// that this is a turn, and no socket's event.
//
// When the loop is late, what peers have sent meanwhile lies in the sockets: they
// are read first, or a pong that was in time would count as none. The turn that is
// asked for here comes after every socket that is ready now.
func (l *Loop) expire(turn bool) {
	now := l.now / int64(tick)
	if now <= l.wheel.tick {
		return
	}
	if l.reading && !turn {
		return
	}
	if now < l.thawed {
		return
	}
	if at, ok := l.wheel.next(); ok && now-at >= lateAfter && !l.reading {
		if now-at >= frozenAfter && l.thawed == 0 {
			l.thawed = now + thawTicks
			l.alarmAt = 0
			l.wakeAt(l.thawed)
			return
		}
		l.reading = true
		l.sys.Wake()
		return
	}
	l.thawed = 0
	l.reading = false
	l.wheel.advance(now, l.fireTimer)
	if l.alarmAt != 0 && l.alarmAt <= now {
		l.alarmAt = 0
	}
	if at, ok := l.wheel.next(); ok {
		l.wakeAt(at)
	}
}

func (l *Loop) expireTimer(t *Timer) {
	defer l.recoverPanic(nil)
	t.owner.Expire(t)
}
