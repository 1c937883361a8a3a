package main

import "math/rand/v2"

// simulate puts the members of rooms of a size on servers at random, and returns on how many
// servers a room has somebody: the mean, and the most of all rooms.
func simulate(r *rand.Rand, rooms, size, servers int) (mean float64, most int) {
	last := make([]int, servers) // the room that a server was last seen to have
	sum := 0
	for room := 1; room <= rooms; room++ {
		n := 0
		for range size {
			if s := r.IntN(servers); last[s] != room {
				last[s] = room
				n++
			}
		}
		sum += n
		most = max(most, n)
	}
	return float64(sum) / float64(rooms), most
}
