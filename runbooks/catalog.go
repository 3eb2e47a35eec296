package runbooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// Kinds are the kinds of connection of the format.
var Kinds = []string{"redis", "postgres", "docker", "http", "prometheus", "host"}

// actionKinds says which kind of connection the actions of a family need, where
// the two are not called the same.
var actionKinds = map[string]string{
	"deployment": "", // opsbot's own book: no connection
	"compose":    "docker", "nginx": "docker", "exec": "host", "file": "host", "metrics": "prometheus",
}

// A Catalog is the set of actions that runbooks can use. It is immutable. A nil
// Catalog has no actions.
type Catalog struct {
	entries map[string]*entry
	names   []string
}

// An entry is an action with what its Spec declares, worked out once.
type entry struct {
	action Action
	spec   Spec
	kind   string // of its connection; "": it needs none
	args   []argument
	result *shape
}

// An argument is one field of Spec.Args.
type argument struct {
	name     string
	index    int
	shape    *shape
	required bool
	fallback any // the default; nil: none
	min, max *float64
	values   []string
	pattern  *regexp.Regexp
	help     string
}

var actionName = regexp.MustCompile(`^[a-z][a-z0-9]*\.[a-z][a-z0-9_]*$`)

// NewCatalog makes a catalog of all the actions in the lists. A malformed Spec
// or a name that is used twice is an error.
func NewCatalog(lists ...[]Action) (*Catalog, error) {
	c := &Catalog{entries: map[string]*entry{}}
	for _, list := range lists {
		for _, a := range list {
			spec := a.Spec()
			if c.entries[spec.Name] != nil {
				return nil, fmt.Errorf("action %s is declared twice", spec.Name)
			}
			e, err := newEntry(a, spec)
			if err != nil {
				return nil, fmt.Errorf("action %s: %w", spec.Name, err)
			}
			c.entries[spec.Name] = e
			c.names = append(c.names, spec.Name)
		}
	}
	slices.Sort(c.names)
	return c, nil
}

// Action returns the action with the name.
func (c *Catalog) Action(name string) (Action, bool) {
	e := c.find(name)
	if e == nil {
		return nil, false
	}
	return e.action, true
}

// Names returns the names of all actions, sorted.
func (c *Catalog) Names() []string {
	if c == nil {
		return nil
	}
	return slices.Clone(c.names)
}

func (c *Catalog) find(name string) *entry {
	if c == nil {
		return nil
	}
	return c.entries[name]
}

func newEntry(a Action, spec Spec) (*entry, error) {
	if !actionName.MatchString(spec.Name) {
		return nil, fmt.Errorf("the name must be kind.verb")
	}
	if spec.Effect < Read || spec.Effect > Destructive {
		return nil, fmt.Errorf("unknown effect %d", spec.Effect)
	}
	if spec.Timeout < 0 {
		return nil, fmt.Errorf("negative timeout")
	}
	family, _, _ := strings.Cut(spec.Name, ".")
	e := &entry{action: a, spec: spec, kind: family, result: emptyShape}
	if k, ok := actionKinds[family]; ok {
		e.kind = k
	}
	var err error
	if e.args, err = argumentsOf(spec.Args); err != nil {
		return nil, err
	}
	if spec.Result != nil {
		if e.result, err = shapeOf(reflect.TypeOf(spec.Result), 0); err != nil {
			return nil, fmt.Errorf("result: %w", err)
		}
		if e.result.kind != recordKind || e.result.null {
			return nil, fmt.Errorf("the result must be a struct")
		}
	}
	return e, nil
}

func argumentsOf(args any) ([]argument, error) {
	if args == nil {
		return nil, nil
	}
	t := reflect.TypeOf(args)
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the arguments must be a struct, not a %s", t)
	}
	var list []argument
	for i := range t.NumField() {
		f := t.Field(i)
		a := argument{name: f.Tag.Get("arg"), index: i, help: f.Tag.Get("help"), required: f.Tag.Get("required") == "true"}
		if a.name == "" {
			if f.IsExported() {
				return nil, fmt.Errorf("argument field %s has no arg tag", f.Name)
			}
			continue
		}
		if !f.IsExported() {
			return nil, fmt.Errorf("argument field %s is not exported", f.Name)
		}
		if slices.ContainsFunc(list, func(o argument) bool { return o.name == a.name }) {
			return nil, fmt.Errorf("argument %s is declared twice", a.name)
		}
		s, err := shapeOf(f.Type, 0)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", a.name, err)
		}
		a.shape = s.tagged(f.Tag)
		if err := a.readRules(f.Tag); err != nil {
			return nil, fmt.Errorf("argument %s: %w", a.name, err)
		}
		list = append(list, a)
	}
	return list, nil
}

func (a *argument) readRules(tag reflect.StructTag) error {
	for _, bound := range []struct {
		key  string
		into **float64
	}{{"min", &a.min}, {"max", &a.max}} {
		if text, ok := tag.Lookup(bound.key); ok {
			n, err := boundOf(text, a.shape.kind)
			if err != nil {
				return fmt.Errorf("%s: %w", bound.key, err)
			}
			*bound.into = &n
		}
	}
	if text, ok := tag.Lookup("values"); ok {
		a.values = strings.Split(text, "|")
	}
	if text, ok := tag.Lookup("pattern"); ok {
		re, err := regexp.Compile(text)
		if err != nil {
			return err
		}
		a.pattern = re
	}
	if text, ok := tag.Lookup("default"); ok {
		v, err := a.read(text, true)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		a.fallback = v
	}
	return nil
}

// boundOf reads a min or max: seconds of a duration, else a number.
func boundOf(text string, k kind) (float64, error) {
	if k == durationKind {
		d, err := time.ParseDuration(text)
		return d.Seconds(), err
	}
	return strconv.ParseFloat(text, 64)
}

// DecodeArgs makes the arguments of an action from resolved values: a pointer
// to Spec.Args' type, defaults filled in and rules checked. Text is taken for
// numbers, bools and durations where it reads as one. The error is of kind
// Invalid and names the argument.
func DecodeArgs(spec Spec, with map[string]any) (any, error) {
	args, err := argumentsOf(spec.Args)
	if err != nil {
		return nil, fmt.Errorf("action %s: %w", spec.Name, err)
	}
	if spec.Args == nil {
		spec.Args = struct{}{}
	}
	out := reflect.New(reflect.TypeOf(spec.Args))
	known := map[string]bool{}
	for _, a := range args {
		known[a.name] = true
		v, given := with[a.name]
		switch {
		case given && v != nil:
		case a.fallback != nil:
			v = a.fallback
		case a.required:
			return nil, fault.New(fault.Invalid, "%s needs the argument %q.", spec.Name, a.name)
		default:
			continue
		}
		if err := a.set(out.Elem().Field(a.index), v); err != nil {
			return nil, fault.New(fault.Invalid, "%s: argument %q %s.", spec.Name, a.name, err).Because(err)
		}
	}
	for name := range with {
		if !known[name] {
			return nil, fault.New(fault.Invalid, "%s has no argument %q.", spec.Name, name)
		}
	}
	return out.Interface(), nil
}

// set writes v into the argument's field and checks its rules. The error
// continues a sentence that begins with the argument's name.
func (a *argument) set(field reflect.Value, v any) error {
	fitted, err := a.read(v, false)
	if err != nil {
		return err
	}
	assign(field, fitted)
	return nil
}

// read brings v into the argument's shape and checks its rules.
func (a *argument) read(v any, split bool) (any, error) {
	if text, ok := v.(string); ok && a.shape.kind == intKind && strings.HasSuffix(text, "B") {
		if size, err := parseBytes(text); err == nil {
			v = size
		}
	}
	fitted, err := readAs(a.shape, v, split)
	if err != nil {
		return nil, err
	}
	if err := a.rules(fitted); err != nil {
		return nil, err
	}
	return fitted, nil
}

func (a *argument) rules(v any) error {
	number, isNumber := numberOf(v)
	unit := func(f float64) string {
		if a.shape.kind == durationKind {
			return time.Duration(f * float64(time.Second)).String()
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if isNumber && a.min != nil && number < *a.min {
		return fmt.Errorf("must be at least %s, not %s", unit(*a.min), unit(number))
	}
	if isNumber && a.max != nil && number > *a.max {
		return fmt.Errorf("must be at most %s, not %s", unit(*a.max), unit(number))
	}
	texts := []string{}
	switch v := v.(type) {
	case string:
		texts = append(texts, v)
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				texts = append(texts, s)
			}
		}
	}
	for _, text := range texts {
		if a.values != nil && !slices.Contains(a.values, text) {
			return fmt.Errorf("must be one of %s, not %q", strings.Join(a.values, ", "), text)
		}
		if a.pattern != nil && !a.pattern.MatchString(text) {
			return fmt.Errorf("must match %s, and %q does not", a.pattern, text)
		}
	}
	return nil
}

// numberOf gives v as a number: a duration in seconds, a number as it is.
func numberOf(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case time.Duration:
		return v.Seconds(), true
	}
	return 0, false
}

// readAs fits v into the shape, taking text for what it reads as: "30s" is a
// duration, "5" a number and, with split, "a,b" a list. What a template filled
// in is never split: one element stays one element. The error continues a
// sentence that begins with the value's name.
func readAs(s *shape, v any, split bool) (any, error) {
	text, isText := v.(string)
	if isText {
		switch s.kind {
		case boolKind:
			b, err := strconv.ParseBool(text)
			if err != nil {
				return nil, fmt.Errorf("must be true or false, not %q", text)
			}
			return b, nil
		case intKind:
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("must be a whole number, not %q", text)
			}
			return n, nil
		case floatKind:
			f, err := parseFloat(text)
			if err != nil {
				return nil, fmt.Errorf("must be a number, not %q", text)
			}
			return f, nil
		case durationKind:
			d, err := time.ParseDuration(text)
			if err != nil {
				return nil, fmt.Errorf("must be a duration such as 30s or 5m, not %q", text)
			}
			return d, nil
		case listKind:
			if !split {
				return nil, fmt.Errorf("must be a list, not %q", clip(text))
			}
			list := []any{}
			for _, part := range strings.Split(text, ",") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				e, err := readAs(s.elem, part, false)
				if err != nil {
					return nil, err
				}
				list = append(list, e)
			}
			return list, nil
		}
	}
	if s.kind == durationKind && !isText {
		if d, ok := v.(time.Duration); ok {
			return d, nil
		}
		return nil, fmt.Errorf("must be a duration such as 30s or 5m, not %v", v)
	}
	if s.kind == stringKind && !isText {
		// YAML takes 5 and true for other things; as text they are what they look like.
		switch v := v.(type) {
		case int, bool, float64, time.Duration:
			return textOf(v)
		}
	}
	fitted, err := s.fit(v)
	if err != nil {
		return nil, fmt.Errorf("must be %s, not %v", s.a(), v)
	}
	return fitted, nil
}

// parseFloat reads a finite number.
func parseFloat(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err == nil && (f != f || f > 1e308 || f < -1e308) {
		return 0, fmt.Errorf("not a finite number")
	}
	return f, err
}

// assign writes a fitted value into a Go field of the type its shape came from.
func assign(field reflect.Value, v any) {
	if v == nil {
		return
	}
	t := field.Type()
	switch t.Kind() {
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		assign(p.Elem(), v)
		field.Set(p)
	case reflect.Slice:
		list, _ := v.([]any)
		s := reflect.MakeSlice(t, len(list), len(list))
		for i, e := range list {
			assign(s.Index(i), e)
		}
		field.Set(s)
	case reflect.Map:
		m, _ := v.(map[string]any)
		out := reflect.MakeMapWithSize(t, len(m))
		for k, e := range m {
			value := reflect.New(t.Elem()).Elem()
			assign(value, e)
			out.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), value)
		}
		field.Set(out)
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			field.Set(reflect.ValueOf(v)) // time.Time
			return
		}
		for i := range t.NumField() {
			if name, ok := jsonName(t.Field(i)); ok {
				assign(field.Field(i), m[name])
			}
		}
	default:
		field.Set(reflect.ValueOf(v).Convert(t))
	}
}

// DecodeResult reads a value of Spec.Result's type from the JSON that
// encoding/json made of one. Empty data and null give nil.
func DecodeResult(spec Spec, data []byte) (any, error) {
	if len(data) == 0 || bytes.Equal(bytes.TrimSpace(data), []byte("null")) || spec.Result == nil {
		return nil, nil
	}
	v := reflect.New(reflect.TypeOf(spec.Result))
	if err := json.Unmarshal(data, v.Interface()); err != nil {
		return nil, fmt.Errorf("read the result of %s: %w", spec.Name, err)
	}
	return v.Elem().Interface(), nil
}
