package commands

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"opsbot/incidents"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
	"opsbot/runbooks/picture"
)

const (
	maxRuns    = 10 // listed at once
	maxSummary = 160
	drawnWidth = 56   // characters of a line of a picture
	maxDrawn   = 2400 // of a picture: what one block of code surely holds
)

// usage writes a command as the person would have to type it where they are:
// slash commands do not work in threads, and at a terminal there is no slash.
func usage(req Request, command string) string {
	verb, rest := word(command)
	var prefix string
	switch {
	case req.Actor.Via == "terminal" && (verb == verbRun || verb == verbShow || verb == verbLocks || verb == verbSchedule || verb == verbDeployments || verb == verbHelp):
		prefix = "opsbot"
	case req.Actor.Via == "terminal":
		prefix = "opsbot runs"
		if verb == verbStatus {
			command = strings.TrimSpace("show " + rest)
		}
	case req.Where.Thread != "":
		prefix = "@opsbot " + Noun
	default:
		prefix = "/" + Noun
	}
	return strings.TrimSpace(prefix + " " + command)
}

// overview says what there is, and what waits for the person.
func (r *Router) overview(ctx context.Context, req Request) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Runbooks"}
	waiting, err := r.Runs.Waiting(ctx, req.Actor)
	if err != nil {
		return a, err
	}
	running, err := r.Runs.List(ctx, engine.Query{Unended: true, Limit: maxRuns})
	if err != nil {
		return a, err
	}
	mine := map[string]bool{}
	for _, w := range waiting {
		mine[w.Run.ID] = true
		row := r.row(w.Run)
		row.Detail = "Waits for you: " + asks[w.Approval.Kind] + w.Approval.Card.StepTitle
		if !w.Approval.Expires.IsZero() {
			row.Detail += ", " + ago(w.Approval.Expires.Sub(r.now())) + " left"
		}
		a.Items = append(a.Items, row)
	}
	for _, run := range running {
		if !mine[run.ID] {
			a.Items = append(a.Items, r.row(run))
		}
	}
	switch n := len(waiting); n {
	case 0:
		a.Text = "Nothing waits for you."
	case 1:
		a.Text = "One run waits for you."
	default:
		a.Text = fmt.Sprintf("%d runs wait for you.", n)
	}
	all := r.Runs.Library().All()
	var others []string // that nothing here can run: they must not bury the rest
	for _, rb := range all {
		if r.Runs.Lacking(rb) != "" {
			others = append(others, rb.Slug)
			continue
		}
		a.Items = append(a.Items, outbox.Item{
			Name: rb.Title, Detail: rb.Slug + ": " + about(rb),
			Command: Command{Verb: verbRun, Runbook: rb.Slug}.Line(), Label: "Run",
		})
	}
	if n := len(others); n > 0 {
		a.Items = append(a.Items, outbox.Item{
			Name:   fmt.Sprintf("%d more, which cannot run here", n),
			Detail: strings.Join(others, ", ") + ". No environment has all the connections that they need; show NAME says which.",
		})
	}
	if len(all) == 0 {
		a.Text += " There are no runbooks."
	}
	a.Hint = fmt.Sprintf("Run one with %s, read it with %s. More: %s", usage(req, "NAME"), usage(req, "show NAME"), usage(req, verbHelp))
	if req.Actor.Via == "terminal" {
		a.Hint = "Run one with opsbot run NAME, read it with opsbot show NAME."
	}
	return a, nil
}

// asks say what a waiting approval wants, before the step's title.
var asks = map[engine.ApprovalKind]string{
	engine.Confirm: "confirm ", engine.Review: "review ", engine.Choice: "decide about ",
	engine.Manual: "do by hand ", engine.Doubt: "say what became of ",
}

// about is what a list says of a runbook.
func about(rb *runbooks.Runbook) string {
	text := firstParagraph(rb.Summary)
	if i := strings.Index(text, ". "); i > 0 {
		text = text[:i+1]
	}
	text = clip(text, maxSummary)
	if rb.Estimate > 0 {
		text = strings.TrimSpace(text + " About " + ago(rb.Estimate) + ".")
	}
	return text
}

// show says what a runbook does, what it needs, who may run it and where it
// can go.
func (r *Router) show(req Request, slug string) (outbox.Answer, error) {
	rb, err := r.find(req, slug)
	if err != nil {
		return outbox.Answer{}, err
	}
	a := outbox.Answer{Title: rb.Title}
	facts := []string{rb.Slug}
	var aliases []string
	for _, alias := range rb.Aliases {
		if named, ok := r.Runs.Library().Find(alias); ok && named == rb { // and no runbook of a later folder
			aliases = append(aliases, alias)
		}
	}
	if len(aliases) > 0 {
		facts = append(facts, "also "+strings.Join(aliases, ", "))
	}
	if rb.Owner != "" {
		facts = append(facts, "owned by "+rb.Owner)
	}
	if rb.Severity != "" {
		facts = append(facts, string(rb.Severity))
	}
	if rb.Estimate > 0 {
		facts = append(facts, "about "+ago(rb.Estimate))
	}
	lines := []string{strings.Join(facts, " · ")}
	if s := plainMarkdown(rb.Summary); s != "" {
		lines = append(lines, s)
	}
	may := "Nobody is named who may run it."
	if len(rb.Roles.Run) > 0 {
		may = "May be run by " + strings.Join(rb.Roles.Run, ", ") + "."
	}
	if len(rb.Roles.Approve) > 0 {
		may += " Approved by " + strings.Join(rb.Roles.Approve, ", ") + "."
	}
	lines = append(lines, may)
	if len(rb.Params) > 0 {
		lines = append(lines, "")
	}
	for _, p := range rb.Params {
		lines = append(lines, fmt.Sprintf("%s=%s%s", p.Name, strings.ToUpper(string(p.Type)), paramNote(p)))
	}
	a.Text = strings.Join(lines, "\n")
	a.Code = draw(rb)
	if why := r.Runs.Lacking(rb); why != "" {
		a.Items = []outbox.Item{{Name: "It cannot run here", Detail: sentence(why)}}
		return a, nil
	}
	a.Items = []outbox.Item{{
		Name: "Run it", Detail: usage(req, strings.Join(append([]string{verbRun, rb.Slug}, needs(rb)...), " ")),
		Command: Command{Verb: verbRun, Runbook: rb.Slug}.Line(), Label: "Run",
	}}
	return a, nil
}

// draw draws where a run can go, as far as it fits into one block of code.
func draw(rb *runbooks.Runbook) string {
	flow := picture.New(rb)
	text := flow.Text(picture.Style{Width: drawnWidth, Bare: true})
	if drawnUnits(text) > maxDrawn {
		text = flow.Text(picture.Style{Width: drawnWidth, Brief: true, Bare: true})
	}
	if drawnUnits(text) <= maxDrawn {
		return text
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	rest, kept := func(n int) string {
		return fmt.Sprintf("… and %d more lines: opsbot show %s draws them", n, rb.Slug)
	}, 0
	for size := drawnUnits(rest(len(lines))); kept < len(lines); kept++ {
		if size += drawnUnits(lines[kept]) + 1; size > maxDrawn {
			break
		}
	}
	return strings.Join(lines[:kept], "\n") + "\n" + rest(len(lines)-kept)
}

// drawnUnits is how much room a text takes where & < > are escaped and
// characters are counted as in UTF-16.
func drawnUnits(text string) int {
	return len(utf16.Encode([]rune(text))) + 4*strings.Count(text, "&") + 3*strings.Count(text, "<") + 3*strings.Count(text, ">")
}

func paramNote(p runbooks.Param) string {
	var parts []string
	if p.Help != "" {
		parts = append(parts, strings.TrimRight(p.Help, "."))
	}
	if len(p.Values) > 0 {
		parts = append(parts, "one of "+strings.Join(p.Values, ", "))
	}
	switch {
	case p.Default != nil:
		parts = append(parts, fmt.Sprintf("%v if left out", p.Default))
	case p.Required:
		parts = append(parts, "needed")
	}
	if len(parts) == 0 {
		return ""
	}
	return " — " + strings.Join(parts, "; ")
}

// needs are the words that a start cannot do without.
func needs(rb *runbooks.Runbook) []string {
	var words []string
	for _, p := range rb.Params {
		if p.Required && p.Default == nil {
			words = append(words, p.Name+"=…")
		}
	}
	return words
}

// status says how one run stands, or lists those in progress.
func (r *Router) status(ctx context.Context, req Request, ref string) (outbox.Answer, error) {
	if ref != "" {
		v, err := r.Runs.View(ctx, ref)
		if err != nil {
			return outbox.Answer{}, err
		}
		if err := r.readable(ctx, req, v.Run); err != nil {
			return outbox.Answer{}, err
		}
		return r.details(req, v.Run, v.Card), nil
	}
	runs, err := r.Runs.List(ctx, engine.Query{Unended: true, Limit: maxRuns})
	if err != nil {
		return outbox.Answer{}, err
	}
	a := outbox.Answer{Title: "Runs in progress"}
	for _, run := range runs {
		a.Items = append(a.Items, r.row(run))
	}
	if len(runs) == 0 {
		a.Text = "Nothing is running."
		a.Hint = usage(req, verbHistory) + " lists what ran before."
	}
	return a, nil
}

// readable refuses what was found by a run of a restricted incident to whoever
// does not work on that.
func (r *Router) readable(ctx context.Context, req Request, run *engine.Run) error {
	if run.Subject == "" || r.Incidents == nil {
		return nil
	}
	i, err := r.Incidents.Load(ctx, run.Subject)
	if err != nil {
		return err
	}
	return r.Incidents.Admit(ctx, incidents.Act{ID: i.ID, Actor: req.Actor}, i, "read "+number(run))
}

// details say how a run stands, step by step.
func (r *Router) details(req Request, run *engine.Run, card outbox.RunCard) outbox.Answer {
	a := outbox.Answer{Title: name(run)}
	lines := []string{r.standing(run)}
	if next := sentence(card.Next); next != "" && !run.State.Ended() {
		if who := nextNames(card); who != "" {
			next = "Next, " + who + ": " + next
		}
		lines = append(lines, next)
	}
	if !card.Until.IsZero() && !run.State.Ended() {
		lines = append(lines, "Time left: "+ago(card.Until.Sub(r.now()))+".")
	}
	lines = append(lines, "")
	for _, s := range card.Steps {
		text := fmt.Sprintf("%s %s", s.Title, "— "+s.Mark)
		if s.Found != "" {
			text += ": " + s.Found
		}
		lines = append(lines, text)
	}
	a.Text = strings.TrimSpace(strings.Join(lines, "\n"))
	if !run.State.Ended() {
		a.Hint = usage(req, "stop "+number(run)+" WHY") + " stops it."
	}
	return a
}

// nextNames are those who can act next, as far as they have names here.
func nextNames(card outbox.RunCard) string {
	names := slices.Clone(card.NextGroups)
	if card.Starter != "" && card.StarterName != "" && slices.Contains(card.NextUsers, card.Starter) {
		names = append([]string{card.StarterName}, names...)
	}
	return strings.Join(names, " or ")
}

// history lists what ran before, newest first.
func (r *Router) history(ctx context.Context, req Request, slug string) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Last runs"}
	q := engine.Query{Limit: maxRuns}
	if slug != "" {
		rb, err := r.find(req, slug)
		if err != nil {
			return a, err
		}
		q.Runbook, a.Title = rb.Slug, "Last runs of "+rb.Title
	}
	runs, err := r.Runs.List(ctx, q)
	if err != nil {
		return a, err
	}
	for _, run := range runs {
		a.Items = append(a.Items, r.row(run))
	}
	if len(runs) == 0 {
		a.Text = "Nothing ran yet."
	}
	return a, nil
}

// row is a run in a list.
func (r *Router) row(run *engine.Run) outbox.Item {
	return outbox.Item{
		Name: name(run), Detail: r.standing(run),
		Command: Command{Verb: verbStatus, Run: number(run)}.Line(), Label: "Show",
	}
}

// standing says in a sentence how a run stands.
func (r *Router) standing(run *engine.Run) string {
	var text string
	switch run.State {
	case engine.Ready:
		text = "Running"
	case engine.Waiting:
		text = "Waiting for people"
	case engine.Uncertain:
		text = "Waiting for a decision: the outcome of a step is unknown"
	case engine.Succeeded:
		text = "Done"
	case engine.Failed:
		text = "Failed"
	case engine.Canceled:
		text = "Stopped"
	default:
		text = string(run.State)
	}
	switch {
	case run.Paused && !run.State.Ended():
		text = "Paused"
	case run.PausedWith != "" && !run.State.Ended():
		text = "Paused with the run that started it"
	case run.Stop != nil && !run.State.Ended():
		text = "Stopping"
	}
	if who := run.Starter.Name; who != "" {
		text += ", started by " + who
	}
	text += " " + ago(r.now().Sub(run.Created)) + " ago."
	if outcome := sentence(run.Outcome); run.State.Ended() && outcome != "Done." {
		text = strings.TrimSpace(text + " " + outcome)
	}
	return text
}

// locks lists what is locked, and by which runs.
func (r *Router) locks(ctx context.Context) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Locks"}
	locks, err := r.Runs.Locks(ctx)
	if err != nil {
		return a, err
	}
	for _, l := range locks {
		ref := fmt.Sprint("R", l.Number)
		a.Items = append(a.Items, outbox.Item{
			Name: l.Key, Detail: fmt.Sprintf("held by %s for %s, started by %s", ref, ago(r.now().Sub(l.Since)), l.By()),
			Command: Command{Verb: verbStatus, Run: ref}.Line(), Label: "Show",
		})
	}
	if len(locks) == 0 {
		a.Text = "Nothing is locked."
	}
	return a, nil
}

// help lists the commands.
func help(req Request) outbox.Answer {
	commands := []struct{ command, does string }{
		{"", "what there is, and what waits for you"},
		{"NAME", "run a runbook; also: run NAME"},
		{"NAME env=E --dry-run key=value", "where, only looking, with parameters"},
		{"show NAME", "what it does, before you run it"},
		{"status [RUN]", "how runs stand, or one"},
		{"history [NAME]", "what ran before"},
		{"stop RUN [why]", "end a run; pause and resume work alike"},
		{"skip RUN STEP [why]", "go on without a step; retry: once more"},
		{"locks", "what is locked, and by whom"},
		{"deployments [SERVICE]", "what was put into service, by whom and when"},
		{"schedule", "what runs by the clock, and what came of it last"},
	}
	lines := []string{"Runs runbooks: step by step, where everybody sees it, and asking before anything is changed.", ""}
	for _, c := range commands {
		lines = append(lines, usage(req, c.command)+" — "+c.does)
	}
	return outbox.Answer{
		Title: "What opsbot does",
		Text:  strings.Join(lines, "\n"),
		Hint:  "Where a slash command does not work, in a thread, mention the bot: @opsbot runbook status",
	}
}

func number(run *engine.Run) string { return fmt.Sprint("R", run.Number) }

func name(run *engine.Run) string {
	return number(run) + " " + run.Title + " on " + run.Environment
}

// ago says a length of time roughly, as people do.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// sentence ends s with a full stop, unless it ends already.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}

// clip cuts s at a word, to at most n characters.
func clip(s string, n int) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) <= n {
		return string(runes)
	}
	cut := string(runes[:n-1])
	if i := strings.LastIndexByte(cut, ' '); i > n/2 {
		cut = cut[:i]
	}
	return strings.TrimRight(cut, " ,;:") + "…"
}

func firstParagraph(markdown string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(plainMarkdown(markdown)), "\n\n")
	return strings.Join(strings.Fields(first), " ")
}

// marks are the links, code spans and strong words of Markdown; an underscore
// or a lone asterisk is more often a part of a name.
var marks = regexp.MustCompile("!?\\[([^\\]\n]*)\\]\\([^)\n]*\\)|`([^`\n]+)`|\\*\\*([^*\n]+)\\*\\*")

// plainMarkdown drops the marks that a short prose text carries.
func plainMarkdown(s string) string {
	return strings.TrimSpace(marks.ReplaceAllString(s, "$1$2$3"))
}
