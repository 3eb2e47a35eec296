package slacksim

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed facts/methods.json
var methodsJSON []byte

// A methodFact is what Slack's reference says of one Web API method.
type methodFact struct {
	JSON     bool               `json:"json_body"` // whether it takes a JSON body
	Tier     string             `json:"tier"`      // t1 … t4; t5 is special
	Rate     json.RawMessage    `json:"rate_per_min"`
	Scopes   []string           `json:"scopes_bot_any_of"` // one of them is enough
	Required []string           `json:"required"`
	Args     map[string]argFact `json:"args"`

	perMinute int // from Rate; 0 when special
}

type argFact struct {
	Type      json.RawMessage `json:"type"` // a name or a list of names
	Enum      []string        `json:"enum"`
	MaxLength int             `json:"maxLength"`
	Minimum   *int            `json:"minimum"`
	Maximum   *int            `json:"maximum"`

	integer bool
}

// methodFacts holds every method that the reference file describes.
var methodFacts = readMethodFacts(methodsJSON)

// readMethodFacts panics on a broken file: it is part of the program.
func readMethodFacts(data []byte) map[string]*methodFact {
	var file struct {
		Methods map[string]*methodFact `json:"methods"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		panic(fmt.Sprintf("slacksim: facts/methods.json: %v", err))
	}
	for _, f := range file.Methods {
		if json.Unmarshal(f.Rate, &f.perMinute) != nil {
			f.perMinute = 0 // "special"
		}
		for name, a := range f.Args {
			a.integer = string(a.Type) == `"integer"` || string(a.Type) == `"number"`
			f.Args[name] = a
		}
	}
	return file.Methods
}
