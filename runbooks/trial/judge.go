package trial

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// judge compares what came of the run with what the case expects.
func (p *play) judge(v *engine.View) {
	want, run := p.c.want, v.Run
	p.compare("path", want.path, path(run))
	p.compare("asked", want.asked, p.questions(run))
	offered := []entry{}
	for _, o := range run.Offers {
		offered = append(offered, entry{name: o.Runbook})
	}
	p.compare("offered", want.offered, offered)
	p.same("verdict", want.verdict, string(run.Verdict))
	p.same("ends", want.ends, string(run.State))
	for _, t := range want.outcome {
		if !strings.Contains(run.Outcome, t.text) {
			p.fail(t.pos, "outcome", "the run ended with “%s”, without %q in it", run.Outcome, t.text)
		}
	}
	report := ""
	if v.Report != nil {
		report = unescape.Replace(v.Report.BodyMarkup)
	}
	if t := want.report; t != nil {
		p.lines(t.pos, "report", strings.TrimSpace(t.text), report)
	}
	for _, t := range want.holds {
		if !strings.Contains(report, t.text) {
			p.lines(t.pos, "report", t.text, report)
		}
	}
	for _, t := range want.lacks {
		if strings.Contains(report, t.text) {
			p.fail(t.pos, "report", "%q is in the report:\n%s", t.text, report)
		}
	}
	for _, step := range slices.Sorted(maps.Keys(p.c.answers)) {
		for i, a := range p.c.answers[step] {
			if a.own && i >= p.used[step] {
				p.fail(a.pos, "answers", "the answer %s for %s was not used: nothing asked for it", a.word, strings.TrimPrefix(step, key(p.rb.Slug, "")))
			}
		}
	}
}

// unescape shows a report as people read it.
var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func (p *play) same(what string, want *text, got string) {
	if want != nil && want.text != got {
		p.fail(want.pos, what, "%s is %q, want %q", what, got, want.text)
	}
}

// lines compares two texts line by line.
func (p *play) lines(at runbooks.Pos, what, want, got string) {
	if want != got {
		p.failures = append(p.failures, Failure{Pos: at, What: what, Message: what + " is not as expected", Diff: differ(want, got)})
	}
}

// compare compares lists. Properties that the case does not name are not
// compared; where a line differs, the case's are shown beside all that came.
func (p *play) compare(what string, want *listed, got []entry) {
	if want == nil {
		return
	}
	same := len(want.entries) == len(got)
	left, right := make([]string, len(want.entries)), make([]string, len(got))
	for i, g := range got {
		right[i] = g.String()
	}
	for i, w := range want.entries {
		left[i] = w.String()
		if i < len(got) && meets(w, got[i]) {
			left[i] = right[i]
			continue
		}
		same = false
		if j := slices.IndexFunc(got, func(g entry) bool { return meets(w, g) }); j >= 0 {
			left[i] = right[j] // it came, but at another place
		}
	}
	if !same {
		p.failures = append(p.failures, Failure{Pos: want.pos, What: what, Message: what + " is not as expected",
			Diff: differ(strings.Join(left, "\n"), strings.Join(right, "\n"))})
	}
}

// meets reports whether what came has the name and all the properties wanted.
func meets(want, got entry) bool {
	return want.name == got.name && !slices.ContainsFunc(want.props, func(p prop) bool { return !slices.Contains(got.props, p) })
}

// differ gives the lines of both texts, those of one alone marked.
func differ(want, got string) string {
	lined := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s + "\n")
	}
	out := string(diff.Diff("want", lined(want), "got", lined(got)))
	// Without the lines that name files and line numbers.
	var kept []string
	for i, line := range strings.Split(strings.TrimRight(out, "\n"), "\n") {
		if i >= 3 && !strings.HasPrefix(line, "@@ ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// ended are the attempts that say how the steps ended, in the order in which
// they did.
func ended(run *engine.Run) []engine.Attempt {
	var out []engine.Attempt
	for _, a := range run.Attempts {
		if a.Purpose != engine.ForStep {
			continue
		}
		switch a.State {
		case engine.AttemptDone, engine.AttemptFailed, engine.AttemptSkipped, engine.AttemptUncertain:
			out = append(out, a)
		}
	}
	return out
}

func path(run *engine.Run) []entry {
	out := []entry{}
	for _, a := range ended(run) {
		out = append(out, entry{a.Step, []prop{{"", string(a.Status)}}})
	}
	return out
}

// trail says how each step ended, and why.
func trail(run *engine.Run) []string {
	var out []string
	for _, a := range ended(run) {
		line := fmt.Sprintf("%s: %s", a.Step, a.Status)
		if why := a.Fault; why != "" {
			line += ", " + why
		} else if a.Found != "" {
			line += ", " + a.Found
		}
		out = append(out, line)
	}
	return out
}

// questions are what people were asked about the run, the two acts of a gate
// as one.
func (p *play) questions(run *engine.Run) []entry {
	out := []entry{}
	for i, a := range run.Approvals {
		if a.Kind == engine.Review && i > 0 && run.Approvals[i-1].Kind == engine.Confirm && run.Approvals[i-1].Step == a.Step {
			last := &out[len(out)-1]
			last.props = append(slices.DeleteFunc(last.props, func(p prop) bool { return p.key == propReviewers }), reviewOf(a)...)
			continue
		}
		e := entry{name: a.Step, props: []prop{{propEffect, a.Card.Effect}}}
		switch a.Kind {
		case engine.Confirm:
			if a.Type != "" {
				e.props = append(e.props, prop{propType, strconv.Quote(a.Type)})
			}
			e.props = append(e.props, prop{propReviewers, "0"})
		case engine.Review:
			e.props = append(e.props, reviewOf(a)...)
		default:
			e.props = []prop{{propBy, either(a.Groups)}, {propChoices, either(p.choices[a.ID])}}
		}
		out = append(out, e)
	}
	return out
}

func reviewOf(a engine.Approval) []prop {
	return []prop{{propReviewers, strconv.Itoa(a.Needed)}, {propBy, either(a.Groups)}}
}

func either(names []string) string {
	return strings.Join(slices.Sorted(slices.Values(names)), " or ")
}
