//go:build race

package bytepool

// Poison makes a read of released memory visible, in race builds.
func Poison(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xdb
	}
}
