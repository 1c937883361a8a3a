//go:build !race

package ws

const raceBuild = false
