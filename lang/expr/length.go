package expr

// Len is how many elements a list has that is written out, whatever they will be: `[a, b]` has two.
func (e *Expr) Len() (n int, known bool) {
	if e.root == nil || e.root.kind != kList {
		return 0, false
	}
	return len(e.root.kids), true
}
