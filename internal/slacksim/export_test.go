package slacksim

import "encoding/json"

// ReferenceAnswers returns the reference's example answers by method.
func ReferenceAnswers() map[string]map[string]any {
	var file struct {
		Methods map[string]struct {
			OK map[string]any `json:"example_ok"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(methodsJSON, &file); err != nil {
		panic(err)
	}
	out := map[string]map[string]any{}
	for name, m := range file.Methods {
		out[name] = m.OK
	}
	return out
}
