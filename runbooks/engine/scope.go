package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"opsbot/runbooks"
)

// after is the scope of what follows a step that has ended: result is its own.
func (w *worker) after(step *runbooks.Step) *runbooks.Scope {
	s := w.scope()
	s.Result = s.Steps[step.ID].Result
	return s
}

// scope is what the run's expressions see: parameters, the run, and every step
// that has concluded.
func (w *worker) scope() *runbooks.Scope {
	r := w.run
	params, err := w.rb.DecodeParams(r.Params)
	if err != nil {
		w.e.log.Error("cannot read back a run's parameters", "run", r.ID, "err", err)
	}
	s := &runbooks.Scope{
		Params: params,
		Run: runbooks.RunScope{
			ID: r.ID, Started: r.Started, Elapsed: w.elapsed(), Verdict: string(verdict(r, w.rb)),
			Starter: person(r.Starter), Environment: r.Environment, Changes: []string{},
		},
		Steps:   make(map[string]runbooks.StepScope),
		Earlier: w.before,
	}
	if r.Verdict != "" {
		s.Run.Verdict = string(worse(r.Verdict, verdict(r, w.rb)))
	}
	for _, p := range []Phase{PhaseMain, PhaseRollback, PhaseCleanup} {
		for _, step := range section(w.rb, p) {
			a := r.conclusion(step.ID)
			if a == nil || a.Status == "" {
				continue
			}
			s.Steps[step.ID] = w.stepScope(step, a)
			if a.Effect > runbooks.Read && a.State == AttemptDone {
				s.Run.Changes = append(s.Run.Changes, bare(step))
			}
		}
	}
	return s
}

func (w *worker) stepScope(step *runbooks.Step, a *Attempt) runbooks.StepScope {
	return runbooks.StepScope{
		Status: a.Status, Elapsed: a.ResultAt.Sub(a.IntentAt),
		Result: w.result(step, a), Saved: decodeSaved(a.Saved),
	}
}

// elapsed is how long the run has taken, rounded as people say it.
func (w *worker) elapsed() time.Duration {
	end := w.run.Ended
	if end.IsZero() {
		end = w.e.clock()
	}
	return rounded(end.Sub(w.run.Started))
}

func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// result is the attempt's result in the action's own type, nil for none.
func (w *worker) result(step *runbooks.Step, a *Attempt) any {
	if len(a.Result) == 0 {
		return nil
	}
	switch {
	case step.Run != nil:
		return calledBy(a.Result)
	case step.Action == nil:
		return decodeAnswers(a.Result)
	}
	if v, ok := w.results[a.Seq]; ok {
		return v
	}
	v, err := decodeResult(step, a.Result)
	if err != nil {
		w.e.log.Error("cannot read back a result", "run", w.run.ID, "step", step.ID, "err", err)
		return nil
	}
	w.results[a.Seq] = v
	return v
}

// encodeAnswers keeps what people filled in with its types.
func encodeAnswers(values map[string]any) (json.RawMessage, error) {
	kept := make(map[string]any, len(values))
	for name, v := range values {
		kept[name] = encodeSaved(v)
	}
	return json.Marshal(kept)
}

// decodeAnswers reads what encodeAnswers wrote; nil is none.
func decodeAnswers(data []byte) any {
	var kept map[string]any
	if json.Unmarshal(data, &kept) != nil {
		return nil
	}
	return decodeSaved(kept)
}

// decodeResult reads what encodeResult wrote: of a loop, the list.
func decodeResult(step *runbooks.Step, data []byte) (any, error) {
	spec := step.Action.Spec()
	if step.Each == nil {
		return runbooks.DecodeResult(spec, data)
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, fmt.Errorf("decode the results of %s: %w", step.ID, err)
	}
	list := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(spec.Result)), 0, len(parts))
	for _, part := range parts {
		v, err := runbooks.DecodeResult(spec, part)
		if err != nil {
			return nil, err
		}
		list = reflect.Append(list, reflect.ValueOf(v))
	}
	return list.Interface(), nil
}

// Saved values keep their types over the database: a duration stays one, and
// a count does not turn into a float. Each is a map of one entry, from a type
// to the value's JSON form.
func encodeSaved(v any) any {
	switch v := v.(type) {
	case nil:
		return map[string]any{"nil": true}
	case bool:
		return map[string]any{"bool": v}
	case string:
		return map[string]any{"string": v}
	case time.Duration:
		return map[string]any{"duration": v.String()}
	case time.Time:
		return map[string]any{"time": v.UTC().Format(time.RFC3339Nano)}
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"int": rv.Int()}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"float": fmt.Sprint(rv.Float())} // text: JSON knows no NaN
	case reflect.Pointer:
		if rv.IsNil() {
			return map[string]any{"nil": true}
		}
		return encodeSaved(rv.Elem().Interface())
	case reflect.Slice:
		list := make([]any, rv.Len())
		for i := range list {
			list[i] = encodeSaved(rv.Index(i).Interface())
		}
		return map[string]any{"list": list}
	case reflect.Map:
		m := make(map[string]any, rv.Len())
		for it := rv.MapRange(); it.Next(); {
			m[fmt.Sprint(it.Key())] = encodeSaved(it.Value().Interface())
		}
		return map[string]any{"map": m}
	}
	return map[string]any{"string": fmt.Sprint(v)}
}

func decodeSaved(saved map[string]any) map[string]any {
	out := make(map[string]any, len(saved))
	for name, v := range saved {
		out[name] = decodeOne(v)
	}
	return out
}

func decodeOne(v any) any {
	tagged, ok := v.(map[string]any)
	if !ok || len(tagged) != 1 {
		return nil
	}
	tag := slices.Collect(maps.Keys(tagged))[0]
	switch raw := tagged[tag].(type) {
	case bool:
		if tag == "bool" {
			return raw
		}
	case string:
		switch tag {
		case "string":
			return raw
		case "duration":
			d, _ := time.ParseDuration(raw) // written by Duration.String
			return d
		case "time":
			t, _ := time.Parse(time.RFC3339Nano, raw)
			return t
		case "float":
			var f float64
			_, _ = fmt.Sscan(raw, &f) // written by Sprint
			return f
		}
	case int:
		return raw
	case int64:
		return int(raw)
	case float64: // an int that went through encoding/json
		return int(raw)
	case []any:
		list := make([]any, len(raw))
		for i := range raw {
			list[i] = decodeOne(raw[i])
		}
		return list
	case map[string]any:
		return decodeSaved(raw)
	}
	return nil
}
