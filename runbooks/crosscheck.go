package runbooks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A link is a place where a runbook names another.
type link struct {
	runbook string
	params  map[string]*Value
	pos     Pos
	runs    bool // by itself, not offered
}

// links lists the runbooks that rb names.
func (rb *Runbook) links() []link {
	var list []link
	next := func(n Next) {
		if n.Run != nil {
			list = append(list, link{n.Run.Runbook, n.Run.Params, n.Pos, true})
		}
		for _, o := range n.Offer {
			list = append(list, link{o.Runbook, o.Params, o.Pos, false})
		}
	}
	for s := range rb.allSteps {
		next(s.OnFail)
		next(s.Then)
		if s.Run != nil {
			list = append(list, link{s.Run.Runbook, s.Run.Params, s.Run.Pos, true})
		}
		if s.Decide != nil {
			for _, row := range s.Decide.Rows {
				next(row.Next)
			}
		}
	}
	for _, g := range rb.Groups {
		if g.OnFail != nil {
			next(*g.OnFail)
		}
	}
	return list
}

// allSteps goes through the steps of all sections.
func (rb *Runbook) allSteps(yield func(*Step) bool) {
	for _, list := range [][]*Step{rb.Steps, rb.Rollback, rb.Cleanup} {
		for _, s := range list {
			if !yield(s) {
				return
			}
		}
	}
}

// Locks are what a run locks of its connections: those that Lock names, and
// those that a destructive step works on, whether it names them or not, so that
// no two such steps meet in one system.
func (rb *Runbook) Locks() []string {
	list := slices.Clone(rb.Lock)
	for s := range rb.allSteps {
		if s.Effect != Destructive || s.Target == "" || slices.ContainsFunc(list, func(lock string) bool {
			connection, _, _ := strings.Cut(lock, "/")
			return connection == s.Target
		}) {
			continue
		}
		list = append(list, s.Target)
	}
	return list
}

// Optional reports whether the connection may be missing from an environment.
// Steps that look at it are skipped there.
func (rb *Runbook) Optional(connection string) bool {
	return slices.ContainsFunc(rb.Uses, func(u Use) bool { return u.Optional && u.Name == connection })
}

// Step returns the step with the id, of any section, or nil.
func (rb *Runbook) Step(id string) *Step {
	for s := range rb.allSteps {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// check compares the runbooks with each other: names and numbers (RB112), and
// what they run and offer (RB213, RB216, RB218, RB225). It fills in the aliases
// and numbers; those of an earlier folder give way to any name of a later one, so
// that what people call their own runbooks cannot clash with built-in ones.
func (l *Library) check() Problems {
	var problems Problems
	problem := func(rb *Runbook, at Pos, code, message, hint string) {
		problems = append(problems, Problem{File: rb.File, Pos: at, Code: code, Message: message, Hint: hint})
	}
	later := slices.Clone(l.runbooks)
	slices.SortStableFunc(later, func(a, b *Runbook) int { return b.layer - a.layer })
	for _, rb := range later {
		names := map[string]Pos{}
		for _, alias := range rb.Aliases {
			names[alias] = rb.at["alias "+alias]
		}
		if rb.Number > 0 {
			names[strconv.Itoa(rb.Number)] = rb.at["number"]
		}
		for _, name := range sortedKeys(names) {
			if other := l.names[name]; other != nil && other != rb {
				if other.layer > rb.layer {
					continue
				}
				problem(rb, names[name], "RB112", fmt.Sprintf("%s is the name or number of %s too", name, other.Slug), "")
				continue
			}
			l.names[name] = rb
		}
	}
	for _, rb := range l.runbooks {
		for _, k := range rb.links() {
			child, ok := l.Find(k.runbook)
			if !ok {
				hint := ""
				if near := l.Suggest(k.runbook); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				message := fmt.Sprintf("there is no runbook %s", clip(k.runbook))
				if l.dropped[k.runbook] {
					message, hint = fmt.Sprintf("the runbook %s has problems of its own", k.runbook), ""
				}
				problem(rb, k.pos, "RB213", message, hint)
				continue
			}
			for _, m := range child.misfits(k.params, k.pos) {
				problem(rb, m.pos, "RB218", m.message, "")
			}
			if k.runs {
				if way := l.cycle(child, rb, nil); way != nil {
					problem(rb, k.pos, "RB216", fmt.Sprintf("running %s leads back here: %s", child.Slug, strings.Join(append([]string{rb.Slug}, way...), " → ")), "offer it instead")
				} else if way := l.deepest(child, MaxDepth); len(way) > MaxDepth {
					problem(rb, k.pos, "RB225", fmt.Sprintf("running %s goes more than %d deep: %s", child.Slug, MaxDepth, strings.Join(append([]string{rb.Slug}, way...), " → ")), "offer it instead")
				}
			}
		}
	}
	return problems
}

type misfit struct {
	pos     Pos
	message string
}

// misfits says what is wrong with the parameters that a child is given at a
// place.
func (rb *Runbook) misfits(given map[string]*Value, at Pos) []misfit {
	var list []misfit
	say := func(at Pos, format string, args ...any) {
		list = append(list, misfit{at, fmt.Sprintf(format, args...)})
	}
	for _, name := range sortedKeys(given) {
		v := given[name]
		q := rb.param(name)
		switch {
		case q == nil:
			message := fmt.Sprintf("%s has no parameter %s", rb.Slug, clip(name))
			names := make([]string, len(rb.Params))
			for i := range rb.Params {
				names[i] = rb.Params[i].Name
			}
			if near := nearest(name, names); near != "" {
				message += fmt.Sprintf("; did you mean %q?", near)
			}
			say(v.pos, "%s", message)
		case v.Constant():
			r, _ := v.resolve(nil)
			if _, err := q.read(r, false); err != nil {
				say(v.pos, "parameter %s of %s %s", name, rb.Slug, err)
			}
		case v.template != nil && v.template.lone() != nil:
			have, want := v.template.lone().shape, paramShape(Param{Type: q.Type, Of: q.Of, Required: true})
			if have.kind != want.kind && have.kind != anyKind && have.kind != stringKind && !(have.number() && want.number()) {
				say(v.template.lone().pos, "parameter %s of %s must be %s, and this is %s", name, rb.Slug, want.a(), have.a())
			}
		}
	}
	for _, q := range rb.Params {
		if q.Required && q.Default == nil && given[q.Name] == nil {
			say(at, "%s needs the parameter %s", rb.Slug, q.Name)
		}
	}
	return list
}

// cycle returns the way by which running rb leads to the goal, nil if none does.
func (l *Library) cycle(rb, goal *Runbook, seen []*Runbook) []string {
	if rb == goal {
		return []string{goal.Slug}
	}
	if slices.Contains(seen, rb) {
		return nil
	}
	seen = append(seen, rb)
	for _, k := range rb.links() {
		child, ok := l.Find(k.runbook)
		if !ok || !k.runs {
			continue
		}
		if way := l.cycle(child, goal, seen); way != nil {
			return append([]string{rb.Slug}, way...)
		}
	}
	return nil
}

// MaxDepth is how deep runbooks may run each other: one that people start may
// run another, which may run another, which may run a last one.
const MaxDepth = 3

// deepest returns the longest chain of runbooks that begins with rb and in which
// each runs the next, cut after limit further ones: circles have no end.
func (l *Library) deepest(rb *Runbook, limit int) []string {
	var below []string
	if limit > 0 {
		for _, k := range rb.links() {
			if child, ok := l.Find(k.runbook); ok && k.runs && len(below) < limit {
				if way := l.deepest(child, limit-1); len(way) > len(below) {
					below = way
				}
			}
		}
	}
	return append([]string{rb.Slug}, below...)
}

// A Server is what only a server's configuration knows of a runbook's world.
type Server struct {
	Groups      []string
	Commands    []string      // named commands
	Queries     []string      // named SQL and metrics queries
	Indexes     []string      // that postgres.create_index may build
	Secrets     []string      // that `with` may ask for
	Archives    []string      // that postgres.archive may move rows into
	Lacks       []Lack        // what connections cannot do
	VerifiedFor time.Duration // how long a drill counts; 0: for ever
	Today       time.Time     // for VerifiedFor
}

// A Lack is a family of actions that cannot work on a connection.
type Lack struct {
	Environment, Connection string
	Family                  string // "compose"
	Why                     string
	Warning                 bool // the configuration may mean it so
}

// Check compares the runbooks with a server's configuration: groups (RB113),
// what else it names (RB214), what connections lack (RB224), and the age of the
// last drill (RB701, a warning).
func (l *Library) Check(server Server) Problems {
	var problems Problems
	for _, rb := range l.All() {
		group := func(name string) {
			if name != "" && !slices.Contains(server.Groups, name) {
				problems = append(problems, Problem{File: rb.File, Pos: rb.at["group "+name], Code: "RB113", Message: fmt.Sprintf("there is no group %s", name), Hint: didYouMean(name, server.Groups)})
			}
		}
		group(rb.Owner)
		for _, name := range slices.Concat(rb.Roles.Run, rb.Roles.Approve) {
			group(name)
		}
		for _, s := range rb.Schedule {
			group(s.Notify)
		}
		for s := range rb.allSteps {
			for _, name := range s.Who {
				group(name)
			}
			if s.Review != nil {
				for _, name := range s.Review.By {
					group(name)
				}
			}
			problems = append(problems, server.named(rb, s)...)
			problems = append(problems, server.lacking(rb, s)...)
			for _, v := range s.With {
				for e := range v.exprs {
					for _, name := range e.secrets {
						if !slices.Contains(server.Secrets, name) {
							problems = append(problems, Problem{File: rb.File, Pos: e.pos, Code: "RB214", Message: fmt.Sprintf("the server has no secret named %s", clip(name)), Hint: didYouMean(name, server.Secrets)})
						}
					}
				}
			}
		}
		if server.VerifiedFor > 0 && server.Today.Sub(rb.Verified) > server.VerifiedFor {
			message, at := "it was never tried in a drill: verified is absent", rb.at["runbook"]
			if !rb.Verified.IsZero() {
				message = fmt.Sprintf("the last drill was on %s, longer ago than %d days", rb.Verified.Format(time.DateOnly), int(server.VerifiedFor.Hours()/24))
				at = rb.at["verified"]
			}
			problems = append(problems, Problem{File: rb.File, Pos: at, Code: "RB701", Warning: true, Message: message})
		}
	}
	problems.sort()
	return slices.Compact(problems)
}

// named checks the names of commands, queries and the like in a step's
// arguments.
func (server Server) named(rb *Runbook, s *Step) Problems {
	argument, what, known := "name", "query", server.Queries
	switch s.Do {
	case "exec.run", "exec.probe":
		argument, what, known = "command", "command", server.Commands
	case "postgres.query", "postgres.explain", "prometheus.query":
	case "postgres.index", "postgres.create_index", "postgres.drop_index":
		argument, what, known = "index", "index", server.Indexes
	case "postgres.archivable", "postgres.archive", "postgres.unarchive":
		argument, what, known = "table", "archive", server.Archives
	default:
		return nil
	}
	v := s.With[argument]
	if v == nil || !v.Constant() {
		return nil
	}
	name, ok := v.literal.(string)
	if !ok || slices.Contains(known, name) {
		return nil
	}
	return Problems{{File: rb.File, Pos: v.pos, Code: "RB214", Message: fmt.Sprintf("the server has no %s named %s", what, clip(name)), Hint: didYouMean(name, known)}}
}

// lacking checks that connections can do what a step wants.
func (server Server) lacking(rb *Runbook, s *Step) Problems {
	var problems Problems
	family, _, _ := strings.Cut(s.Do, ".")
	for _, l := range server.Lacks {
		if l.Family == family && l.Connection == s.Target {
			problems = append(problems, Problem{
				File: rb.File, Pos: s.Pos, Code: "RB224", Warning: l.Warning,
				Message: fmt.Sprintf("%s cannot work on %s of %s", s.Do, l.Connection, l.Environment), Hint: l.Why,
			})
		}
	}
	return problems
}
