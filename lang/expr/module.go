package expr

import (
	"maps"
	"slices"

	"github.com/expr-lang/expr/ast"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// moduleMember is `slo.window`, where slo is a module: one name for the evaluation, not a field of a value. nil where the
// member is an ordinary one.
func (c *checker) moduleMember(t *ast.MemberNode) *node {
	id, ok := t.Node.(*ast.IdentifierNode)
	if !ok {
		return nil
	}
	module, ok := c.scope.Lookup(id.Value)
	if !ok || module.Members == nil {
		return nil
	}
	s, ok := t.Property.(*ast.StringNode)
	if !ok {
		c.reportAt(diag.BadExpression, c.p.spanOf(t), memberHint(id.Value, module), "`%s` is a module: what is in it has a name", id.Value)
		return c.bad(t)
	}
	m, _ := c.p.markOf(s.Value)
	b, ok := module.Members[m.name]
	if !ok {
		names := slices.Sorted(maps.Keys(module.Members))
		hint := diag.DidYouMean(m.name, names)
		if len(names) == 0 {
			hint = "it has no values, only what is called"
		}
		c.reportAt(diag.UnknownName, c.p.spanOf(s), hint, "there is no value `%s` in the module `%s`", m.name, id.Value)
		return c.bad(t)
	}
	return c.bound(t, b, id.Value+"."+m.name)
}

func memberHint(name string, module *Binding) string {
	if len(module.Members) == 0 {
		return "it has no values, only what is called: `" + name + ".…(…)`"
	}
	return "write `" + name + "." + slices.Sorted(maps.Keys(module.Members))[0] + "`, or another name of it"
}

// summarised gives the probe in `before.home…` and `before.web.home…` the name that the Env knows it by.
func (c *checker) summarised(path []string) []string {
	switch path[0] {
	case "before", "during", "after":
	default:
		return path
	}
	b, ok := c.scope.Lookup(path[1])
	switch {
	case ok && len(path) == 2 && b.Key != "":
		path[1] = b.Key
	case ok && len(path) == 3 && b.Members[path[2]] != nil:
		name := path[1] + "." + path[2]
		if key := b.Members[path[2]].Key; key != "" {
			name = key
		}
		return []string{path[0], name}
	}
	return path
}

// SecretKey is what an Env calls a secret. No name of the language has a bracket in it.
func SecretKey(name string) string { return "secret(" + value.Quote(name) + ")" }

// secret is `secret("NAME")`: an operand, since an expression itself reads nothing.
func (c *checker) secret(t ast.Node, args []ast.Node) *node {
	n := c.new(kOperand, t, value.TString)
	if len(args) != 1 {
		c.report(diag.MissingArgument, n, "write `secret(\"NAME\")`", "`secret` needs one argument, the name")
		return c.bad(t)
	}
	k := c.expr(args[0])
	if k.typ == tBad {
		return c.bad(t)
	}
	name := k.val.Text()
	if k.kind != kConst || k.typ.Kind != value.String || !secretName(name) {
		c.report(diag.BadChoice, k, "write `secret(\"DB_PASSWORD\")`: letters, digits and `_`, for an environment variable is called so", "`secret` takes the plain name of a secret")
		return c.bad(t)
	}
	n.operand = &operand{binding: &Binding{Type: value.TString, Key: SecretKey(name), Tainted: true, Secret: name}, path: []string{SecretKey(name)}}
	return n
}

func secretName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// unaltered refuses a function of a secret: what comes out of it could not be found any more to be hidden.
func (c *checker) unaltered(n *node) *node {
	if n.typ == tBad {
		return n
	}
	hit := false
	n.each(func(k *node) { hit = hit || k.kind == kOperand && k.operand.binding.Tainted })
	if hit {
		c.report(diag.SecretShown, n, "use the secret as it is, or in a string: `\"Bearer ${key}\"`", "`%s` would change a secret, so that it could not be hidden any more", n.op)
		return c.bad(n.tree)
	}
	return n
}

// Tainted tells that a secret goes into the value. The bindings of its lets say so too.
func (e *Expr) Tainted() bool {
	for _, b := range e.lets {
		if b.Tainted {
			return true
		}
	}
	return false
}
