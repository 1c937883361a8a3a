package sockeye

import (
	"slices"
	"testing"
)

// TestLifeTable holds what must be true of any table of a socket's life.
func TestLifeTable(t *testing.T) {
	for from := range lifeStates {
		for e := range lifeEvents {
			to := lifeTable[from][e]
			switch {
			case to < from:
				t.Errorf("%d goes back to %d by %d", from, to, e)
			case from.over() && to != from:
				t.Errorf("%d is over, and becomes %d by %d", from, to, e)
			case from.byServer() && !to.byServer():
				t.Errorf("Disconnect is forgotten by %d in %d", e, from)
			case to == dismissed && !from.byServer():
				t.Errorf("%d is dismissed by %d without Disconnect", from, e)
			case from.answered() && !to.answered() && !to.over():
				t.Errorf("%d has been answered, and %d not", from, to)
			case to == from && e == ended && !from.over():
				t.Errorf("%d does not end with its session", from)
			}
		}
		if left := lifeTable[lifeTable[from][dismissal]][left]; from != asking && !left.over() {
			t.Errorf("Disconnect in %d leads to %d", from, left)
		}
	}
	// Every state is reached.
	reached := []lifeState{asking}
	for i := 0; i < len(reached); i++ {
		for _, to := range lifeTable[reached[i]] {
			if !slices.Contains(reached, to) {
				reached = append(reached, to)
			}
		}
	}
	if len(reached) != int(lifeStates) {
		t.Errorf("reached are %v", reached)
	}
}
