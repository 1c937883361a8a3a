package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsAreOrderedAndClose(t *testing.T) {
	last := -1
	for _, v := range []int64{0, 1, 63, 64, 127, 128, 129, 255, 256, 1000, 1e6, 1e9, 1e12, math.MaxInt64} {
		b := bucket(v)
		if b < last {
			t.Errorf("bucket(%d) = %d, under that of a smaller value", v, b)
		}
		last = b
		if m := middle(b); math.Abs(m-float64(v)) > max(0.5, float64(v)/128) {
			t.Errorf("%d is counted as %.1f", v, m)
		}
	}
	if n := len(Histogram{}.counts); last >= n {
		t.Errorf("bucket %d of %d", last, n)
	}
}

func TestQuantiles(t *testing.T) {
	var h Histogram
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]int64, 20000)
	for i := range values {
		values[i] = int64(rng.ExpFloat64() * 3e6)
		h.Add(values[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0, .5, .9, .99, .999, 1} {
		want := float64(values[int(q*float64(len(values)-1))])
		if got := h.Quantile(q); math.Abs(got-want) > max(1, want/100) {
			t.Errorf("quantile %v: %v, want about %v", q, got, want)
		}
	}
	h.Add(-5)
	if h.counts[0] == 0 {
		t.Error("a negative duration is not counted as none")
	}
}
