package blockkit

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed facts/block-limits.json
var limitsJSON []byte

//go:embed facts/more-limits.json
var moreLimitsJSON []byte

// A limit is one entry of the facts: how long, how many, how much. Fields not
// named there are nil.
type limit struct {
	MinLength    *int `json:"min_length"`
	MaxLength    *int `json:"max_length"`
	MinItems     *int `json:"min_items"`
	MaxItems     *int `json:"max_items"`
	Min          *int `json:"min"`
	Max          *int `json:"max"`
	ExclusiveMin *int `json:"exclusive_min"`
	ItemLength   *int `json:"item_max_length"`
}

// limits holds the facts by path, such as "section.text".
var limits = readLimits(limitsJSON, moreLimitsJSON)

// usedLimits records, while the package is initialized, which facts the rules
// refer to; a test fails for one that nothing checks.
var usedLimits = map[string]bool{}

// settled is set when the tables are complete: from then on usedLimits is only
// read, since checks run in many goroutines.
var settled bool

// readLimits panics on a broken file: it is part of the program. A later file
// adds to what an earlier one says.
func readLimits(files ...[]byte) map[string]limit {
	merged := map[string]map[string]any{}
	for _, data := range files {
		var top map[string]any
		if err := json.Unmarshal(data, &top); err != nil {
			panic(fmt.Sprintf("blockkit: limits: %v", err))
		}
		gather(merged, "", top)
	}
	out := map[string]limit{}
	for path, numbers := range merged {
		raw, err := json.Marshal(numbers)
		if err != nil {
			panic(fmt.Sprintf("blockkit: limits of %s: %v", path, err))
		}
		var l limit
		if err := json.Unmarshal(raw, &l); err != nil {
			panic(fmt.Sprintf("blockkit: limits of %s: %v", path, err))
		}
		out[path] = l
	}
	return out
}

// gather collects the numbers at every path. A key such as max_length beside
// objects, as in "plain_text_input": {"max_length": {"max": …}}, is a field.
func gather(all map[string]map[string]any, path string, v map[string]any) {
	for name, x := range v {
		switch x := x.(type) {
		case map[string]any:
			gather(all, strings.TrimPrefix(path+"."+name, "."), x)
		case float64:
			if all[path] == nil {
				all[path] = map[string]any{}
			}
			all[path][name] = x
		}
	}
}

// lim returns the facts of a path, which must exist.
func lim(path string) limit {
	l, ok := limits[path]
	if !ok {
		panic("blockkit: no limit " + path)
	}
	if !settled {
		usedLimits[path] = true
	}
	return l
}

// Limits that are applied outside the tables.
var (
	messageBlocks = lim("message.blocks")
	viewBlocks    = lim("view.blocks")
	markdownText  = lim("markdown.text")
	tableContent  = lim("data_table.content")
	tableCellText = lim("data_table.cell_text")
)
