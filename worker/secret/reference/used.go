package reference

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
)

// Used is what an attempt has read by references: a digest of each value, zero for one that could not be read.
// Variables of the environment are left out, for they never change. The zero value has used nothing.
type Used map[Reference]Digest

// Digest tells one value of a reference from another.
type Digest [sha256.Size]byte

// References lists what is used, sorted.
func (u Used) References() []Reference { return slices.SortedFunc(maps.Keys(u), Compare) }

// Changed lists the references, sorted, whose values are others now than what was used. What now does not have says
// nothing: a file that cannot be read just now is in the middle of an update, or was taken away after its use.
func (u Used) Changed(now Used) []Reference {
	var out []Reference
	for _, ref := range u.References() {
		if is, ok := now[ref]; ok && is != u[ref] {
			out = append(out, ref)
		}
	}
	return out
}

// Watch makes one picture of many looks. The zero value has seen nothing.
type Watch struct{ last Used }

// Step takes a look, and returns what it and the one before it agree on: a file that is just being written is not taken
// half.
func (w *Watch) Step(look Used) (settled Used) {
	settled = Used{}
	for ref, is := range look {
		if was, ok := w.last[ref]; ok && was == is {
			settled[ref] = is
		}
	}
	w.last = look
	return settled
}

// Compare orders references.
func Compare(a, b Reference) int {
	return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Key, b.Key))
}
