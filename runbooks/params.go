package runbooks

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
)

const maxParamText = 1000 // characters of a text parameter without a max of its own

var (
	paramTypes = []string{"string", "int", "float", "bool", "duration", "bytes", "enum", "service", "user", "channel", "time", "file", "list"}
	// rulesOf says which keys have a meaning for which type, besides those that
	// all have.
	rulesOf = map[ParamType][]string{
		TypeString: {"pattern", "max"}, TypeInt: {"min", "max"}, TypeFloat: {"min", "max"}, TypeDuration: {"min", "max"},
		TypeBytes: {"min", "max"}, TypeEnum: {"values"}, TypeFile: {"from", "max_age"}, TypeList: {"of", "max", "values", "pattern", "min"},
	}
)

// A ParamProblem says what is wrong with one given parameter.
type ParamProblem struct {
	Name    string
	Message string // a sentence for people
	Missing bool   // required and not given
}

// Newest stands for the newest file, where a start looks for files.
const Newest = "newest"

// params reads parameter declarations, which are also the fields of a manual
// step. Files are looked for on the connection host; "": nobody looks.
func (p *parser) params(n *node, what, host string) []Param {
	if n.kind != mapNode {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a map of names to declarations, not %s", what, n.describe()), "")
		return nil
	}
	var list []Param
	for _, f := range n.fields {
		switch {
		case !idPattern.MatchString(f.key):
			p.problem(f.pos, "RB106", fmt.Sprintf("%q is no name for a parameter", clip(f.key)), "lower case letters, digits and _")
			continue
		case slices.Contains(reservedName, f.key):
			p.problem(f.pos, "RB106", fmt.Sprintf("%q is a word of the commands and can't name a parameter", f.key), "")
			continue
		}
		if q, ok := p.param(f, host); ok {
			list = append(list, q)
		}
	}
	return list
}

func (p *parser) param(f field, host string) (Param, bool) {
	q := Param{Name: f.key, Pos: f.pos}
	n := f.value
	what := "parameter " + f.key
	before := len(p.problems)
	if t := n.get("type"); n.kind == mapNode && t != nil {
		if t.text == "secret" {
			p.problem(t.pos, "RB106", "there is no secret type: what is typed into chat is leaked", `use secret("name") in with`)
			return q, false
		}
		q.Type = ParamType(p.choice(t, "the type of "+f.key, paramTypes...))
	} else if n.kind == mapNode {
		p.problem(f.pos, "RB106", what+" needs a type", "one of "+strings.Join(paramTypes, ", "))
		return q, false
	}
	p.fields(n, what, "RB106", paramForm.names(), func(f field) {
		v := f.value
		if common := []string{"type", "default", "required", "help"}; !slices.Contains(common, f.key) && !slices.Contains(rulesOf[q.Type], f.key) {
			p.problem(f.pos, "RB106", fmt.Sprintf("%s has no meaning for a %s", f.key, q.Type), "")
			return
		}
		switch f.key {
		case "required":
			b, ok := v.value.(bool)
			if !ok {
				p.problem(v.pos, "RB106", "required must be true or false", "")
			}
			q.Required = b
		case "help":
			q.Help, _ = p.text(v, "help")
		case "pattern":
			q.Pattern, _ = p.text(v, "pattern")
			if _, err := regexp.Compile(q.Pattern); err != nil || len(q.Pattern) > maxRegexp {
				p.problem(v.pos, "RB106", fmt.Sprintf("the pattern of %s can't be read", q.Name), "RE2 syntax, at most 1,000 characters")
			}
		case "min":
			q.Min = p.bound(v, q)
		case "max":
			q.Max = p.bound(v, q)
		case "values":
			if v.kind != listNode || len(v.items) == 0 {
				p.problem(v.pos, "RB106", "values must be a list", "")
				return
			}
			for _, item := range v.items {
				s, _ := p.text(item, "a value")
				q.Values = append(q.Values, s)
			}
		case "of":
			q.Of = ParamType(p.choice(v, "the elements of "+q.Name, slices.DeleteFunc(slices.Clone(paramTypes), func(t string) bool { return t == "list" })...))
		case "from":
			q.From, _ = p.text(v, "from")
		case "max_age":
			q.MaxAge = p.duration(v, "max_age")
		}
	})
	switch {
	case q.Type == "":
		return q, false
	case len(p.problems) > before:
		// It exists all the same: what uses it is not wrong too.
		q.Required = true
		return q, true
	case q.Type == TypeEnum && len(q.Values) == 0:
		p.problem(f.pos, "RB106", what+" needs values", "")
		return q, true
	case q.Type == TypeList && q.Of == "":
		q.Of = TypeString
	case q.Type == TypeFile && q.From == "":
		p.problem(f.pos, "RB106", what+" needs from, a pattern of file names", "")
		return q, false
	}
	if _, err := path.Match(q.From, ""); err != nil {
		p.problem(n.get("from").pos, "RB106", "from is not a pattern of file names such as *.dump", "")
		q.Required = true
		return q, true
	}
	if q.Type == TypeFile {
		q.On = host
		p.lookedFor(n.get("max_age"), q)
		if d := n.get("default"); d != nil && d.value == Newest {
			p.lookedFor(d, q)
			q.Default = Newest
			return q, true
		}
	}
	if d := n.get("default"); d != nil && !d.null() {
		v, err := q.read(plainValue(d), false)
		if err != nil {
			p.problem(d.pos, "RB115", fmt.Sprintf("the default of %s %s", q.Name, err), "")
			q.Required = true
			return q, true
		}
		q.Default = v
	}
	return q, true
}

// bound reads a min or max in the parameter's own unit.
func (p *parser) bound(n *node, q Param) *float64 {
	var f float64
	var err error
	switch q.Type {
	case TypeDuration:
		var d time.Duration
		d, err = time.ParseDuration(n.text)
		f = d.Seconds()
	case TypeBytes:
		var b int
		b, err = parseBytes(n.text)
		f = float64(b)
	default:
		number, ok := numberOf(n.value)
		if !ok {
			err = errors.New("not a number")
		}
		f = number
	}
	if err != nil {
		p.problem(n.pos, "RB106", fmt.Sprintf("a bound of %s must be a %s, not %s", q.Name, q.Type, n.describe()), "")
		return nil
	}
	return &f
}

var (
	servicePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)
	userPattern    = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)
	channelPattern = regexp.MustCompile(`^[CG][A-Z0-9]{2,20}$`)
	mention        = regexp.MustCompile(`^<[@#]([A-Z0-9]+)(\|[^>]*)?>$`)
)

// read brings a value into the parameter's type and checks its rules. typed is
// set for what a person typed, where lists are written with commas. The error
// continues a sentence that begins with the parameter's name.
func (q Param) read(v any, typed bool) (any, error) {
	if v == nil {
		return nil, errors.New("has no value")
	}
	text, isText := v.(string)
	switch q.Type {
	case TypeList:
		return q.readList(v, typed)
	case TypeBytes:
		if isText {
			b, err := parseBytes(text)
			if err != nil {
				return nil, fmt.Errorf("must be a size such as 512MiB, not %q", clip(text))
			}
			v = b
		}
	case TypeTime:
		if isText {
			t, err := parseTime(text)
			if err != nil {
				return nil, fmt.Errorf("must be a time such as 2026-03-31T14:00:00Z, not %q", clip(text))
			}
			v = t
		}
	case TypeUser, TypeChannel:
		if m := mention.FindStringSubmatch(text); m != nil {
			v = m[1]
		}
	}
	r, err := readAs(paramShape(Param{Type: q.Type, Required: true}), v, false)
	if err != nil {
		return nil, err
	}
	return r, q.rules(r)
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a time")
}

func (q Param) readList(v any, typed bool) (any, error) {
	one := q
	one.Type, one.Max = q.Of, nil
	if text, ok := v.(string); ok {
		if !typed {
			return nil, fmt.Errorf("must be a list, not %q", clip(text))
		}
		parts := []any{}
		for _, part := range strings.Split(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				parts = append(parts, part)
			}
		}
		v = parts
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("must be a list, not %v", v)
	}
	limit := 100.0
	if q.Max != nil {
		limit = *q.Max
	}
	if float64(len(list)) > limit {
		return nil, fmt.Errorf("may have at most %v elements, not %d", limit, len(list))
	}
	out := make([]any, len(list))
	for i, e := range list {
		r, err := one.read(e, false)
		if err != nil {
			return nil, fmt.Errorf("element %d %w", i+1, err)
		}
		out[i] = r
	}
	return out, nil
}

func (q Param) rules(v any) error {
	if n, ok := numberOf(v); ok {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return errors.New("must be a finite number")
		}
		if q.Min != nil && n < *q.Min {
			return fmt.Errorf("must be at least %s, not %s", q.bound(*q.Min), q.bound(n))
		}
		if q.Max != nil && n > *q.Max {
			return fmt.Errorf("must be at most %s, not %s", q.bound(*q.Max), q.bound(n))
		}
		return nil
	}
	text, ok := v.(string)
	if !ok {
		return nil
	}
	limit := float64(maxParamText)
	if q.Max != nil && q.Type == TypeString {
		limit = *q.Max
	}
	if n := float64(len([]rune(text))); n > limit {
		return fmt.Errorf("may have at most %v characters, not %v", limit, n)
	}
	if q.Pattern != "" {
		if re, err := compiledPattern(q.Pattern); err != nil || !re.MatchString(text) {
			return fmt.Errorf("must match %s, and %q does not", q.Pattern, clip(text))
		}
	}
	if len(q.Values) > 0 && !slices.Contains(q.Values, text) {
		hint := ""
		if near := nearest(text, q.Values); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return fmt.Errorf("must be one of %s, not %q%s", strings.Join(q.Values, ", "), clip(text), hint)
	}
	switch q.Type {
	case TypeService:
		if !servicePattern.MatchString(text) {
			return fmt.Errorf("must be the plain name of a service such as api, not %q", clip(text))
		}
	case TypeUser:
		if !userPattern.MatchString(text) {
			return fmt.Errorf("must be a person, as @name, not %q", clip(text))
		}
	case TypeChannel:
		if !channelPattern.MatchString(text) {
			return fmt.Errorf("must be a channel, as #name, not %q", clip(text))
		}
	case TypeFile:
		if text == Newest && q.On != "" {
			return nil
		}
		name, glob := text, q.From
		if !strings.Contains(glob, "/") {
			name = path.Base(text) // the pattern is one of names, in whatever folder
		}
		fits, err := path.Match(glob, name)
		if err != nil || !fits && glob != "" || strings.ContainsAny(text, "\x00\n") || slices.Contains(strings.Split(text, "/"), "..") {
			return fmt.Errorf("must be the name of a file like %s, not %q", q.From, clip(text))
		}
	}
	return nil
}

// lookedFor reports a rule of a file that nobody keeps who does not look at it.
func (p *parser) lookedFor(rule *node, q Param) {
	if rule != nil && q.On == "" {
		p.problem(rule.pos, "RB205", fmt.Sprintf("nobody looks for %s: that needs a parameter of the runbook, and one connection of kind host in uses", q.Name), "or look for it in a step: file.latest_backup")
	}
}

// soleHost is the connection that files are looked for on: the only one of kind
// host in uses.
func soleHost(uses *node) string {
	if uses == nil || uses.kind != mapNode {
		return ""
	}
	name := ""
	for _, f := range uses.fields {
		switch {
		case f.value.text != "host":
		case name != "":
			return ""
		default:
			name = f.key
		}
	}
	return name
}

// bound writes a bound in the parameter's own unit.
func (q Param) bound(f float64) string {
	if q.Type == TypeDuration {
		return DurationText(time.Duration(f * float64(time.Second)))
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func (rb *Runbook) param(name string) *Param {
	for i := range rb.Params {
		if rb.Params[i].Name == name {
			return &rb.Params[i]
		}
	}
	return nil
}

// CheckParams brings what a person typed into the parameters' types, fills in
// the defaults and checks every rule. Optional parameters that are not given
// are absent. The problems are in the order of the declarations, unknown names
// last.
func (rb *Runbook) CheckParams(given map[string]string) (map[string]any, []ParamProblem) {
	typed := map[string]any{}
	var problems []ParamProblem
	names := make([]string, 0, len(rb.Params))
	for _, q := range rb.Params {
		names = append(names, q.Name)
		text, ok := given[q.Name]
		switch {
		case ok:
			v, err := q.read(text, true)
			if err != nil {
				problems = append(problems, ParamProblem{Name: q.Name, Message: sentence(q.Name + " " + err.Error())})
				continue
			}
			typed[q.Name] = v
		case q.Default != nil:
			typed[q.Name] = q.Default
		case q.Required:
			problems = append(problems, ParamProblem{Name: q.Name, Missing: true, Message: fmt.Sprintf("%s is required%s.", q.Name, helpText(q))})
		}
	}
	var unknown []string
	for name := range given {
		if !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		message := fmt.Sprintf("%s has no parameter %q", rb.Slug, clip(name))
		switch near := nearest(name, names); {
		case near != "":
			message += fmt.Sprintf("; did you mean %q?", near)
		case len(names) == 0:
			message += "; it takes none."
		default:
			message += "; it takes " + strings.Join(names, ", ") + "."
		}
		problems = append(problems, ParamProblem{Name: name, Message: message})
	}
	return typed, problems
}

// sentence ends a message, unless it ends in a question already.
func sentence(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

func helpText(q Param) string {
	if q.Help == "" {
		return ""
	}
	return " (" + q.Help + ")"
}

// EncodeParams gives typed parameters in a form that survives JSON: durations
// and times become text.
func (rb *Runbook) EncodeParams(typed map[string]any) map[string]any {
	out := make(map[string]any, len(typed))
	for name, v := range typed {
		out[name] = encodeValue(v)
	}
	return out
}

func encodeValue(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return v.String()
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = encodeValue(e)
		}
		return list
	}
	return v
}

// DecodeParams is the inverse of EncodeParams, also after a round trip through
// JSON. Values that the runbook does not declare are dropped; a value that does
// not fit its type is an error of kind Invalid.
func (rb *Runbook) DecodeParams(encoded map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(encoded))
	for _, q := range rb.Params {
		v, ok := encoded[q.Name]
		if !ok || v == nil {
			continue
		}
		fitted, err := paramShape(Param{Type: q.Type, Of: q.Of, Required: true}).fit(v)
		if err != nil {
			return nil, fault.New(fault.Invalid, "Parameter %s of %s can't be read.", q.Name, rb.Slug).Because(err)
		}
		out[q.Name] = fitted
	}
	return out, nil
}
