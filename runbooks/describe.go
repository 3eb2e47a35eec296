package runbooks

import (
	"reflect"
	"time"
)

// A Description is what an action declares, for the people who write runbooks.
type Description struct {
	Name      string
	Summary   string
	Kind      string // of its connection
	Effect    Effect
	Timeout   time.Duration // 0: none of its own
	Arguments []Argument
	Result    []ResultField
}

// An Argument is one argument of an action.
type Argument struct {
	Name     string
	Type     string // as people say it: "duration", "list of string"
	Form     *Form
	Help     string
	Required bool
	Default  any // nil: none
}

// A ResultField is one field of an action's result: "rate", "replicas[].cpu".
type ResultField struct {
	Name string
	Type string
	Help string
}

// Describe lists what the actions declare, by name.
func (c *Catalog) Describe() []Description {
	var list []Description
	for _, name := range c.Names() {
		e := c.find(name)
		d := Description{Name: name, Summary: e.spec.Summary, Kind: e.kind, Effect: e.spec.Effect, Timeout: e.spec.Timeout, Result: resultFields(e.spec.Result)}
		for _, a := range e.args {
			d.Arguments = append(d.Arguments, Argument{Name: a.name, Type: a.shape.String(), Form: a.formOf(), Help: a.help, Required: a.required, Default: a.fallback})
		}
		list = append(list, d)
	}
	return list
}

// resultFields lists the fields of a result, those of nested records behind a
// dot, with what their help tags say.
func resultFields(result any) []ResultField {
	if result == nil {
		return nil
	}
	var list []ResultField
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, ok := jsonName(f)
			if !ok {
				continue
			}
			s, err := shapeOf(f.Type, 0)
			if err != nil {
				continue // NewCatalog has refused it
			}
			list = append(list, ResultField{Name: prefix + name, Type: s.String(), Help: f.Tag.Get("help")})
			inner, path := f.Type, prefix+name
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				if inner.Kind() == reflect.Slice {
					path += "[]"
				}
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner != timeGo {
				walk(inner, path+".")
			}
		}
	}
	walk(reflect.TypeOf(result), "")
	return list
}

// String names the effect as runbooks write it.
func (e Effect) String() string {
	if e < Read || int(e) >= len(effectNames) {
		return "unknown"
	}
	return effectNames[e]
}
