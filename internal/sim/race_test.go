//go:build race

package sim

// defaultSeeds: the race detector makes ten of one.
const defaultSeeds = 200

// raceBuild tells of the race detector.
const raceBuild = true
