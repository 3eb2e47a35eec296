package runbooks

import (
	"slices"
	"time"
)

var (
	textForm       = &Form{Type: TextForm}
	boolForm       = &Form{Type: BoolForm}
	durationForm   = &Form{Type: DurationForm}
	filledDuration = either(durationForm, nameOf(`\$\{\{`)) // may be filled in
	expressionForm = &Form{Type: ExpressionForm}
	conditionForm  = &Form{Type: ConditionForm}
	templateForm   = &Form{Type: TemplateForm}
	anyForm        = &Form{Type: AnyForm}
	slugForm       = nameOf(slugPattern.String())
	wordForm       = nameOf(wordPattern.String())
	idForm         = nameOf(idPattern.String())
	verdictForm    = oneOf("ok", "failed")
	paramsForm     = namesForm(&Form{Type: ParamForm})
	givenForm      = namesForm(anyForm)
)

var rolesForm = mapForm(
	key("run", bareList(wordForm), "groups that may run it"),
	key("approve", bareList(wordForm), "groups whose members review its steps"),
)

var scheduleForm = mapForm(
	key("cron", textForm, "minute, hour, day, month, weekday, as `0 8 * * 1-5`; the weekday `SUN#1` is the first Sunday of a month").must(),
	key("tz", textForm, "time zone, as `Europe/Berlin`; `UTC` unless given"),
	key("environment", wordForm, "where it runs; the default one unless given"),
	key("params", givenForm, "parameters of the run"),
	key("notify", wordForm, "group that is called when the run needs people, fails or does not take place; `roles.run` unless given"),
	key("missed", oneOf("skip", "once"), "what becomes of a start that was missed: `once` (default) runs it late"),
)

var retryForm = mapForm(
	key("times", whole(1, maxRetries), "further attempts after the first"),
	key("delay", durationForm, "before the next attempt"),
	key("backoff", &Form{Type: NumberForm, Min: number(1), Max: number(10)}, "factor by which the delay grows"),
	key("if", conditionForm, "only then; every failure unless given"),
)

var defaultsForm = mapForm(
	key("timeout", durationForm, "of one attempt"),
	key("retry", retryForm.without("if"), "of steps that are not destructive"),
)

// frontForm is the front matter.
var frontForm = mapForm(
	key("format", whole(1, 1), "`1`").must(),
	key("runbook", slugForm, "its name in commands, as `cache-fix`").must(),
	key("number", whole(1, 9999), "another way to name it; unique over all runbooks"),
	key("aliases", listForm(slugForm), "other names; unique over all runbooks"),
	key("owner", wordForm, "the group that answers for it"),
	key("tags", bareList(wordForm), "words to find it by"),
	key("severity", oneOf(string(Info), string(Warning), string(Critical)), "how bad the situation is; `info` unless given"),
	key("estimate", durationForm, "how long it takes, as `10m`"),
	key("verified", &Form{Type: DayForm}, "day of the last drill, as `2026-03-31`"),
	key("roles", rolesForm, "who may run it and who reviews"),
	key("uses", namesForm(oneOf(useKinds...)), "connections by name and kind: `{ cache: redis, api: http }`; with `?` after the kind, steps that look at it are skipped where an environment lacks it"),
	key("params", paramsForm, "what a start is asked for"),
	key("lock", bareList(textForm), "connections that no other locking run may use meanwhile; `name/*` is every resource of one"),
	key("lock_wait", either(oneOf("refuse"), durationForm), "`refuse` (default), or how long to wait for the lock"),
	key("timeout", durationForm, "of the whole run; waiting for people does not count"),
	key("schedule", listForm(scheduleForm), "starts by the clock"),
	key("alerts", listForm(namesForm(textForm)), "label matchers that suggest this runbook"),
	key("defaults", defaultsForm, "for every step that has none of its own"),
)

var offerForm = mapForm(
	key("run", slugForm, "runbook that a button starts").must(),
	key("with", givenForm, "its parameters"),
	key("say", templateForm, "text of the button"),
)

// nextForm is where a run goes when it is not a word.
var nextForm = func() *Form {
	f := mapForm(
		key("goto", idForm, "step further down"),
		key("run", slugForm, "runbook to run by itself"),
		key("offer", either(bareList(either(slugForm, offerForm)), offerForm), "runbooks to offer, one button for each, at most five"),
		key("end", verdictForm, "end the run"),
		key("with", givenForm, "parameters of the runbook that is run"),
		key("then", oneOf(slices.Concat(afterRun, afterOffer)...),
			"after `run`: `retry` the failed step (in `on_fail` alone), `resume` with the next, or `end` (default); after `offer`: `stop` (default), `continue` or `note`"),
		key("say", templateForm, "what to say"),
	)
	f.OneOf = nextKinds
	return f
}()

// The words of a target's `then`.
var (
	afterRun   = []string{"retry", "resume", "end"}
	afterOffer = []string{"stop", "continue", "note"}
)

// listRowForm and tableRowForm are the rows of decisions.
var (
	listRowForm = func() *Form {
		f := mapForm(append([]Key{
			key("if", conditionForm, "the row is taken if this holds"),
			key("else", either(oneOf(rowWords...), nextForm, boolForm, &Form{Type: NothingForm}), "the last row: taken if no other is"),
			key("next", anyForm, "go on with the next step"),
		}, nextForm.Keys...)...)
		f.OneOf = []string{"if", "else"}
		return f
	}()
	tableRowForm = func() *Form {
		f := mapForm(append([]Key{key("next", anyForm, "go on with the next step")}, nextForm.Keys...)...)
		f.OneOf = append([]string{"next"}, nextKinds...)
		f.Item = cellForm
		return f
	}()
)

var confirmForm = mapForm(
	key("text", templateForm, "the question").must(),
	key("type", templateForm, "what must be typed"),
)

var reviewForm = mapForm(
	key("by", bareList(wordForm), "groups of the reviewers; those of `roles.approve` unless given"),
	key("count", whole(1, maxReview), "how many must agree; 1 unless given"),
	key("within", between(time.Minute, 24*time.Hour), "how long they have; `15m` unless given"),
	key("covers", bareList(idForm), "rollback steps that the approval covers too"),
)

var expectationForm = mapForm(
	key("that", conditionForm, "what must hold").must(),
	key("say", templateForm, "the reason if it does not"),
	key("else", oneOf(string(Fail), string(Warn), string(Unknown)), "the status if it does not; `fail` unless given"),
)

var watchForm = mapForm(
	key("every", filledDuration, "from one poll to the next").must(),
	key("for", filledDuration, "how long at most").must(),
	key("until", conditionForm, "what must hold").must(),
	key("hold", whole(1, 100), "how many polls in a row; 1 unless given"),
	key("give_up", whole(1, 100), "after so many polls in a row that failed; only when the time is up unless given"),
)

var eachForm = mapForm(
	key("in", expressionForm, "a list").must(),
	key("as", idForm, "name of the element; `item` unless given"),
	key("max", whole(1, maxEach), "elements at most"),
)

var verifyForm = mapForm(key("verify", idForm, "earlier read step whose `expect` tells whether it was done").must())

var showForm = mapForm(
	key("lines", whole(1, 1000), "how many"),
	key("from", oneOf("start", "end"), "which; `start` unless given"),
	key("columns", listForm(textForm), "fields of the result"),
)

// stepForm is the block of a step.
var stepForm = mapForm(
	key("id", idForm, "name of the step; made from the title unless given, and changing with it"),
	key("do", &Form{Type: VerbForm}, "an action, or one of `manual wait decide run notify end`"),
	key("target", wordForm, "a connection of `uses`; may be left out where only one fits").onlyFor(OnActions),
	key("with", &Form{Type: WithForm}, "arguments"),
	key("when", conditionForm, "if false, the step is skipped, which is no failure"),
	key("expect", either(bareList(either(conditionForm, expectationForm)), expectationForm), "what must hold for the step to pass; judged after each attempt, or at the end of a `watch`").onlyFor(OnActions, "manual", "run"),
	key("save", namesForm(expressionForm), "values to keep as `steps.<id>.<name>`; only on success").onlyFor(OnActions, "manual", "run"),
	key("watch", watchForm, "look again and again until a condition holds; only on steps that read").onlyFor(OnActions),
	key("retry", retryForm, "try a failed attempt again; never on destructive steps").onlyFor(OnActions),
	key("each", eachForm, "once per element of a list, one after another; not with `watch`").onlyFor(OnActions),
	key("timeout", durationForm, "of one attempt; else that of `defaults`, else the action's own").onlyFor(OnActions),
	key("effect", oneOf(effectNames...), "can only raise the action's own").onlyFor(OnActions),
	key("confirm", either(templateForm, confirmForm), "a question to the starter").onlyFor(OnActions),
	key("review", reviewForm, "other people agree").onlyFor(OnActions),
	key("recheck", bareList(idForm), "earlier read steps that are done again after the approval").onlyFor(OnActions),
	key("on_fail", either(oneOf(onFailWords...), nextForm), "where to go on failure; `stop` unless given"),
	key("then", either(oneOf(thenWords...), nextForm), "where to go on success; `next` unless given"),
	key("on_crash", either(oneOf("rerun", "ask"), verifyForm), "if the outcome is unknown after a crash: `rerun` (default of read steps), `ask` (default of others), or `{ verify: step }`: done if all that the step expects holds").onlyFor(OnActions),
	key("show", showForm, "what of the output is shown; all of it is kept").onlyFor(OnActions),
	key("who", bareList(wordForm), "groups that may tick").onlyFor("manual"),
	key("ask", paramsForm, "fields to fill in, declared like parameters").onlyFor("manual"),
	key("inputs", namesForm(expressionForm), "numbers that a table looks at").onlyFor("decide"),
	key("rows", listForm(either(listRowForm, tableRowForm)), "the cases").onlyFor("decide"),
)

// groupForm is the block of a group.
var groupForm = mapForm(
	key("when", conditionForm, "if false, all its steps are skipped"),
	key("on_fail", either(oneOf(onFailWords...), nextForm), "for its steps that have none of their own"),
)

// builtinArguments are the arguments of the built-in verbs; nil: none.
var builtinArguments = map[string]*Form{
	"manual": nil,
	"decide": nil,
	"wait": mapForm(
		key("for", filledDuration, "how long"),
		key("until", conditionForm, "until this holds"),
		key("max", filledDuration, "with `until`: how long at most"),
	),
	"notify": mapForm(
		key("to", textForm, "a channel or a person").must(),
		key("text", templateForm, "what to say").must(),
	),
	"end": mapForm(
		key("verdict", verdictForm, "`ok` unless given"),
		key("say", templateForm, "what to say"),
	),
	"run": mapForm(
		key("runbook", slugForm, "which").must(),
		key("params", givenForm, "its parameters"),
		key("then", oneOf(afterRun[1:]...), "`end` with its verdict (default), or `resume` with the next step; the step's own `then` may stand instead"),
	),
}

// A Language is the format as the parser knows it.
type Language struct {
	Front    *Form // the front matter
	Step     *Form // the block of a step
	Group    *Form // the block of a group
	Param    *Form // the declaration of a parameter; ParamRules says which type has which keys
	ListRow  *Form // a row of a decision without inputs
	TableRow *Form // a row of one with inputs
	Builtins []Builtin
	Reserved []string // words of the commands, which name no runbook and no parameter
}

// A Builtin is a verb that is no action.
type Builtin struct {
	Name string
	With *Form // nil: it takes no arguments
	Help string
}

// Grammar returns the declarations that the parser works from. They are shared:
// change nothing in them.
func Grammar() Language {
	l := Language{Front: frontForm, Step: stepForm, Group: groupForm, Param: paramForm, ListRow: listRowForm, TableRow: tableRowForm, Reserved: reservedName}
	for _, name := range builtins {
		l.Builtins = append(l.Builtins, Builtin{Name: name, With: builtinArguments[name], Help: builtinHelp[name]})
	}
	return l
}

var builtinHelp = map[string]string{
	"manual": "is done by people, who tick it off; `ask` gives fields, and the answers are the `result`",
	"wait":   "lets time pass: `{ for }` or `{ until, max }`",
	"decide": "chooses where to go, by a list or by a table",
	"run":    "runs another runbook; its verdict is the step's status",
	"notify": "says something to somebody",
	"end":    "ends the run",
}

// paramForm is the declaration of a parameter.
var paramForm = mapForm(
	key("type", oneOf(paramTypes...), "what kind of value").must(),
	key("default", anyForm, "the value unless given; must keep the parameter's own rules"),
	key("required", boolForm, "whether a start must give it"),
	key("help", textForm, "what it is for"),
	key("pattern", textForm, "what a text must match, RE2 syntax"),
	key("max", anyForm, "greatest value; of a text its characters, of a list its elements"),
	key("min", anyForm, "least value"),
	key("values", listForm(textForm), "the words to choose from"),
	key("of", oneOf(paramTypes[:len(paramTypes)-1]...), "type of a list's elements; `string` unless given"),
	key("from", textForm, "pattern of file names"),
	key("max_age", durationForm, "how old a file may be when a run starts; needs a connection of kind `host`"),
)

func number(f float64) *float64 { return &f }
