//go:build !race

package sim

// defaultSeeds are what go test takes by itself; ci/sim.sh runs more.
const defaultSeeds = 400

// raceBuild tells of the race detector.
const raceBuild = false
