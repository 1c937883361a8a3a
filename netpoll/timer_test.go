package netpoll

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"
	"time"
)

// fakeSystem is a clock, and the last alarm set.
type fakeSystem struct {
	System
	now, alarm time.Duration
}

func (s *fakeSystem) Now() time.Duration            { return s.now }
func (s *fakeSystem) Wake()                         {}
func (s *fakeSystem) WakeAfter(after time.Duration) { s.alarm = s.now + after }

func timerLoop() (*Loop, *fakeSystem) {
	sys := &fakeSystem{}
	l := NewManual(Config{}, nil, sys).Loop(0)
	turn(l, sys)
	return l, sys
}

type expirer func(*Timer)

func (f expirer) Expire(t *Timer) { f(t) }

// TestTimersAgainstModel arms, stops and re-arms at random, inside callbacks
// too, moves the clock by steps of every size, and compares what fires with a
// sorted list.
func TestTimersAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l, sys := timerLoop()
		timers := make([]Timer, 200)
		due := map[int]time.Duration{} // the model
		var fired []string
		var arm func(i int)
		arm = func(i int) {
			d := time.Duration(rnd.Int64N(int64(2 * time.Minute)))
			if rnd.IntN(3) == 0 {
				d = time.Duration(rnd.Int64N(int64(5 * time.Millisecond)))
			}
			due[i] = l.Now() + d
			l.Arm(&timers[i], expirer(func(tm *Timer) {
				if tm != &timers[i] || tm.Armed() {
					t.Fatal("another timer, or still armed")
				}
				at, ok := due[i]
				if late := l.Now() - at; !ok || late < 0 {
					t.Fatalf("seed %d: timer %d fired %v early, armed in the model: %v", seed, i, -late, ok)
				}
				delete(due, i)
				fired = append(fired, fmt.Sprint(i))
				switch rnd.IntN(4) {
				case 0:
					arm(i)
				case 1:
					j := rnd.IntN(len(timers))
					l.Stop(&timers[j])
					delete(due, j)
				}
			}), d)
		}
		for range 2000 {
			i := rnd.IntN(len(timers))
			if rnd.IntN(4) == 0 {
				l.Stop(&timers[i])
				delete(due, i)
			} else {
				arm(i)
			}
			if rnd.IntN(5) == 0 {
				sys.now += time.Duration(rnd.Int64N(int64(3 * time.Second)))
				turn(l, sys)
				for j, at := range due {
					if l.Now()-at >= 2*tick {
						t.Fatalf("seed %d: timer %d, due at %v, has not fired at %v", seed, j, at, l.Now())
					}
				}
			}
			if len(due) != l.wheel.count {
				t.Fatalf("seed %d: %d timers, want %d", seed, l.wheel.count, len(due))
			}
		}
		// What is left fires by the alarms alone.
		for len(due) > 0 {
			if sys.alarm <= sys.now {
				t.Fatalf("seed %d: %d timers left, and no alarm ahead", seed, len(due))
			}
			sys.now = sys.alarm
			turn(l, sys)
			for i := range timers { // no re-arming for ever
				if rnd.IntN(2) == 0 {
					l.Stop(&timers[i])
					delete(due, i)
				}
			}
		}
		if len(fired) == 0 {
			t.Fatal("nothing fired")
		}
	}
}

// turn turns the loop, and once more when it is late: it reads sockets first, for a
// while after it has been frozen.
func turn(l *Loop, sys *fakeSystem) {
	l.Turn()
	if l.thawed != 0 {
		sys.now = time.Duration(l.thawed) * tick
		l.Turn()
	}
	if l.reading {
		l.Turn()
	}
}

// TestTimersFireInOrder of their deadlines, when the loop comes late to all.
func TestTimersFireInOrder(t *testing.T) {
	l, sys := timerLoop()
	var got []int
	timers := make([]Timer, 50)
	for i := range timers {
		ms := (i * 37) % 50
		l.Arm(&timers[i], expirer(func(*Timer) { got = append(got, ms) }), time.Duration(ms)*time.Millisecond+40*time.Second)
	}
	sys.now += 2 * time.Minute
	turn(l, sys)
	if len(got) != len(timers) || !sort.IntsAreSorted(got) {
		t.Errorf("fired %v", got)
	}
}

// TestArmNext: a period does not drift by the loop's delays, and does not make
// up for a long stop.
func TestArmNext(t *testing.T) {
	l, sys := timerLoop()
	var at []time.Duration
	var tm Timer
	var next expirer
	next = func(tm *Timer) {
		at = append(at, l.Now())
		l.ArmNext(tm, next, time.Second)
	}
	l.Arm(&tm, next, time.Second)
	for len(at) < 10 {
		sys.now = sys.alarm + 7*time.Millisecond // always late
		turn(l, sys)
	}
	if want := 10*time.Second + 7*time.Millisecond; at[9] != want {
		t.Errorf("the tenth came at %v, want %v", at[9], want)
	}
	sys.now += time.Minute
	turn(l, sys)
	if len(at) != 11 {
		t.Errorf("%d fired after a long stop, want one", len(at)-10)
	}
	if want := sys.now + time.Second; sys.alarm != want {
		t.Errorf("the next is at %v, want %v", sys.alarm, want)
	}
}

func TestTimerAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector allocates")
	}
	l, sys := timerLoop()
	var tm Timer
	e := expirer(func(*Timer) {})
	if n := testing.AllocsPerRun(100, func() {
		l.Arm(&tm, &e, time.Millisecond)
		sys.now += 2 * time.Millisecond
		l.turn()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
