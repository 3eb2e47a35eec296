package runbooks

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// arguments reads `with`.
func (c *checker) arguments(s *Step, e *entry, b *node, in *names) {
	n := b.get("with")
	if n != nil && n.kind != mapNode {
		c.problem(n.pos, "RB106", "with must be a map of arguments", "")
		return
	}
	if n == nil {
		n = &node{doc: b.doc, pos: s.Block, kind: mapNode}
	}
	at := s.Block
	if do := b.get("do"); do != nil {
		at = do.pos
	}
	switch {
	case e != nil:
		with := *in
		with.secret = e.kind != "" // without a connection it is opsbot itself that keeps the argument
		c.actionArguments(s, e, n, &with, at)
	case s.Do == "wait":
		s.Wait = c.wait(n, in, at)
	case s.Do == "notify":
		s.Notify = c.notify(n, in, at)
	case s.Do == "end":
		s.End = c.end(n, in)
	case s.Do == "run":
		s.Run = c.child(n, in, at)
	}
}

func (c *checker) actionArguments(s *Step, e *entry, n *node, in *names, at Pos) {
	s.With = map[string]*Value{}
	known := make([]string, len(e.args))
	for i, a := range e.args {
		known[i] = a.name
		if a.required && n.get(a.name) == nil {
			c.problem(at, "RB209", fmt.Sprintf("%s needs the argument %s", s.Do, a.name), a.help)
		}
	}
	for _, f := range n.fields {
		i := slices.Index(known, f.key)
		if i < 0 {
			hint := didYouMean(f.key, known)
			if hint == "" && len(known) > 0 {
				hint = "there are " + strings.Join(known, ", ")
			}
			c.problem(f.pos, "RB208", fmt.Sprintf("%s has no argument %s", s.Do, clip(f.key)), hint)
			continue
		}
		if f.key == "sql" && c.interpolatedSQL(f.value) {
			continue
		}
		c.secretLiterals(s, f.key, f.value)
		v := c.value(f.value, in)
		v.escapeAs(e.args[i].shape)
		c.wholePaths(v)
		c.fits(e.args[i], v)
		s.With[f.key] = v
	}
}

// wholePaths reports a path that begins with something filled in, and goes on:
// what is filled in is escaped there, so it can't begin with a slash.
func (c *checker) wholePaths(v *Value) {
	for _, e := range v.list {
		c.wholePaths(e)
	}
	for _, name := range sortedKeys(v.fields) {
		c.wholePaths(v.fields[name])
	}
	if v.path && v.template != nil && len(v.template.parts) > 1 {
		if e := v.template.parts[0].expr; e != nil {
			c.problem(e.pos, "RB106", "a path begins with /, and what is filled in here is escaped", "write / before it, or fill in the whole path with one ${{ }}")
		}
	}
}

// interpolatedSQL reports ${{ }} inside SQL.
func (c *checker) interpolatedSQL(n *node) bool {
	i := strings.Index(n.text, "${{")
	if n.kind != scalarNode || i < 0 {
		return false
	}
	c.problem(n.at(len([]rune(n.text[:i]))), "RB402", "${{ }} must not be part of SQL", "write $1 and give the value in args")
	return true
}

// fits checks a value against its argument as far as it is known.
func (c *checker) fits(a argument, v *Value) {
	if v.Constant() {
		if v.literal == nil && v.kind == scalarNode {
			c.problem(v.pos, "RB106", fmt.Sprintf("argument %s has no value", a.name), "leave it out for its default")
			return
		}
		r, _ := v.resolve(nil)
		if _, err := a.read(r, false); err != nil {
			c.problem(v.pos, "RB106", fmt.Sprintf("argument %s %s", a.name, err), "")
		}
		return
	}
	if v.template == nil || v.broken {
		return
	}
	e := v.template.lone()
	if e == nil {
		if a.shape.kind == listKind || a.shape.kind == dictKind || a.shape.kind == recordKind {
			c.problem(v.pos, "RB301", fmt.Sprintf("argument %s must be %s, and this is text", a.name, a.shape.a()), "")
		}
		return
	}
	have := e.shape
	ok := have.kind == a.shape.kind || have.kind == anyKind || a.shape.kind == anyKind || have.number() && a.shape.number() ||
		have.kind == stringKind && a.shape.kind != listKind && a.shape.kind != dictKind ||
		a.shape.kind == stringKind && (have.number() || have.kind == boolKind || have.kind == durationKind) ||
		have.kind == recordKind && a.shape.kind == dictKind
	if !ok {
		c.problem(e.pos, "RB301", fmt.Sprintf("argument %s must be %s, and this is %s", a.name, a.shape.a(), have.a()), "")
	}
}

// What gives a secret away: forms that the issuers document, and passwords in
// URLs.
var (
	secretForms = regexp.MustCompile(`AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|xox[abeoprs]-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{10,}|gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,}|glpat-[0-9A-Za-z_-]{20,}|eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@$]+@`)
	secretNames = regexp.MustCompile(`(?i)(^|_)(password|passwd|secret|token|api_?key|private_?key|authorization)$`)
	printsEnv   = regexp.MustCompile(`(?i)(^|[\s;|&/])(printenv|env|set|export)\s*($|[;|&])|\becho\s+[^;|&]*\$\{?[a-z_]*(password|passwd|secret|token|key)|\b(cat|head|tail|less|more|grep)\s+[^;|&]*(\.env\b|/environ\b|\.pem\b|id_rsa)|^env$|^printenv$`)
)

// secretLiterals reports text in arguments that looks like a secret, and
// commands that would print one.
func (c *checker) secretLiterals(s *Step, key string, n *node) {
	switch n.kind {
	case mapNode:
		for _, f := range n.fields {
			c.secretLiterals(s, f.key, f.value)
		}
		return
	case listNode:
		if key == "command" || key == "argv" || key == "args" {
			words := make([]string, len(n.items))
			for i, item := range n.items {
				words[i] = item.text
			}
			if printsEnv.MatchString(strings.Join(words, " ")) {
				c.problem(n.pos, "RB404", "this command prints secrets", "check for the presence of a value, not for the value")
				return
			}
		}
		for _, item := range n.items {
			c.secretLiterals(s, key, item)
		}
		return
	}
	text, ok := n.value.(string)
	if !ok {
		return
	}
	if (key == "command" || key == "argv") && printsEnv.MatchString(text) {
		c.problem(n.pos, "RB404", "this command prints secrets", "check for the presence of a value, not for the value")
	}
	if secretForms.MatchString(text) || secretNames.MatchString(key) && !strings.Contains(text, "${{") && text != "" {
		c.problem(n.pos, "RB403", fmt.Sprintf("argument %s looks like a secret", clip(key)), `use ${{ secret("name") }}`)
	}
}

func (c *checker) wait(n *node, in *names, at Pos) *Wait {
	w := &Wait{}
	c.fields(n, "wait", "RB208", builtinArguments["wait"].names(), func(f field) {
		switch f.key {
		case "for":
			w.For = c.durationValue(f.value, in, "for")
			c.withinRun(w.For, f.value, "waiting")
		case "until":
			w.Until = c.condition(f.value, in)
		case "max":
			w.Max = c.durationValue(f.value, in, "max")
			c.withinRun(w.Max, f.value, "waiting")
		}
	})
	has := func(key string) bool { return n.get(key) != nil }
	if has("for") == has("until") || has("until") != has("max") {
		c.problem(at, "RB209", "wait needs either for, or until and max", "")
	}
	return w
}

func (c *checker) notify(n *node, in *names, at Pos) *Notify {
	m := &Notify{}
	c.fields(n, "notify", "RB208", builtinArguments["notify"].names(), func(f field) {
		if f.key == "to" {
			m.To, _ = c.text(f.value, "to")
		} else {
			m.Text = c.textTemplate(f.value, in, "text")
		}
	})
	for _, key := range []string{"to", "text"} {
		if n.get(key) == nil {
			c.problem(at, "RB209", "notify needs the argument "+key, "")
		}
	}
	return m
}

func (c *checker) end(n *node, in *names) *End {
	end := &End{Verdict: "ok"}
	c.fields(n, "end", "RB208", builtinArguments["end"].names(), func(f field) {
		if f.key == "verdict" {
			end.Verdict = c.choice(f.value, "verdict", verdictForm.Words...)
		} else {
			end.Say = c.textTemplate(f.value, in, "say")
		}
	})
	return end
}

// child reads the arguments of `do: run`. Where the child ends well, `then` says
// whether the run ends with it; where it does not, on_fail decides.
func (c *checker) child(n *node, in *names, at Pos) *Child {
	child := &Child{Then: "end"}
	c.fields(n, "run", "RB208", builtinArguments["run"].names(), func(f field) {
		switch f.key {
		case "runbook":
			child.Runbook, _ = c.text(f.value, "runbook")
			child.Pos = f.value.pos
		case "params":
			child.Params = c.childParams(f.value, in)
		case "then":
			child.Then = c.afterwards(f.value, false)
		}
	})
	if n.get("runbook") == nil {
		c.problem(at, "RB209", "run needs the argument runbook", "")
	}
	return child
}
