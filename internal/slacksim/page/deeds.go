package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page/kit"
)

// A deed is what a person does; the page posts it as JSON.
type deed struct {
	As      string                         `json:"as"`
	Channel string                         `json:"channel"`
	Thread  string                         `json:"thread"`
	Text    string                         `json:"text"`
	Source  string                         `json:"source"`
	Block   string                         `json:"block"`
	Action  string                         `json:"action"`
	Value   []string                       `json:"value"`
	State   map[string]map[string][]string `json:"state"`
	Name    string                         `json:"name"`
	All     bool                           `json:"all"`
}

// A reply is the answer to a deed. What it changed is read from the workspace.
type reply struct {
	Error   string   `json:"error,omitempty"` // to be shown where it was done
	Options []option `json:"options,omitempty"`
}

type option struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// maxDeed is the largest deed in bytes; a modal may hold 100 inputs of 3,000
// characters.
const maxDeed = 2 << 20

var errSurface = errors.New("this message or form is no longer there")

var deeds = map[string]func(*page, *slacksim.Person, deed) (reply, error){
	"send":     (*page).send,
	"act":      (*page).act,
	"options":  (*page).options,
	"submit":   (*page).submit,
	"close":    (*page).closeView,
	"react":    (*page).react,
	"pin":      (*page).pin,
	"edit":     (*page).edit,
	"delete":   (*page).remove,
	"upload":   (*page).upload,
	"dismiss":  (*page).dismiss,
	"join":     (*page).join,
	"home":     (*page).openHome,
	"shortcut": (*page).shortcut,
}

func (p *page) serveDeed(do func(*page, *slacksim.Person, deed) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var d deed
		// A plain form of another site can't have this type.
		if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
			answer(w, http.StatusUnsupportedMediaType, reply{Error: "The page sends JSON."})
			return
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDeed)).Decode(&d); err != nil {
			answer(w, http.StatusBadRequest, reply{Error: "The request cannot be read: " + err.Error()})
			return
		}
		if u, ok := p.sim.User(d.As); !ok || u.Bot || u.Deactivated {
			answer(w, http.StatusNotFound, reply{Error: "There is nobody called " + d.As + " in this workspace."})
			return
		}
		result, err := do(p, p.sim.As(d.As), d)
		if err != nil {
			result.Error = err.Error()
		}
		answer(w, http.StatusOK, result)
	}
}

func answer(w http.ResponseWriter, status int, r reply) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(r) // the reader has gone; nobody is left to tell
}

// send says something or types a slash command. A command that fails is told
// of by a notice in the channel, not here.
func (p *page) send(who *slacksim.Person, d deed) (reply, error) {
	text := strings.TrimSpace(d.Text)
	var err error
	switch {
	case text == "":
	case isCommand(text) && d.Thread != "":
		err = who.SlashInThread(d.Channel, d.Thread, text)
	case isCommand(text):
		var shown slacksim.Failure
		if _, err = who.Slash(d.Channel, text); errors.As(err, &shown) {
			err = nil
		}
	case d.Thread != "":
		_, err = who.Reply(d.Channel, d.Thread, text)
	default:
		_, err = who.Say(d.Channel, text)
	}
	return reply{}, err
}

// isCommand reports whether the text would be sent as a command. As in
// Slack, a slash anywhere but at the start is only a character.
func isCommand(s string) bool {
	return len(s) > 1 && s[0] == '/' && s[1] != ' ' && s[1] != '/'
}

func (p *page) act(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok {
		return reply{}, errSurface
	}
	at := kit.Spot{Block: d.Block, Action: d.Action}
	p.memory.fail(who.ID(), d.Source, at, "")
	err := who.Press(press(from, d))
	if err != nil {
		p.memory.fail(who.ID(), d.Source, at, err.Error())
	}
	return reply{}, err
}

func press(from source, d deed) slacksim.Press {
	return slacksim.Press{
		Channel: from.Channel, TS: from.TS, ViewID: from.View,
		BlockID: d.Block, Target: d.Action, Choice: d.Value, State: state(d.State),
	}
}

// state turns what the page gathered into what a person's verbs take: one
// value as a string, several as a list.
func state(in map[string]map[string][]string) map[string]map[string]any {
	out := map[string]map[string]any{}
	for block, actions := range in {
		out[block] = map[string]any{}
		for action, values := range actions {
			if len(values) == 1 {
				out[block][action] = values[0]
			} else {
				out[block][action] = values
			}
		}
	}
	return out
}

func (p *page) options(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || len(d.Value) != 1 {
		return reply{}, errSurface
	}
	list, err := who.Suggest(press(from, d), d.Value[0])
	var r reply
	for _, o := range list {
		r.Options = append(r.Options, option{Label: o.Text, Value: o.Value})
	}
	return r, err
}

func (p *page) submit(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.View == "" {
		return reply{}, errSurface
	}
	p.memory.troubled(from.View, "")
	err := who.Submit(from.View, state(d.State))
	if err == nil {
		return reply{}, nil
	}
	for _, v := range who.Views() {
		if v.ID == from.View && len(v.Errors) > 0 {
			return reply{}, nil // the fields say it
		}
	}
	p.memory.troubled(from.View, err.Error())
	return reply{}, err
}

func (p *page) closeView(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.View == "" {
		return reply{}, errSurface
	}
	return reply{}, who.CloseView(from.View, d.All)
}

func (p *page) react(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.TS == "" {
		return reply{}, errSurface
	}
	m, ok := p.sim.Message(from.Channel, from.TS)
	if !ok {
		return reply{}, errSurface
	}
	if reacted(m, d.Name, who.ID()) {
		return reply{}, who.Unreact(from.Channel, from.TS, d.Name)
	}
	return reply{}, who.React(from.Channel, from.TS, d.Name)
}

// pin pins a message, or takes its pin away.
func (p *page) pin(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.TS == "" {
		return reply{}, errSurface
	}
	if m, ok := p.sim.Message(from.Channel, from.TS); ok && m.Pinned {
		return reply{}, who.Unpin(from.Channel, from.TS)
	}
	return reply{}, who.Pin(from.Channel, from.TS)
}

func (p *page) edit(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.TS == "" {
		return reply{}, errSurface
	}
	if strings.TrimSpace(d.Text) == "" {
		return reply{}, errors.New("an empty message cannot be saved; delete it instead")
	}
	return reply{}, who.Edit(from.Channel, from.TS, d.Text)
}

func (p *page) remove(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok || from.TS == "" {
		return reply{}, errSurface
	}
	return reply{}, who.Delete(from.Channel, from.TS)
}

// upload shares a text file under Name.
func (p *page) upload(who *slacksim.Person, d deed) (reply, error) {
	_, err := who.Upload(d.Channel, d.Thread, d.Name, "", []byte(d.Text))
	return reply{}, err
}

func (p *page) dismiss(who *slacksim.Person, d deed) (reply, error) {
	from, ok := parseSource(d.Source)
	if !ok {
		return reply{}, errSurface
	}
	p.memory.dismiss(readKey{who.ID(), from.Channel, from.TS})
	return reply{}, nil
}

func (p *page) join(who *slacksim.Person, d deed) (reply, error) {
	return reply{}, who.Join(d.Channel)
}

func (p *page) openHome(who *slacksim.Person, _ deed) (reply, error) {
	_, err := who.OpenHome()
	return reply{}, err
}

func (p *page) shortcut(who *slacksim.Person, d deed) (reply, error) {
	if d.Source == "" {
		return reply{}, who.Shortcut(d.Name)
	}
	from, ok := parseSource(d.Source)
	if !ok || from.TS == "" {
		return reply{}, fmt.Errorf("use shortcut %s: %w", d.Name, errSurface)
	}
	return reply{}, who.MessageShortcut(d.Name, from.Channel, from.TS)
}
