//go:build !race

package netpoll

const raceBuild = false
