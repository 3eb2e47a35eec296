package blocks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/outbox"
)

// CallbackID marks our forms among views.
const CallbackID = "opsbot_form"

// A memory travels with a form in its private_metadata. People cannot change
// it; Slack keeps at most 3,000 characters of it.
type memory struct {
	Action  string            `json:"a"`
	Subject string            `json:"s,omitempty"`
	Must    map[string]string `json:"m,omitempty"`
	Keep    map[string]string `json:"k,omitempty"`
	Channel string            `json:"c,omitempty"`
	Thread  string            `json:"t,omitempty"`
	Message string            `json:"g,omitempty"`
}

// View shows a form as a modal. Its private_metadata carries all that the
// submission needs; a form for which that is too long says so and cannot be
// sent, because half of it would be another form.
func View(f commands.Form) slack.ModalViewRequest {
	v := slack.ModalViewRequest{
		Type:       slack.VTModal,
		CallbackID: CallbackID,
		Title:      plain(orElse(line(f.Title, maxViewTitle), "opsbot")),
		Close:      plain("Cancel"),
	}
	var meta bytes.Buffer
	enc := json.NewEncoder(&meta)
	enc.SetEscapeHTML(false)
	err := enc.Encode(memory{
		Action: f.Action, Subject: f.Subject, Must: f.Must, Keep: f.Keep,
		Channel: f.Where.Channel, Thread: f.Where.Thread, Message: f.Message,
	})
	private := strings.TrimSpace(meta.String())
	if err != nil || units(private) > maxMetadata || len(f.Fields) > maxFields {
		v.Blocks.BlockSet = []slack.Block{slack.NewSectionBlock(plain(
			"This needs more than a form can hold. Type the command with its values instead; nothing was done."), nil, nil)}
		return v
	}
	v.PrivateMetadata = private
	v.Submit = plain(orElse(line(f.Submit, maxViewTitle), "Submit"))
	if intro := strings.TrimSpace(clean(f.Intro)); intro != "" {
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, slack.NewSectionBlock(plain(cut(intro, maxSection)), nil, nil))
	}
	names := map[string]bool{}
	for _, field := range f.Fields {
		if field.Name == "" || units(field.Name) > maxID || names[field.Name] {
			continue
		}
		names[field.Name] = true
		in := input(field, f.Must[field.Name])
		if text, ok := in.Element.(*slack.PlainTextInputBlockElement); ok && len(names) == 1 {
			text.FocusOnLoad = true
		}
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, in)
	}
	if len(v.Blocks.BlockSet) == 0 {
		v.Blocks.BlockSet = []slack.Block{slack.NewSectionBlock(plain("Sure?"), nil, nil)}
	}
	return v
}

// input makes the block for one field. Its block_id is the field's name and
// its action_id the type, by which Check knows what to check.
func input(f outbox.Field, must string) *slack.InputBlock {
	hint := f.Help
	if must != "" && hint == "" {
		hint = "Exactly like that, capitals included."
	}
	b := slack.NewInputBlock(f.Name, plain(orElse(orElse(line(f.Label, 200), line(f.Name, 200)), "Value")), nil, element(f))
	if h := line(hint, 500); h != "" {
		b.Hint = plain(h)
	}
	b.Optional = !f.Required && must == ""
	return b
}

func element(f outbox.Field) slack.BlockElement {
	id := line(f.Type, maxID)
	if id == "" {
		id = "string"
	}
	if len(f.Values) > 0 && choosable(f.Values) {
		options := make([]*slack.OptionBlockObject, len(f.Values))
		var initial *slack.OptionBlockObject
		for i, v := range f.Values {
			options[i] = slack.NewOptionBlockObject(v, plain(line(v, maxOptionText)), nil)
			if v == f.Default {
				initial = options[i]
			}
		}
		if len(options) <= 5 {
			r := slack.NewRadioButtonsBlockElement(id, options...)
			r.InitialOption = initial
			return r
		}
		s := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Choose one"), id, options...)
		s.InitialOption = initial
		return s
	}
	switch f.Type {
	case "bool":
		yes, no := slack.NewOptionBlockObject("true", plain("Yes"), nil), slack.NewOptionBlockObject("false", plain("No"), nil)
		r := slack.NewRadioButtonsBlockElement(id, yes, no)
		switch f.Default {
		case "true":
			r.InitialOption = yes
		case "false":
			r.InitialOption = no
		}
		return r
	case "int", "float":
		n := slack.NewNumberInputBlockElement(nil, id, f.Type == "float")
		if number(f.Type, f.Default) {
			n.InitialValue = f.Default
		}
		return n
	case "user":
		s := slack.NewOptionsSelectBlockElement(slack.OptTypeUser, plain("Choose a person"), id)
		if userID.MatchString(f.Default) {
			s.InitialUser = f.Default
		}
		return s
	case "channel":
		s := slack.NewOptionsSelectBlockElement(slack.OptTypeConversations, plain("Choose a channel"), id)
		s.Filter = &slack.SelectBlockElementFilter{Include: []string{"public", "private"}}
		return s
	case "time":
		d := slack.NewDateTimePickerBlockElement(id)
		if t, err := time.Parse(time.RFC3339, f.Default); err == nil && t.Unix() >= 1e9 && t.Unix() < 1e10 {
			d.InitialDateTime = t.Unix()
		}
		return d
	}
	t := slack.NewPlainTextInputBlockElement(nil, id)
	t.Multiline = f.Long
	t.MaxLength = maxInput
	if units(f.Default) <= maxInput {
		t.InitialValue = clean(f.Default)
	}
	return t
}

// choosable reports whether the values fit a menu.
func choosable(values []string) bool {
	if len(values) > maxOptions {
		return false
	}
	seen := map[string]bool{}
	for _, v := range values {
		if line(v, maxOptionText) == "" || units(v) > maxOptionValue || seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}

func number(kind, s string) bool {
	if kind == "int" {
		_, err := strconv.ParseInt(s, 10, 64)
		return err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f-f == 0 // neither NaN nor infinite
}

// Check judges a submission before it is acknowledged, from the payload alone.
// It returns a sentence for each block that is wrong, or nil.
func Check(cb slack.InteractionCallback) map[string]string {
	mem, ok := recall(cb)
	if !ok {
		return nil
	}
	wrong := map[string]string{}
	values := entered(cb)
	for _, b := range cb.View.Blocks.BlockSet {
		in, ok := b.(*slack.InputBlock)
		if !ok {
			continue
		}
		value, must := strings.TrimSpace(values[in.BlockID]), mem.Must[in.BlockID]
		switch {
		case must != "" && value != must:
			wrong[in.BlockID] = cut("Type exactly: "+line(must, 200), maxSection)
		case value == "" && !in.Optional:
			wrong[in.BlockID] = "This is needed."
		case value == "":
		default:
			if why := malformed(kindOf(in.Element), value); why != "" {
				wrong[in.BlockID] = why
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// malformed says what is wrong with a value that the client does not check.
func malformed(kind, value string) string {
	switch kind {
	case "int":
		if !number("int", value) {
			return "Give a whole number."
		}
	case "float":
		if !number("float", value) {
			return "Give a number."
		}
	case "duration":
		if _, err := time.ParseDuration(value); err != nil {
			return "Give a duration such as 30s, 5m or 1h30m."
		}
	case "service":
		if !serviceName.MatchString(value) {
			return "Give the plain name of a service such as api."
		}
	}
	return ""
}

// serviceName is how the runbook format writes a service.
var serviceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

// kindOf is the action_id of an input's element: the type of its field.
func kindOf(e slack.BlockElement) string {
	switch e := e.(type) {
	case *slack.PlainTextInputBlockElement:
		return e.ActionID
	case *slack.NumberInputBlockElement:
		return e.ActionID
	}
	return ""
}

// Submission reads a submitted form of ours. It returns false for any other.
func Submission(cb slack.InteractionCallback, key string) (commands.Request, bool) {
	mem, ok := recall(cb)
	if !ok {
		return commands.Request{}, false
	}
	values := map[string]string{}
	for k, v := range entered(cb) {
		if v != "" {
			values[k] = v
		}
	}
	for k, v := range mem.Keep {
		values[k] = v
	}
	who := presser(cb)
	who.Message = mem.Message
	return commands.Request{
		Key: key, Actor: who, Where: outbox.Conversation{Channel: mem.Channel, Thread: mem.Thread},
		Action: mem.Action, Subject: mem.Subject, Values: values,
	}, true
}

func recall(cb slack.InteractionCallback) (memory, bool) {
	var mem memory
	if cb.Type != slack.InteractionTypeViewSubmission || cb.View.CallbackID != CallbackID {
		return mem, false
	}
	if err := json.Unmarshal([]byte(cb.View.PrivateMetadata), &mem); err != nil || mem.Action == "" {
		return mem, false
	}
	return mem, true
}

// entered reads a form's values by block_id.
func entered(cb slack.InteractionCallback) map[string]string {
	values := map[string]string{}
	if cb.View.State == nil {
		return values
	}
	for block, actions := range cb.View.State.Values {
		for _, a := range actions {
			values[block] = value(a)
		}
	}
	return values
}

func value(a slack.BlockAction) string {
	if a.SelectedDateTime != 0 {
		return time.Unix(a.SelectedDateTime, 0).UTC().Format(time.RFC3339)
	}
	all := []string{a.Value, a.SelectedOption.Value, a.SelectedUser, a.SelectedConversation, a.SelectedChannel}
	if i := slices.IndexFunc(all, func(s string) bool { return s != "" }); i >= 0 {
		return all[i]
	}
	return ""
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// many says a number of things.
func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
