package trial

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"opsbot/runbooks"
)

// result reads what an action gives, in its own type. Fields that are left
// out are zero, or no data where there may be none.
func (r *reader) result(n runbooks.Node, spec runbooks.Spec) any {
	if spec.Result == nil {
		if len(n.Fields()) > 0 || !n.IsMap() {
			r.problem(n.Pos(), codeResult, "", "%s has no result", spec.Name)
		}
		return nil
	}
	v := reflect.New(reflect.TypeOf(spec.Result)).Elem()
	r.fill(v, n, "the result of "+spec.Name)
	return v.Interface()
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

// fill writes a YAML value into a Go one.
func (r *reader) fill(v reflect.Value, n runbooks.Node, what string) {
	unfit := func(want string) {
		r.problem(n.Pos(), codeResult, "", "%s must be %s, not %s", what, want, n.Describe())
	}
	switch v.Type() {
	case durationType:
		d, err := time.ParseDuration(n.Text())
		if err != nil {
			unfit("a duration such as 30s")
		}
		v.SetInt(int64(d))
		return
	case timeType:
		t, err := time.Parse(time.RFC3339, n.Text())
		if err != nil {
			unfit("a time such as 2026-03-31T14:00:00Z")
		}
		v.Set(reflect.ValueOf(t))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.IsNull() {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem(), n, what)
	case reflect.Struct:
		r.record(v, n, what)
	case reflect.Slice:
		if !n.IsList() {
			unfit("a list")
			return
		}
		items := n.Items()
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			r.fill(v.Index(i), item, "an element of "+what)
		}
	case reflect.Map:
		if !n.IsMap() {
			unfit("a map")
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for _, f := range n.Fields() {
			value := reflect.New(v.Type().Elem()).Elem()
			r.fill(value, f.Value, f.Key)
			v.SetMapIndex(reflect.ValueOf(f.Key).Convert(v.Type().Key()), value)
		}
	case reflect.String:
		if n.IsMap() || n.IsList() || n.IsNull() {
			unfit("a text")
			return
		}
		v.SetString(n.Text())
	case reflect.Bool:
		b, ok := n.Scalar().(bool)
		if !ok {
			unfit("true or false")
		}
		v.SetBool(b)
	case reflect.Interface:
		if x := free(n); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		number(v, n, unfit)
	}
}

// free is a value of which the action does not say the type, such as the cell
// of a row: as YAML has it.
func free(n runbooks.Node) any {
	switch {
	case n.IsMap():
		m := make(map[string]any, len(n.Fields()))
		for _, f := range n.Fields() {
			m[f.Key] = free(f.Value)
		}
		return m
	case n.IsList():
		list := make([]any, len(n.Items()))
		for i, item := range n.Items() {
			list[i] = free(item)
		}
		return list
	}
	return n.Scalar()
}

// number writes an int or a float.
func number(v reflect.Value, n runbooks.Node, unfit func(string)) {
	switch x := n.Scalar().(type) {
	case int:
		if v.CanFloat() {
			v.SetFloat(float64(x))
			return
		}
		if v.CanInt() && !v.OverflowInt(int64(x)) {
			v.SetInt(int64(x))
			return
		}
	case float64:
		if v.CanFloat() {
			v.SetFloat(x)
			return
		}
	}
	if v.CanFloat() {
		unfit("a number")
		return
	}
	unfit("a whole number")
}

func (r *reader) record(v reflect.Value, n runbooks.Node, what string) {
	if !n.IsMap() {
		r.problem(n.Pos(), codeResult, "", "%s must be a map, not %s", what, n.Describe())
		return
	}
	fields := fieldsOf(v.Type())
	for _, f := range n.Fields() {
		i := slices.IndexFunc(fields, func(x resultField) bool { return x.name == f.Key })
		if i < 0 {
			names := make([]string, len(fields))
			for i := range fields {
				names[i] = fields[i].name
			}
			r.problem(f.Pos, codeResult, hintOf(f.Key, names), "%s has no field %q", what, f.Key)
			continue
		}
		r.fill(v.FieldByIndex(fields[i].index), f.Value, f.Key)
	}
}

type resultField struct {
	name  string
	index []int
}

// fieldsOf are the fields of a result as expressions name them.
func fieldsOf(t reflect.Type) []resultField {
	var out []resultField
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		out = append(out, resultField{name, f.Index})
	}
	return out
}
