package load

import (
	"iter"
	"math/bits"
	"time"
)

// subBuckets are the buckets of each power of two in a histogram: a quantile is
// wrong by at most half a bucket, 1/128.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// Histogram counts durations in nanoseconds, in buckets that grow with the value.
type Histogram struct {
	counts [(64 - subBits + 1) * subBuckets]int64
	n      int64
	max    int64
}

// Add counts a duration.
func (h *Histogram) Add(ns int64) { h.AddN(ns, 1) }

// AddN counts it n times.
func (h *Histogram) AddN(ns, n int64) {
	ns = max(ns, 0) // the clock may have been set back
	h.counts[bucket(ns)] += n
	h.n += n
	h.max = max(h.max, ns)
}

// Len is how many durations were counted.
func (h *Histogram) Len() int64 { return h.n }

// bucket is the index of a value's bucket. Values under 2*subBuckets have a
// bucket each.
func bucket(v int64) int {
	shift := max(0, bits.Len64(uint64(v))-subBits-1)
	return shift*subBuckets + int(v>>shift)
}

// middle is the value in the middle of a bucket.
func middle(b int) float64 {
	shift := max(0, b/subBuckets-1)
	return (float64(b-shift*subBuckets) + 0.5) * float64(int64(1)<<shift)
}

// Quantile is the value, in nanoseconds, that a share q of all are at most.
func (h *Histogram) Quantile(q float64) float64 {
	if h.n == 0 {
		return 0
	}
	rank := int64(q * float64(h.n-1))
	if rank == h.n-1 {
		return float64(h.max)
	}
	for b, c := range h.counts {
		if rank -= c; rank < 0 {
			return min(middle(b), float64(h.max))
		}
	}
	return float64(h.max)
}

// All are the buckets that have counted something, by the value in their middle.
func (h *Histogram) All() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		for b, c := range h.counts {
			if c > 0 && !yield(time.Duration(min(middle(b), float64(h.max))), c) {
				return
			}
		}
	}
}

// Sparse is a histogram in little memory, which is not added to but joined.
type Sparse struct {
	buckets []bucketCount
	max     int64
}

type bucketCount struct {
	bucket int32
	count  int64
}

// Take moves what a histogram has counted, and leaves it empty.
func (h *Histogram) Take() Sparse {
	s := Sparse{max: h.max}
	if h.n > 0 {
		for b, c := range h.counts {
			if c > 0 {
				s.buckets = append(s.buckets, bucketCount{int32(b), c})
			}
		}
		*h = Histogram{}
	}
	return s
}

// Join adds to a histogram what another has counted.
func (h *Histogram) Join(s Sparse) {
	for _, b := range s.buckets {
		h.counts[b.bucket] += b.count
		h.n += b.count
	}
	h.max = max(h.max, s.max)
}
