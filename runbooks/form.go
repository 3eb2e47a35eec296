package runbooks

import (
	"slices"
	"time"
)

// A Form declares what may be written at one place of a runbook's YAML. The
// parser takes its keys and words from the forms; the JSON Schema and the
// reference are made from them, so that neither can say something else.
type Form struct {
	Type     FormType
	Words    []string // of Word
	Pattern  string   // of Name; RE2 that is ECMAScript too; "": any text
	Min, Max *float64 // of Integer and Number; of Duration in seconds
	Item     *Form    // of List, Names, and the other keys of a Map; nil there: there are none
	Bare     bool     // of List: a single element may stand without brackets
	Keys     []Key    // of Map
	OneOf    []string // of Map: exactly one of these keys is there
	Either   []*Form  // of Choice
}

// A FormType says what kind of value a Form declares.
type FormType string

// The types of forms.
const (
	AnyForm        FormType = "any"
	NothingForm    FormType = "nothing"    // no value
	TextForm       FormType = "text"       // any scalar
	NameForm       FormType = "name"       // a text of a Pattern
	WordForm       FormType = "word"       // one of Words
	BoolForm       FormType = "bool"       // true or false
	IntegerForm    FormType = "integer"    // a whole number
	NumberForm     FormType = "number"     // a number
	DurationForm   FormType = "duration"   // as 30s or 1h30m
	BytesForm      FormType = "bytes"      // a whole number, or as 512MiB
	DayForm        FormType = "day"        // as 2026-03-31
	ExpressionForm FormType = "expression" // in the language of expressions
	ConditionForm  FormType = "condition"  // an expression that is true or false
	TemplateForm   FormType = "template"   // text with ${{ }}
	ListForm       FormType = "list"       // of Item
	NamesForm      FormType = "names"      // a map of free names to Item
	MapForm        FormType = "map"        // with Keys
	ChoiceForm     FormType = "choice"     // Either
	ParamForm      FormType = "parameter"  // the declaration of a parameter, see ParamTypes
	VerbForm       FormType = "verb"       // an action's name or a built-in
	WithForm       FormType = "arguments"  // of the verb
)

// A Key is one key of a map.
type Key struct {
	Name     string
	Form     *Form
	Help     string // one clause, as Markdown
	Required bool
	// Only names, of a step's key, the built-ins that have it, and OnActions
	// if actions do. Empty: all have.
	Only []string
}

// OnActions stands for the actions among those that have a key.
const OnActions = "actions"

// For reports whether a step's key has a meaning for a built-in, or with
// OnActions for actions.
func (k Key) For(verb string) bool { return len(k.Only) == 0 || slices.Contains(k.Only, verb) }

// key returns the declaration of the key, nil if there is none.
func (f *Form) key(name string) *Key {
	for i := range f.Keys {
		if f.Keys[i].Name == name {
			return &f.Keys[i]
		}
	}
	return nil
}

// names lists the keys of a map.
func (f *Form) names() []string {
	list := make([]string, len(f.Keys))
	for i, k := range f.Keys {
		list[i] = k.Name
	}
	return list
}

// words lists the words that the key's value is one of.
func (f *Form) words(key string) []string { return f.key(key).Form.Words }

// without is a map's form without some of its keys.
func (f *Form) without(keys ...string) *Form {
	c := *f
	c.Keys = slices.DeleteFunc(slices.Clone(f.Keys), func(k Key) bool { return slices.Contains(keys, k.Name) })
	return &c
}

func oneOf(words ...string) *Form               { return &Form{Type: WordForm, Words: words} }
func either(forms ...*Form) *Form               { return &Form{Type: ChoiceForm, Either: forms} }
func listForm(item *Form) *Form                 { return &Form{Type: ListForm, Item: item} }
func bareList(item *Form) *Form                 { return &Form{Type: ListForm, Item: item, Bare: true} }
func namesForm(item *Form) *Form                { return &Form{Type: NamesForm, Item: item} }
func mapForm(keys ...Key) *Form                 { return &Form{Type: MapForm, Keys: keys} }
func nameOf(pattern string) *Form               { return &Form{Type: NameForm, Pattern: pattern} }
func key(name string, f *Form, help string) Key { return Key{Name: name, Form: f, Help: help} }

func (k Key) must() Key                   { k.Required = true; return k }
func (k Key) onlyFor(verbs ...string) Key { k.Only = verbs; return k }

// whole is a whole number within bounds.
func whole(lo, hi int) *Form {
	from, to := float64(lo), float64(hi)
	return &Form{Type: IntegerForm, Min: &from, Max: &to}
}

// between is a duration within bounds.
func between(lo, hi time.Duration) *Form {
	from, to := lo.Seconds(), hi.Seconds()
	return &Form{Type: DurationForm, Min: &from, Max: &to}
}

// A ParamRule says which keys the declaration of a parameter of one type has.
type ParamRule struct {
	Type    ParamType
	Written string // how a value is written, as Markdown
	Keys    []string
}

// ParamRules lists the parameter types of the format. type, default, required
// and help go with each.
func ParamRules() []ParamRule {
	written := map[ParamType]string{
		TypeString: "text, at most 1,000 characters", TypeInt: "`3`", TypeFloat: "`0.6`", TypeBool: "`true`, `false`",
		TypeDuration: "`30s`, `5m`, `1h30m`", TypeBytes: "`512MiB`, `64kB`", TypeEnum: "one of `values`",
		TypeService: "a plain name: lower case letters, digits, `_`, `.`, `-`, at most 63",
		TypeUser:    "a mention of a person", TypeChannel: "a mention of a channel", TypeTime: "`2026-03-31T14:00:00Z`",
		TypeFile: "the name of a file", TypeList: "`a,b,c`",
	}
	list := make([]ParamRule, len(paramTypes))
	for i, t := range paramTypes {
		list[i] = ParamRule{Type: ParamType(t), Written: written[ParamType(t)], Keys: slices.Clone(rulesOf[ParamType(t)])}
	}
	return list
}

// formOf is the form of an argument's values as an action declares them.
func (a *argument) formOf() *Form {
	one := func(s *shape) *Form {
		switch s.kind {
		case boolKind:
			return &Form{Type: BoolForm}
		case intKind:
			return &Form{Type: BytesForm, Min: a.min, Max: a.max}
		case floatKind:
			return &Form{Type: NumberForm, Min: a.min, Max: a.max}
		case durationKind:
			return &Form{Type: DurationForm, Min: a.min, Max: a.max}
		case stringKind:
			if a.values != nil {
				return oneOf(a.values...)
			}
			if a.pattern != nil {
				return nameOf(a.pattern.String())
			}
			return &Form{Type: TextForm}
		}
		return &Form{Type: AnyForm}
	}
	switch a.shape.kind {
	case listKind:
		return listForm(one(a.shape.elem))
	case dictKind:
		return namesForm(one(a.shape.elem))
	}
	return one(a.shape)
}

// cellForm takes the cells of decision tables.
var cellForm = nameOf(`^(\*|none|(<=|>=|<|>|=)\s*` + cellNumber + `|` + cellNumber + `\s*\.\.=?\s*` + cellNumber + `)$`)
