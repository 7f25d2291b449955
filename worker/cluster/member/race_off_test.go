//go:build !race

package member

const simSeeds = 40
