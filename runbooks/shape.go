package runbooks

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// maxList is how many elements of a list expressions see; the rest is cut off,
// so that the work of an expression is bounded when it is loaded.
const maxList = 1000

// A kind is what a value is in an expression.
type kind int

const (
	anyKind kind = iota
	boolKind
	intKind
	floatKind
	stringKind
	durationKind
	timeKind
	listKind   // of elem
	recordKind // with fields
	dictKind   // of elem, by any string
)

// A shape is the type of a value as expressions see it. Actions declare Go
// types and parameters declare theirs; both become shapes, from which the
// expression's static type is made and by which values are brought into the
// form that the type promises. So a result reads the same whether it comes
// from the action or from the journal's JSON.
type shape struct {
	kind   kind
	null   bool // may be nil: no data
	elem   *shape
	fields map[string]*shape
	path   bool // of an address: what is filled in is escaped
}

var (
	anyShape      = &shape{kind: anyKind}
	boolShape     = &shape{kind: boolKind}
	intShape      = &shape{kind: intKind}
	floatShape    = &shape{kind: floatKind}
	stringShape   = &shape{kind: stringKind}
	durationShape = &shape{kind: durationKind}
	timeShape     = &shape{kind: timeKind}
	stringsShape  = &shape{kind: listKind, elem: stringShape}
	emptyShape    = &shape{kind: recordKind}
)

func listOf(elem *shape) *shape { return &shape{kind: listKind, elem: elem} }

func (s *shape) nullable() *shape {
	if s.null {
		return s
	}
	c := *s
	c.null = true
	return &c
}

// tagged gives the shape of a field with the tag.
func (s *shape) tagged(tag reflect.StructTag) *shape {
	if tag.Get("url") != "path" {
		return s
	}
	c := *s
	c.path = true
	return &c
}

// a names the shape with its article.
func (s *shape) a() string {
	switch {
	case s == mixedShape:
		return "a value of one kind or another"
	case s == nilShape:
		return "nil"
	case s.kind == anyKind:
		return "a value of any kind"
	case s.kind == intKind:
		return "an " + s.String()
	}
	return "a " + s.String()
}

// String names the shape for people.
func (s *shape) String() string {
	name := map[kind]string{
		anyKind: "any value", boolKind: "bool", intKind: "int", floatKind: "float", stringKind: "string",
		durationKind: "duration", timeKind: "time", recordKind: "record",
	}[s.kind]
	switch s.kind {
	case listKind:
		name = "list of " + s.elem.String()
	case dictKind:
		name = "map of " + s.elem.String()
	}
	if s.null {
		name += " or no data"
	}
	return name
}

var (
	durationGo = reflect.TypeFor[time.Duration]()
	timeGo     = reflect.TypeFor[time.Time]()
)

// shapeOf makes the shape of a Go type as actions declare their results. It
// fails on types that results may not have.
func shapeOf(t reflect.Type, depth int) (*shape, error) {
	if depth > 8 {
		return nil, fmt.Errorf("type %s is nested too deeply", t)
	}
	switch t {
	case durationGo:
		return durationShape, nil
	case timeGo:
		return timeShape, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		s, err := shapeOf(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		return s.nullable(), nil
	case reflect.Bool:
		return boolShape, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return intShape, nil
	case reflect.Float32, reflect.Float64:
		return floatShape, nil
	case reflect.String:
		return stringShape, nil
	case reflect.Interface:
		return anyShape, nil
	case reflect.Slice, reflect.Array:
		elem, err := shapeOf(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		return listOf(elem), nil
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("type %s must have string keys", t)
		}
		elem, err := shapeOf(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		return &shape{kind: dictKind, elem: elem}, nil
	case reflect.Struct:
		s := &shape{kind: recordKind, fields: map[string]*shape{}}
		for _, f := range reflect.VisibleFields(t) {
			name, ok := jsonName(f)
			if !ok {
				continue
			}
			elem, err := shapeOf(f.Type, depth+1)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.Name, err)
			}
			s.fields[name] = elem.tagged(f.Tag)
		}
		return s, nil
	}
	return nil, fmt.Errorf("type %s can't be held in a result", t)
}

// jsonName returns the name of a struct's field in JSON, and whether it has one.
func jsonName(f reflect.StructField) (string, bool) {
	if !f.IsExported() || len(f.Index) > 1 {
		return "", false
	}
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch name {
	case "-":
		return "", false
	case "":
		return f.Name, true
	}
	return name, true
}

// paramShape is the shape of a parameter's values.
func paramShape(p Param) *shape {
	var s *shape
	switch p.Type {
	case TypeInt, TypeBytes:
		s = intShape
	case TypeFloat:
		s = floatShape
	case TypeBool:
		s = boolShape
	case TypeDuration:
		s = durationShape
	case TypeTime:
		s = timeShape
	case TypeList:
		s = listOf(paramShape(Param{Type: p.Of, Required: true}))
	default:
		s = stringShape
	}
	if p.Default == nil && !p.Required {
		return s.nullable()
	}
	return s
}

// fit brings v into the form that the shape promises: ints are int, floats are
// float64, records and maps are map[string]any, lists are []any of at most
// maxList elements, and a missing value is an untyped nil. v may be what an
// action returned or what encoding/json made of it.
func (s *shape) fit(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	return s.fitValue(reflect.ValueOf(v), 0)
}

func (s *shape) fitValue(v reflect.Value, depth int) (any, error) {
	if depth > 16 {
		return nil, fmt.Errorf("value is nested too deeply")
	}
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch s.kind {
	case boolKind:
		if v.Kind() == reflect.Bool {
			return v.Bool(), nil
		}
	case intKind:
		switch {
		case v.CanInt():
			return int(v.Int()), nil
		case v.CanUint() && v.Uint() <= math.MaxInt:
			return int(v.Uint()), nil
		case v.CanFloat() && v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<62:
			return int(v.Float()), nil
		}
	case floatKind:
		switch {
		case v.CanFloat():
			return v.Float(), nil
		case v.CanInt():
			return float64(v.Int()), nil
		case v.CanUint():
			return float64(v.Uint()), nil
		}
	case stringKind:
		if v.Kind() == reflect.String {
			return v.String(), nil
		}
	case durationKind:
		switch {
		case v.CanInt():
			return time.Duration(v.Int()), nil
		case v.CanFloat():
			return time.Duration(v.Float()), nil
		case v.Kind() == reflect.String:
			return time.ParseDuration(v.String())
		}
	case timeKind:
		if t, ok := v.Interface().(time.Time); ok {
			return t, nil
		}
		if v.Kind() == reflect.String {
			return time.Parse(time.RFC3339Nano, v.String())
		}
	case listKind:
		if v.Kind() == reflect.Slice || v.Kind() == reflect.Array {
			list := make([]any, min(v.Len(), maxList))
			for i := range list {
				e, err := s.elem.fitValue(v.Index(i), depth+1)
				if err != nil {
					return nil, err
				}
				list[i] = e
			}
			return list, nil
		}
	case recordKind:
		return s.fitRecord(v, depth)
	case dictKind:
		if v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String {
			m := make(map[string]any, v.Len())
			for it := v.MapRange(); it.Next(); {
				e, err := s.elem.fitValue(it.Value(), depth+1)
				if err != nil {
					return nil, err
				}
				m[it.Key().String()] = e
			}
			return m, nil
		}
	default:
		return fitAny(v, depth)
	}
	return nil, fmt.Errorf("want a %s, have a %s", s, v.Type())
}

func (s *shape) fitRecord(v reflect.Value, depth int) (any, error) {
	m := make(map[string]any, len(s.fields))
	switch {
	case v.Kind() == reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			name, ok := jsonName(f)
			if !ok {
				continue
			}
			field := s.fields[name]
			if field == nil {
				continue
			}
			e, err := field.fitValue(v.FieldByIndex(f.Index), depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			m[name] = e
		}
		return m, nil
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		for name, field := range s.fields {
			e := v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key()))
			if !e.IsValid() {
				continue
			}
			fitted, err := field.fitValue(e, depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			m[name] = fitted
		}
		return m, nil
	}
	return nil, fmt.Errorf("want a %s, have a %s", s, v.Type())
}

// fitAny brings a value of no declared shape into a form that expressions can use.
func fitAny(v reflect.Value, depth int) (any, error) {
	switch v.Interface().(type) {
	case time.Duration, time.Time:
		return v.Interface(), nil
	}
	switch {
	case v.Kind() == reflect.Struct:
		s, err := shapeOf(v.Type(), depth)
		if err != nil {
			return nil, err
		}
		return s.fitValue(v, depth)
	case v.Kind() == reflect.Map:
		return (&shape{kind: dictKind, elem: anyShape}).fitValue(v, depth)
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		return listOf(anyShape).fitValue(v, depth)
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	case v.CanInt():
		return int(v.Int()), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.CanUint() && v.Uint() <= math.MaxInt:
		return int(v.Uint()), nil
	}
	return nil, fmt.Errorf("a %s can't be used in an expression", v.Type())
}
