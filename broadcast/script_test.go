package broadcast

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/golden"
)

// TestScripts runs the scripts of testdata: how broadcasts go around, in laps.
//
//	members N LOOPS    (first) so many chunks of members, dealt out to the loops
//	join A-B ROOM      members join a room; leave A-B ROOM
//	emit TEXT [ROOM]   a broadcast, to a room or to all
//	own N TEXT         to member N alone
//	gone N             member N goes
//	turn [LOOP]        one turn of a loop
//	run                turns, until nothing is left to do
//	skip D             the clock moves on, while nothing runs
//	advance D          the clock moves on
//
// The trace is what members got by a command, in order: "0-63 < a b".
func TestScripts(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(t *testing.T) golden.Script {
		var w *world
		return func(command string) (string, error) {
			f := append(strings.Fields(command), "", "", "")
			if f[0] == "members" {
				n, _ := strconv.Atoi(f[1])
				loops, _ := strconv.Atoi(f[2])
				w = newWorld(t, max(loops, 1), n*chunk)
				return "", nil
			}
			err := w.do(f)
			trace := w.trace()
			clear(w.got)
			return trace, err
		}
	})
}

func (w *world) do(f []string) error {
	number := func(i int) int {
		n, _ := strconv.Atoi(f[i])
		return n
	}
	duration := func() time.Duration {
		d, _ := time.ParseDuration(f[1])
		return d
	}
	switch f[0] {
	case "join", "leave":
		from, to, _ := strings.Cut(f[1], "-")
		first, _ := strconv.Atoi(from)
		last, err := strconv.Atoi(to)
		if err != nil {
			last = first
		}
		for _, m := range w.members[first : last+1] {
			if f[0] == "join" {
				w.rooms.Join(m, f[2])
			} else {
				w.rooms.Leave(m, f[2])
			}
		}
	case "emit":
		o := Options{}
		if f[2] != "" {
			o.Rooms = []string{f[2]}
		}
		w.broadcast(f[1], o)
	case "own":
		w.direct(w.members[number(1)], f[2])
	case "gone":
		w.remove(w.members[number(1)])
	case "turn":
		w.net.Group.Loop(number(1)).Turn()
	case "run":
		w.net.Run()
	case "skip":
		w.net.Skip(duration())
	case "advance":
		w.net.Advance(duration())
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// trace is what members have got: those in a row, or at an equal distance, that got
// the same are in one line.
func (w *world) trace() string {
	var b strings.Builder
	for i := 0; i < len(w.members); i++ {
		got := w.got[w.members[i]]
		if len(got) == 0 {
			continue
		}
		same := func(i int) bool { return i < len(w.members) && slices.Equal(w.got[w.members[i]], got) }
		step := 1
		for !same(i+step) && step < len(w.members) {
			step++
		}
		who, last := strconv.Itoa(i), i
		for same(last + step) {
			last += step
			delete(w.got, w.members[last])
		}
		if last > i {
			if who = fmt.Sprintf("%d-%d", i, last); step > 1 {
				who += fmt.Sprint(" by ", step)
			}
		}
		fmt.Fprintf(&b, "%s < %s\n", who, strings.Join(got, " "))
	}
	return b.String()
}
