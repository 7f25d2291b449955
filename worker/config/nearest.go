package config

import "strings"

// nearest returns the known key that a mistyped one most likely means, or "".
func nearest(name string, known map[string]key) string {
	best, bestDistance := "", len(name)/3+1
	for candidate := range known {
		d := distance(strings.ToLower(name), strings.ToLower(candidate))
		if d < bestDistance || d == bestDistance && best != "" && candidate < best {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next := min(row[j]+1, row[j-1]+1, diagonal+cost)
			diagonal, row[j] = row[j], next
		}
	}
	return row[len(b)]
}

// Nearest returns the candidate that a mistyped name most likely means, or "".
func Nearest(name string, candidates []string) string {
	known := make(map[string]key, len(candidates))
	for _, c := range candidates {
		known[c] = key{}
	}
	return nearest(name, known)
}
