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
