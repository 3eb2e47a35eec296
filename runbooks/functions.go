package runbooks

import "strings"

// A Function is one that expressions can call.
type Function struct {
	Name  string
	Usage string // as it is called
	Means string // one clause, as Markdown
	Ours  bool   // a helper of the format; else one of the expression language
}

// helperTexts describe our own functions.
var helperTexts = []Function{
	{Name: "ok", Usage: `ok("id")`, Means: "whether the step passed or warned"},
	{Name: "ran", Usage: `ran("id")`, Means: "whether the step was attempted"},
	{Name: "mark", Usage: `mark("id")`, Means: "✓ passed, ✗ failed, ? unknown, – skipped or not reached"},
	{Name: "ratio", Usage: `ratio(a, b)`, Means: "a divided by b, no data when b is 0: no requests are not 0 % errors"},
	{Name: "pct", Usage: `pct(x)`, Means: "`0.123` as `12.3 %`, no data as `no data`"},
	{Name: "measured", Usage: `measured(x, "ms")`, Means: "`31.4` as `31 ms`, `0.24` as `0.2 ms`, no data as `no data`"},
	{Name: "size", Usage: `size(x)`, Means: "a number of bytes as `1.5 GiB`, no data as `no data`"},
	{Name: "series", Usage: `series(result, "label", "value")`, Means: "the value of one series of a query, or no data"},
	{Name: "grep", Usage: `grep(lines, "re")`, Means: "the lines that match; RE2 syntax"},
	{Name: "bytes", Usage: `bytes("1GiB")`, Means: "a number of bytes"},
	{Name: "join", Usage: `join(list, ", ")`, Means: "a text"},
	{Name: "earlier", Usage: `earlier("id", "name")`, Means: "what the step saved under the name in the newest ended run before this one, of the same runbook on the same environment, dry runs aside; no data if there is none"},
	{Name: "secret", Usage: `secret("name")`, Means: "a secret, only in `with`"},
}

// Functions lists what expressions can call: our own helpers, then those of
// the expression language that are allowed, by name.
func Functions() []Function {
	var list []Function
	for _, f := range helperTexts {
		f.Ours = true
		list = append(list, f)
	}
	kinds := map[byte]string{'l': "list", 'n': "number", 'i': "int", 's': "text", 'x': "value", 'p': "condition"}
	for _, name := range sortedKeys(builtinShapes) {
		b := builtinShapes[name]
		args := make([]string, len(b.args))
		for i := range b.args {
			letter := b.args[i] | 0x20
			args[i] = kinds[letter]
			if letter == 'p' && !b.condition {
				args[i] = "expression"
			}
			if letter != b.args[i] {
				args[i] = "[" + args[i] + "]"
			}
		}
		list = append(list, Function{Name: name, Usage: name + "(" + strings.Join(args, ", ") + ")"})
	}
	return list
}
