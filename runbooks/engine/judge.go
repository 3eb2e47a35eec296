package engine

import (
	"strings"

	"opsbot/runbooks"
)

// judge evaluates `expect` on what is in scope. Said explains everything but a pass.
func judge(step *runbooks.Step, s *runbooks.Scope) (status runbooks.Status, said string) {
	status = runbooks.Pass
	var why []string
	for _, x := range step.Expect {
		yes, known, err := x.That.Bool(s)
		got := x.Else
		if got == "" {
			got = runbooks.Fail
		}
		text := ""
		switch {
		case err != nil:
			got, text = runbooks.Fail, "could not evaluate "+x.That.String()+": "+err.Error()
		case !known:
			got, text = runbooks.Unknown, "no data for "+x.That.String()
		case yes:
			continue
		default:
			text = "expected " + x.That.String()
		}
		if x.Say != nil && err == nil {
			if t, err := x.Say.Text(s, nil); err == nil {
				text = t
			}
		}
		status = worse(status, got)
		why = append(why, text)
	}
	return status, strings.Join(why, "; ")
}

// judged judges a result that an action gave, and evaluates `save` if it
// was a success.
func (w *worker) judged(step *runbooks.Step, s *runbooks.Scope, o outcome) outcome {
	if w.run.DryRun {
		known, open := w.judgeable(step)
		step, o.Found = known, o.Found+open
	}
	status, said := judge(step, s)
	o.Status = worse(o.Status, status)
	if said != "" {
		o.Fault = said
	}
	if failed(o.Status) {
		return o
	}
	o.Saved = make(map[string]any, len(step.Save))
	for _, save := range step.Save {
		v, err := save.Expr.Eval(s)
		if err != nil {
			o.Status, o.Saved, o.Fault = runbooks.Fail, nil, "could not evaluate "+save.Name+": "+err.Error()
			return o
		}
		o.Saved[save.Name] = encodeSaved(v)
	}
	return o
}
