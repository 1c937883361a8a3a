package main

import "bytes"

// Beginnings of the packets that are awaited, up to the text of their argument.
var (
	bcastStart = []byte(`42["bcast","`)
	echoStart  = []byte(`42["echo","`)
)

// argument is the text of an event's argument, if the packet is such an event.
// The text is what this client has sent: numbers, each followed by '-', and a
// filler.
func argument(packet, start []byte) ([]byte, bool) {
	if !bytes.HasPrefix(packet, start) {
		return nil, false
	}
	return packet[len(start):], true
}

// leadingNumber takes a number and the '-' behind it off the text.
func leadingNumber(text []byte) (v int64, rest []byte, ok bool) {
	i := bytes.IndexByte(text, '-')
	if i < 1 {
		return 0, nil, false
	}
	return number(text[:i]), text[i+1:], true
}

// number reads decimal digits.
func number(digits []byte) (v int64) {
	for _, c := range digits {
		v = v*10 + int64(c-'0')
	}
	return v
}
