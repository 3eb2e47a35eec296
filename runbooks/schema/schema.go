// Package schema makes the JSON Schema of the YAML in runbooks, for editors.
package schema

import (
	"slices"
	"strings"

	"opsbot/runbooks"
)

// Draft is the dialect that the schemas are written in.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// object is a JSON object; encoding/json writes its keys sorted, so a schema
// is the same text every time.
type object = map[string]any

// Parts are the names of what a schema can be made for.
var Parts = []string{"front", "step", "group"}

// New returns the schema for one of the Parts, or with "" for all three: what
// has the keys of a front matter is one, and everything else is a block. The
// actions are those of the catalog. The result is ready for encoding/json.
func New(part string, catalog *runbooks.Catalog) map[string]any {
	g := runbooks.Grammar()
	b := &builder{grammar: g, defs: object{}}
	b.defs["parameter"] = b.parameter()
	b.defs["duration"] = object{"type": "string", "pattern": durationPattern, "description": "as 30s, 5m or 1h30m"}
	b.defs["expression"] = object{"type": scalarTypes, "not": object{"type": "string", "pattern": `^\s*\$\{\{`}, "description": "an expression, without ${{ }}"}
	b.defs["target"] = b.next()
	front := b.mapping(g.Front)
	front["title"] = "Front matter of a runbook"
	step := b.step(catalog)
	step["title"] = "Block of a step"
	group := b.mapping(g.Group)
	group["title"] = "Block of a group"
	b.defs["front"], b.defs["step"], b.defs["group"] = front, step, group

	root := object{"$schema": Draft, "$id": "urn:opsbot:runbook:1", "title": "opsbot runbook, format 1", "$defs": b.defs}
	if part != "" {
		root["$id"] = "urn:opsbot:runbook:1:" + part
		root["$ref"] = "#/$defs/" + part
		for _, other := range Parts {
			if other != part {
				delete(b.defs, other)
			}
		}
		return root
	}
	root["if"] = object{"anyOf": []any{object{"required": []string{"format"}}, object{"required": []string{"runbook"}}}}
	root["then"] = object{"$ref": "#/$defs/front"}
	// A group's keys are keys of steps too, and a step of a check list needs no
	// do: only the heading tells them apart.
	root["else"] = object{"$ref": "#/$defs/step"}
	return root
}

// durationPattern is what time.ParseDuration reads, without signs.
const durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`

const filledPattern = `\$\{\{`

var scalarTypes = []string{"string", "number", "boolean"}

type builder struct {
	grammar runbooks.Language
	defs    object
}

// form is the schema of a value.
func (b *builder) form(f *runbooks.Form) object {
	switch f.Type {
	case runbooks.NothingForm:
		return object{"type": "null"}
	case runbooks.TextForm, runbooks.TemplateForm:
		return object{"type": scalarTypes}
	case runbooks.NameForm:
		return object{"type": "string", "pattern": f.Pattern}
	case runbooks.WordForm:
		return words(f.Words)
	case runbooks.BoolForm:
		return object{"type": "boolean"}
	case runbooks.IntegerForm:
		return bounded(object{"type": "integer"}, f)
	case runbooks.NumberForm:
		return bounded(object{"type": "number"}, f)
	case runbooks.BytesForm:
		return object{"anyOf": []any{
			bounded(object{"type": "integer"}, f),
			object{"type": "string", "pattern": `^[0-9]+(\.[0-9]+)?\s*([kKMGT]i?)?B?$`},
		}}
	case runbooks.DurationForm:
		return object{"$ref": "#/$defs/duration"}
	case runbooks.DayForm:
		return object{"type": "string", "format": "date", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`}
	case runbooks.ExpressionForm, runbooks.ConditionForm:
		return object{"$ref": "#/$defs/expression"}
	case runbooks.ListForm:
		list := object{"type": "array", "items": b.form(f.Item)}
		if f.Bare {
			return object{"anyOf": []any{b.form(f.Item), list}}
		}
		return list
	case runbooks.NamesForm:
		return object{"type": "object", "additionalProperties": b.form(f.Item)}
	case runbooks.MapForm:
		if slices.Contains(f.OneOf, "goto") && f.Item == nil {
			return object{"$ref": "#/$defs/target"}
		}
		return b.mapping(f)
	case runbooks.ChoiceForm:
		return b.choice(f)
	case runbooks.ParamForm:
		return object{"$ref": "#/$defs/parameter"}
	}
	return object{}
}

// choice is one of several forms. Which of them is meant shows in the kind of
// the value, so that an editor completes and complains about that one.
func (b *builder) choice(f *runbooks.Form) object {
	list := make([]any, len(f.Either))
	for i, e := range f.Either {
		list[i] = b.form(e)
	}
	return object{"anyOf": list}
}

// mapping is the schema of a map with a closed set of keys.
func (b *builder) mapping(f *runbooks.Form) object {
	properties, required := object{}, []string{}
	for _, k := range f.Keys {
		properties[k.Name] = described(b.form(k.Form), k.Help)
		if k.Required {
			required = append(required, k.Name)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if f.Item != nil {
		s["additionalProperties"] = b.form(f.Item)
	}
	if len(required) > 0 {
		s["required"] = required
	}
	if len(f.OneOf) > 0 {
		var one []any
		for _, key := range f.OneOf {
			one = append(one, object{"required": []string{key}})
		}
		s["oneOf"] = one
	}
	return s
}

// next is a target that is not a word.
func (b *builder) next() object {
	var target *runbooks.Form
	for _, k := range b.grammar.Group.Keys {
		if k.Name == "on_fail" {
			target = k.Form.Either[1]
		}
	}
	s := b.mapping(target)
	s["dependentSchemas"] = object{
		"with": object{"required": []string{"run"}},
		"then": object{"anyOf": []any{object{"required": []string{"run"}}, object{"required": []string{"offer"}}}},
	}
	return s
}

// parameter is the declaration of a parameter: each type has rules of its own.
func (b *builder) parameter() object {
	s := b.mapping(b.grammar.Param)
	var rules []any
	for _, rule := range runbooks.ParamRules() {
		properties, then := object{}, object{}
		for _, k := range b.grammar.Param.Keys {
			common := slices.Contains([]string{"type", "default", "required", "help"}, k.Name)
			if !common && !slices.Contains(rule.Keys, k.Name) {
				properties[k.Name] = false
			}
		}
		switch rule.Type {
		case runbooks.TypeInt, runbooks.TypeFloat:
			properties["min"], properties["max"] = object{"type": "number"}, object{"type": "number"}
		case runbooks.TypeDuration:
			for _, key := range []string{"min", "max", "default"} {
				properties[key] = object{"$ref": "#/$defs/duration"}
			}
		case runbooks.TypeBool:
			properties["default"] = object{"type": "boolean"}
		case runbooks.TypeString:
			properties["max"] = object{"type": "integer", "minimum": 0}
		case runbooks.TypeEnum:
			then["required"] = []string{"values"}
		case runbooks.TypeFile:
			then["required"] = []string{"from"}
		}
		then["properties"] = properties
		rules = append(rules, when("type", string(rule.Type), then))
	}
	s["allOf"] = rules
	return s
}

// step is the block of a step: which keys and arguments it may have depends on
// its verb.
func (b *builder) step(catalog *runbooks.Catalog) object {
	s := b.mapping(b.grammar.Step)
	properties := s["properties"].(object)
	verbs := []string{}
	var rules []any
	for _, builtin := range b.grammar.Builtins {
		verbs = append(verbs, builtin.Name)
		then := object{"properties": b.notFor(builtin.Name)}
		if builtin.With != nil {
			with := b.mapping(builtin.With)
			if builtin.Name == "wait" {
				with["oneOf"] = []any{object{"required": []string{"for"}}, object{"required": []string{"until", "max"}}}
			}
			then["properties"].(object)["with"] = described(with, builtin.Help)
			if with["required"] != nil || builtin.Name == "wait" {
				then["required"] = []string{"with"}
			}
		} else {
			then["properties"].(object)["with"] = false
		}
		if builtin.Name == "decide" {
			then["required"] = []string{"rows"}
		}
		rules = append(rules, when("do", builtin.Name, then))
	}
	// A step without a verb is one of a check list: done by hand.
	byHand := b.notFor("manual")
	byHand["with"] = false
	rules = append(rules, object{"if": object{"not": object{"required": []string{"do"}}}, "then": object{"properties": byHand}})
	// A watch looks, at one thing.
	rules = append(rules, object{"if": object{"required": []string{"watch"}}, "then": object{"properties": object{"each": false, "effect": words([]string{runbooks.Read.String()})}}})
	// The rows of a table have cells, those of a list have conditions.
	rows := func(f *runbooks.Form) object {
		return object{"properties": object{"rows": object{"type": "array", "minItems": 1, "items": b.mapping(f)}}}
	}
	rules = append(rules, object{"if": object{"required": []string{"inputs"}}, "then": rows(b.grammar.TableRow), "else": rows(b.grammar.ListRow)})
	delete(properties["rows"].(object), "items")
	for _, a := range catalog.Describe() {
		verbs = append(verbs, a.Name)
		b.defs["with."+a.Name] = b.arguments(a)
		notFor := b.notFor("")
		notFor["with"] = object{"$ref": "#/$defs/with." + a.Name}
		required := []string{}
		if needsArguments(a) {
			required = append(required, "with")
		}
		if a.Effect == runbooks.Destructive {
			required = append(required, "confirm")
			notFor["retry"] = false
		}
		if a.Effect > runbooks.Read {
			notFor["watch"] = false
		}
		var raised []string
		for e := a.Effect; e <= runbooks.Destructive; e++ {
			raised = append(raised, e.String())
		}
		notFor["effect"] = words(raised)
		rules = append(rules, when("do", a.Name, object{"properties": notFor, "required": required}))
	}
	properties["do"] = described(words(verbs), properties["do"].(object)["description"].(string))
	s["allOf"] = rules
	return s
}

// notFor forbids the keys that have no meaning for a built-in, or with "" for
// an action.
func (b *builder) notFor(builtin string) object {
	properties := object{}
	for _, k := range b.grammar.Step.Keys {
		if k.For(builtin) || builtin == "" && k.For(runbooks.OnActions) {
			continue
		}
		properties[k.Name] = false
	}
	return properties
}

func needsArguments(a runbooks.Description) bool {
	return slices.ContainsFunc(a.Arguments, func(arg runbooks.Argument) bool { return arg.Required })
}

// arguments is the `with` of an action. Every value may be filled in.
func (b *builder) arguments(a runbooks.Description) object {
	properties, required := object{}, []string{}
	for _, arg := range a.Arguments {
		value := object{"anyOf": []any{b.argument(arg.Form), object{"type": "string", "pattern": filledPattern}}}
		if text, ok := arg.Default.(interface{ String() string }); ok {
			value["default"] = text.String()
		} else if arg.Default != nil {
			value["default"] = arg.Default
		}
		properties[arg.Name] = described(value, arg.Help)
		if arg.Required {
			required = append(required, arg.Name)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return described(s, a.Summary)
}

// argument is one value of an action's argument: text is taken for a number
// where it reads as one, and its elements may be filled in too.
func (b *builder) argument(f *runbooks.Form) object {
	filled := object{"type": "string", "pattern": filledPattern}
	switch f.Type {
	case runbooks.NumberForm:
		return object{"anyOf": []any{b.form(f), object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?$`}}}
	case runbooks.BoolForm:
		return object{"enum": []any{true, false, "true", "false"}}
	case runbooks.ListForm:
		return object{"type": "array", "items": object{"anyOf": []any{b.argument(f.Item), filled}}}
	case runbooks.NamesForm:
		return object{"type": "object", "additionalProperties": object{"anyOf": []any{b.argument(f.Item), filled}}}
	}
	return b.form(f)
}

// when says what holds where a key has a value.
func when(key, value string, then object) object {
	return object{
		"if":   object{"required": []string{key}, "properties": object{key: object{"const": value}}},
		"then": then,
	}
}

func words(list []string) object {
	values := make([]any, len(list))
	for i, w := range list {
		values[i] = w
	}
	return object{"enum": values}
}

func bounded(s object, f *runbooks.Form) object {
	if f.Min != nil {
		s["minimum"] = *f.Min
	}
	if f.Max != nil {
		s["maximum"] = *f.Max
	}
	return s
}

// described adds what an editor shows beside the key.
func described(s object, help string) object {
	if help == "" {
		return s
	}
	c := object{"description": strings.TrimSpace(help)}
	for k, v := range s {
		if k != "description" {
			c[k] = v
		}
	}
	return c
}
