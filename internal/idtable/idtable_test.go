package idtable

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type thing struct{ id string }

func idOf(t *thing) string { return t.id }

// TestTable compares a table with a map, through thousands of random changes.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	table := New(idOf)
	want := map[string]*thing{}
	for step := range 50_000 {
		space := 50 + step/50 // the number of IDs grows, so that the table does
		if step > 40_000 {
			space = 20
		}
		id := fmt.Sprint("id", r.IntN(space))
		switch r.IntN(3) {
		case 0:
			e := &thing{id}
			if _, taken := want[id]; table.Add(e) == taken {
				t.Fatalf("step %d: Add(%s) with %v there", step, id, taken)
			} else if !taken {
				want[id] = e
			}
		case 1:
			if e := want[id]; e != nil && !table.Remove(e) {
				t.Fatalf("step %d: Remove(%s) found nothing", step, id)
			}
			delete(want, id)
			if table.Remove(&thing{id}) {
				t.Fatalf("step %d: Remove took another one's entry", step)
			}
		default:
			if table.Get(id) != want[id] {
				t.Fatalf("step %d: Get(%s) is wrong", step, id)
			}
		}
		if table.Len() != len(want) {
			t.Fatalf("step %d: %d entries, want %d", step, table.Len(), len(want))
		}
	}
	n := 0
	table.All(func(e *thing) {
		if n++; want[e.id] != e {
			t.Errorf("All gives %s", e.id)
		}
	})
	if n != len(want) {
		t.Errorf("All gives %d, want %d", n, len(want))
	}
	for _, e := range want {
		table.Remove(e)
	}
	if len(table.slots) > minSlots {
		t.Errorf("an empty table keeps %d slots", len(table.slots))
	}
}

func BenchmarkTable(b *testing.B) {
	table := New(idOf)
	all := make([]*thing, 100_000)
	for i := range all {
		all[i] = &thing{fmt.Sprintf("%020d", i*7919)}
		table.Add(all[i])
	}
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(all)
		if table.Get(all[i].id) != all[i] {
			b.Fatal("lost")
		}
	}
	b.ReportMetric(float64(8*len(table.slots))/float64(len(all)), "B/entry")
}
