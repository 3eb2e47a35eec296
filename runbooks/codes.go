package runbooks

// A Code is one kind of problem that the linter finds.
type Code struct {
	Name    string // RB101
	Means   string // one clause, as Markdown
	Warning bool   // the runbook can be used all the same
}

// Codes is the linter's catalogue, in order.
func Codes() []Code {
	return []Code{
		{Name: "RB101", Means: "the YAML or the front matter can't be read"},
		{Name: "RB102", Means: "a fence `yaml something` that is neither step nor group"},
		{Name: "RB103", Means: "a heading is neither a step nor notes, or there are no steps"},
		{Name: "RB104", Means: "a plain `yaml` fence looks like a step"},
		{Name: "RB105", Means: "structure: two blocks under a heading, `###` outside a group, no title or two"},
		{Name: "RB106", Means: "a value has the wrong form, or a required one is missing"},
		{Name: "RB107", Means: "the file is too large, not text, or beyond a limit"},
		{Name: "RB110", Means: "unknown key of the front matter"},
		{Name: "RB111", Means: "missing, malformed or reserved name"},
		{Name: "RB112", Means: "a name, alias or number is used twice"},
		{Name: "RB113", Means: "no such group (needs the server's configuration)"},
		{Name: "RB114", Means: "cron or zone can't be read, never comes, stands there twice, or restricts day and weekday at once"},
		{Name: "RB115", Means: "a default breaks its own rule, or a schedule leaves out what every start needs"},
		{Name: "RB201", Means: "two steps have the same id"},
		{Name: "RB202", Means: "unknown key, or one without meaning here"},
		{Name: "RB203", Means: "the step has no `do`"},
		{Name: "RB204", Means: "no such action"},
		{Name: "RB205", Means: "no connection fits, or several do and none is named"},
		{Name: "RB206", Means: "the connection is not in `uses`"},
		{Name: "RB207", Means: "the connection is of the wrong kind"},
		{Name: "RB208", Means: "unknown argument"},
		{Name: "RB209", Means: "a required argument is missing"},
		{Name: "RB210", Means: "malformed target, or one that has no meaning here"},
		{Name: "RB211", Means: "`goto` to a step that does not exist or is in another part"},
		{Name: "RB212", Means: "`goto` backwards"},
		{Name: "RB213", Means: "no such runbook"},
		{Name: "RB214", Means: "no such named command, query, index or archive (needs the server's configuration)"},
		{Name: "RB215", Means: "`recheck` or `verify` names no earlier read step, or one that cannot tell"},
		{Name: "RB216", Means: "runbooks run each other in a circle"},
		{Name: "RB217", Means: "the step can't be reached"},
		{Name: "RB218", Means: "parameters do not fit the runbook that is run or offered"},
		{Name: "RB219", Means: "`covers` names no step of `## Rollback`"},
		{Name: "RB220", Means: "`effect` is weaker than the action's"},
		{Name: "RB221", Means: "destructive without `confirm`"},
		{Name: "RB222", Means: "`retry` on a destructive step, or `watch` on one that can change something"},
		{Name: "RB223", Means: "a step that can change something has no timeout"},
		{Name: "RB224", Means: "a connection cannot do what the step wants (needs the server's configuration)"},
		{Name: "RB225", Means: "runbooks run each other more than 3 deep"},
		{Name: "RB226", Means: "more than a look at an optional connection"},
		{Name: "RB230", Means: "`watch` is incomplete, or beside `each`"},
		{Name: "RB231", Means: "`watch` or `wait` takes longer than the run may"},
		{Name: "RB301", Means: "an expression is wrong: syntax, unknown name or field, types"},
		{Name: "RB302", Means: "a condition is not true or false"},
		{Name: "RB303", Means: "a division may give NaN"},
		{Name: "RB304", Means: "the expression ends at ` #`, where YAML begins a comment"},
		{Name: "RB310", Means: "no such step"},
		{Name: "RB311", Means: "the step has not run yet at this point"},
		{Name: "RB312", Means: "the step may be skipped: use `?.` and `??`"},
		{Name: "RB401", Means: "`secret()` outside `with`"},
		{Name: "RB402", Means: "`${{ }}` in SQL"},
		{Name: "RB403", Means: "a literal looks like a secret"},
		{Name: "RB404", Means: "a command prints secrets"},
		{Name: "RB501", Means: "malformed cell of a table"},
		{Name: "RB502", Means: "cases that no row takes"},
		{Name: "RB503", Means: "cases that two rows take, or rows after `else`"},
		{Name: "RB504", Means: "a list of a decision without `else`"},
		{Name: "RB601", Means: "an id that is made from a title is referred to", Warning: true},
		{Name: "RB602", Means: "the waits alone take longer than `estimate`", Warning: true},
		{Name: "RB603", Means: "there is no report", Warning: true},
		{Name: "RB701", Means: "`verified` is absent or older than policy allows (needs the server's configuration)", Warning: true},
	}
}
