package commands

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// The words of the verb postmortem.
const (
	pmEdit = "edit"
	pmShow = "show"
	pmTake = "take"
)

// postmortem begins the post-mortem, shows it, or changes a section.
//
//	postmortem                begins it, or puts its newest state into the room
//	postmortem edit SECTION   a form for one section
//	postmortem take FILE      the edited file, which the button on it names
func (r *Router) postmortem(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	if r.Postmortems == nil {
		return Reply{}, fault.New(fault.Conflict, "This opsbot writes no post-mortems.")
	}
	if i.State.Active() || i.State == incidents.Canceled || i.State == incidents.Merged {
		return Reply{}, r.refused(ctx, req, i, "write its post-mortem",
			fault.New(fault.Conflict, "%s is %s; a post-mortem is written once it is resolved.", i.Ref(), strings.ToLower(i.State.Word())))
	}
	verb, rest := term(o.Rest)
	switch strings.ToLower(verb) {
	case "", pmShow:
		return r.showPostmortem(ctx, req, i)
	case pmTake:
		return r.takePaper(ctx, req, i, strings.TrimSpace(rest))
	case pmEdit:
		return r.editPostmortem(ctx, req, i, sectionNamed(rest))
	}
	return Reply{}, fault.New(fault.Invalid, "%q is nothing that can be done with a post-mortem.", clip(verb, 40)).
		Hinted("%s, or %s", orderUsage(req, "postmortem "+i.Ref()), orderUsage(req, "postmortem "+i.Ref()+" edit root cause"))
}

// sectionNamed finds a section that people write by the beginning of its name.
func sectionNamed(s string) string {
	s = strings.ToLower(strings.TrimSpace(strings.ReplaceAll(s, "-", " ")))
	for _, title := range postmortem.Sections {
		if s != "" && strings.HasPrefix(strings.ToLower(title), s) {
			return title
		}
	}
	return ""
}

// draft is the newest post-mortem: what people wrote, and what the record knows
// by now. number is its last saved version.
func (r *Router) draft(ctx context.Context, i *incidents.Incident) (text string, number int, err error) {
	record, err := r.Record(ctx, i)
	if err != nil {
		return "", 0, err
	}
	text = postmortem.Draft(record)
	v, err := r.Postmortems.Latest(ctx, i.ID)
	switch {
	case errors.Is(err, postmortem.ErrNone):
		return text, 0, nil
	case err != nil:
		return "", 0, err
	}
	return postmortem.Renew(v.Text, text), v.Number, nil
}

func (r *Router) showPostmortem(ctx context.Context, req Request, i *incidents.Incident) (Reply, error) {
	var err error
	if i.State == incidents.Resolved {
		act := incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}
		if i, err = r.Incidents.Move(ctx, act, incidents.Move{To: incidents.Postmortem}); err != nil {
			return Reply{}, err
		}
	}
	text, number, err := r.draft(ctx, i)
	if err != nil {
		return Reply{}, err
	}
	if number == 0 {
		_, err = r.Postmortems.Save(ctx, postmortem.Version{Incident: i.ID, Text: text, By: req.Actor}, 0)
		if err != nil && !errors.Is(err, postmortem.ErrChanged) {
			return Reply{}, err
		}
	}
	where, err := r.deskFor(ctx, req, i)
	if err != nil {
		return Reply{}, err
	}
	return Reply{Notices: []outbox.Notice{
		{To: where, Content: outbox.File{Name: i.Ref() + ".md", Title: "Post-mortem of " + i.Ref(), Text: text}},
		{Key: "postmortem/" + i.ID, To: where, Content: postmortemPrompt(i, text)},
	}}, nil
}

// postmortemPrompt says what is missing, with a button for each section.
func postmortemPrompt(i *incidents.Incident, text string) outbox.Prompt {
	p := outbox.Prompt{Text: "The post-mortem of " + i.Ref() + " is above, made from the record. Its own sections are yours to write."}
	if missing := postmortem.Missing(text); len(missing) > 0 {
		p.Text += " Still empty: " + strings.Join(missing, ", ") + "."
	} else {
		p.Text += " Everything that must be written is."
	}
	var unowned []string
	for _, t := range i.Tasks {
		if t.Owner == "" && t.Done.IsZero() {
			unowned = append(unowned, strconv.Itoa(t.Number))
		}
	}
	if len(unowned) > 0 {
		p.Text += " Tasks without an owner: " + strings.Join(unowned, ", ") + "."
	}
	for _, s := range postmortem.Sections {
		p.Buttons = append(p.Buttons, outbox.Item{Label: s, Command: NounIncident + " " + orderPM + " " + i.Ref() + " " + pmEdit + " " + s})
	}
	p.Buttons = append(p.Buttons, outbox.Item{Label: "Close", Command: NounIncident + " " + orderClose + " " + i.Ref()})
	if r, ok := i.Holder(incidents.Commander); ok {
		p.Users = []string{r.Actor.ID}
	}
	return p
}

// unlearned refuses to close what a post-mortem is asked for and lacks: its
// sections, and owners for what is to be done. Whether one was begun at all is
// the incident's own affair.
func (r *Router) unlearned(ctx context.Context, i *incidents.Incident) error {
	if r.Postmortems == nil || i.Written.IsZero() || i.State.Over() || !r.Incidents.Rules().Of(i.Severity).Postmortem {
		return nil
	}
	text, _, err := r.draft(ctx, i)
	if err != nil {
		return err
	}
	missing := postmortem.Missing(text)
	if len(missing) == 0 {
		return nil
	}
	out := &incidents.Refusal{Kind: fault.Conflict, Message: i.Ref() + " cannot be closed yet."}
	for _, s := range missing {
		out.Missing = append(out.Missing, incidents.Missing{What: "The post-mortem's section " + s + ".", Fix: orderPM + " " + i.Ref() + " " + pmEdit + " " + s, Label: s})
	}
	for _, t := range i.Tasks {
		if t.Owner == "" && t.Done.IsZero() {
			out.Missing = append(out.Missing, incidents.Missing{What: fmt.Sprintf("An owner for task %d: %s", t.Number, t.Text), Fix: fmt.Sprintf("%s %s %d", orderTask, i.Ref(), t.Number), Label: "Give it an owner"})
		}
	}
	return out
}

// valueVersion is kept: the version that a form was opened on.
const valueVersion = "version"

func (r *Router) editPostmortem(ctx context.Context, req Request, i *incidents.Incident, section string) (Reply, error) {
	if section == "" {
		return Reply{}, fault.New(fault.Invalid, "Which section? There are %s.", strings.Join(postmortem.Sections, ", "))
	}
	text, number, err := r.draft(ctx, i)
	if err != nil {
		return Reply{}, err
	}
	if _, filled := req.Values[valueVersion]; !filled {
		written := postmortem.Section(text, section)
		if len(utf16.Encode([]rune(written))) > incidents.MaxText {
			return Reply{}, fault.New(fault.Conflict, "%s is longer than a form of Slack can hold (%d characters); nothing was changed.", section, incidents.MaxText).
				Hinted("%s puts the post-mortem here as a file: edit it, and put it into the thread of %s, where a button takes it. Or opsbot incidents export and upload.", orderUsage(req, orderExport+" "+i.Ref()), i.Ref())
		}
		f := form(i, orderPM+" "+pmEdit+" "+section, section, "Save",
			outbox.Field{Name: valueText, Label: section, Type: typeString, Long: true, Default: written})
		f.Keep = map[string]string{valueVersion: strconv.Itoa(number)}
		f.Else = "The sections are written in a form: press a button of the post-mortem."
		return Reply{Form: f}, nil
	}
	opened, err := strconv.Atoi(req.Values[valueVersion])
	if err != nil {
		return Reply{}, fault.New(fault.Invalid, "The form is not readable any more. Please open it again.")
	}
	// Somebody else's words in the same section are not overwritten unseen; in
	// another section they stay.
	if opened < number {
		if v, err := r.Postmortems.Latest(ctx, i.ID); err == nil && !v.By.Same(req.Actor) && postmortem.Section(v.Text, section) != "" &&
			postmortem.Section(v.Text, section) != strings.TrimSpace(req.Values[valueText]) {
			return Reply{}, fault.New(fault.Conflict, "%s changed the post-mortem while you wrote; nothing of yours was saved.", orOther(v.By.Name, v.By.ID)).
				Hinted("Your text, to put it in again: %s", clip(req.Values[valueText], 2000))
		}
	}
	changed := postmortem.With(text, section, req.Values[valueText])
	return r.savePostmortem(ctx, req, i, changed, number, section)
}

// savePostmortem keeps a new version, with a line on the timeline.
func (r *Router) savePostmortem(ctx context.Context, req Request, i *incidents.Incident, text string, after int, what string) (Reply, error) {
	if why := postmortem.Check(text, i.Ref()); why != "" {
		return Reply{}, fault.New(fault.Invalid, "This cannot be the post-mortem of %s. %s", i.Ref(), why)
	}
	v, err := r.Postmortems.Save(ctx, postmortem.Version{Incident: i.ID, Text: text, By: req.Actor}, after)
	if errors.Is(err, postmortem.ErrChanged) {
		return Reply{}, fault.New(fault.Conflict, "Somebody else saved the post-mortem at the same moment. Please try again.")
	}
	if err != nil {
		return Reply{}, err
	}
	note := fmt.Sprintf("changed the post-mortem (version %d): %s", v.Number, what)
	if _, err := r.Incidents.Note(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, note, time.Time{}, incidents.Message{}); err != nil {
		return Reply{}, err
	}
	where, err := r.deskFor(ctx, req, i)
	if err != nil {
		return Reply{}, err
	}
	return Reply{Notices: []outbox.Notice{{Key: "postmortem/" + i.ID, To: where, Content: postmortemPrompt(i, text)}}}, nil
}

// Upload takes a whole post-mortem that somebody wrote elsewhere.
func (r *Router) Upload(ctx context.Context, req Request, i *incidents.Incident, text string) (Reply, error) {
	if r.Postmortems == nil || i.Written.IsZero() {
		return Reply{}, fault.New(fault.Conflict, "The post-mortem of %s has not begun.", i.Ref()).Hinted("%s", orderUsage(req, "postmortem "+i.Ref()))
	}
	if err := r.Incidents.Admit(ctx, incidents.Act{ID: i.ID, Actor: req.Actor}, i, "upload its post-mortem"); err != nil {
		return Reply{}, err
	}
	_, number, err := r.draft(ctx, i)
	if err != nil {
		return Reply{}, err
	}
	return r.savePostmortem(ctx, req, i, strings.ReplaceAll(text, "\r\n", "\n"), number, "uploaded")
}

// MaxPaper is the most bytes of a file that is taken as a post-mortem.
const MaxPaper = postmortem.MaxText

var fileID = regexp.MustCompile(`^F[A-Z0-9]{1,20}$`)

// PaperOf is the id of the Slack file that a request wants to be taken as a
// post-mortem; whoever carries the request puts its text into ValuePaper.
func PaperOf(req Request) (id string, ok bool) {
	if req.Action != "" || !IsIncident(req.Line) {
		return "", false
	}
	o, err := ParseOrder(req.Line)
	if err != nil || o.Verb != orderPM {
		return "", false
	}
	verb, rest := term(o.Rest)
	id = strings.TrimSpace(rest)
	return id, strings.EqualFold(verb, pmTake) && fileID.MatchString(id)
}

// paper offers to take an edited post-mortem that was put into its incident's
// room. Other files mean nothing to opsbot, and nothing is read before a click.
func (r *Router) paper(ctx context.Context, req Request) (Reply, error) {
	if r.Incidents == nil || r.Postmortems == nil {
		return Reply{}, nil
	}
	i, err := r.Incidents.At(ctx, req.Where)
	if errors.Is(err, incidents.ErrNone) {
		return Reply{}, nil
	}
	name := req.Values[ValueFiles]
	if err != nil || i.Written.IsZero() || !strings.HasPrefix(strings.ToUpper(name), i.Ref()) || !fileID.MatchString(req.Subject) {
		return Reply{}, err
	}
	return Reply{Notices: []outbox.Notice{{Key: "paper/" + req.Subject, To: req.Where, Content: outbox.Prompt{
		Text:    fmt.Sprintf("Is %s the new post-mortem of %s? Its sections that people write are taken from it; the version before is kept.", clip(name, 80), i.Ref()),
		Buttons: []outbox.Item{{Label: "Take this version", Command: NounIncident + " " + orderPM + " " + i.Ref() + " " + pmTake + " " + req.Subject}},
	}}}}, nil
}

// takePaper saves the file as a new version, and takes its button away.
func (r *Router) takePaper(ctx context.Context, req Request, i *incidents.Incident, file string) (Reply, error) {
	if !fileID.MatchString(file) || req.Values[ValuePaper] == "" {
		return Reply{}, fault.New(fault.Invalid, "Put the edited file into the thread of %s; its button takes it.", i.Ref())
	}
	before, _, err := r.draft(ctx, i)
	if err != nil {
		return Reply{}, err
	}
	reply, err := r.Upload(ctx, req, i, req.Values[ValuePaper])
	if err != nil {
		return reply, err
	}
	after, _, err := r.draft(ctx, i)
	if err != nil {
		return reply, err
	}
	text := fmt.Sprintf("%s took %s as the post-mortem of %s.", orOther(req.Actor.Name, req.Actor.ID), clip(req.Values[ValueFiles], 80), i.Ref())
	switch changed := postmortem.Changed(before, after); len(changed) {
	case 0:
		text += " Nothing that people write has changed."
	default:
		text += " Changed: " + strings.Join(changed, ", ") + "."
	}
	reply.Notices = append(reply.Notices, outbox.Notice{Key: "paper/" + file, To: req.Where, Content: outbox.Prompt{Text: text}})
	return reply, nil
}
