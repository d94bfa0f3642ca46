package diag

import (
	"sort"
	"strings"
)

// Nearest finds the candidate that a misspelt name most likely meant: the least edit distance (with transpositions),
// at most a third of the name's length. Ties go to the first in alphabetical order, so that messages are stable.
func Nearest(name string, candidates []string) (string, bool) {
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	best, bestDist := "", max(len(name)/3, 1)+1
	for _, c := range sorted {
		if c == name {
			continue
		}
		// A letter for a letter is no near miss.
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDist && d < max(len(name), len(c)) {
			best, bestDist = c, d
		}
	}
	return best, best != ""
}

// DidYouMean is the hint for a misspelt name, or else the list of what there is, or nothing.
func DidYouMean(name string, candidates []string) string {
	if n, ok := Nearest(name, candidates); ok {
		return "did you mean `" + n + "`?"
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	if len(sorted) == 1 {
		return "there is only `" + sorted[0] + "`"
	}
	return "one of `" + strings.Join(sorted, "`, `") + "`"
}

// distance is the optimal string alignment distance (Levenshtein plus transposition of neighbours).
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
